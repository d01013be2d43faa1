//! `Subscription-State`.

use std::fmt;

use crate::sip::scan;

/// The state of a subscription, in a NOTIFY.
///
/// Shape: `active;expires=3599`, `terminated;reason=timeout`. Source: RFC 6665 §4.1.3, §8.2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// The state.
    pub state: Substate<'a>,
    /// Seconds left.
    pub expires_seconds: Option<u32>,
    /// Why it ended: `timeout`, `deactivated`, …
    pub reason: Option<&'a str>,
    /// Seconds to wait before subscribing again.
    pub retry_after_seconds: Option<u32>,
}

/// `substate-value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substate<'a> {
    /// It lives.
    Active,
    /// It waits for an authorisation.
    Pending,
    /// It is over.
    Terminated,
    /// Another token.
    Other(&'a str),
}

impl<'a> SubscriptionState<'a> {
    /// `active;expires=…`
    #[must_use]
    pub(crate) const fn active(expires_seconds: u32) -> Self {
        Self { state: Substate::Active, expires_seconds: Some(expires_seconds), reason: None, retry_after_seconds: None }
    }

    /// `terminated;reason=…`
    #[must_use]
    pub(crate) const fn terminated(reason: &'a str) -> Self {
        Self { state: Substate::Terminated, expires_seconds: None, reason: Some(reason), retry_after_seconds: None }
    }

    /// Reads the value; unreadable numbers count as left out.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = scan::split_outside(text, b';', false);
        let state = parts.next().filter(|state| scan::is_token(state) && text.trim_start().starts_with(state))?;
        let state = match state {
            word if word.eq_ignore_ascii_case("active") => Substate::Active,
            word if word.eq_ignore_ascii_case("pending") => Substate::Pending,
            word if word.eq_ignore_ascii_case("terminated") => Substate::Terminated,
            word => Substate::Other(word),
        };
        let mut value = Self { state, expires_seconds: None, reason: None, retry_after_seconds: None };
        let seconds = |text| scan::digits(text).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        for (name, text) in parts.filter_map(|param| param.split_once('=')) {
            let (name, text) = (name.trim_end(), text.trim_start());
            if name.eq_ignore_ascii_case("expires") {
                value.expires_seconds = seconds(text);
            } else if name.eq_ignore_ascii_case("retry-after") {
                value.retry_after_seconds = seconds(text);
            } else if name.eq_ignore_ascii_case("reason") {
                value.reason = scan::is_token(text).then_some(text);
            }
        }
        Some(value)
    }
}

impl fmt::Display for SubscriptionState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            Substate::Active => "active",
            Substate::Pending => "pending",
            Substate::Terminated => "terminated",
            Substate::Other(word) => word,
        })?;
        if let Some(reason) = self.reason {
            write!(f, ";reason={reason}")?;
        }
        if let Some(seconds) = self.expires_seconds {
            write!(f, ";expires={seconds}")?;
        }
        if let Some(seconds) = self.retry_after_seconds {
            write!(f, ";retry-after={seconds}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_is_sent_and_writes_it_strictly() {
        for (text, want) in [
            ("active;expires=3600", Some("active;expires=3600")),
            ("Active ; Expires = 99999999999", Some("active;expires=4294967295")),
            ("terminated;reason=probation;retry-after=5", Some("terminated;reason=probation;retry-after=5")),
            ("pending", Some("pending")),
            ("waiting;expires=x", Some("waiting")),
            ("", None),
            (";expires=1", None),
            ("a b", None),
        ] {
            assert_eq!(SubscriptionState::parse(text).map(|value| value.to_string()).as_deref(), want, "{text}");
        }
        assert_eq!(SubscriptionState::active(0).to_string(), "active;expires=0");
        assert_eq!(SubscriptionState::terminated("timeout").to_string(), "terminated;reason=timeout");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            state in prop_oneof![Just(Substate::Active), Just(Substate::Pending), Just(Substate::Terminated), Just(Substate::Other("x"))],
            expires_seconds: Option<u32>,
            reason in prop::option::of("[a-z]{1,10}"),
            retry_after_seconds: Option<u32>,
        ) {
            let value = SubscriptionState { state, expires_seconds, reason: reason.as_deref(), retry_after_seconds };
            let text = value.to_string();
            prop_assert_eq!(SubscriptionState::parse(&text), Some(value));
        }
    }
}
