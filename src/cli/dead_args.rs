//! The command line of `dfks dead`.

use clap::{Args, Subcommand};

use super::connection::ClientArgs;

/// Of `dfks dead`.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: DeadAction,
}

impl DeadArgs {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            DeadAction::List(args) => &args.client,
            DeadAction::Show(args) => &args.client,
            DeadAction::Replay(args) | DeadAction::Drop(args) => &args.client,
        }
    }
}

/// What is done about dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadAction {
    /// List them, the newest last
    List(DeadListArgs),
    /// Show one: its payload, and all that is known of it
    Show(DeadShowArgs),
    /// Publish them again where they came from: each is a letter until its queue has it
    Replay(DeadDeedArgs),
    /// Take them away
    Drop(DeadDeedArgs),
}

/// Which letters are meant.
#[derive(Debug, Args)]
pub(crate) struct DeadFilterArgs {
    /// Only those with this reason, e.g. unavailable
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Only those of this presentity, in any spelling
    #[arg(long, value_name = "PRESENTITY")]
    pub(crate) presentity: Option<String>,
    /// Only those of presentities of this domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
}

/// Of `dfks dead list`.
#[derive(Debug, Args)]
pub(crate) struct DeadListArgs {
    /// Which ones.
    #[command(flatten)]
    pub(crate) filter: DeadFilterArgs,
    /// So many, the newest
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks dead show`.
#[derive(Debug, Args)]
pub(crate) struct DeadShowArgs {
    /// Which one: its number, as dfks dead list shows it
    pub(crate) seq: u64,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks dead replay` and `dfks dead drop`.
#[derive(Debug, Args)]
pub(crate) struct DeadDeedArgs {
    /// Which ones: their numbers, as dfks dead list shows them
    #[arg(required_unless_present = "all")]
    pub(crate) seqs: Vec<u64>,
    /// All that --reason, --presentity and --domain leave: asks first
    #[arg(long, conflicts_with = "seqs")]
    pub(crate) all: bool,
    /// Which ones.
    #[command(flatten)]
    pub(crate) filter: DeadFilterArgs,
    /// With --all: do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Who does it, for the event: at most 128 characters; none: cli, and the user of this system
    #[arg(long, value_name = "TEXT")]
    pub(crate) actor: Option<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
