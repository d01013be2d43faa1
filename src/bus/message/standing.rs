//! What a phone is still to be told, as its edge says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it stands with what a phone is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Features in the NOTIFY in flight, and of those that wait.
    pub pending: Vec<String>,
    /// When what waits is sent; null: it is not put off. RFC 3339 UTC.
    #[serde(default)]
    pub until: Option<String>,
    /// Whether anything is on its way: a NOTIFY in flight, a question to a worker.
    pub is_busy: bool,
    /// Whether there is a way to the phone: not where it came over a connection that is gone.
    pub is_reachable: bool,
}
