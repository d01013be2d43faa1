//! The command line of what is done by hand: `dfks resync`, `dfks end`.

use clap::{Args, ValueEnum};

use super::connection::ClientArgs;
use crate::bus::message::Dismissal;

/// Of `dfks resync`.
#[derive(Debug, Args)]
pub(crate) struct ResyncArgs {
    /// Whose phones: sip:user@host or tel:number
    #[arg(required_unless_present = "domain")]
    pub(crate) presentity: Option<String>,
    /// All phones of this domain, in place of a presentity
    #[arg(long, value_name = "DOMAIN", conflicts_with = "presentity")]
    pub(crate) domain: Option<String>,
    /// The phone of this subscription alone
    #[arg(long, value_name = "ID", conflicts_with = "domain")]
    pub(crate) subscription: Option<String>,
    /// Who asks for it, for the event: at most 128 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) actor: Option<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks end`.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// Which one: its id, as dfks watchers and dfks why show it
    pub(crate) subscription: String,
    /// What its phone is told
    #[arg(long, value_name = "REASON", default_value = "deactivated")]
    pub(crate) reason: EndWith,
    /// Who asks for it, for the event: at most 128 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) actor: Option<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// The reason in the last NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndWith {
    /// The phone subscribes again at once
    Deactivated,
    /// The phone should not subscribe again
    Rejected,
}

impl From<EndWith> for Dismissal {
    fn from(reason: EndWith) -> Self {
        match reason {
            EndWith::Deactivated => Self::Deactivated,
            EndWith::Rejected => Self::Rejected,
        }
    }
}
