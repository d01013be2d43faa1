//! The command line of `dfks events`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::connection::ClientArgs;
use super::span::span;
use super::words::feature_name;

/// What an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventKind {
    /// Subscriptions that come and go
    Subscription,
    /// Changes of features
    Feature,
    /// Outcomes of NOTIFYs
    Notify,
    /// Documents that no feature is known for
    Raw,
    /// Requests and commands that were refused
    Refused,
    /// What was done by hand: dead letters, log levels
    Hand,
}

/// Of `dfks events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only events of this presentity, in any spelling
    #[arg(long, value_name = "PRESENTITY")]
    pub(crate) presentity: Option<String>,
    /// Only events of this domain, as a tenant hears them
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// Only events of this feature; repeat for several
    #[arg(long = "feature", value_name = "FEATURE", value_parser = feature_name)]
    pub(crate) features: Vec<String>,
    /// Only events of this kind; repeat for several
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<EventKind>,
    /// What was since then, e.g. 2h, as far back as events are kept; then what comes
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) since: Option<Duration>,
    /// The last so many of these events; then what comes
    #[arg(long, value_name = "COUNT", conflicts_with = "since", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) last: Option<u16>,
    /// Leave after so many events were shown
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
