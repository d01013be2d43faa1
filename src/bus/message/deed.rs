//! What somebody has done by hand to the product itself: dead letters, the log.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::bus::trace::{self, Cause};
use crate::runtime::clock;

/// Somebody has done something by hand: `dfks.event.hand.<domain>`.
///
/// `<domain>` is `unknown` where it is about no presentity. What is done by hand to a subscription is told as `dfks.event.subscription`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<HandEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this; of a dead letter, that of what became one.
    pub cause: Cause,
    /// What was done.
    pub what: Deed,
    /// Who did it; null where that is not known.
    #[serde(default)]
    pub actor: Option<String>,
    /// Whose dead letter, canonical; null where it names no presentity, and of anything else.
    #[serde(default)]
    pub presentity: Option<String>,
    /// Sequence of the dead letter in its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The subject that the dead letter came on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why it was given up, a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The `Nats-Msg-Id` that its sender gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg_id: Option<String>,
    /// The log level, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The log level goes back after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// The process whose log level it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// What somebody has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A dead letter was published again, and is none any more.
    DeadReplayed,
    /// A dead letter was taken away.
    DeadDropped,
    /// A process has another log level.
    LogLevel,
}

impl Deed {
    /// The word on the bus and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadReplayed => "dead_replayed",
            Self::DeadDropped => "dead_dropped",
            Self::LogLevel => "log_level",
        }
    }
}

impl HandEvent {
    /// An event that says no more than what was done, and by whom.
    #[must_use]
    pub(crate) fn new(what: Deed, actor: Option<&str>, at: SystemTime, cause: Cause) -> Self {
        Self {
            kind: Kind::default(),
            id: trace::new_id(),
            time: clock::rfc3339(at),
            cause,
            what,
            actor: actor.map(str::to_owned),
            presentity: None,
            seq: None,
            subject: None,
            reason: None,
            msg_id: None,
            level: None,
            for_seconds: None,
            process: None,
        }
    }
}
