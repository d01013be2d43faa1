//! `[nats]`: the bus, and the embedded server that stands in for one.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Sizes of the streams.
    pub max_bytes: NatsMaxBytes,
    /// JetStream domain of the servers that keep streams and buckets; empty: that of the server we are connected to.
    pub domain: String,
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
            max_bytes: NatsMaxBytes::default(),
            domain: String::new(),
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

/// `nats.max_bytes`: of the streams when they are made; 0: at most the size that is named here, less where the server offers less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct NatsMaxBytes {
    /// Of the event stream: 1 GiB.
    pub events: u64,
    /// Of the NOTIFY jobs: 512 MiB.
    pub notify: u64,
    /// Of the durable commands: 256 MiB.
    pub commands: u64,
    /// Of what was given up on: 256 MiB.
    pub dead: u64,
}
