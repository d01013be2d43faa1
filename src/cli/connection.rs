//! The options by which a command finds its configuration, and NATS.

use std::path::PathBuf;

use clap::Args;

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The TOML file.
    #[arg(long, value_name = "FILE", env = "DFKS_CONFIG", help = "TOML file; each key can be overridden as DFKS__SECTION__KEY")]
    pub(crate) config: Option<PathBuf>,
}

/// How a client command reaches NATS, and how it prints.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// NATS server.
    #[arg(
        long,
        value_name = "URL",
        env = "NATS_URL",
        hide_env_values = true,
        help = "NATS server; none: that of the configuration, else nats://127.0.0.1:4222"
    )]
    pub(crate) nats: Option<String>,
    /// Where [nats] says how to reach it.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Credentials for it, in place of those of the configuration
    #[arg(long, value_name = "FILE", env = "NATS_CREDS")]
    pub(crate) creds: Option<PathBuf>,
    /// First token of every subject, as nats.prefix; none: that of the configuration, else dfks
    #[arg(long, value_name = "PREFIX", env = "DFKS__NATS__PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Longest wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) timeout: u16,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
