//! NOTIFYs that are too large for a datagram: which phones can be reached over TCP in its place.
//!
//! RFC 3261 §18.1.1: what is larger than 1300 bytes goes over a transport with congestion control. Where there is no such way to a
//! phone, it goes in a datagram all the same, and for a while nobody tries again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::AHashMap;

/// The line of RFC 3261 §18.1.1; `sip.udp_notify_limit_bytes` may set a higher one, where the path's MTU is known.
const LARGE_BYTES: usize = 1300;
/// How long a NOTIFY over TCP may be without its final response, connecting included: then it goes in a datagram.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a failure is remembered.
const FAILED_FOR: Duration = Duration::from_mins(10);
/// Failures remembered at a time. One more is not: its phone is tried again with the next large NOTIFY.
const MAX_FAILED: usize = 4096;

/// Who could not be reached over TCP.
#[derive(Debug, Default)]
pub(crate) struct Detour {
    failed: AHashMap<SocketAddr, Instant>,
}

/// Whether so many bytes are too many for a datagram.
#[must_use]
pub(crate) const fn is_large(bytes: usize, limit_bytes: usize) -> bool {
    bytes > LARGE_BYTES && bytes > limit_bytes
}

/// Whether a NOTIFY with a document of so many bytes may be too large with its head, which has less than what is left.
#[must_use]
pub(crate) const fn may_be_large(document_bytes: usize) -> bool {
    document_bytes > LARGE_BYTES / 4
}

impl Detour {
    /// Whether it may be tried: it has not failed of late.
    pub(crate) fn may_try(&self, address: SocketAddr, now: Instant) -> bool {
        self.failed.get(&address).is_none_or(|failed_at| now.saturating_duration_since(*failed_at) >= FAILED_FOR)
    }

    /// Nobody answered there over TCP.
    pub(crate) fn failed(&mut self, address: SocketAddr, now: Instant) {
        if self.failed.len() >= MAX_FAILED {
            self.failed.retain(|_, failed_at| now.saturating_duration_since(*failed_at) < FAILED_FOR);
        }
        if self.failed.len() < MAX_FAILED {
            self.failed.insert(address, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn a_failure_is_remembered_for_a_while_and_only_so_many_of_them() {
        let (mut detour, start) = (Detour::default(), clock::now());
        let host = |number: usize, port| {
            SocketAddr::from(([10, 0, u8::try_from(number / 256).unwrap(), u8::try_from(number % 256).unwrap()], port))
        };
        detour.failed(host(0, 5060), start);
        assert!(!detour.may_try(host(0, 5060), start + FAILED_FOR / 2));
        assert!(detour.may_try(host(0, 5062), start) && detour.may_try(host(1, 5060), start));
        assert!(detour.may_try(host(0, 5060), start + FAILED_FOR));
        (0..2 * MAX_FAILED).for_each(|number| detour.failed(host(number, 5060), start));
        assert_eq!(detour.failed.len(), MAX_FAILED);
        detour.failed(host(MAX_FAILED + 7, 5060), start + FAILED_FOR);
        assert_eq!(detour.failed.len(), 1, "what is over makes room");
    }

    #[test]
    fn the_line_is_never_below_that_of_the_rfc() {
        for (bytes, limit, want) in [(1300, 1300, false), (1301, 1300, true), (1301, 0, true), (900, 600, false), (1400, 9000, false)] {
            assert_eq!(is_large(bytes, limit), want, "{bytes} of {limit}");
        }
    }
}
