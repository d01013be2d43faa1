//! `Event`.

use std::fmt;

use crate::sip::scan;

/// The event package of a subscription.
///
/// Shape: `as-feature-event;id=1`. Packages are compared without regard to case (phones differ), ids with it.
/// Source: RFC 6665 §8.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The package's name as it was written.
    pub package: &'a str,
    /// The `id` parameter.
    pub id: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// Reads the value; parameters other than `id` are passed over.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = scan::split_outside(text, b';', false);
        let package = parts.next().filter(|package| scan::is_token(package) && text.trim_start().starts_with(package))?;
        let mut ids = parts.filter_map(|param| param.split_once('=')).filter(|(name, _)| name.trim_end().eq_ignore_ascii_case("id"));
        let id = ids.next().map(|(_, id)| id.trim_start());
        // Two readers may take different ones.
        if ids.next().is_some() {
            return None;
        }
        match id {
            Some(id) if !scan::is_token(id) => None,
            id => Some(Self { package, id }),
        }
    }

    /// Whether the package is this one.
    #[must_use]
    pub fn is(&self, package: &str) -> bool {
        self.package.eq_ignore_ascii_case(package)
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.package)?;
        self.id.map_or(Ok(()), |id| write!(f, ";id={id}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_phones_send_and_writes_it_strictly() {
        for (text, want) in [
            ("as-feature-event", Some("as-feature-event")),
            (" As-Feature-Event ; ID = 7 ;x", Some("As-Feature-Event;id=7")),
            ("dialog;sla;include=\"a;id=2\"", Some("dialog")),
            ("presence.winfo", Some("presence.winfo")),
            ("", None),
            (";id=1", None),
            ("a b", None),
            ("a;id=\"1\"", None),
            ("a;id=", None),
            ("a;id=1;id=2", None),
        ] {
            assert_eq!(Event::parse(text).map(|value| value.to_string()).as_deref(), want, "{text}");
        }
        assert!(Event::parse("AS-FEATURE-EVENT;id=1").unwrap().is("as-feature-event"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(package in "[a-z.-]{1,20}", id in prop::option::of("[A-Za-z0-9._-]{1,8}")) {
            let value = Event { package: &package, id: id.as_deref() };
            let text = value.to_string();
            prop_assert_eq!(Event::parse(&text), Some(value));
        }
    }
}
