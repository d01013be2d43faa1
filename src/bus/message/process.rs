//! What each process says of itself, and its log level.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor;
use super::kind::Kind;

/// Asks every process what it is: `dfks.status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StatusRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<StatusRequest>,
    /// Whether to tell the effective configuration and the metrics as well. Left out: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub details: bool,
}

/// Has processes log at another level: `dfks.log`. Every process answers, those that are not meant too.
///
/// Shape: `{"level":"debug","role":"edge","for_seconds":600,"actor":"helpdesk"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LogRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<LogRequest>,
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or parts of that for what they are of: `info,dfks::edge=debug`, as `log.level`;
    /// `configured`: that of the configuration.
    #[schemars(length(min = 1, max = 512))]
    pub level: String,
    /// Processes with this role alone: `edge`, `worker` or `mi`; left out or null: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The process with this number alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// So long, then as the configuration says; left out or null: until the process ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub for_seconds: Option<u64>,
    /// Who asks for it, for the event: at most 128 characters, none of them a control character.
    #[serde(default, deserialize_with = "actor::read", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub actor: Option<String>,
}

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<StatusResponse>,
    /// Its id: another after each start.
    pub process: String,
    /// The machine or container that it runs on.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// `edge`, `worker`, `mi`.
    pub roles: Vec<String>,
    /// Its version.
    pub version: String,
    /// The first digits of a hash of its effective configuration: two with the same have the same configuration.
    pub config: String,
    /// When it started: RFC 3339 UTC.
    pub started_at: String,
    /// Its log level.
    pub log_level: String,
    /// When that goes back to what its configuration says: RFC 3339 UTC; null: it does not.
    #[serde(default)]
    pub log_until: Option<String>,
    /// Whether this request has set its log level.
    #[serde(default)]
    pub log_set: bool,
    /// The edges that it is.
    #[serde(default)]
    pub edges: Vec<String>,
    /// All edges that hold live subscriptions, as far as this process knows; null where it does not follow them.
    #[serde(default)]
    pub holders: Option<Vec<Holder>>,
    /// Its effective configuration as TOML, without secrets; where `details` are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// Its metrics that are not 0, without buckets, at most 256 KiB of them; where `details` are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

/// An edge that holds live subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The edge.
    pub edge_id: String,
    /// How many.
    pub subscriptions: u64,
}
