//! The head of a message: where it ends, and its text with every line on one line.

use super::name::Name;
use super::scan;

/// Where a head ends and what follows it begins: `(end of its last line, first byte of the body)`.
///
/// `from` is where the search starts: at a line's start, or what an earlier call on less bytes returned as searched.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut line = from;
    loop {
        let next = line + memchr::memchr(b'\n', bytes.get(line..)?)? + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => return Some((next, next + 1)),
            [b'\r', b'\n', ..] => return Some((next, next + 2)),
            _ => line = next,
        }
    }
}

/// The head as text: folded lines joined (RFC 3261 §7.3.1), control characters made blanks, and Latin-1 read as such where
/// the head is no UTF-8 (display names of old phones), which the second value says. Lines end in LF or CRLF.
pub(super) fn normalise(head: &[u8]) -> (String, bool) {
    let mut bytes = head.to_vec();
    if !is_normal(head) {
        blank_out(&mut bytes);
    }
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (error.into_bytes().into_iter().map(char::from).collect(), true),
    }
}

/// Whether there is nothing to join and no control character: nearly always. Looks at every byte without a branch, which is
/// several times faster than stopping at the first that is not normal.
fn is_normal(head: &[u8]) -> bool {
    let is_control = |byte: u8| byte < b' ' || byte == 0x7f;
    let is_odd = |byte: u8, next: u8| {
        let is_lone_control = is_control(byte) && (byte != b'\r') && (byte != b'\n');
        let is_lone_return = (byte == b'\r') && (next != b'\n');
        let is_fold = (byte == b'\n') && (next == b' ' || next == b'\t');
        u8::from(is_lone_control || is_lone_return || is_fold)
    };
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    let odd = pairs.fold(0, |odd, (byte, next)| odd | is_odd(*byte, *next));
    odd == 0 && head.last().is_none_or(|last| *last == b'\n' || !is_control(*last))
}

/// Makes a blank of every control character that is not the end of a line.
fn blank_out(bytes: &mut [u8]) {
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
    let name = name.trim_ascii_end();
    scan::is_token(name).then_some((name, value))
}

/// [`content_length`] of a head that is not parsed any further, as the framing of a stream needs it.
pub(super) fn content_length_of(head: &[u8]) -> Result<Option<usize>, UnreadableLength> {
    let (text, _) = normalise(head);
    let fields = text.split('\n').skip(1).filter_map(split_line);
    content_length(fields.filter(|(name, _)| Name::parse(name) == Some(Name::ContentLength)).map(|(_, value)| value.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            assert_eq!(normalise(bytes).0, want, "{name}");
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

    proptest! {
        #[test]
        fn what_counts_as_normal_needs_no_blanks(head in "[ab:\\r\\n\\t \\x00\\x7f\u{e9}]{0,30}") {
            let mut blanked = head.clone().into_bytes();
            blank_out(&mut blanked);
            prop_assert!(!is_normal(head.as_bytes()) || blanked == head.as_bytes());
            if head.ends_with('\n') {
                prop_assert_eq!(is_normal(head.as_bytes()), blanked == head.as_bytes());
            }
        }
    }
}
