//! The command line of `dfks route`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connection::ConfigArgs;
use super::words::{Press, Switch, feature_name, field, press};
use crate::bus::message::Origin;

/// Which route.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Run the get route
    Get(RouteGetArgs),
    /// Run the set route
    Set(RouteSetArgs),
}

impl RouteCommand {
    /// Whether it prints for programs.
    pub(crate) const fn is_json(&self) -> bool {
        match self {
            Self::Get(RouteGetArgs { run, .. }) | Self::Set(RouteSetArgs { run, .. }) => run.json,
        }
    }
}

/// Of `dfks route get`.
#[derive(Debug, Args)]
pub(crate) struct RouteGetArgs {
    /// Whose features: sip:user@host or tel:number
    pub(crate) presentity: String,
    /// Which features; none: all
    #[arg(value_parser = feature_name)]
    pub(crate) features: Vec<String>,
    /// The script, and what is around it.
    #[command(flatten)]
    pub(crate) run: RunOfRouteArgs,
}

/// Of `dfks route set`.
#[derive(Debug, Args)]
pub(crate) struct RouteSetArgs {
    /// Whose feature: sip:user@host or tel:number
    pub(crate) presentity: String,
    /// Which feature.
    #[arg(help = "Which feature, e.g. DoNotDisturb or DND, in any case", value_parser = feature_name)]
    pub(crate) feature: String,
    /// What it becomes
    pub(crate) status: Switch,
    /// A value of the feature, e.g. ringCount=4; repeat for several
    #[arg(long = "value", value_name = "FIELD=TEXT", value_parser = field)]
    pub(crate) values: Vec<(String, String)>,
    /// Handed to the route as its param, as a command may
    #[arg(long, value_name = "TEXT")]
    pub(crate) param: Option<String>,
    /// Who asks: phone, mi, which is any command, or timer; none: phone where --watcher names one, else mi
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) origin: Option<Origin>,
    /// The user of the phone that asks
    #[arg(long, value_name = "URI")]
    pub(crate) watcher: Option<String>,
    /// The script, and what is around it.
    #[command(flatten)]
    pub(crate) run: RunOfRouteArgs,
}

/// What is around a run of a route.
#[derive(Debug, Args)]
pub(crate) struct RunOfRouteArgs {
    /// The route script; none: that of the configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// When it runs: RFC 3339, or a date and time, or a time of today, in the time zone; none: now
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// What the script sees as data: a TOML, JSON or CSV file; none: that of the configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// IANA name of the script's time zone, e.g. Europe/Berlin; none: that of the configuration, else UTC
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// What is stored before; repeat for several features
    #[arg(long = "old", value_name = "FEATURE=on|off[,FIELD=TEXT]", value_parser = press)]
    pub(crate) old: Vec<Press>,
    /// Where [routes] and [features.NAME] stand
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// One that a set can have.
fn origin(text: &str) -> Result<Origin, String> {
    let origin = serde_json::from_value(text.into()).ok();
    origin.filter(|origin| *origin != Origin::Responder).ok_or_else(|| "expected phone, mi or timer".to_owned())
}
