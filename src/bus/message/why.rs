//! Why a lamp is as it is: what is told to whom, and where it stops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::Watcher;
use super::event::{EndReason, NotifyOutcome};
use super::kind::Kind;
use crate::bus::trace::Cause;
use crate::feature::FeatureState;

/// Asks what is told to the phones of a presentity, and where it stops: `dfks.why`.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","features":["DoNotDisturb"]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<WhyRequest>,
    /// Whose phones, in any spelling of a presentity.
    pub presentity: String,
    /// Which features; left out or null: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
}

/// What is told to the phones of a presentity, and where it stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<WhyResponse>,
    /// Whose phones, canonical.
    pub presentity: String,
    /// When this was so: RFC 3339 UTC.
    pub at: String,
    /// Whether every phone shows how things are.
    pub in_step: bool,
    /// What was found: of what is not in step first.
    pub findings: Vec<Finding>,
    /// The features asked for, as they are, and who answers for each; empty where no worker answers.
    pub features: Vec<Explained>,
    /// Live subscriptions, and those that ended within 24 h.
    pub watchers: Vec<WhyWatcher>,
    /// From when on the events were looked at: RFC 3339 UTC, 24 h ago unless there were too many; null where they could not be read.
    #[serde(default)]
    pub events_since: Option<String>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it is.
    pub verdict: Verdict,
    /// Of which feature; null: of all of the subscription, or of the presentity.
    #[serde(default)]
    pub feature: Option<String>,
    /// Of which subscription; null: of the feature or the presentity, whoever watches.
    #[serde(default)]
    pub subscription: Option<String>,
    /// The same in a sentence.
    pub text: String,
    /// What to do next; null: nothing.
    #[serde(default)]
    pub next: Option<String>,
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The phone has confirmed all of it.
    InStep,
    /// No phone has a subscription, and none had one within the time that events are looked at.
    NeverSubscribed,
    /// It was not refreshed in time.
    Expired,
    /// Its phone ended it, or somebody did by hand.
    Unsubscribed,
    /// The presentity does not have this feature.
    NotAssigned,
    /// A route wants no NOTIFY to carry it.
    Suppressed,
    /// The phone was told an older version.
    Behind,
    /// A NOTIFY is on its way, or put off.
    Pending,
    /// The phone answered a NOTIFY with an error.
    NotifyFailed,
    /// There is no way to the phone, or it does not answer.
    Unreachable,
    /// The edge that holds the subscription does not answer.
    EdgeSilent,
    /// A SUBSCRIBE, or the last change, was refused.
    Refused,
    /// The responder of the feature fails, or is not asked because it failed.
    ResponderFailing,
    /// No worker answers.
    NoWorker,
    /// NATS does not answer for its streams.
    BusAway,
}

impl Verdict {
    /// The word on the bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::NeverSubscribed => "never_subscribed",
            Self::Expired => "expired",
            Self::Unsubscribed => "unsubscribed",
            Self::NotAssigned => "not_assigned",
            Self::Suppressed => "suppressed",
            Self::Behind => "behind",
            Self::Pending => "pending",
            Self::NotifyFailed => "notify_failed",
            Self::Unreachable => "unreachable",
            Self::EdgeSilent => "edge_silent",
            Self::Refused => "refused",
            Self::ResponderFailing => "responder_failing",
            Self::NoWorker => "no_worker",
            Self::BusAway => "bus_away",
        }
    }
}

/// A feature as it is, and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// The state.
    pub state: FeatureState,
    /// Who answers for it.
    pub owner: Owner,
}

/// Who answers for a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// `responder`, `script`, `store` or `default`.
    pub kind: String,
    /// Subject of the responder; null where there is none.
    #[serde(default)]
    pub subject: Option<String>,
    /// Its circuit breaker: `closed`, `open` or `half_open`; null without a responder.
    #[serde(default)]
    pub breaker: Option<String>,
    /// When it answered last: RFC 3339 UTC; null: never.
    #[serde(default)]
    pub last_heard: Option<String>,
    /// What was wrong last; null: nothing.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// A subscription, and what its phone was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyWatcher {
    /// The edge that holds it, or held it.
    pub edge_id: String,
    /// What `dfks.watchers` says of it; of one that ended, what its event says.
    #[serde(flatten)]
    pub watcher: Watcher,
    /// What its phone was told last of each feature.
    pub told: Vec<Told>,
    /// Features that its phone is still to be told.
    pub pending: Vec<String>,
    /// When and why it ended; null: it lives.
    #[serde(default)]
    pub ended: Option<Ended>,
}

/// What a phone was told last of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// The feature.
    pub feature: String,
    /// The version that the phone has confirmed; null: none that is known.
    #[serde(default)]
    pub version: Option<u64>,
    /// When the last NOTIFY with it ended: RFC 3339 UTC; null: not within the events that were looked at.
    #[serde(default)]
    pub at: Option<String>,
    /// What became of that; null where it is not known.
    #[serde(default)]
    pub outcome: Option<NotifyOutcome>,
    /// SIP status of the phone's answer; null: none.
    #[serde(default)]
    pub status: Option<u16>,
    /// What led to that NOTIFY: what `dfks trace` is asked with. Left out where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// The end of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// When: RFC 3339 UTC.
    pub at: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<EndReason>,
    /// Who ended it by hand; null: nobody.
    #[serde(default)]
    pub actor: Option<String>,
}
