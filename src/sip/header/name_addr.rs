//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route, Record-Route.

use std::fmt;

use super::Params;
use crate::sip::message::MAX_URI_BYTES;
use crate::sip::scan;

/// A URI with a display name and header parameters.
///
/// Shape: `"Alice" <sip:alice@example.com>;tag=1928301774`; written with `<>` always. Source: RFC 3261 §20.10, §20.20, §20.39.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name, without quotes and escapes; `None` when empty.
    pub display: Option<Box<str>>,
    /// The URI as it was written, without `<>`.
    pub uri: Box<str>,
    /// The header parameters. Without `<>` all parameters are header parameters (RFC 3261 §20).
    pub params: Params,
}

impl NameAddr {
    /// A bare URI.
    #[must_use]
    pub fn new(uri: &str) -> Self {
        Self { display: None, uri: uri.into(), params: Params::default() }
    }

    /// Reads one value, with or without `<>`. A quote that never ends leaves it open where the URI is, and is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (display, rest) = match scan::quoted(text) {
            Some((display, rest)) => (display, rest.trim_start()),
            None => match scan::find_outside(text, b'<', false) {
                Some(at) => (text.get(..at)?.trim().trim_matches('"').to_owned(), text.get(at..)?),
                None => return Self::parse_addr_spec(text),
            },
        };
        let (uri, params) = rest.strip_prefix('<')?.split_once('>')?;
        Some(Self { display: (!display.is_empty()).then(|| display.into()), uri: uri_text(uri)?.into(), params: Params::parse(params)? })
    }

    /// The URI without its `?headers`, which a Contact may have and a Request-URI may not. Source: RFC 3261 §19.1.1, table 1.
    #[must_use]
    pub(crate) fn uri_without_headers(&self) -> &str {
        let host_at = self.uri.find('@').unwrap_or(0);
        let headers_at = self.uri.get(host_at..).and_then(|host| host.find('?'));
        headers_at.and_then(|at| self.uri.get(..host_at + at)).unwrap_or(&self.uri)
    }

    fn parse_addr_spec(text: &str) -> Option<Self> {
        let (uri, params) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
        Some(Self { display: None, uri: uri_text(uri)?.into(), params: Params::parse(params)? })
    }

    /// The `tag` parameter; `None` when it is missing or empty.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty() && *tag != "\"\"")
    }
}

/// A URI as far as a header needs it: a scheme, and nothing that could be taken for the end of the URI.
fn uri_text(text: &str) -> Option<&str> {
    let text = text.trim();
    let (scheme, rest) = text.split_once(':')?;
    let is_fine = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && !text.contains([' ', '<', '>', '"'])
        && text.len() <= MAX_URI_BYTES;
    is_fine.then_some(text)
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            scan::write_quoted(f, display)?;
            f.write_str(" ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_phones_send_and_writes_it_strictly() {
        for (text, want) in [
            ("<sip:a@h>", Some("<sip:a@h>")),
            ("sip:a@h", Some("<sip:a@h>")),
            ("sip:a@h;tag=1", Some("<sip:a@h>;tag=1")),
            ("sip:a@h ; tag = 1", Some("<sip:a@h>;tag=1")),
            ("<sip:a@h;transport=tcp>;tag=1", Some("<sip:a@h;transport=tcp>;tag=1")),
            ("\"Alice\"<sip:a@h>;tag=1", Some("\"Alice\" <sip:a@h>;tag=1")),
            ("Alice Jones  <sip:a@h>", Some("\"Alice Jones\" <sip:a@h>")),
            ("\"\" <sip:a@h>", Some("<sip:a@h>")),
            ("\"A <x>, \\\"y\\\"\" <sip:a@h>", Some("\"A <x>, \\\"y\\\"\" <sip:a@h>")),
            ("Bell, A. (é) <sip:a@h>;tag=1", Some("\"Bell, A. (é)\" <sip:a@h>;tag=1")),
            ("Bob \"x\" <sip:a@h>", Some("\"Bob \\\"x\" <sip:a@h>")),
            ("\"never ends <sip:a@h>;tag=1", None),
            ("5\" pipe <sip:a@h>;tag=1", None),
            ("<sip:a@h>;tag=1;x=\"never ends", None),
            ("< sip:a@h >", Some("<sip:a@h>")),
            ("<sip:*78#@[2001:db8::1]:5060>", Some("<sip:*78#@[2001:db8::1]:5060>")),
            ("<tel:+31201234567;phone-context=x>;tag=1", Some("<tel:+31201234567;phone-context=x>;tag=1")),
            ("<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";q=0.5", Some("<sip:a@h>;+sip.instance=\"<urn:uuid:1>\";q=0.5")),
            ("sip:a@h;x=\"<\"", Some("<sip:a@h>;x=\"<\"")),
            ("<>", None),
            ("<alice>", None),
            ("alice", None),
            ("*", None),
            ("", None),
            ("<sip:a@h", None),
            ("\"Alice\" sip:a@h", None),
            ("<sip:a b@h>", None),
            ("<sip:a@h> junk", None),
            ("<sip:<a>@h>", None),
            ("<1sip:a@h>", None),
        ] {
            assert_eq!(NameAddr::parse(text).map(|value| value.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn an_empty_tag_is_none() {
        for (text, want) in [("<sip:a@h>;tag=", None), ("<sip:a@h>;tag", None), ("<sip:a@h>", None), ("<sip:a@h>;TAG=x", Some("x"))] {
            assert_eq!(NameAddr::parse(text).unwrap().tag(), want, "{text}");
        }
    }

    #[test]
    fn headers_are_left_out_and_a_question_mark_in_the_user_begins_none() {
        for (uri, want) in [
            ("sip:a@h", "sip:a@h"),
            ("sip:a@h?Subject=x&Route=%3Csip:evil%3E", "sip:a@h"),
            ("sip:a?b@h;x=y?z", "sip:a?b@h;x=y"),
            ("sip:h?x", "sip:h"),
            ("tel:+31", "tel:+31"),
        ] {
            assert_eq!(NameAddr::new(uri).uri_without_headers(), want, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            display in prop::option::of("[ -~éß日]{1,20}"),
            uri in "(sips?|tel|im):[a-zA-Z0-9+#*_.!~;=&$@:/?\\[\\]-]{1,30}",
            params in "(;[a-z]{1,6}(=[a-zA-Z0-9.@/-]{1,8})?){0,3}",
        ) {
            let value = NameAddr { display: display.map(Into::into), uri: uri.into(), params: Params::parse(&params).unwrap() };
            prop_assert_eq!(NameAddr::parse(&value.to_string()), Some(value));
        }

        #[test]
        fn anything_that_is_read_is_written_readably(text in ".{0,60}") {
            if let Some(value) = NameAddr::parse(&text) {
                prop_assert_eq!(NameAddr::parse(&value.to_string()), Some(value));
            }
        }
    }
}
