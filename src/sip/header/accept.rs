//! `Accept` and `Content-Type`.

use std::fmt;

use smallvec::SmallVec;

use crate::sip::scan;

/// A media type.
///
/// Shape: `application/x-as-feature-event+xml;charset=utf-8`. Source: RFC 3261 §20.15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application`, as it was written.
    pub kind: &'a str,
    /// `x-as-feature-event+xml`, as it was written.
    pub subtype: &'a str,
    /// What follows, from the first `;` on; empty without parameters.
    pub params: &'a str,
}

impl<'a> MediaType<'a> {
    /// Reads one value, `*` for a part included.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (range, params) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
        let (kind, subtype) = range.split_once('/')?;
        let (kind, subtype) = (kind.trim(), subtype.trim());
        (scan::is_token(kind) && scan::is_token(subtype)).then_some(Self { kind, subtype, params })
    }

    /// Whether this is that type, ignoring case and parameters.
    #[must_use]
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// The value of a parameter (`boundary`), quotes and escapes resolved.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        let mut params = scan::split_outside(self.params, b';', false).filter_map(|param| param.split_once('='));
        let (_, value) = params.find(|(candidate, _)| candidate.trim_end().eq_ignore_ascii_case(name))?;
        let value = value.trim_start();
        Some(scan::quoted(value).map_or_else(|| value.to_owned(), |(inside, _)| inside))
    }

    /// Whether a parameter says `q=0`: not wanted.
    fn is_refused(&self) -> bool {
        self.param("q").is_some_and(|q| q.starts_with('0') && q.bytes().all(|byte| matches!(byte, b'0' | b'.')))
    }

    /// How closely this range names a type: 3 itself, 2 `application/*`, 1 `*/*`, 0 not at all.
    fn closeness(&self, kind: &str, subtype: &str) -> u8 {
        match (self.kind, self.subtype) {
            ("*", "*") => 1,
            (own, "*") if own.eq_ignore_ascii_case(kind) => 2,
            _ => u8::from(self.is(kind, subtype)) * 3,
        }
    }
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.kind, self.subtype, self.params)
    }
}

/// The body types that a sender takes.
///
/// Shape: `application/x-as-feature-event+xml, multipart/mixed;q=0.5, */*;q=0`. Source: RFC 3261 §20.1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accept<'a> {
    is_sent: bool,
    ranges: SmallVec<[MediaType<'a>; 4]>,
}

impl<'a> Accept<'a> {
    /// Reads the values of all Accept lines; what is no media range is passed over. `is_sent` tells an empty Accept (nothing
    /// is taken) from none at all.
    pub fn parse(is_sent: bool, values: impl Iterator<Item = &'a str>) -> Self {
        Self { is_sent, ranges: values.filter_map(MediaType::parse).collect() }
    }

    /// Whether there was an Accept header.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Whether a type is named, by itself or by a wildcard, and not with `q=0`: the closest range decides. Without an Accept
    /// header nothing is named: what the default is, the event package knows (RFC 6665 §3.1.2).
    #[must_use]
    pub fn allows(&self, kind: &str, subtype: &str) -> bool {
        let closest =
            self.ranges.iter().filter(|range| range.closeness(kind, subtype) > 0).max_by_key(|range| range.closeness(kind, subtype));
        closest.is_some_and(|range| !range.is_refused())
    }
}

impl fmt::Display for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            write!(f, "{}{range}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_closest_range_decides() {
        for (values, multipart, ours) in [
            (vec!["application/x-as-feature-event+xml", "multipart/mixed"], true, true),
            (vec!["Application / X-AS-Feature-Event+XML ; level=1"], false, true),
            (vec!["*/*"], true, true),
            (vec!["application/*"], false, true),
            (vec!["*/*;q=0.1", "multipart/mixed;q=0"], false, true),
            (vec!["*/*;q=0", "application/x-as-feature-event+xml;q=0.5"], false, true),
            (vec!["multipart/*;q=0.0", "*/*"], false, true),
            (vec!["text/plain"], false, false),
            (vec!["nonsense"], false, false),
            (vec![], false, false),
        ] {
            let accept = Accept::parse(true, values.iter().copied());
            assert_eq!(accept.allows("multipart", "mixed"), multipart, "{values:?}");
            assert_eq!(accept.allows("application", "x-as-feature-event+xml"), ours, "{values:?}");
        }
        assert!(!Accept::default().is_sent());
        assert!(Accept::parse(true, std::iter::empty()).is_sent());
    }

    #[test]
    fn a_media_type_gives_its_parts() {
        for (text, want) in [
            ("multipart/mixed;boundary=\"a;b\"", Some(("multipart", "mixed", Some("a;b")))),
            (" multipart / mixed ; Boundary = x ", Some(("multipart", "mixed", Some("x")))),
            ("application/sdp", Some(("application", "sdp", None))),
            ("application", None),
            ("/x", None),
            ("a b/c", None),
            ("", None),
        ] {
            let media = MediaType::parse(text);
            let parts = media.map(|media| (media.kind, media.subtype, media.param("boundary")));
            assert_eq!(parts, want.map(|(kind, subtype, boundary)| (kind, subtype, boundary.map(str::to_owned))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(texts in prop::collection::vec("[a-z*]{1,8}/[a-z+*-]{1,8}(;[a-z]{1,3}=[a-z0-9.]{1,4}){0,2}", 1..5)) {
            let text = Accept::parse(true, texts.iter().map(String::as_str)).to_string();
            let accept = Accept::parse(true, texts.iter().map(String::as_str));
            prop_assert_eq!(Accept::parse(true, scan::split_outside(&text, b',', true)), accept);
        }
    }
}
