//! `dfks status`: the whole of it on one screen, and what is wrong.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime};

use super::exit::Failure;
use super::fleet_args::StatusArgs;
use super::output::{print, print_json, printable};
use super::paint::{Paint, Style};
use super::reach::{Nats, Whom};
use super::span;
use crate::bus::fleet::{EdgeStatus, Fleet, StreamStatus};
use crate::bus::message::StatusResponse;
use crate::runtime::clock;

/// Interval of `--watch`.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Most edges and processes that are listed for people: the others are counted.
const MOST_LINES: usize = 40;

/// `dfks status [--watch]`
pub(crate) async fn status(args: StatusArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let paint = Paint::of_stdout();
    if !args.watch {
        let fleet = look(&nats, &args).await?;
        if args.client.json {
            print_json(&fleet)?;
        } else {
            print(&screen(&fleet, paint, clock::utc_now()))?;
        }
        return verdict(&nats, &fleet);
    }
    let is_screen = io::stdout().is_terminal() && !args.client.json;
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    loop {
        let fleet = tokio::select! {
            fleet = look(&nats, &args) => fleet?,
            _ = &mut stopped => return Ok(()),
        };
        if args.client.json {
            print_json(&fleet)?;
        } else {
            // the screen is cleared from the top: no flicker, and the text before it stays in the scrollback
            let clear = if is_screen { "\x1b[H\x1b[2J" } else { "" };
            print(&format!("{clear}{}\n", screen(&fleet, paint, clock::utc_now())))?;
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN_AFTER) => {}
            _ = &mut stopped => return Ok(()),
        }
    }
}

async fn look(nats: &Nats, args: &StatusArgs) -> Result<Fleet, Failure> {
    let subject = nats.bus().subjects().status();
    let looked = nats.permitted(&subject, Whom::Process, nats.bus().fleet(args.client.timeout().min(Duration::from_secs(2)))).await?;
    looked.map_err(|error| nats.failure(&error, &subject, Whom::Process))
}

fn verdict(nats: &Nats, fleet: &Fleet) -> Result<(), Failure> {
    if fleet.processes.is_empty() {
        return Err(nats.nobody(&nats.bus().subjects().status(), Whom::Process));
    }
    if fleet.fine {
        return Ok(());
    }
    let texts: Vec<_> = fleet.wrong.iter().map(|wrong| wrong.text.as_str()).collect();
    Err(Failure::Refused(texts.join("; ")))
}

fn screen(fleet: &Fleet, paint: Paint, now: SystemTime) -> String {
    let mut text = String::new();
    let head = |text: &mut String, title: &str| {
        let _infallible = writeln!(text, "{}", paint.text(Style::Name, title));
    };
    if fleet.fine {
        let _infallible = writeln!(text, "{}  {}", paint.text(Style::Good, "all is fine"), paint.text(Style::Dim, &fleet.at));
    } else {
        let _infallible = writeln!(text, "{}  {}", paint.text(Style::Bad, "something is wrong"), paint.text(Style::Dim, &fleet.at));
    }
    for wrong in &fleet.wrong {
        let _infallible = writeln!(text, "  {}", paint.text(Style::Bad, &printable(&wrong.text)));
    }
    head(&mut text, "processes");
    for process in fleet.processes.iter().take(MOST_LINES) {
        let _infallible = writeln!(text, "  {}", printable(&process_line(process, now)));
    }
    more(&mut text, fleet.processes.len());
    head(&mut text, "edges");
    for edge in fleet.edges.iter().take(MOST_LINES) {
        let line = printable(&edge_line(edge));
        let _infallible = writeln!(text, "  {}", if edge.silent { paint.text(Style::Bad, &line) } else { line });
    }
    more(&mut text, fleet.edges.len());
    head(&mut text, "streams");
    for stream in &fleet.streams {
        let _infallible = writeln!(text, "  {}", printable(&stream_line(stream)));
    }
    if !fleet.breakers.is_empty() {
        head(&mut text, "breakers");
        for breaker in &fleet.breakers {
            let error = breaker.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            let line = format!("{:9}  {} of {} ({}){error}", breaker.breaker, breaker.feature, breaker.domain, breaker.kind);
            let style = if breaker.breaker == "open" { Style::Bad } else { Style::Bold };
            let _infallible = writeln!(text, "  {}", paint.text(style, &printable(&line)));
        }
    }
    text
}

