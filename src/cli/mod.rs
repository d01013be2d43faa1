//! The `dfks` command: reads the command line, carries it out, and ends with one of the exit codes that `dfks --help` lists.

pub(crate) mod args;
mod client;
mod connection;
mod context;
mod dead;
mod dead_args;
mod event_filter;
mod event_source;
mod events;
mod events_args;
pub(crate) mod exit;
mod fleet_args;
mod hand;
mod hand_args;
mod help;
mod import;
mod lines;
mod load;
mod log;
mod man;
mod output;
mod paint;
mod pcap;
pub(crate) mod phone;
mod reach;
mod responders;
mod responders_args;
pub(crate) mod role;
mod route;
mod route_args;
mod run;
mod schemas;
mod set;
mod sip;
mod snapshot;
mod span;
mod status;
mod stored;
mod suggest;
mod target;
mod trace;
mod trace_args;
mod until;
mod usage;
mod why;
mod words;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::{Cli, Command, ConfigArgs};
use exit::Failure;
use load::{load, warnings};

use crate::bus::embedded::guard;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            let error = usage::as_typed(error, std::env::args_os());
            // help and version are errors for clap; nobody is left to tell when stdout is closed
            let _nobody_left = error.print();
            let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_answer { ExitCode::SUCCESS } else { Failure::Usage(String::new()).exit_code() };
        }
    };
    if let Command::Guard(args) = &command {
        return guard::run(&args.program, &args.arguments).map_or_else(
            |error| {
                output::complain(&format!("{}: {error}", args.program.display()));
                ExitCode::FAILURE
            },
            ExitCode::from,
        );
    }
    let is_json = command.is_json();
    match carry_out(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::NobodyReads) => failure.exit_code(),
        Err(failure) if is_json => {
            output::complain(&failure.to_json().to_string());
            failure.exit_code()
        }
        Err(failure) => {
            output::complain(&format!("dfks: {}", output::printable(&failure.to_string())));
            failure.exit_code()
        }
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check(&args),
        Command::Set(args) => client::block_on(set::set(args)),
        Command::Get(args) => client::block_on(client::get(args)),
        Command::List(args) => client::block_on(stored::list(args)),
        Command::Export(args) => client::block_on(stored::export(args)),
        Command::Import(args) => client::block_on(import::import(args)),
        Command::Watchers(args) => client::block_on(client::watchers(args)),
        Command::Why(args) => client::block_on(why::why(args)),
        Command::Trace(args) => client::block_on(trace::run(args)),
        Command::Resync(args) => client::block_on(hand::resync(args)),
        Command::Sip(args) => client::block_on(sip::sip(args)),
        Command::End(args) => client::block_on(hand::end(args)),
        Command::Status(args) => client::block_on(status::status(args)),
        Command::Snapshot(args) => client::block_on(snapshot::snapshot(args)),
        Command::Log(args) => client::block_on(log::log(args)),
        Command::Dead(args) => client::block_on(dead::dead(args)),
        Command::Responders(args) => client::block_on(responders::responders(args)),
        Command::Events(args) => client::block_on(events::follow(args)),
        Command::Route { command } => route::route(command),
        Command::Phone(args) => client::block_on(phone::run(args)),
        Command::Schemas(args) => schemas::write(args.out.as_deref()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "dfks", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
        // its exit code is its program's: see `main`
        Command::Guard(_) => Ok(()),
        Command::Man(args) => man::write(&args),
    }
}

/// `dfks check`: the effective configuration on stdout, what was hardly meant on stderr.
fn check(args: &ConfigArgs) -> Result<(), Failure> {
    let config = load(args)?;
    for warning in warnings(&config)? {
        output::complain(&format!("dfks: warning: {}", output::printable(&warning)));
    }
    output::print(&config.to_toml())
}
