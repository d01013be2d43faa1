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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_the_grammar_quotes() {
        let challenge = Challenge { realm: "example.com", nonce: "00ff", algorithm: Algorithm::Md5, is_stale: false };
        assert_eq!(challenge.to_string(), r#"Digest realm="example.com", qop="auth", nonce="00ff", algorithm=MD5"#);
        let challenge = Challenge { realm: r#"a "b" \c"#, algorithm: Algorithm::Sha512_256, is_stale: true, ..challenge };
        assert_eq!(challenge.to_string(), r#"Digest realm="a \"b\" \\c", qop="auth", nonce="00ff", algorithm=SHA-512-256, stale=true"#);
    }
}
