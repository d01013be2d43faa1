//! Texts of any kind as one token of a subject, or one key of a bucket; which subjects a wildcard takes in. Pure.

use std::fmt::Write;

use crate::feature::Presentity;

/// A presentity as one key of a bucket: a letter, a digit or `-` stands for itself, every other byte is `=` and two
/// hexadecimal digits (a bucket key takes `[-/_=.a-zA-Z0-9]`, ADR-8), so that no two presentities share a key.
#[must_use]
pub(crate) fn presentity_key(presentity: &Presentity) -> String {
    token(presentity.as_str())
}

/// The presentity of a key that [`presentity_key`] writes.
pub(crate) fn presentity_of_key(key: &str) -> Option<Presentity> {
    Presentity::parse(&text_of_token(key)?).ok()
}

/// An edge id as one token, with the same encoding. `edge-0` stays `edge-0`.
#[must_use]
pub(crate) fn edge_token(edge_id: &str) -> String {
    token(edge_id)
}

/// The text of a token, if it is one that [`token`] writes.
pub(super) fn text_of_token(token: &str) -> Option<String> {
    let mut parts = token.split('=');
    let mut bytes: Vec<u8> = parts.next()?.bytes().collect();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

fn token(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "={byte:02X}");
        }
    }
    out
}

/// Whether a subject with wildcards takes in a subject, which may have some itself: then all that those take in.
pub(crate) fn takes(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}
