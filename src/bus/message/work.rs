//! What a worker did for a change, and how long each part of it took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a worker did for a change, for whoever asks where the time went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// When the worker took the request in hand: RFC 3339 UTC.
    pub at: String,
    /// From there to its answer, in microseconds.
    pub took_us: u64,
    /// Its parts, in their order.
    #[serde(default)]
    pub steps: Vec<WorkStep>,
}

/// One part of a worker's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkStep {
    /// What was done.
    pub what: WorkPart,
    /// The subject that a responder was asked on; null elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// How long after the worker took the request in hand, in microseconds.
    pub after_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// `ok`, `denied`, or for a responder the word of its metric's `outcome`.
    pub outcome: String,
}

/// Which part of a worker's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkPart {
    /// The stored state was read.
    Read,
    /// The route script ran.
    Script,
    /// A responder was asked.
    Responder,
    /// The change was stored.
    Store,
}

impl WorkPart {
    /// The word on the bus and in traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Script => "script",
            Self::Responder => "responder",
            Self::Store => "store",
        }
    }
}
