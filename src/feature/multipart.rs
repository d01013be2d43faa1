//! `multipart/mixed`: several features in one NOTIFY body.
//!
//! Flat, one XML document a part. Phones read only the first of documents that are merely concatenated.
//! Source: RFC 2046 §5.1.

/// Type of a NOTIFY body that has several features; its boundary is a parameter.
pub(crate) const MULTIPART_TYPE: &str = "multipart/mixed";
/// Most parts that [`split`] reads of one body.
pub(crate) const MAX_PARTS: usize = 64;
/// Longest boundary. Source: RFC 2046 §5.1.1.
const MAX_BOUNDARY_BYTES: usize = 70;

/// A boundary that is in none of the parts: `dfks-` and hexadecimal digits counted up from `first`.
#[must_use]
pub fn boundary(first: u64, parts: &[&[u8]]) -> String {
    let mut number = first;
    loop {
        let boundary = format!("dfks-{number:016x}");
        if !parts.iter().any(|part| contains(part, boundary.as_bytes())) {
            return boundary;
        }
        // Ends: parts that are finite hold finitely many of the 2^64 boundaries.
        number = number.wrapping_add(1);
    }
}

/// The `Content-Type` of a body with this boundary.
#[must_use]
pub fn content_type(boundary: &str) -> String {
    format!("{MULTIPART_TYPE};boundary={boundary}")
}

/// Appends a body of these parts, each of this type. The boundary is in none of them, see [`boundary`].
///
/// Shape: `--b CRLF Content-Type: … CRLF CRLF part CRLF --b … CRLF --b-- CRLF`
pub fn write(boundary: &str, content_type: &str, parts: &[&[u8]], out: &mut Vec<u8>) {
    for part in parts {
        for piece in ["--", boundary, "\r\nContent-Type: ", content_type, "\r\n\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    for piece in ["--", boundary, "--\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// The documents in a NOTIFY body: its parts where the type is `multipart/*`, else the body itself; none where it is empty.
///
/// Tolerant: a preamble and an epilogue are skipped, lines may end in LF alone, the closing boundary may be missing. A
/// multipart body without any boundary has no documents. At most `MAX_PARTS`.
#[must_use]
pub fn split<'b>(content_type: &str, body: &'b [u8]) -> Vec<&'b [u8]> {
    if !content_type.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
        return if body.is_empty() { Vec::new() } else { vec![body] };
    }
    let Some(boundary) = boundary_parameter(content_type) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    let mut rest = delimiter(body, boundary).map(|(_preamble, _is_last, rest)| rest);
    while let Some(from) = rest.filter(|_| parts.len() < MAX_PARTS) {
        let (part, is_last, next) = delimiter(from, boundary).unwrap_or((from, true, &[]));
        // What follows the last delimiter to the end of the body, where there is nothing, is no part.
        if let Some(content) = without_headers(part) {
            parts.push(content);
        }
        rest = (!is_last).then_some(next);
    }
    parts
}

/// The next delimiter line: what is before it (less the line end that belongs to it), whether it closes, what is after it.
fn delimiter<'b>(body: &'b [u8], boundary: &str) -> Option<(&'b [u8], bool, &'b [u8])> {
    let mut start = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        let text = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes()));
        if let Some(after) = text.map(<[u8]>::trim_ascii_end)
            && (after.is_empty() || after == b"--")
        {
            let before = body.get(..start)?;
            let before = before.strip_suffix(b"\n").map_or(before, |line| line.strip_suffix(b"\r").unwrap_or(line));
            return Some((before, !after.is_empty(), body.get(end..)?));
        }
        start = end;
    }
    None
}

/// What follows the empty line after a part's headers; `None` where there is no empty line.
fn without_headers(part: &[u8]) -> Option<&[u8]> {
    let mut start = 0;
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        start += line.len();
        if line.trim_ascii().is_empty() {
            return part.get(start..);
        }
    }
    None
}

