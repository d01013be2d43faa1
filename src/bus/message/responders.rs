//! What workers know of responders, and how one is forgotten.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// Asks every worker what it knows of responders: `dfks.responders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RespondersRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<RespondersRequest>,
}

/// What one worker knows of responders, in one or more of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RespondersResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<RespondersResponse>,
    /// The worker that answers: another id after each start.
    pub worker: String,
    /// What it knows: subjects whose responder was heard, by any worker, and those where somebody listened to this one.
    pub responders: Vec<ResponderReport>,
    /// Whether this worker sends another answer after this one.
    pub more: bool,
}

/// What one worker knows of one responder subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponderReport {
    /// `dfks.responder.get.<domain>.<Feature>` or `dfks.responder.set.<domain>.<Feature>`
    pub subject: String,
    /// `get` or `set`.
    pub kind: String,
    /// The domain as it stands in the subject.
    pub domain: String,
    /// Which feature.
    pub feature: String,
    /// Whether somebody listened when this worker asked last; null: it has not asked.
    pub listening: Option<bool>,
    /// Whether all who listen look on: somebody listens, and nobody has ever answered.
    #[serde(default)]
    pub observer: bool,
    /// When a responder answered last, as far as this worker knows: RFC 3339 UTC. It owns the subject. Null: never, or it was forgotten.
    pub last_heard: Option<String>,
    /// How long the last answer to this worker took, in milliseconds; null: there was none.
    pub latency_ms: Option<u64>,
    /// The worker's circuit breaker: `closed`, `open` or `half_open`.
    pub breaker: String,
    /// What was wrong last, as far as this worker knows, at most 200 characters of what came; null: nothing.
    pub last_error: Option<String>,
    /// When that was: RFC 3339 UTC.
    #[serde(default)]
    pub last_error_at: Option<String>,
}

impl ResponderReport {
    /// A subject of which nothing is known but its name.
    pub(crate) fn unknown(subject: &str, [kind, domain, feature]: [String; 3]) -> Self {
        Self {
            subject: subject.to_owned(),
            kind,
            domain,
            feature,
            listening: None,
            observer: false,
            last_heard: None,
            latency_ms: None,
            breaker: "closed".to_owned(),
            last_error: None,
            last_error_at: None,
        }
    }
}

/// Has responders forgotten, so that they own nothing any more: `dfks.responders.forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ForgetRequest>,
    /// A subject, which may have the wildcards of NATS (`dfks.responder.set.*.DoNotDisturb`, `dfks.responder.>`), or a domain.
    pub subject: String,
}

/// Which responders were forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgetResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ForgetResponse>,
    /// Their subjects.
    pub forgotten: Vec<String>,
}
