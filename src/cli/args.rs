//! The command line, with the help that people read.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use super::connection::{ClientArgs, ConfigArgs};
use super::dead_args::DeadArgs;
pub(crate) use super::events_args::{EventKind, EventsArgs};
use super::fleet_args::{LogArgs, SnapshotArgs, StatusArgs};
use super::hand_args::{EndArgs, ResyncArgs};
use super::help::{
    AFTER, CHECK, COMPLETIONS, DEAD, END, EVENTS, EXPORT, GET, IMPORT, LIST, LOG, MAN, PHONE, RESPONDERS, RESYNC, ROUTE, RUN, SCHEMAS, SET,
    SIP, SNAPSHOT, STATUS, TRACE, WATCHERS, WHY,
};
use super::responders_args::RespondersArgs;
use super::route_args::RouteCommand;
use super::sip::SipArgs;
use super::span::span;
use super::trace_args::TraceArgs;
pub(crate) use super::words::{Press, Switch};
use super::words::{feature_name, field, press, seconds};

/// Keeps the feature keys of SIP phones in step with the services that own them, over NATS.
#[derive(Debug, Parser)]
#[command(name = "dfks", version, max_term_width = 120, after_help = AFTER)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the roles named, all three when none is
    #[command(after_help = RUN)]
    Run(RunArgs),
    /// Check the configuration and print the effective one
    #[command(after_help = CHECK)]
    Check(ConfigArgs),
    /// Set a feature of a presentity, and have its phones notified
    #[command(after_help = SET)]
    Set(SetArgs),
    /// Show the features of a presentity
    #[command(after_help = GET)]
    Get(GetArgs),
    /// List who has what set
    #[command(after_help = LIST)]
    List(ListArgs),
    /// Write all stored states, one presentity a line
    #[command(after_help = EXPORT)]
    Export(ExportArgs),
    /// Store the states of an export again, and have the phones told
    #[command(after_help = IMPORT)]
    Import(ImportArgs),
    /// List live subscriptions
    #[command(after_help = WATCHERS)]
    Watchers(WatchersArgs),
    /// Say why a lamp is as it is: what is told to whom, and where it stops
    #[command(after_help = WHY)]
    Why(GetArgs),
    /// Show one change's whole way: who asked, who answered, how long each step took, where it stopped
    #[command(after_help = TRACE)]
    Trace(TraceArgs),
    /// Show what runs, and what is wrong: roles, versions, edges, queues, streams, breakers
    #[command(after_help = STATUS)]
    Status(StatusArgs),
    /// Write what a maintainer needs to one file: status, configurations, metrics, events, dead letters; no secrets, no names
    #[command(after_help = SNAPSHOT)]
    Snapshot(SnapshotArgs),
    /// Log at another level for a while, in all processes or those of a role; none: show the levels
    #[command(after_help = LOG)]
    Log(LogArgs),
    /// Have phones told the full state again
    #[command(after_help = RESYNC)]
    Resync(ResyncArgs),
    /// End a subscription, with a NOTIFY that says why
    #[command(after_help = END)]
    End(EndArgs),
    /// List what was given up on, show it, publish it again, take it away
    #[command(after_help = DEAD)]
    Dead(DeadArgs),
    /// Show the last SIP messages of a subscription
    #[command(after_help = SIP)]
    Sip(SipArgs),
    /// List who answers for what, and how it is with them; forget one that is gone, test one
    #[command(after_help = RESPONDERS, args_conflicts_with_subcommands = true)]
    Responders(RespondersArgs),
    /// Run a route dry, with no bus, and show what it does
    #[command(after_help = ROUTE)]
    Route {
        /// Which one
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Follow the event stream until Ctrl-C
    #[command(after_help = EVENTS)]
    Events(EventsArgs),
    /// A simulated phone: subscribes, prints each NOTIFY, presses keys
    #[command(after_help = PHONE)]
    Phone(PhoneArgs),
    /// Write the JSON Schemas, the AsyncAPI and the OpenAPI document that the code generates
    #[command(after_help = SCHEMAS)]
    Schemas(SchemasArgs),
    /// Write the completions of a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages: dfks(1), and one for each command
    #[command(after_help = MAN)]
    Man(ManArgs),
    /// Run a program that ends when stdin does: `dfks run` has its nats-server run so
    #[command(hide = true)]
    Guard(GuardArgs),
}

impl Command {
    /// Whether it prints for programs.
    pub(crate) const fn is_json(&self) -> bool {
        match self {
            Self::Set(SetArgs { client, .. })
            | Self::Get(GetArgs { client, .. })
            | Self::Why(GetArgs { client, .. })
            | Self::Trace(TraceArgs { client, .. })
            | Self::List(ListArgs { client, .. })
            | Self::Import(ImportArgs { client, .. })
            | Self::Watchers(WatchersArgs { client, .. })
            | Self::Resync(ResyncArgs { client, .. })
            | Self::End(EndArgs { client, .. })
            | Self::Status(StatusArgs { client, .. })
            | Self::Log(LogArgs { client, .. })
            | Self::Sip(SipArgs { client, .. })
            | Self::Events(EventsArgs { client, .. }) => client.json,
            Self::Dead(dead) => dead.client().json,
            Self::Responders(responders) => responders.client().json,
            Self::Route { command } => command.is_json(),
            Self::Phone(phone) => phone.json,
            _ => false,
        }
    }
}

