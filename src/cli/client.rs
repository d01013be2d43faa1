//! The commands that ask over NATS: `get`, `watchers`.

use std::fmt::Write;
use std::time::Duration;

use super::args::{GetArgs, WatchersArgs};
use super::exit::Failure;
use super::output::{print, print_json, printable, state_line};
use super::reach::{Nats, Whom};
use crate::bus::message::{GetRequest, GetResponse, Kind, Watcher};
use crate::bus::poll::{self, Poll, PollLimits};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::feature::Presentity;

/// Runs one command on a runtime of its own.
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Refused(format!("no runtime: {error}")))?.block_on(command)
}

/// `dfks get`: asks the workers.
pub(crate) async fn get(args: GetArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let features = (!args.features.is_empty()).then_some(args.features);
    let request =
        GetRequest { kind: Kind::default(), presentity: args.presentity, features, package: None, subscription: None, strict: false };
    let subjects = nats.bus().subjects();
    let of_domain = Presentity::parse(&request.presentity).ok().map(|of| (Pattern::GetDomain, subjects.get_of(&of)));
    let reply: GetResponse =
        nats.ask_or_as_tenant(Whom::Worker, (Pattern::Get, subjects.get()), of_domain, &request, &Cause::new()).await?;
    if args.client.json {
        return print_json(&reply);
    }
    let mut text = format!("{}\n", printable(&reply.presentity));
    for state in &reply.features {
        let _infallible = writeln!(text, "  {}", state_line(state));
    }
    print(&text)
}

/// `dfks watchers`: asks every edge for its live subscriptions.
pub(crate) async fn watchers(args: WatchersArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    // whoever asks here reads all of it, however long it takes
    let limits = PollLimits { timeout: args.client.timeout(), total: Duration::MAX, watchers: usize::MAX };
    let subject = nats.bus().subjects().watchers();
    let asked = nats.permitted(&subject, Whom::Edge, poll::watchers(nats.bus(), args.presentity, limits)).await?;
    let Poll { edges, refused, is_cut: _ } = asked.map_err(|error| nats.failure(&error, &subject, Whom::Edge))?;
    if let Some(error) = refused {
        return Err(Failure::Answered(error));
    }
    if edges.is_empty() {
        return Err(nats.nobody(&subject, Whom::Edge));
    }
    if args.client.json {
        return edges.values().flatten().try_for_each(print_json);
    }
    let mut text = String::new();
    for (edge_id, watchers) in &edges {
        let _infallible =
            writeln!(text, "{}: {} watcher{}", printable(edge_id), watchers.len(), if watchers.len() == 1 { "" } else { "s" });
        for watcher in watchers {
            let _infallible = writeln!(text, "  {}", watcher_line(watcher));
        }
    }
    print(&text)
}

fn watcher_line(watcher: &Watcher) -> String {
    let agent = if watcher.user_agent.is_empty() { String::new() } else { format!(" ({})", watcher.user_agent) };
    let line =
        format!("{} watched by {} over {}, until {}{agent}", watcher.presentity, watcher.watcher, watcher.transport, watcher.expires_at);
    printable(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchers_deadline_is_that_of_the_command_line() {
        use clap::Parser;
        let cli = super::super::args::Cli::try_parse_from(["dfks", "watchers", "--timeout", "7"]).unwrap();
        let super::super::args::Command::Watchers(args) = cli.command else { panic!("watchers") };
        assert_eq!(args.client.timeout(), Duration::from_secs(7));
    }
}
