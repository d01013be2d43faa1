//! The command line of `dfks trace`.

use std::path::PathBuf;

use clap::Args;

use super::connection::ClientArgs;

/// Of `dfks trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The cause of what is to be shown: dfks set, dfks events and dfks why print it
    #[arg(required_unless_present = "last")]
    pub(crate) cause: Option<String>,
    /// The last change of this presentity, in place of a cause
    #[arg(long, value_name = "PRESENTITY", conflicts_with = "cause")]
    pub(crate) last: Option<String>,
    /// Draw it into this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
