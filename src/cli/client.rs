//! The commands that ask over NATS: `set`, `get`, `watchers`, `events`.

use std::fmt::Write;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use super::args::{ClientArgs, EventsArgs, GetArgs, SetArgs, Switch, WatchersArgs};
use super::exit::Failure;
use super::output::{print, print_json, printable, state_line};
use crate::bus::client::Bus;
use crate::bus::message::{CommandValues, GetRequest, GetResponse, Kind, SetRequest, SetResponse, Watcher};
use crate::bus::poll::{self, Poll, PollLimits};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::config::{Config, NatsConfig};
use crate::feature::{Status, Values};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs one command on a runtime of its own.
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Refused(format!("no runtime: {error}")))?.block_on(command)
}

/// `dfks set`: publishes `dfks.set`, prints the reply.
pub(crate) async fn set(args: SetArgs) -> Result<(), Failure> {
    let bus = connect(&args.client).await?;
    let request = SetRequest {
        kind: Kind::default(),
        presentity: args.presentity,
        feature: args.feature,
        status: Status(args.status == Switch::On),
        route_param: args.param,
        values: CommandValues::Fields(args.values.into_iter().collect::<Values>()),
    };
    let cause = Cause::new();
    let asked = bus.request(Pattern::Set, bus.subjects().set(), &request, &cause, args.client.timeout());
    let reply: SetResponse = asked.await.map_err(|error| Failure::of_request(&error, "mi bridge"))?;
    if args.client.json {
        return print_json(&reply);
    }
    let told = match (reply.notify, reply.watchers) {
        (false, _) => "no phone is notified: the route suppressed it".to_owned(),
        (true, 1) => "1 phone is notified".to_owned(),
        (true, watchers) => format!("{watchers} phones are notified"),
    };
    print(&format!("{}\n  {}\n  {told}\n", printable(&reply.presentity), state_line(&reply.state)))
}

/// `dfks get`: asks the workers.
pub(crate) async fn get(args: GetArgs) -> Result<(), Failure> {
    let bus = connect(&args.client).await?;
    let features = (!args.features.is_empty()).then_some(args.features);
    let request = GetRequest { kind: Kind::default(), presentity: args.presentity, features, package: None };
    let cause = Cause::new();
    let asked = bus.request(Pattern::Get, bus.subjects().get(), &request, &cause, args.client.timeout());
    let reply: GetResponse = asked.await.map_err(|error| Failure::of_request(&error, "worker"))?;
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
    let bus = connect(&args.client).await?;
    // whoever asks here reads all of it, however long it takes
    let limits = PollLimits { timeout: args.client.timeout(), total: Duration::MAX, watchers: usize::MAX };
    let asked = poll::watchers(&bus, args.presentity, limits).await;
    let Poll { edges, refused, is_cut: _ } = asked.map_err(|error| Failure::NobodyAnswered(format!("NATS: {error}")))?;
    if let Some(error) = refused {
        return Err(Failure::Refused(error.description));
    }
    if edges.is_empty() {
        return Err(Failure::NobodyAnswered("no edge answered".to_owned()));
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

/// `dfks events`: follows the event stream from now on, until Ctrl-C.
pub(crate) async fn events(args: EventsArgs) -> Result<(), Failure> {
    let bus = connect(&args.client).await?;
    let mut events =
        bus.client().subscribe(bus.subjects().all_events()).await.map_err(|error| Failure::NobodyAnswered(error.to_string()))?;
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = &mut stopped => return Ok(()),
        };
        let Some(event) = event else { return Err(Failure::NobodyAnswered("the connection to NATS was closed".to_owned())) };
        match serde_json::from_slice::<Value>(&event.payload) {
            Ok(value) if args.client.json => print_json(&value)?,
            Ok(value) => print(&format!("{}\n", event_line(&event.subject, &value)))?,
            Err(error) => super::output::complain(&format!("dfks: unreadable event on {}: {error}", printable(&event.subject))),
        }
    }
}

/// `2026-11-23T02:48:40.123Z feature sip:alice@h DoNotDisturb off → on by phone: applied`
fn event_line(subject: &str, event: &Value) -> String {
    let text = |key: &str| event.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let shown =
        |key: &str| event.pointer(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default();
    let status = |key: &str| if shown(key) == "1" { "on" } else { "off" };
    let reason = if text("/reason").is_empty() { String::new() } else { format!(" ({})", text("/reason")) };
    let what = match text("/type").rsplit('.').next() {
        Some("subscription") => format!("subscription {} by {} {}{reason}", text("/presentity"), text("/watcher"), text("/what")),
        Some("feature") => format!(
            "feature {} {} {} → {} by {}: {}{reason}",
            text("/presentity"),
            text("/feature"),
            status("/old/status"),
            status("/new/status"),
            text("/origin"),
            text("/outcome")
        ),
        Some("notify") => {
            format!("notify {} {} {} after {} ms", text("/presentity"), text("/outcome"), shown("/status"), shown("/took_ms"))
        }
        _ => format!("{subject} {event}"),
    };
    printable(&format!("{} {what}", text("/time")))
}

/// A connection to the NATS of `--nats`, or nobody answered.
async fn connect(args: &ClientArgs) -> Result<Bus, Failure> {
    let mut config =
        Config { nats: NatsConfig { url: args.nats.clone(), prefix: args.prefix.clone(), ..NatsConfig::default() }, ..Config::default() };
    if let Some(creds) = &args.creds {
        config.nats.credentials_file.clone_from(creds);
    }
    config.nats.check().map_err(|error| Failure::Usage(error.to_string()))?;
    let bus = Bus::connect(&config.nats, "dfks-cli").await.map_err(|error| Failure::Usage(error.to_string()))?;
    let deadline = CONNECT_TIMEOUT.min(args.timeout());
    match tokio::time::timeout(deadline, bus.connected()).await {
        Ok(()) => Ok(bus),
        Err(_) => Err(Failure::NobodyAnswered(format!("no NATS server answered at {}", crate::config::hide_user(&args.nats)))),
    }
}

impl ClientArgs {
    fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (event, want) in [
            (
                json!({"type":"io.dfks.event.v1.feature","time":"T","presentity":"sip:a@h","feature":"DoNotDisturb","old":{"status":0},
                       "new":{"status":1},"origin":"phone","outcome":"applied","reason":null}),
                "T feature sip:a@h DoNotDisturb off → on by phone: applied",
            ),
            (
                json!({"type":"io.dfks.event.v1.subscription","time":"T","presentity":"sip:a@h","watcher":"sip:w@h","what":"terminated","reason":"timeout"}),
                "T subscription sip:a@h by sip:w@h terminated (timeout)",
            ),
            (
                json!({"type":"io.dfks.event.v1.notify","time":"T","presentity":"sip:a@h","outcome":"failed","status":481,"took_ms":3}),
                "T notify sip:a@h failed 481 after 3 ms",
            ),
            (json!({"time":"T","x":"\u{7}"}), "T dfks.event.raw.h {\"time\":\"T\",\"x\":\"\\u0007\"}"),
        ] {
            assert_eq!(event_line("dfks.event.raw.h", &event), want);
        }
    }

    #[test]
    fn the_watchers_deadline_is_that_of_the_command_line() {
        use clap::Parser;
        let cli = super::super::args::Cli::try_parse_from(["dfks", "watchers", "--timeout", "7"]).unwrap();
        let super::super::args::Command::Watchers(args) = cli.command else { panic!("watchers") };
        assert_eq!(args.client.timeout(), Duration::from_secs(7));
    }
}