/// Of `dfks run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Role to run; repeat for several
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<Role>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// Speaks SIP with the phones
    Edge,
    /// Runs the routes
    Worker,
    /// Takes commands
    Mi,
}

impl Role {
    /// The word on the command line and in the metric label `role`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Worker => "worker",
            Self::Mi => "mi",
        }
    }
}

/// Of `dfks set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Whose feature: sip:user@host or tel:number
    #[arg(required_unless_present = "file")]
    pub(crate) presentity: Option<String>,
    /// Which feature.
    #[arg(help = "Which feature, e.g. DoNotDisturb or DND, in any case", value_parser = feature_name, required_unless_present = "file")]
    pub(crate) feature: Option<String>,
    /// What it becomes
    #[arg(required_unless_present = "file")]
    pub(crate) status: Option<Switch>,
    /// A value of the feature, e.g. ringCount=4; repeat for several
    #[arg(long = "value", value_name = "FIELD=TEXT", value_parser = field, conflicts_with = "file")]
    pub(crate) values: Vec<(String, String)>,
    /// Handed to the set route as its param
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub(crate) param: Option<String>,
    /// Who asks for it, for the event: at most 128 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) actor: Option<String>,
    /// Switch it on for so long, e.g. 2h, 90m or 7d: it goes off by itself then
    #[arg(long = "for", value_name = "TIME", value_parser = span, conflicts_with_all = ["file", "until"])]
    pub(crate) lasts: Option<Duration>,
    /// Switch it on until then, e.g. 17:00 (here, the next one) or 2026-12-24T17:00:00+01:00: it goes off by itself
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    pub(crate) until: Option<String>,
    /// Have it carried out even if no mi bridge is up now: its acknowledgement is printed, not what became of it
    #[arg(long)]
    pub(crate) durable: bool,
    /// Nats-Msg-Id of a durable command, which makes it once; of a file, the line's number is added. None: one that is made up
    #[arg(long, value_name = "ID", requires = "durable")]
    pub(crate) id: Option<String>,
    /// Commands of a file, one JSON object a line, `-` for stdin, in place of one on the command line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["presentity", "feature", "status"])]
    pub(crate) file: Option<PathBuf>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Whose features: sip:user@host or tel:number
    pub(crate) presentity: String,
    /// Which features; none: all
    #[arg(value_parser = feature_name)]
    pub(crate) features: Vec<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks watchers`.
#[derive(Debug, Args)]
pub(crate) struct WatchersArgs {
    /// Whose watchers; none: everyone's
    pub(crate) presentity: Option<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this feature; repeat for several
    #[arg(long = "feature", value_name = "FEATURE", value_parser = feature_name)]
    pub(crate) features: Vec<String>,
    /// Only what is switched on
    #[arg(long)]
    pub(crate) on: bool,
    /// Only presentities of this domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only presentities of this domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// How to reach NATS.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What `dfks export` wrote; `-` for stdin
    pub(crate) file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Of `dfks phone`.
#[derive(Debug, Args)]
pub(crate) struct PhoneArgs {
    /// Whose features: sip:user@host or tel:number
    pub(crate) presentity: String,
    /// The edge, or a proxy before it
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// How SIP travels
    #[arg(long, value_name = "TRANSPORT", default_value = "udp")]
    pub(crate) transport: PhoneTransport,
    /// The phone's user, where the edge asks for a password
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// File with its password
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// Authorities that sign the edge's certificate, PEM; none: those of this system
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A key to press; repeat for several, pressed in order, each once the one before is confirmed
    #[arg(long = "press", value_name = "FEATURE=on|off[,FIELD=TEXT]", value_parser = press)]
    pub(crate) presses: Vec<Press>,
    /// How long to stay, in seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) stay: Option<f64>,
    /// The phone's user; none: the presentity
    #[arg(long, value_name = "URI")]
    pub(crate) watcher: Option<String>,
    /// Where calls go when a forward is switched on at the keyboard; none: asked for when needed
    #[arg(long, value_name = "TARGET")]
    pub(crate) forward_to: Option<String>,
    /// The event package to subscribe to: as-feature-event or x-broadworks-hoteling
    #[arg(long, value_name = "PACKAGE", default_value = "as-feature-event")]
    pub(crate) package: String,
    /// Where [features.NAME] adds keys that are not built in
    #[command(flatten)]
    pub(crate) features: ConfigArgs,
    /// Lifetime to ask for, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600")]
    pub(crate) expires: u32,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the simulated phone speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PhoneTransport {
    /// UDP, with retransmissions
    Udp,
    /// TCP
    Tcp,
    /// TLS
    Tls,
    /// WebSocket
    Ws,
    /// WebSocket over TLS
    Wss,
}

/// Of `dfks schemas`.
#[derive(Debug, Args)]
pub(crate) struct SchemasArgs {
    /// Folder to write to; none: stdout
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Of `dfks man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of this command, e.g. set, or dead list; none: dfks(1)
    #[arg(conflicts_with = "out")]
    pub(crate) command: Vec<String>,
    /// Folder to write all pages to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Of `dfks guard`.
#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    /// The program
    pub(crate) program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

#[cfg(test)]
#[path = "tests/args.rs"]
mod tests;
