//! Why a request is refused, and what the response says. Pure.

use std::borrow::Cow;

use crate::bus::message::RefusedReason;

/// A response that is no success, with the headers that it owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: u16,
    /// Headers that go with it.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Text of a Warning header, code 399.
    pub warning: Option<Cow<'static, str>>,
    /// Why, for its event; `None`: it has none, as the challenge that begins every digest.
    pub reason: Option<RefusedReason>,
    /// What the phone is then told, when it has a subscription.
    pub confirm: Confirm,
}

/// What a phone with a subscription is told after a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Confirm {
    Nothing,
    /// The state of one feature.
    Feature(String),
    /// The state of all.
    Everything,
}

/// Seconds after which a refused phone should try again, where nothing says better.
const RETRY_AFTER_REFUSAL_SECONDS: u32 = 3600;
/// Seconds after which a request that came too early or too many is worth another try.
const RETRY_AFTER_OVERLOAD_SECONDS: u32 = 5;
/// What we take, for Allow.
pub(crate) const ALLOW: &str = "SUBSCRIBE, OPTIONS";

impl Refusal {
    /// A refusal without headers.
    #[must_use]
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), warning: None, reason: Some(RefusedReason::of_response(status)), confirm: Confirm::Nothing }
    }

    /// With one more header.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a reason in words.
    #[must_use]
    pub(crate) fn because(mut self, warning: impl Into<Cow<'static, str>>) -> Self {
        self.warning = Some(warning.into());
        self
    }

    /// With a `Retry-After` that keeps a phone from asking again every minute.
    #[must_use]
    pub(crate) fn for_long(self) -> Self {
        self.with("Retry-After", RETRY_AFTER_REFUSAL_SECONDS.to_string())
    }

    /// 503: overloaded, draining, or the bus is away.
    #[must_use]
    pub(crate) fn unavailable() -> Self {
        Self::new(503).with("Retry-After", RETRY_AFTER_OVERLOAD_SECONDS.to_string())
    }

    /// 500 for a `CSeq` that is not above the last one. Source: RFC 3261 §12.2.2.
    #[must_use]
    pub(crate) fn cseq_too_low() -> Self {
        Self::new(500).with("Retry-After", "1").because("CSeq is not above the last one of this dialog")
    }

    /// 403 for a source or user that may not do this.
    #[must_use]
    pub(crate) fn forbidden(why: &'static str) -> Self {
        Self::new(403).for_long().because(why)
    }

    /// 403 for a presentity that has as many watchers as it may.
    #[must_use]
    pub(crate) fn too_many_watchers() -> Self {
        let refusal = Self::new(403).for_long().because("this presentity has as many subscriptions as it may");
        Self { reason: Some(RefusedReason::TooManyWatchers), ..refusal }
    }

    /// 481: no such subscription here or in the bucket.
    #[must_use]
    pub(crate) fn no_subscription() -> Self {
        Self::new(481)
    }

    /// 405 for any method that we do not take.
    #[must_use]
    pub(crate) fn method() -> Self {
        Self::new(405).with("Allow", ALLOW)
    }
}
