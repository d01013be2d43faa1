//! The command line of what concerns every process: `dfks status`, `dfks log`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::connection::ClientArgs;
use super::span::span;

/// Of `dfks status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Again every 2 seconds, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks snapshot`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// File to write it to, which must not be there; none: stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How to reach NATS.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The level, e.g. debug; none: show what it is
    pub(crate) level: Option<String>,
    /// For so long, e.g. 10m, then as the configuration says
    #[arg(long = "for", value_name = "SPAN", value_parser = span, requires = "level")]
    pub(crate) span: Option<Duration>,
    /// Processes with this role alone
    #[arg(long, value_name = "ROLE", value_parser = ["edge", "worker", "mi"])]
    pub(crate) role: Option<String>,
    /// Who asks for it, for the event: at most 128 characters; none: cli, and the user of this system
    #[arg(long, value_name = "TEXT", requires = "level")]
    pub(crate) actor: Option<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
