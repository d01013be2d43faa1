//! What the final response to a NOTIFY means for its subscription. Pure.
//!
//! Source: RFC 6665 §4.2.2, RFC 5057 §5.

use crate::edge::metrics::label::DeliveryOutcome;

/// What follows from a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The phone has it.
    Delivered,
    /// The phone does not know the subscription, or can never accept it: it is over.
    Ends,
    /// The NOTIFY is retried after this many seconds.
    RetryAfter(u32),
    /// The NOTIFY is lost; the next change goes out as usual.
    Ignored,
}

/// Longest pause that a phone may ask for, in seconds.
const MAX_RETRY_AFTER_SECONDS: u32 = 3600;

/// What a final response means.
///
/// 481 ends the subscription even with Retry-After: the phone has no such dialog.
#[must_use]
pub(crate) fn verdict(status: u16, retry_after_seconds: Option<u32>) -> Verdict {
    match (status, retry_after_seconds) {
        (200..=299, _) => Verdict::Delivered,
        (481, _) | (404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604, None) => Verdict::Ends,
        (_, Some(seconds)) => Verdict::RetryAfter(seconds.clamp(1, MAX_RETRY_AFTER_SECONDS)),
        _ => Verdict::Ignored,
    }
}

/// The label `outcome`.
#[must_use]
pub(crate) const fn outcome(verdict: Verdict) -> DeliveryOutcome {
    match verdict {
        Verdict::Delivered => DeliveryOutcome::Delivered,
        Verdict::Ends => DeliveryOutcome::Rejected,
        Verdict::RetryAfter(_) => DeliveryOutcome::Retried,
        Verdict::Ignored => DeliveryOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_response_is_acted_on() {
        for (status, retry_after, want) in [
            (200, None, Verdict::Delivered),
            (202, None, Verdict::Delivered),
            (202, Some(5), Verdict::Delivered),
            (481, None, Verdict::Ends),
            (481, Some(5), Verdict::Ends),
            (404, None, Verdict::Ends),
            (405, None, Verdict::Ends),
            (410, None, Verdict::Ends),
            (416, None, Verdict::Ends),
            (480, None, Verdict::Ends),
            (485, None, Verdict::Ends),
            (489, None, Verdict::Ends),
            (501, None, Verdict::Ends),
            (604, None, Verdict::Ends),
            (480, Some(30), Verdict::RetryAfter(30)),
            (503, Some(0), Verdict::RetryAfter(1)),
            (503, Some(999_999), Verdict::RetryAfter(3600)),
            (500, None, Verdict::Ignored),
            (503, None, Verdict::Ignored),
            (302, None, Verdict::Ignored),
            (401, None, Verdict::Ignored),
            (486, None, Verdict::Ignored),
            (603, None, Verdict::Ignored),
        ] {
            assert_eq!(verdict(status, retry_after), want, "{status} {retry_after:?}");
        }
    }
}
