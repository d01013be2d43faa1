//! The canonical name of a presentity, and its form in a subject.

use std::fmt::{self, Write};
use std::net::Ipv6Addr;

/// Whose features these are, in the one spelling that is used everywhere on the bus.
///
/// Shape: `sip:user@host` (`sips` taken for `sip`, host in lower case, port, password and parameters dropped, percent-escapes
/// of unreserved characters resolved in the user part) or `tel:…` as it was written.
/// Source: RFC 3261 §19.1.4 for which escapes are the same user; RFC 3966 for `tel`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Presentity(Box<str>);

/// Why a text is no presentity. Answered with 400 "Invalid presentity".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PresentityError {
    /// Neither `sip:`, `sips:` nor `tel:`.
    #[error("a presentity is sip:user@host or tel:number")]
    Scheme,
    /// No user part, or a character in it that no SIP URI may have.
    #[error("the presentity's user part is missing or has a character that must be escaped")]
    User,
    /// No host, or none that is a name or an address.
    #[error("the presentity's host is no domain name and no address")]
    Host,
    /// Longer than `Presentity::MAX_BYTES`.
    #[error("a presentity has at most {} bytes", Presentity::MAX_BYTES)]
    TooLong,
}

impl Presentity {
    /// Longest presentity taken in, in bytes.
    pub(crate) const MAX_BYTES: usize = 512;

    /// Reads a presentity in any spelling.
    ///
    /// # Errors
    ///
    /// [`PresentityError`], which the sender of a command or SUBSCRIBE gets as 400.
    pub fn parse(text: &str) -> Result<Self, PresentityError> {
        let text = text.trim();
        let text = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
        if text.len() > Self::MAX_BYTES {
            return Err(PresentityError::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(PresentityError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "sip" | "sips" => Self::parse_sip(rest),
            "tel" if rest.bytes().any(|b| b.is_ascii_digit()) && rest.bytes().all(|b| is_user_byte(b) || b == b'#') => {
                Ok(Self(format!("tel:{rest}").into()))
            }
            "tel" => Err(PresentityError::User),
            _ => Err(PresentityError::Scheme),
        }
    }

    fn parse_sip(rest: &str) -> Result<Self, PresentityError> {
        let (user, host) = rest.split_once('@').ok_or(PresentityError::User)?;
        let user = user.split_once(':').map_or(user, |(user, _password)| user);
        let user = canonical_user(user).ok_or(PresentityError::User)?;
        let host = canonical_host(host).ok_or(PresentityError::Host)?;
        Ok(Self(format!("sip:{user}@{host}").into()))
    }

    /// The presentity of a user at a host, the user named in plain text: what a URI cannot have is escaped.
    ///
    /// # Errors
    ///
    /// [`PresentityError`].
    pub fn of_user(user: &str, host: &str) -> Result<Self, PresentityError> {
        let mut text = String::with_capacity(user.len() + host.len() + 8);
        text.push_str("sip:");
        for byte in user.bytes() {
            if is_user_byte(byte) {
                text.push(char::from(byte));
            } else {
                let _infallible = write!(text, "%{byte:02X}");
            }
        }
        let _infallible = write!(text, "@{host}");
        Self::parse(&text)
    }

    /// The canonical URI, `sip:alice@10.0.0.11`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user part (`alice`), or the number of a `tel:` presentity.
    #[must_use]
    pub fn user(&self) -> &str {
        let rest = self.0.split_once(':').map_or("", |(_, rest)| rest);
        if self.is_tel() { rest } else { rest.split_once('@').map_or(rest, |(user, _)| user) }
    }

    /// The host in lower case (`10.0.0.11`, `[2001:db8::1]`); empty for a `tel:` presentity.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.is_tel() { "" } else { self.0.split_once('@').map_or("", |(_, host)| host) }
    }

    /// What `sip.domains` lists where this presentity is served: its host, `tel` for a `tel:` presentity.
    #[must_use]
    pub fn domain(&self) -> &str {
        if self.is_tel() { "tel" } else { self.host() }
    }

    /// The `<domain>` token of a subject: `10_0_0_11`, `2001-db8--1`, `tel`.
    #[must_use]
    pub(crate) fn domain_token(&self) -> String {
        if self.is_tel() { "tel".to_owned() } else { domain_token(self.host()) }
    }

    fn is_tel(&self) -> bool {
        self.0.starts_with("tel:")
    }
}

/// The `<domain>` token for a host: `.` is written `_`, an IPv6 address loses its brackets and has `-` for `:`.
#[must_use]
pub(crate) fn domain_token(host: &str) -> String {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let token = |c: char| match c {
        '.' => '_',
        ':' if address.is_some() => '-',
        c => c.to_ascii_lowercase(),
    };
    let mut text = String::with_capacity(host.len());
    text.extend(address.unwrap_or(host).chars().map(token));
    text
}

impl fmt::Display for Presentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// RFC 3261 §25.1 `user`, and `#`, which phones send unescaped in feature codes.
const fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#')
}