/// The `boundary` parameter, as a token or in quotes.
fn boundary_parameter(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').map_or(value, |value| value.strip_suffix('"').unwrap_or(value));
        let is_boundary = name.trim().eq_ignore_ascii_case("boundary") && (1..=MAX_BOUNDARY_BYTES).contains(&value.len());
        is_boundary.then_some(value)
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_part_has_its_type_and_a_line_end_before_its_boundary() {
        let mut body = Vec::new();
        write("b", "application/x-as-feature-event+xml", &[b"<a/>", b"<b/>"], &mut body);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "--b\r\nContent-Type: application/x-as-feature-event+xml\r\n\r\n<a/>\r\n\
             --b\r\nContent-Type: application/x-as-feature-event+xml\r\n\r\n<b/>\r\n--b--\r\n"
        );
        assert_eq!(content_type("b"), "multipart/mixed;boundary=b");
    }

    #[test]
    fn a_boundary_is_in_no_part() {
        assert_eq!(boundary(15, &[b"<a/>"]), "dfks-000000000000000f");
        assert_eq!(boundary(15, &[b"<a/>", b"dfks-000000000000000f", b"dfks-0000000000000010x"]), "dfks-0000000000000011");
        assert_eq!(boundary(u64::MAX, &[b"dfks-ffffffffffffffff"]), "dfks-0000000000000000");
    }

    #[test]
    fn reads_what_other_servers_send() {
        for (name, content_type, body, want) in [
            ("single", "application/x-as-feature-event+xml", "<a/>", vec!["<a/>"]),
            ("empty", "", "", vec![]),
            ("parts", "multipart/mixed;boundary=b", "--b\r\nX: y\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--\r\n", vec!["1", "2"]),
            ("quoted, any case", "Multipart/Mixed ; charset=x; Boundary = \"b b\"", "--b b\r\n\r\n1\r\n--b b--", vec!["1"]),
            ("bare LF", "multipart/mixed;boundary=b", "--b\nX: y\n\n1\n--b--\n", vec!["1"]),
            ("preamble, epilogue", "multipart/mixed;boundary=b", "pre\r\n--b\r\n\r\n1\r\n--b--\r\nepi\r\n\r\nlogue", vec!["1"]),
            ("blanks after it", "multipart/mixed;boundary=b", "--b \t\r\n\r\n1\r\n--b-- \r\n", vec!["1"]),
            ("not closed", "multipart/mixed;boundary=b", "--b\r\n\r\n1\r\n--b\r\n\r\n2", vec!["1", "2"]),
            ("longer boundary in it", "multipart/mixed;boundary=b", "--b\r\n\r\n1\r\n--bc\r\n2\r\n--b--", vec!["1\r\n--bc\r\n2"]),
            ("no boundary parameter", "multipart/mixed", "--b\r\n\r\n1\r\n--b--", vec![]),
            ("another boundary", "multipart/mixed;boundary=c", "--b\r\n\r\n1\r\n--b--", vec![]),
            ("part without empty line", "multipart/mixed;boundary=b", "--b\r\nX: y\r\n--b\r\n\r\n2\r\n--b--", vec!["2"]),
        ] {
            let got: Vec<_> = split(content_type, body.as_bytes()).into_iter().map(|part| std::str::from_utf8(part).unwrap()).collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn parts_are_bounded() {
        let body = "--b\r\n\r\nx\r\n".repeat(MAX_PARTS + 1);
        assert_eq!(split("multipart/mixed;boundary=b", body.as_bytes()).len(), MAX_PARTS);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..5), first: u64) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let boundary = boundary(first, &parts);
            let mut body = Vec::new();
            write(&boundary, "a/b", &parts, &mut body);
            prop_assert_eq!(split(&content_type(&boundary), &body), parts);
        }
        #[test]
        fn never_panics(content_type in "multipart/[a-z]{0,3}(; ?boundary=\"?[a-b]{0,3}\"?)?", body in "(--|[ab]|\r|\n|é){0,60}") {
            let parts = split(&content_type, body.as_bytes());
            prop_assert!(parts.len() <= MAX_PARTS);
        }
    }
}
