//! Scanning of header values, and writing that cannot break a line.

use std::fmt;

use memchr::{memchr, memchr2, memchr3};

/// RFC 3261 §25.1 `token`.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// A number of digits only: no sign, no blank. Too large a number is the largest (RFC 3261 §20.19 caps what we read with it).
pub(super) fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

/// A port: digits, 1-65535.
pub(super) fn port(text: &str) -> Option<u16> {
    digits(text).and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0)
}

/// Whether a text may be the host of a Via or URI: a name, an IPv4 address, or an IPv6 one in brackets.
pub(super) fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => (1..=253).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`, blanks around the colon tolerated. An IPv6 address without brackets
/// is understood where no port follows it, and gets its brackets.
pub(super) fn host_and_port(text: &str) -> Option<(Box<str>, Option<u16>)> {
    let text = text.trim();
    if !text.starts_with('[') && text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some((format!("[{text}]").into(), None));
    }
    let colon = text.rfind(':').filter(|at| text.rfind(']').is_none_or(|bracket| bracket < *at));
    let (host, number) = match colon {
        Some(at) => {
            let (host, rest) = text.split_at_checked(at)?;
            (host.trim_end(), Some(port(rest.strip_prefix(':')?.trim())?))
        }
        None => (text, None),
    };
    is_host(host).then(|| (host.into(), number))
}

/// The first `wanted` outside a quoted string and, with `skip_angles`, outside `<…>`.
pub(super) fn find_outside(text: &str, wanted: u8, skip_angles: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let opener = if skip_angles { b'<' } else { b'"' };
        let at = from + memchr3(wanted, b'"', opener, rest)?;
        from = at + 1;
        match bytes.get(at)? {
            byte if *byte == wanted => return Some(at),
            b'"' => from += quoted_bytes(bytes.get(from..)?)?,
            _ => from += memchr(b'>', bytes.get(from..)?)? + 1,
        }
    }
}

/// How many bytes a quoted string has from behind its first quote to behind its last; `None` when it never ends.
fn quoted_bytes(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        from = at + 2;
    }
}

/// Whether every quoted string in a text ends.
pub(super) fn is_closed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = bytes.get(from..).and_then(|rest| memchr(b'"', rest)) {
        match bytes.get(from + at + 1..).and_then(quoted_bytes) {
            Some(length) => from += at + 1 + length,
            None => return false,
        }
    }
    true
}

/// Splits a text at separators outside quotes (and `<…>`); parts are trimmed, empty ones skipped.
pub(super) fn split_outside(text: &str, separator: u8, skip_angles: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, after) = match find_outside(text, separator, skip_angles) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(part.trim_ascii())
    })
    .filter(|part| !part.is_empty())
}

/// The inside of a quoted string that a text begins with, escapes resolved, and what follows it. `None` when it never ends.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let end = quoted_bytes(inside.as_bytes())?;
    let (escaped, rest) = (inside.get(..end - 1)?, inside.get(end..)?);
    let mut value = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(char) = chars.next() {
        value.push(if char == '\\' { chars.next()? } else { char });
    }
    Some((value, rest))
}

/// Writes a quoted string, escaped.
pub(super) fn write_quoted(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for run in text.split_inclusive(['"', '\\']) {
        match run.strip_suffix(['"', '\\']) {
            Some(before) => {
                out.write_str(before)?;
                out.write_char('\\')?;
                out.write_str(run.get(before.len()..).unwrap_or_default())?;
            }
            None => out.write_str(run)?,
        }
    }
    out.write_char('"')
}

/// Appends text to a message in the making. A control character becomes a blank, so that no value can end its line.
pub(super) struct Clean<'a>(pub(super) &'a mut Vec<u8>);

impl Clean<'_> {
    /// Appends one text.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Appends a text in whatever coding it came.
    pub(super) fn bytes(&mut self, text: &[u8]) {
        if text.iter().any(u8::is_ascii_control) {
            self.0.extend(text.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
        } else {
            self.0.extend_from_slice(text);
        }
    }

    /// Appends `name: value` and the line end.
    pub(super) fn line(&mut self, name: &str, value: impl fmt::Display) {
        use fmt::Write;
        self.text(name);
        self.0.extend_from_slice(b": ");
        let _infallible = write!(self, "{value}");
        self.0.extend_from_slice(b"\r\n");
    }
}

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_only_outside_quotes_and_angles() {
        for (name, text, want) in [
            ("plain", "a, b ,c", vec!["a", "b", "c"]),
            ("empty parts", ",a,, ,b,", vec!["a", "b"]),
            ("quotes", r#""x,\"y," <sip:a>, b"#, vec![r#""x,\"y," <sip:a>"#, "b"]),
            ("angles", "<sip:a,b@h>;q=1, <sip:c>", vec!["<sip:a,b@h>;q=1", "<sip:c>"]),
            ("a quote in angles", "<sip:a\"b>, c", vec!["<sip:a\"b>", "c"]),
            ("a quote that never ends", "a, \"b, c", vec!["a", "\"b, c"]),
            ("nothing", "", vec![]),
        ] {
            assert_eq!(split_outside(text, b',', true).collect::<Vec<_>>(), want, "{name}");
        }
    }

    #[test]
    fn host_and_port_in_every_spelling() {
        for (text, want) in [
            ("h", Some(("h", None))),
            ("10.0.0.1:5060", Some(("10.0.0.1", Some(5060)))),
            ("h : 5070", Some(("h", Some(5070)))),
            ("[::1]", Some(("[::1]", None))),
            ("[2001:db8::1]:5061", Some(("[2001:db8::1]", Some(5061)))),
            ("2001:db8::1", Some(("[2001:db8::1]", None))),
            ("h:0", None),
            ("h:65536", None),
            ("h:+5", None),
            ("h:", None),
            ("", None),
            ("a b", None),
            ("[::1", None),
            ("[::g]:5060", None),
        ] {
            assert_eq!(host_and_port(text), want.map(|(host, port)| (host.into(), port)), "{text}");
        }
    }

    #[test]
    fn quoted_strings_and_back() {
        assert_eq!(quoted(r#""a\"b\\c" rest"#), Some((r#"a"b\c"#.to_owned(), " rest")));
        assert_eq!(quoted(r#""never"#), None);
        assert_eq!(quoted(r#""never\"#), None);
        let mut out = String::new();
        write_quoted(&mut out, r#"a"b\c"#).unwrap();
        assert_eq!(quoted(&out), Some((r#"a"b\c"#.to_owned(), "")));
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut out = Vec::new();
        Clean(&mut out).line("X", "a\r\nEvil: 1\0");
        assert_eq!(out, b"X: a  Evil: 1 \r\n");
    }
}