fn canonical_user(user: &str) -> Option<String> {
    let mut out = String::with_capacity(user.len());
    let mut bytes = user.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
            let value = high << 4 | low;
            if is_unreserved(value) {
                out.push(char::from(value));
            } else {
                let _infallible = write!(out, "%{value:02X}");
            }
        } else if is_user_byte(byte) {
            out.push(char::from(byte));
        } else {
            return None;
        }
    }
    (!out.is_empty()).then_some(out)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Host of a `hostport;parameters?headers` text, in its one spelling.
fn canonical_host(text: &str) -> Option<String> {
    let end = text.find([';', '?', '>']).unwrap_or(text.len());
    let text = text.get(..end)?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        is_port_suffix(after).then_some(())?;
        return Some(format!("[{}]", address.parse::<Ipv6Addr>().ok()?));
    }
    let (host, port) = text.find(':').map_or((text, ""), |at| text.split_at(at));
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    (is_name && is_port_suffix(port)).then(|| host.to_ascii_lowercase())
}

fn is_port_suffix(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_becomes_the_canonical_one() {
        for (input, want) in [
            ("sip:alice@10.0.0.11", Some("sip:alice@10.0.0.11")),
            (" <SIPS:alice@Example.COM:5061;transport=tls> ", Some("sip:alice@example.com")),
            ("sip:alice:secret@example.com.", Some("sip:alice@example.com")),
            ("sip:%61lice%40x@h", Some("sip:alice%40x@h")),
            ("sip:%2a78@h", Some("sip:*78@h")),
            ("sip:Alice@h", Some("sip:Alice@h")),
            ("sip:alice@[2001:DB8:0::1]:5060", Some("sip:alice@[2001:db8::1]")),
            ("tel:+31201234567", Some("tel:+31201234567")),
            ("sip:example.com", None),
            ("sip:@example.com", None),
            ("sip:a b@example.com", None),
            ("sip:a%4@example.com", None),
            ("sip:alice@", None),
            ("sip:alice@exa mple", None),
            ("sip:alice@host:99999", None),
            ("sip:alice@[::g]", None),
            ("sip:alice@a..b", None),
            ("mailto:alice@example.com", None),
            ("alice", None),
            ("", None),
            ("tel:", None),
        ] {
            assert_eq!(Presentity::parse(input).ok().as_ref().map(Presentity::as_str), want, "{input}");
        }
    }

    #[test]
    fn a_user_in_plain_text_is_escaped() {
        for (user, host, want) in [
            ("alice", "Example.com", Some("sip:alice@example.com")),
            ("+31201234567", "h", Some("sip:+31201234567@h")),
            ("alice@work", "h", Some("sip:alice%40work@h")),
            ("a b%é", "[2001:DB8::1]", Some("sip:a%20b%25%C3%A9@[2001:db8::1]")),
            ("a:b", "h", Some("sip:a%3Ab@h")),
            ("", "h", None),
            ("alice", "", None),
            ("alice", "h@x", None),
            ("alice", "h>", Some("sip:alice@h")),
        ] {
            assert_eq!(Presentity::of_user(user, host).ok().as_ref().map(Presentity::as_str), want, "{user} {host}");
        }
    }

    #[test]
    fn the_canonical_form_is_a_fixed_point_and_gives_its_parts() {
        for (input, user, host, token) in [
            ("sip:alice@10.0.0.11", "alice", "10.0.0.11", "10_0_0_11"),
            ("sip:bob@[2001:db8::1]", "bob", "[2001:db8::1]", "2001-db8--1"),
            ("tel:+31201234567", "+31201234567", "", "tel"),
        ] {
            let presentity = Presentity::parse(input).unwrap();
            assert_eq!(
                (presentity.as_str(), presentity.user(), presentity.host(), presentity.domain_token().as_str()),
                (input, user, host, token)
            );
        }
    }
}
