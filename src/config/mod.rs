//! The configuration: one struct for each section of the TOML file, with its keys and defaults.
//!
//! [`Config::load`] layers defaults, file and environment, and checks everything before anything binds: what it returns can
//! be run. Names carry their units; secrets are given as paths of files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::feature::{FeatureConfig, PackageConfig, Target};

mod check;
mod cidr;
mod endpoint;
mod error;
mod listener;
mod load;
mod nats;
mod paths;
mod routes;
mod show;
mod sip;

pub use cidr::Cidr;
pub use endpoint::{Endpoint, EndpointError};
pub use error::ConfigError;
pub use listener::Listener;
pub use nats::{NatsConfig, NatsMaxBytes, NatsTlsConfig};
pub use routes::{Responders, RouteData, RoutesConfig};
pub(crate) use show::hide_user;
pub use sip::{AuthConfig, AuthMode, InitialNotify, PresentityFrom, SipConfig, SipTlsConfig};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The bus.
    pub nats: NatsConfig,
    /// The SIP edge.
    pub sip: SipConfig,
    /// Lifetimes of subscriptions.
    pub subscription: SubscriptionConfig,
    /// The route logic.
    pub routes: RoutesConfig,
    /// MI over HTTP.
    pub mi: MiConfig,
    /// Metrics and health.
    pub http: HttpConfig,
    /// Stopping.
    pub run: RunConfig,
    /// Traces.
    pub trace: TraceConfig,
    /// The log.
    pub log: LogConfig,
    /// More features, by table.
    pub features: FeaturesConfig,
    /// More event packages, by name.
    pub packages: BTreeMap<String, PackageConfig>,
    /// Quirks by User-Agent.
    pub profile: Vec<ProfileConfig>,
}

/// `[subscription]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionConfig {
    /// Granted when the phone gives no `Expires`.
    pub default_expires_seconds: u32,
    /// A shorter one, except 0, is answered 423.
    pub min_expires_seconds: u32,
    /// A longer one is cut to this.
    pub max_expires_seconds: u32,
    /// How long a record outlives its subscription.
    pub grace_seconds: u32,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        Self { default_expires_seconds: 3600, min_expires_seconds: 60, max_expires_seconds: 7200, grace_seconds: 60 }
    }
}

/// `[mi]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiConfig {
    /// `ADDR:PORT` of `POST /mi`; empty: off.
    pub http: String,
    /// File with the bearer token.
    pub token_file: PathBuf,
}

impl Default for MiConfig {
    fn default() -> Self {
        Self { http: "127.0.0.1:8888".into(), token_file: PathBuf::new() }
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// `ADDR:PORT` of `/metrics`, `/healthz` and `/readyz`.
    pub listen: String,
    /// File with the bearer token of the console's actions.
    pub token_file: PathBuf,
    /// Last SIP messages that are kept of each subscription; 0: none.
    pub sip_ring_messages: usize,
    /// Most bytes of all that are kept.
    pub sip_ring_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into(), token_file: PathBuf::new(), sip_ring_messages: 16, sip_ring_bytes: 16 << 20 }
    }
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Longest time to finish the work in hand.
    pub shutdown_grace_seconds: u64,
    /// Whether edge and mi bridge ask a worker of their own process in memory.
    pub local: LocalWay,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { shutdown_grace_seconds: 40, local: LocalWay::Auto }
    }
}

/// `run.local`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LocalWay {
    /// In memory where a worker runs in this process and has room, else over NATS.
    #[default]
    Auto,
    /// Always over NATS.
    Off,
}

/// `[trace]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// OTLP endpoint, `http://HOST:PORT`; empty: off.
    pub otlp: String,
    /// Share of the traces that begin here which is recorded, from 0 to 1.
    pub sample: f64,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { otlp: String::new(), sample: 1.0 }
    }
}

impl TraceConfig {
    /// The collector that spans go to; `None`: they go nowhere.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.otlp.parse().ok()
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Level or filter, e.g. `info` or `dfks=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[features]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct FeaturesConfig {
    /// An unknown XML root goes to `dfks.event.raw.<domain>` instead of 400.
    pub passthrough: bool,
    /// What the target of a forward may be.
    pub target: Target,
    /// A guest's visit ends by itself after its `expires`.
    pub hoteling_ends: bool,
    /// More features by name.
    #[serde(flatten)]
    pub tables: BTreeMap<String, FeatureConfig>,
}

/// `[[profile]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// Regular expression over the User-Agent.
    pub user_agent: String,
    /// The 200 has the body that Cisco Enterprise phones want.
    pub cisco_response_body: bool,
    /// Instead of `sip.initial_notify`.
    pub initial_notify: Option<InitialNotify>,
    /// `Expires` in the 200 to a change is what remains.
    pub remaining_expires: bool,
}

/// Largest compiled form of a profile's regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

impl ProfileConfig {
    /// `user_agent`, compiled.
    ///
    /// # Errors
    ///
    /// It is no regular expression, or one that grows too large.
    pub(crate) fn regex(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.user_agent).size_limit(MAX_REGEX_BYTES).build()
    }
}