fn more(text: &mut String, count: usize) {
    if let Some(left) = count.checked_sub(MOST_LINES).filter(|left| *left > 0) {
        let _infallible = writeln!(text, "  and {left} more: see --json");
    }
}

/// `edge, worker, mi  on sip-1 (4711), 0.1.0, configuration 9f86d081884c, up 5 h, logs at info`
fn process_line(process: &StatusResponse, now: SystemTime) -> String {
    let StatusResponse { roles, host, pid, version, config, started_at, log_level, log_until, .. } = process;
    let up = clock::parse_rfc3339(started_at).and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    let until = log_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    let (roles, up) = (roles.join(", "), span::shown(up));
    format!("{roles:16}  on {host} ({pid}), {version}, configuration {config}, up {up}, logs at {log_level}{until}")
}

fn edge_line(edge: &EdgeStatus) -> String {
    let held = match edge.subscriptions {
        None => "subscriptions not known".to_owned(),
        Some(1) => "1 subscription".to_owned(),
        Some(count) => format!("{count} subscriptions"),
    };
    let silent = if edge.silent { ", silent" } else { "" };
    format!("{:16}  {held}{silent}", edge.edge_id)
}

/// `commands          0 messages, 0 B of 256 MiB (0 %)`
fn stream_line(stream: &StreamStatus) -> String {
    let name = stream.stream;
    if let Some(error) = &stream.error {
        return format!("{name:16}  {error}");
    }
    let limit = match stream.full_percent {
        Some(percent) => format!(" of {} ({percent} %)", bytes(stream.limit_bytes)),
        None => String::new(),
    };
    let plural = if stream.messages == 1 { "" } else { "s" };
    let oldest = if stream.messages == 0 {
        String::new()
    } else {
        format!(", the oldest {}", span::shown(Duration::from_secs(stream.oldest_seconds)))
    };
    format!("{name:16}  {} message{plural}, {}{limit}{oldest}", stream.messages, bytes(stream.bytes))
}

fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.into_iter().find(|(_, shift)| count >> shift > 0);
    unit.map_or_else(|| format!("{count} B"), |(unit, shift)| format!("{} {unit}", count >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::fleet::{BreakerStatus, Wrong};

    #[test]
    fn the_whole_of_it_is_one_screen() {
        let process: StatusResponse = serde_json::from_value(serde_json::json!({
            "process": "p", "host": "sip-1", "pid": 4711, "roles": ["edge", "mi"], "version": "0.1.0", "config": "9f86d081884c",
            "started_at": "2026-11-28T09:00:00.000Z", "log_level": "info",
        }))
        .unwrap();
        let edge = |edge_id: &str, subscriptions, silent| EdgeStatus { edge_id: edge_id.to_owned(), subscriptions, silent };
        let stream = StreamStatus {
            stream: "dead",
            messages: 2,
            bytes: 3000,
            limit_bytes: 256 << 20,
            full_percent: Some(0),
            oldest_seconds: 600,
            error: None,
        };
        let breaker = BreakerStatus {
            subject: "s".to_owned(),
            kind: "set".to_owned(),
            domain: "example_com".to_owned(),
            feature: "DoNotDisturb".to_owned(),
            breaker: "open".to_owned(),
            last_error: Some("late".to_owned()),
        };
        let fleet = Fleet {
            at: "T".to_owned(),
            fine: false,
            wrong: vec![Wrong { what: "no_worker", text: "no worker answers".to_owned() }],
            processes: vec![process],
            edges: vec![edge("edge-0", Some(1200), false), edge("edge-1", Some(1), true), edge("edge-2", None, false)],
            streams: vec![stream],
            breakers: vec![breaker],
        };
        let now = clock::parse_rfc3339("2026-11-28T14:00:00.000Z").unwrap();
        let want = "\
something is wrong  T
  no worker answers
processes
  edge, mi          on sip-1 (4711), 0.1.0, configuration 9f86d081884c, up 5 h, logs at info
edges
  edge-0            1200 subscriptions
  edge-1            1 subscription, silent
  edge-2            subscriptions not known
streams
  dead              2 messages, 2 KiB of 256 MiB (0 %), the oldest 10 min
breakers
  open       DoNotDisturb of example_com (set): late
";
        assert_eq!(screen(&fleet, Paint::new(false), now), want);
    }
}
