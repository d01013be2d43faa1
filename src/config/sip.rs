//! `[sip]`: the edge.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sip::transport::TlsFiles;

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
    /// Notifier threads behind the same addresses, each an edge of its own.
    pub threads: usize,
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
    /// After this silence of an edge, others take over its UDP subscriptions.
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
            threads: 1,
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
    /// Authorities of client certificates, PEM; empty: none asked for. With them every client must show a certificate that
    /// one of them signed, over `tls:` and `wss:`.
    pub client_ca: PathBuf,
}

impl SipTlsConfig {
    /// The files; none where no certificate is named.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        let is_given = |path: &PathBuf| !path.as_os_str().is_empty();
        is_given(&self.certificate).then(|| TlsFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: Some(self.client_ca.clone()).filter(is_given),
        })
    }
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
