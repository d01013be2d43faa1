//! `dfks snapshot`: what a maintainer needs, in one JSON file that a person can read before it is given away.

mod scrub;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use async_nats::Message;
use serde_json::{Map, Value, json};

use super::args::ClientArgs;
use super::exit::Failure;
use super::fleet_args::SnapshotArgs;
use super::output::{complain, print};
use super::reach::{Nats, Whom};
use crate::bus::dead::DeadFilter;
use crate::bus::poll::{self, PollLimits};
use crate::bus::reading::Reach;
use crate::runtime::clock;
use scrub::Scrubber;

/// Most events that are in it.
const EVENTS: usize = 500;
/// Most events that are looked at for them.
const EVENTS_LOOKED_AT: u64 = 10_000;
/// Most dead letters that are in it.
const LETTERS: usize = 100;

/// `dfks snapshot [--out FILE]`
pub(crate) async fn snapshot(args: SnapshotArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let taken = nats.permitted(&nats.bus().subjects().status(), Whom::Process, take(&nats, &args.client)).await?;
    let mut text = serde_json::to_string_pretty(&taken).map_err(|error| Failure::Refused(error.to_string()))?;
    text.push('\n');
    match &args.out {
        None => print(&text),
        Some(path) => {
            write(path, &text).map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))?;
            complain(&format!("dfks: {}: {} bytes; read it before you give it away", path.display(), text.len()));
            Ok(())
        }
    }
}

/// For its owner alone, and never over a file that is there.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

/// Each part that cannot be had says why: a snapshot is taken when something is wrong.
async fn take(nats: &Nats, client: &ClientArgs) -> Value {
    let bus = nats.bus();
    let scrubber = Scrubber::new(rand::random());
    let timeout = client.timeout().min(Duration::from_secs(3));
    // errors here are ours, and name streams
    let part = |taken: Result<Value, String>| taken.unwrap_or_else(|error| json!({ "error": error }));
    let mut snapshot = Map::new();
    let mut put = |name: &str, value: Value| drop(snapshot.insert(name.to_owned(), value));

    put("taken_at", clock::rfc3339(bus.utc_now()).into());
    put("dfks", env!("CARGO_PKG_VERSION").into());
    let server = bus.client().server_info();
    put("nats", json!({ "version": server.version, "max_payload": server.max_payload }));

    let fleet = bus.fleet(timeout).await.map_err(|error| error.to_string());
    put("status", part(fleet.and_then(|fleet| scrubbed(&scrubber, &fleet))));

    let limits = PollLimits { timeout, total: timeout * 3, watchers: 0 };
    let processes = poll::processes_in_detail(bus, limits).await.map_err(|error| error.to_string());
    let detail = |process: crate::bus::message::StatusResponse| {
        json!({
            "process": process.process, "host": process.host, "pid": process.pid, "roles": process.roles,
            "config": process.settings.as_deref().map(Scrubber::settings), "metrics": process.metrics,
        })
    };
    put("processes", part(processes.map(|processes| processes.into_iter().map(detail).collect())));

    let responders = poll::responders(bus, limits).await.map_err(|error| error.to_string());
    let responders = responders.and_then(|workers| scrubbed(&scrubber, &workers.into_values().collect::<Vec<_>>()));
    put("responders", part(responders));

    let stream = bus.subjects().stream("EVENTS");
    let reach = Reach { most: EVENTS, looked_at: EVENTS_LOOKED_AT, timeout };
    let read = |message: &Message, _| Some(serde_json::from_slice::<Value>(&message.payload).unwrap_or_default());
    let events = bus.read_last(&stream, &[], reach, read).await.map_err(|error| error.to_string());
    put("events", part(events.and_then(|last| scrubbed(&scrubber, &last.kept))));

    let letters = bus.dead_letters(&DeadFilter::default(), LETTERS).await.map_err(|error| error.to_string());
    put("dead", part(letters.and_then(|list| scrubbed(&scrubber, &list.letters))));
    Value::Object(snapshot)
}

fn scrubbed(scrubber: &Scrubber, part: &impl serde::Serialize) -> Result<Value, String> {
    let mut value = serde_json::to_value(part).map_err(|error| error.to_string())?;
    scrubber.value(&mut value);
    Ok(value)
}
