//! What was refused: one event for each source and reason a second.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::bus::trace::Cause;

/// A SUBSCRIBE, another request of a phone, or a command was refused: `dfks.event.refused.<domain>`.
///
/// At most one a second for each source and reason; what a second held back is in `count` of the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<RefusedEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// The edge that refused it; null from a mi bridge.
    #[serde(default)]
    pub edge_id: Option<String>,
    /// Whose features it was about, canonical; null where that could not be read.
    #[serde(default)]
    pub presentity: Option<String>,
    /// URI of the phone's user, as it said; null of a command, and where it could not be read.
    #[serde(default)]
    pub watcher: Option<String>,
    /// Who asked, where a command says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Where it came from, `ip:port`; null of a command.
    #[serde(default)]
    pub source: Option<String>,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`; null of a command.
    #[serde(default)]
    pub transport: Option<String>,
    /// SIP method; null of a command, and where it could not be read.
    #[serde(default)]
    pub method: Option<String>,
    /// Status code of the response, or code of the error reply.
    pub status: u16,
    /// Why.
    pub reason: RefusedReason,
    /// The same in words, as the sender was told; null where it was told nothing more.
    #[serde(default)]
    pub detail: Option<String>,
    /// The phone's User-Agent; null where it sent none.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// Call-ID of the request; null of a command, and where it could not be read.
    #[serde(default)]
    pub call_id: Option<String>,
    /// How many refusals it stands for.
    #[schemars(range(min = 1))]
    pub count: u64,
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusedReason {
    /// No SIP message, or one without what every message needs.
    Malformed,
    /// A header, body or field says what it may not.
    BadRequest,
    /// The password is wrong.
    Unauthorized,
    /// This source or user may not do this.
    Forbidden,
    /// A route or responder denied it.
    Denied,
    /// The presentity has as many subscriptions as it may.
    TooManyWatchers,
    /// No such presentity, domain, feature or subject here.
    NotFound,
    /// A SIP method that we do not take.
    Method,
    /// `Accept` excludes what we send.
    NotAcceptable,
    /// A body of another type.
    UnsupportedBody,
    /// A URI of another scheme.
    UnsupportedScheme,
    /// A SIP extension that we do not have.
    UnsupportedExtension,
    /// A lifetime that is too short.
    IntervalTooBrief,
    /// No such subscription.
    NoSubscription,
    /// The request has been here.
    Loop,
    /// `Max-Forwards` is used up.
    TooManyHops,
    /// Another event package.
    BadEvent,
    /// A `CSeq` that is not above the last one.
    Cseq,
    /// A fault of ours, of a script or a record.
    Failed,
    /// More than a source may send.
    RateLimited,
    /// Overloaded, stopping, or what it needs is away.
    Unavailable,
}

impl RefusedReason {
    /// All of them, to have every series from the start.
    pub(crate) const ALL: [Self; 21] = [
        Self::Malformed,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Denied,
        Self::TooManyWatchers,
        Self::NotFound,
        Self::Method,
        Self::NotAcceptable,
        Self::UnsupportedBody,
        Self::UnsupportedScheme,
        Self::UnsupportedExtension,
        Self::IntervalTooBrief,
        Self::NoSubscription,
        Self::Loop,
        Self::TooManyHops,
        Self::BadEvent,
        Self::Cseq,
        Self::Failed,
        Self::RateLimited,
        Self::Unavailable,
    ];

    /// The word on the bus, and the metric label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Denied => "denied",
            Self::TooManyWatchers => "too_many_watchers",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::NotAcceptable => "not_acceptable",
            Self::UnsupportedBody => "unsupported_body",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::IntervalTooBrief => "interval_too_brief",
            Self::NoSubscription => "no_subscription",
            Self::Loop => "loop",
            Self::TooManyHops => "too_many_hops",
            Self::BadEvent => "bad_event",
            Self::Cseq => "cseq",
            Self::Failed => "failed",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }

    /// What a SIP response with this status refuses for, where nothing says better.
    #[must_use]
    pub(crate) const fn of_response(status: u16) -> Self {
        match status {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::Method,
            406 => Self::NotAcceptable,
            415 => Self::UnsupportedBody,
            416 => Self::UnsupportedScheme,
            420 => Self::UnsupportedExtension,
            423 => Self::IntervalTooBrief,
            481 => Self::NoSubscription,
            482 => Self::Loop,
            483 => Self::TooManyHops,
            489 => Self::BadEvent,
            500 => Self::Cseq,
            503 => Self::Unavailable,
            _ => Self::BadRequest,
        }
    }

    /// What an error reply to a command refuses for.
    #[must_use]
    pub(crate) const fn of_error(code: u16) -> Self {
        match code {
            403 => Self::Denied,
            404 => Self::NotFound,
            400..=499 => Self::BadRequest,
            503 => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_word_everywhere() {
        for (position, reason) in RefusedReason::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(reason as usize, position, "in the order it is listed in");
        }
    }
}
