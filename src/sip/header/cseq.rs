//! `CSeq`.

use std::fmt;

use crate::sip::scan;

/// The number of a request in its dialog, and its method.
///
/// Shape: `314159 SUBSCRIBE`; the number is below 2^31. Source: RFC 3261 §8.1.1.5, §20.16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The number.
    pub number: u32,
    /// The method as it was written.
    pub method: &'a str,
}

impl<'a> CSeq<'a> {
    /// Reads the value.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (number, method) = text.trim().split_once(' ')?;
        let number = scan::digits(number).and_then(|number| u32::try_from(number).ok()).filter(|number| *number < 1 << 31)?;
        let method = method.trim_start();
        scan::is_token(method).then_some(Self { number, method })
    }
}

impl fmt::Display for CSeq<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_phones_send_and_writes_it_strictly() {
        for (text, want) in [
            ("1 SUBSCRIBE", Some("1 SUBSCRIBE")),
            ("0009   NOTIFY ", Some("9 NOTIFY")),
            ("0 x", Some("0 x")),
            ("2147483647 A", Some("2147483647 A")),
            ("2147483648 A", None),
            ("36893488147419103232 A", None),
            ("-1 A", None),
            ("1", None),
            ("A 1", None),
            ("1 A B", None),
            ("", None),
        ] {
            assert_eq!(CSeq::parse(text).map(|value| value.to_string()).as_deref(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(number in 0_u32..1 << 31, method in "[A-Za-z0-9.!%*_+`'~-]{1,12}") {
            let value = CSeq { number, method: &method };
            let text = value.to_string();
            prop_assert_eq!(CSeq::parse(&text), Some(value));
        }
    }
}
