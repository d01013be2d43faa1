//! The head of a message: where it ends, and its text with every line on one line.

use super::name::Name;
use super::scan;

/// Where a head ends and what follows it begins: `(end of its last line, first byte of the body)`.
///
/// `from` is where the search starts: at a line's start, or what an earlier call on less bytes returned as searched.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut line = from;
    loop {
        let next = line + bytes.get(line..)?.iter().position(|byte| *byte == b'\n')? + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => return Some((next, next + 1)),
            [b'\r', b'\n', ..] => return Some((next, next + 2)),
            _ => line = next,
        }
    }
}

/// The head as text: folded lines joined (RFC 3261 §7.3.1), control characters made blanks, and Latin-1 read as such where
/// the head is no UTF-8 (display names of old phones). Lines end in LF or CRLF.
pub(super) fn normalise(head: &[u8]) -> String {
    let mut bytes = head.to_vec();
    let mut following = b'\n';
    for byte in bytes.iter_mut().rev() {
        if byte.is_ascii_control() {
            let is_line_end = match *byte {
                b'\n' => following != b' ',
                b'\r' => following == b'\n',
                _ => false,
            };
            if !is_line_end {
                *byte = b' ';
            }
        }
        following = *byte;
    }
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// What the Content-Length lines of a head say: `Ok(None)` without one.
///
/// # Errors
///
/// One that is no number, or two that differ (a way to make two readers disagree where a message ends).
pub(super) fn content_length<'a>(values: impl Iterator<Item = &'a str>) -> Result<Option<usize>, UnreadableLength> {
    let mut length = None;
    for value in values {
        let number = scan::digits(value).and_then(|number| usize::try_from(number).ok()).ok_or(UnreadableLength)?;
        if length.is_some_and(|earlier| earlier != number) {
            return Err(UnreadableLength);
        }
        length = Some(number);
    }
    Ok(length)
}

/// A Content-Length that is no number, or two that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnreadableLength;

/// Name of a header line, trimmed, and all that follows the colon. `None` when the line is none.
pub(super) fn split_line(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end();
    scan::is_token(name).then_some((name, value))
}

/// [`content_length`] of a head that is not parsed any further, as the framing of a stream needs it.
pub(super) fn content_length_of(head: &[u8]) -> Result<Option<usize>, UnreadableLength> {
    let text = normalise(head);
    let fields = text.split('\n').skip(1).filter_map(split_line);
    content_length(fields.filter(|(name, _)| Name::parse(name) == Some(Name::ContentLength)).map(|(_, value)| value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_blank_line_in_every_line_ending() {
        for (name, bytes, want) in [
            ("CRLF", &b"a\r\nb\r\n\r\nc"[..], Some((6, 8))),
            ("LF", b"a\nb\n\nc", Some((4, 5))),
            ("mixed", b"a\r\nb\n\r\nc", Some((5, 7))),
            ("none", b"a\r\nb\r\n", None),
            ("half", b"a\r\n\r", None),
            ("empty", b"", None),
        ] {
            assert_eq!(end(bytes, 0), want, "{name}");
        }
    }

    #[test]
    fn joins_folded_lines_and_reads_latin_1() {
        for (name, bytes, want) in [
            ("folded by a tab", &b"a: x\r\n\ty\r\nb: z\r\n"[..], "a: x   y\r\nb: z\r\n"),
            ("folded twice, bare LF", b"a: x\n \n y\n", "a: x    y\n"),
            ("a carriage return alone", b"a: x\ry\r\n", "a: x y\r\n"),
            ("NUL", b"a: x\0y\r\n", "a: x y\r\n"),
            ("UTF-8", b"a: \xc3\xa9\r\n", "a: \u{e9}\r\n"),
            ("Latin-1", b"a: \xe9\r\n", "a: \u{e9}\r\n"),
        ] {
            assert_eq!(normalise(bytes), want, "{name}");
        }
    }

    #[test]
    fn content_length_is_one_number() {
        for (name, head, want) in [
            ("absent", "x\r\nVia: a\r\n", Ok(None)),
            ("compact, blank before the colon", "x\r\nL : 7\r\n", Ok(Some(7))),
            ("folded", "x\r\nContent-Length:\r\n 7\r\n", Ok(Some(7))),
            ("twice the same", "x\r\nl: 7\r\nContent-Length: 7\r\n", Ok(Some(7))),
            ("twice", "x\r\nl: 7\r\nContent-Length: 8\r\n", Err(UnreadableLength)),
            ("signed", "x\r\nl: +7\r\n", Err(UnreadableLength)),
            ("negative", "x\r\nl: -1\r\n", Err(UnreadableLength)),
            ("empty", "x\r\nl:\r\n", Err(UnreadableLength)),
            ("vast", "x\r\nl: 99999999999999999999999\r\n", Ok(Some(usize::MAX))),
            ("in the start-line's place", "l: 7\r\n", Ok(None)),
        ] {
            assert_eq!(content_length_of(head.as_bytes()), want, "{name}");
        }
    }
}
