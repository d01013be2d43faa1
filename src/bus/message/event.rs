//! What happened: the messages of the event stream.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::origin::Origin;
use super::work::Work;
use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Status, Values, package};
use crate::runtime::clock;

/// A subscription came, was refreshed or ended: `dfks.event.subscription.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SubscriptionEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// The edge that holds it.
    pub edge_id: String,
    /// Its id.
    pub subscription: String,
    /// Whose features it watches.
    pub presentity: String,
    /// Its event package.
    #[serde(default = "package::first_name")]
    pub package: String,
    /// URI of the phone's user.
    pub watcher: String,
    /// What happened.
    pub what: SubscriptionChange,
    /// Why it ended; null otherwise.
    #[serde(default)]
    pub reason: Option<EndReason>,
    /// Who had it told anew, or ended it; null where nobody did.
    #[serde(default)]
    pub actor: Option<String>,
    /// When it expires: RFC 3339 UTC.
    pub expires_at: String,
    /// The phone's User-Agent; empty where it sent none.
    pub user_agent: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: String,
    /// Call-ID of its dialog.
    pub call_id: String,
}

/// What happened to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionChange {
    /// It is new.
    Active,
    /// It was refreshed.
    Refreshed,
    /// Its phone is told the full state again, because somebody asked for that.
    Resynced,
    /// It ended.
    Terminated,
}

impl SubscriptionChange {
    /// The word on the bus and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Refreshed => "refreshed",
            Self::Resynced => "resynced",
            Self::Terminated => "terminated",
        }
    }
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It was not refreshed in time.
    Timeout,
    /// The phone ended it.
    Unsubscribed,
    /// The phone answered a NOTIFY with a response that ends it, or somebody ended it with `terminated;reason=rejected`.
    Rejected,
    /// The phone did not answer a NOTIFY.
    Unreachable,
    /// Another edge has it now.
    Moved,
    /// Somebody ended it with `terminated;reason=deactivated`: its phone may subscribe again at once.
    Deactivated,
}

impl EndReason {
    /// The word on the bus and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unsubscribed => "unsubscribed",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Moved => "moved",
            Self::Deactivated => "deactivated",
        }
    }
}

/// A feature was changed, or a change was refused: `dfks.event.feature.<domain>.<Feature>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<FeatureEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// Whose feature, canonical.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
    /// The state before.
    pub old: FeatureState,
    /// The state now.
    pub new: FeatureState,
    /// Version of the state now.
    pub version: u64,
    /// Where it came from.
    pub origin: Origin,
    /// Who asked for it: a phone's user, whom a command names, `mi` and the peer over HTTP; null where that is not known.
    #[serde(default)]
    pub actor: Option<String>,
    /// What was asked for, before script and responder had their say; null for a feature that changed along with another.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// What became of it.
    pub outcome: FeatureOutcome,
    /// Why it was refused; null otherwise.
    #[serde(default)]
    pub reason: Option<String>,
    /// Live subscriptions that are notified.
    pub watchers: u64,
    /// The edge that it came to; left out where it came to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_id: Option<String>,
    /// When it was asked for: RFC 3339 UTC. Left out for a feature that changed along with another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<String>,
    /// How the worker came to it; left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Work>>,
}

/// What a change asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// The status asked for.
    pub status: Status,
    /// The values asked for; what is left out was to stay as it was.
    #[serde(default)]
    pub values: Values,
}

/// A change of a feature, as its event tells it.
#[derive(Debug, Clone, Copy)]
pub struct FeatureChange<'a> {
    /// Whose feature, canonical.
    pub presentity: &'a str,
    /// The state before.
    pub old: &'a FeatureState,
    /// The state now.
    pub new: &'a FeatureState,
    /// Where it came from.
    pub origin: Origin,
    /// Who asked for it.
    pub actor: Option<&'a str>,
    /// What was asked for; `None`: it changed along with another feature.
    pub asked: Option<&'a Asked>,
}

impl FeatureEvent {
    /// A change that took effect, and that nobody is notified of yet.
    #[must_use]
    pub fn new(id: String, at: SystemTime, cause: Cause, change: FeatureChange<'_>) -> Self {
        let FeatureChange { presentity, old, new, origin, actor, asked } = change;
        Self {
            kind: Kind::default(),
            id,
            time: clock::rfc3339(at),
            cause,
            presentity: presentity.to_owned(),
            feature: new.feature.clone(),
            old: old.clone(),
            new: new.clone(),
            version: new.version,
            origin,
            actor: actor.map(str::to_owned),
            asked: asked.cloned(),
            outcome: FeatureOutcome::Applied,
            reason: None,
            watchers: 0,
            edge_id: None,
            asked_at: None,
            work: None,
        }
    }

    /// Asked for at this time, and how the worker came to it.
    #[must_use]
    pub(crate) fn worked(self, asked_at: SystemTime, work: Option<Box<Work>>) -> Self {
        Self { asked_at: Some(clock::rfc3339(asked_at)), work, ..self }
    }

    /// The change was refused, for this reason.
    #[must_use]
    pub fn refused(self, reason: impl Into<String>) -> Self {
        Self { outcome: FeatureOutcome::Refused, reason: Some(reason.into()), ..self }
    }

    /// So many live subscriptions are notified.
    #[must_use]
    pub(crate) fn notified(self, watchers: u64) -> Self {
        Self { watchers, ..self }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureOutcome {
    /// It took effect.
    Applied,
    /// A route, a responder or a check refused it.
    Refused,
}

/// What became of one NOTIFY: `dfks.event.notify.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<NotifyEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// The edge that sent it.
    pub edge_id: String,
    /// The subscription it was for.
    pub subscription: String,
    /// Whose features.
    pub presentity: String,
    /// Event package of the subscription.
    #[serde(default = "package::first_name")]
    pub package: String,
    /// Which features its body had.
    pub features: Vec<String>,
    /// What became of it.
    pub outcome: NotifyOutcome,
    /// SIP status code of the final response; null when there was none.
    #[serde(default)]
    pub status: Option<u16>,
    /// From the NOTIFY to its final response, in milliseconds.
    pub took_ms: u64,
    /// How long the oldest of what it says had waited when it was sent, in milliseconds: since its job was made, or the phone asked.
    /// Left out by an edge of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
    /// Whether a NOTIFY job has brought it. Left out when `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_job: bool,
}

/// What became of a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyOutcome {
    /// The phone answered 2xx.
    Delivered,
    /// The phone answered otherwise, or could not be reached.
    Failed,
    /// No answer in time (Timer F), or the job was too old.
    Expired,
}

impl NotifyOutcome {
    /// The word on the bus and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// A phone sent a body whose root nobody registered, and `features.passthrough` is on: `dfks.event.raw.<domain>`.
///
/// The phone has its 200 and is told the full state; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<RawEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// The edge that it came to.
    pub edge_id: String,
    /// The subscription that it came in.
    pub subscription: String,
    /// Whose features the phone watches.
    pub presentity: String,
    /// The subscription's event package.
    pub package: String,
    /// URI of the phone's user.
    pub watcher: String,
    /// The phone's User-Agent; empty where it sent none.
    pub user_agent: String,
    /// Local name of the document's root.
    pub root: String,
    /// The document as it came, at most 8 KiB; what is no UTF-8 is read as ISO-8859-1.
    pub body: String,
}
