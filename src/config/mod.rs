//! The configuration: one struct a section of the TOML file, with the contract's keys and defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Quirks by User-Agent.
    pub profile: Vec<ProfileConfig>,
}

/// `[nats]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// Server URL, or several with commas; empty: an embedded child server.
    pub url: String,
    /// Data of the embedded server.
    pub data_dir: PathBuf,
    /// Where the embedded server listens; port 0 is any free one.
    pub embedded_listen: String,
    /// A `.creds` file.
    pub credentials_file: PathBuf,
    /// User name; its password is in `password_file`.
    pub user: String,
    /// File with the password of `user`.
    pub password_file: PathBuf,
    /// File with a token.
    pub token_file: PathBuf,
    /// File with an nkey seed.
    pub nkey_file: PathBuf,
    /// TLS to the server.
    pub tls: NatsTlsConfig,
    /// Of a request or store, in milliseconds; past it the bus counts as away.
    pub timeout_ms: u64,
    /// First token of every subject.
    pub prefix: String,
    /// Replicas of streams and buckets.
    pub replicas: usize,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            data_dir: "./dfks-data".into(),
            embedded_listen: "127.0.0.1:4222".into(),
            credentials_file: PathBuf::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            token_file: PathBuf::new(),
            nkey_file: PathBuf::new(),
            tls: NatsTlsConfig::default(),
            timeout_ms: 1000,
            prefix: "dfks".into(),
            replicas: 1,
        }
    }
}

/// `nats.tls`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct NatsTlsConfig {
    /// Certificate authority, PEM.
    pub ca: PathBuf,
    /// Our certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// `[sip]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SipConfig {
    /// `transport:ADDR:PORT`, one a listener.
    pub listen: Vec<String>,
    /// `host[:port]` put into Via and Contact; empty: the listening address.
    pub advertise: String,
    /// Stable name of this edge; empty: the hostname.
    pub edge_id: String,
    /// Served presentity domains; empty: any.
    pub domains: Vec<String>,
    /// Where the presentity is named.
    pub presentity_from: PresentityFrom,
    /// TLS of the listeners.
    pub tls: SipTlsConfig,
    /// Largest NOTIFY over UDP before `auto` sends one feature at a time, in bytes.
    pub udp_notify_limit_bytes: usize,
    /// How the full state is sent.
    pub initial_notify: InitialNotify,
    /// Over it: 503.
    pub max_subscriptions: usize,
    /// Over it: 403.
    pub max_subscriptions_per_presentity: usize,
    /// Requests a second for each source address; 0: no limit.
    pub rate_limit_per_source: u32,
    /// Sources without limit: CIDRs.
    pub rate_limit_exempt: Vec<String>,
    /// An edge silent for so long loses its UDP subscriptions to another.
    pub takeover_seconds: u64,
    /// `host:port` of a `HEPv3` collector; empty: off.
    pub trace_hep: String,
    /// Who may subscribe.
    pub auth: AuthConfig,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            listen: vec!["udp:127.0.0.1:5060".into(), "tcp:127.0.0.1:5060".into()],
            advertise: String::new(),
            edge_id: String::new(),
            domains: Vec::new(),
            presentity_from: PresentityFrom::RequestUri,
            tls: SipTlsConfig::default(),
            udp_notify_limit_bytes: 1300,
            initial_notify: InitialNotify::Auto,
            max_subscriptions: 1_000_000,
            max_subscriptions_per_presentity: 32,
            rate_limit_per_source: 50,
            rate_limit_exempt: vec!["127.0.0.0/8".into(), "::1/128".into()],
            takeover_seconds: 30,
            trace_hep: String::new(),
            auth: AuthConfig::default(),
        }
    }
}

/// `sip.presentity_from`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum PresentityFrom {
    /// The Request-URI; To when it has no user.
    #[default]
    RequestUri,
    /// The To header.
    To,
}

/// `sip.initial_notify`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum InitialNotify {
    /// Multipart; over UDP above the limit one feature at a time.
    #[default]
    Auto,
    /// Always multipart.
    Multipart,
    /// Always one feature at a time.
    Sequential,
}

/// `sip.tls`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct SipTlsConfig {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authority of client certificates, PEM; empty: none asked for.
    pub client_ca: PathBuf,
}

/// `[sip.auth]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// How subscribers prove who they are.
    pub mode: AuthMode,
    /// Digest realm; empty: the presentity's domain.
    pub realm: String,
    /// htdigest file; empty: ask `dfks.responder.auth.<domain>`.
    pub users: PathBuf,
    /// CIDRs whose requests are not challenged.
    pub trusted: Vec<String>,
    /// Allows `mode = "none"` on an address that is not loopback.
    pub allow_unauthenticated: bool,
    /// Lets an authenticated user subscribe to others.
    pub allow_other_presentities: bool,
}

/// `sip.auth.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Anyone.
    #[default]
    None,
    /// Digest, RFC 7616.
    Digest,
    /// Only `trusted` sources.
    Trusted,
}

/// `[subscription]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionConfig {
    /// Granted when the phone asks for nothing.
    pub default_expires_seconds: u32,
    /// Shorter, but not 0: 423.
    pub min_expires_seconds: u32,
    /// Longer: granted this.
    pub max_expires_seconds: u32,
    /// Lives on so long past its expiry.
    pub grace_seconds: u32,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        Self { default_expires_seconds: 3600, min_expires_seconds: 60, max_expires_seconds: 7200, grace_seconds: 60 }
    }
}

/// `[routes]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutesConfig {
    /// Rhai file; empty: no script.
    pub script: PathBuf,
    /// Function run for get.
    pub get_route: String,
    /// Function run for set.
    pub set_route: String,
    /// How long a responder may take, in milliseconds.
    pub responder_timeout_ms: u64,
    /// Whether responders are asked.
    pub responders: Responders,
}

impl Default for RoutesConfig {
    fn default() -> Self {
        Self {
            script: PathBuf::new(),
            get_route: "dfks_get".into(),
            set_route: "dfks_set".into(),
            responder_timeout_ms: 500,
            responders: Responders::Auto,
        }
    }
}

/// `routes.responders`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Responders {
    /// Asked; where none listens, asked again after 5 s at the soonest.
    #[default]
    Auto,
    /// Never asked.
    Off,
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
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into(), token_file: PathBuf::new() }
    }
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Longest time to finish what is in hand.
    pub shutdown_grace_seconds: u64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { shutdown_grace_seconds: 40 }
    }
}

/// `[trace]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// OTLP endpoint; empty: off.
    pub otlp: String,
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
    /// More features by name.
    #[serde(flatten)]
    pub tables: BTreeMap<String, FeatureConfig>,
}

/// `[features.NAME]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureConfig {
    /// Root element of the phone's request.
    pub request_root: String,
    /// Root element of our event.
    pub event_root: String,
    /// Status element in the request.
    pub status_request: String,
    /// Status element in the event.
    pub status_event: String,
    /// Element that tells features with one root apart; empty: none.
    pub type_element: String,
    /// Its value for this feature.
    pub type_value: String,
    /// `field = ["requestElement", "eventElement"]`
    pub values: BTreeMap<String, (String, String)>,
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
