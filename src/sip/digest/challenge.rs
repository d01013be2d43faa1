//! `WWW-Authenticate`, strict.

use std::fmt;

use super::Algorithm;
use crate::sip::scan;

/// One challenge; a 401 has one for each algorithm, each in a header line of its own (RFC 8760 §2.4).
///
/// Shape: `Digest realm="example.com", qop="auth", nonce="…", algorithm=SHA-256, stale=true`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Challenge<'a> {
    /// Whose passwords are asked for.
    pub(crate) realm: &'a str,
    pub(crate) nonce: &'a str,
    /// What to answer with.
    pub(crate) algorithm: Algorithm,
    /// Whether only the nonce of the last answer was stale: the phone retries without asking for a password.
    pub(crate) is_stale: bool,
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest realm=")?;
        scan::write_quoted(f, self.realm)?;
        f.write_str(", qop=\"auth\", nonce=")?;
        scan::write_quoted(f, self.nonce)?;
        write!(f, ", algorithm={}", self.algorithm.as_str())?;
        if self.is_stale { f.write_str(", stale=true") } else { Ok(()) }
    }
}

/// A challenge as a phone reads it, from whatever server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Whose password is asked for.
    pub(crate) realm: Box<str>,
    /// As quoted.
    pub(crate) nonce: Box<str>,
    pub(crate) algorithm: Algorithm,
    pub(crate) is_stale: bool,
    /// Whether `qop=auth` is offered.
    pub(crate) has_qop: bool,
    /// To be given back as it came, quotes included.
    pub(crate) opaque: Option<Box<str>>,
}

impl Offer {
    /// Reads one challenge; `None` for another scheme, an algorithm that is not ours, `qop` without `auth`, or what is unreadable.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (scheme, rest) = line.trim_ascii().split_once([' ', '\t'])?;
        let params = || scan::split_outside(rest, b',', false).filter_map(|param| param.split_once('='));
        let raw =
            |wanted: &str| params().find(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim_ascii());
        let text = |wanted: &str| raw(wanted).map(|value| scan::quoted(value).map_or_else(|| value.to_owned(), |(text, _)| text));
        let qop = text("qop");
        let has_qop = qop.is_some();
        if !scheme.eq_ignore_ascii_case("Digest")
            || qop.is_some_and(|qop| !qop.split(',').any(|word| word.trim_ascii().eq_ignore_ascii_case("auth")))
        {
            return None;
        }
        Some(Self {
            realm: text("realm")?.into(),
            nonce: text("nonce").filter(|nonce| !nonce.is_empty())?.into(),
            algorithm: text("algorithm").map_or(Some(Algorithm::Md5), |word| Algorithm::parse(&word))?,
            is_stale: text("stale").is_some_and(|word| word.eq_ignore_ascii_case("true")),
            has_qop,
            opaque: raw("opaque").map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_reads_what_servers_write() {
        let of = |text: &str| Offer::read(text).map(|offer| (offer.realm.to_string(), offer.nonce.to_string(), offer.algorithm));
        let written = Challenge { realm: r#"a "b" \c"#, nonce: "00ff", algorithm: Algorithm::Sha256, is_stale: true }.to_string();
        let offer = Offer::read(&written).unwrap();
        assert!(offer.is_stale && offer.has_qop && offer.opaque.is_none());
        assert_eq!(of(&written), Some((r#"a "b" \c"#.to_owned(), "00ff".to_owned(), Algorithm::Sha256)));
        let other = Offer::read(r#"digest  NONCE="n,1",realm=r, qop="auth-int,auth", opaque="x,\"y""#).unwrap();
        assert_eq!((&*other.nonce, &*other.realm, other.algorithm, other.is_stale), ("n,1", "r", Algorithm::Md5, false));
        assert_eq!(other.opaque.as_deref(), Some(r#""x,\"y""#));
        assert!(!Offer::read(r#"Digest realm="r", nonce="n""#).unwrap().has_qop);
        for unusable in [
            "",
            "Digest",
            r#"Basic realm="r""#,
            r#"Digest nonce="n""#,
            r#"Digest realm="r", nonce="""#,
            r#"Digest realm="r", nonce="n", algorithm=SHA-1"#,
            r#"Digest realm="r", nonce="n", qop="auth-int""#,
        ] {
            assert_eq!(Offer::read(unusable), None, "{unusable}");
        }
    }

    #[test]
    fn quotes_what_the_grammar_quotes() {
        let challenge = Challenge { realm: "example.com", nonce: "00ff", algorithm: Algorithm::Md5, is_stale: false };
        assert_eq!(challenge.to_string(), r#"Digest realm="example.com", qop="auth", nonce="00ff", algorithm=MD5"#);
        let challenge = Challenge { realm: r#"a "b" \c"#, algorithm: Algorithm::Sha512_256, is_stale: true, ..challenge };
        assert_eq!(challenge.to_string(), r#"Digest realm="a \"b\" \\c", qop="auth", nonce="00ff", algorithm=SHA-512-256, stale=true"#);
    }
}
