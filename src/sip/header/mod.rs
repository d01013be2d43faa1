//! Values of header fields: each with a tolerant reader, and a `Display` that is strict.

mod accept;
mod cseq;
mod event;
mod name_addr;
mod params;
mod subscription_state;
mod via;

pub use accept::{Accept, MediaType};
pub use cseq::CSeq;
pub use event::Event;
pub use name_addr::NameAddr;
pub use params::Params;
pub use subscription_state::{SubscriptionState, Substate};
pub use via::{Protocol, Via};

use super::name::Name;
use super::scan;

/// A header field whose value cannot be read. Answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {0} header")]
pub struct BadHeader(pub Name);

/// A number of seconds (Expires, Min-Expires, and Retry-After, whose comment and parameters are passed over).
///
/// Too large a number is the largest there is. Source: RFC 3261 §20.19, §20.33.
///
/// # Errors
///
/// [`BadHeader`] naming `name`, where there are no digits.
pub fn seconds(name: Name, value: &str) -> Result<u32, BadHeader> {
    let end = value.find([' ', '(', ';']).unwrap_or(value.len());
    let number = value.get(..end).and_then(scan::digits).ok_or(BadHeader(name))?;
    let is_rest_fine = value.get(end..).is_some_and(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with(['(', ';']));
    if is_rest_fine { Ok(u32::try_from(number).unwrap_or(u32::MAX)) } else { Err(BadHeader(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_digits() {
        for (value, want) in [
            ("0", Some(0)),
            ("3600", Some(3600)),
            ("0060", Some(60)),
            ("99999999999", Some(u32::MAX)),
            ("18 (I am in a meeting)", Some(18)),
            ("18;duration=3600", Some(18)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 2", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(Name::RetryAfter, value).ok(), want, "{value}");
        }
    }
}
