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
        help = "NATS server; none: that of --context, else of the configuration, else of NATS_URL, else nats://127.0.0.1:4222"
    )]
    pub(crate) nats: Option<String>,
    /// Server and login.
    #[arg(
        long,
        value_name = "NAME",
        help = "Server, login, TLS, inboxes and JetStream domain of a context of the nats CLI; '': the selected one"
    )]
    pub(crate) context: Option<String>,
    /// Where [nats] says how to reach it.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Credentials for it.
    #[arg(long, value_name = "FILE", help = "Credentials for it, in place of any other login; no login named at all: those of NATS_CREDS")]
    pub(crate) creds: Option<PathBuf>,
    /// First tokens of the subjects that answers come to, where the NATS user may hear no others
    #[arg(long, value_name = "PREFIX")]
    pub(crate) inbox_prefix: Option<String>,
    /// First token of every subject, as nats.prefix; none: that of the configuration, else dfks
    #[arg(long, value_name = "PREFIX", env = "DFKS__NATS__PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Longest wait for an answer, in seconds; none: 5
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) timeout: Option<u16>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
