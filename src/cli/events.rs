//! `dfks events`: follows the event stream until Ctrl-C, from now on, or from a time or one of the last events on.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use super::args::{EventKind, EventsArgs};
use super::event_filter::{Filter, kind_of};
use super::event_source::{open, require};
use super::exit::Failure;
use super::output::{complain, print, print_json, printable};
use super::paint::{Paint, Style};
use super::reach::Nats;

/// Follows events until Ctrl-C, or until `--count` of them were shown.
pub(super) async fn follow(args: EventsArgs) -> Result<(), Failure> {
    let filter = Filter::new(&args)?;
    let nats = Nats::connect(&args.client).await?;
    require(&nats, &filter, &args).await?;
    let paint = Paint::of_stdout();
    let (mut shown, mut left) = (0_u64, args.count);
    let (patience, stopped) = (args.client.timeout_given(), tokio::signal::ctrl_c());
    tokio::pin!(stopped);
    let mut events = tokio::select! {
        opened = open(&nats, &filter, &args) => opened?,
        text = nats.bus().denied(None) => return Err(nats.not_permitted(&text)),
        _ = &mut stopped => return Ok(()),
    };
    let mut shown_at = tokio::time::Instant::now();
    while left != Some(0) {
        let silent = async {
            match patience {
                Some(patience) => tokio::time::sleep_until(shown_at + patience).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = events.next() => event,
            text = nats.bus().denied(None) => return Err(nats.not_permitted(&text)),
            () = silent => return silence(shown, args.count, patience.unwrap_or_default()),
            _ = &mut stopped => return Ok(()),
        };
        let Some((subject, payload)) = event.transpose()? else {
            return Err(Failure::NobodyAnswered("the connection to NATS was closed".to_owned()));
        };
        match serde_json::from_slice::<Value>(&payload) {
            Ok(value) if !filter.takes(&value) => continue,
            Ok(value) if args.client.json => print_json(&value)?,
            Ok(value) => print(&format!("{}\n", event_line(&subject, &value, paint)))?,
            Err(error) => complain(&format!("dfks: unreadable event on {}: {error}", printable(&subject))),
        }
        (shown, shown_at) = (shown + 1, tokio::time::Instant::now());
        left = left.map(|left| left.saturating_sub(1));
    }
    Ok(())
}

/// No event was shown for as long as `--timeout` says.
fn silence(shown: u64, wanted: Option<u64>, patience: Duration) -> Result<(), Failure> {
    match wanted {
        Some(wanted) => Err(Failure::NobodyAnswered(format!("{shown} of {wanted} events came, and no more within {patience:?}"))),
        None if shown == 0 => Err(Failure::NobodyAnswered(format!("no event came within {patience:?}"))),
        None => Ok(()),
    }
}

/// `2026-11-23T02:48:40.123Z feature sip:alice@h DoNotDisturb off → on by phone: applied`
fn event_line(subject: &str, event: &Value, paint: Paint) -> String {
    let text = |key: &str| printable(event.pointer(key).and_then(Value::as_str).unwrap_or_default());
    let shown = |key: &str| match event.pointer(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    };
    let say = |style: Style, key: &str| paint.text(style, &text(key));
    let status = |key: &str| if shown(key) == "1" { paint.text(Style::Good, "on") } else { paint.text(Style::Dim, "off") };
    let outcome = |key: &str| match text(key).as_str() {
        word @ ("applied" | "delivered" | "active") => paint.text(Style::Good, word),
        word @ ("refused" | "failed" | "expired") => paint.text(Style::Bad, word),
        word => word.to_owned(),
    };
    let reason = if text("/reason").is_empty() { String::new() } else { format!(" ({})", text("/reason")) };
    let said =
        |before: &str, key: &str| Some(text(key)).filter(|text| !text.is_empty()).map(|text| format!("{before}{text}")).unwrap_or_default();
    let edge = || said(" at ", "/edge_id");
    let kind = |word: &str| paint.text(Style::Name, word);
    let presentity = || say(Style::Bold, "/presentity");
    let what = match kind_of(event) {
        Some(EventKind::Subscription) => {
            let (watcher, what) = (text("/watcher"), outcome("/what"));
            format!("{} {} by {watcher} {what}{reason}{}{}", kind("subscription"), presentity(), said(" for ", "/actor"), edge())
        }
        Some(EventKind::Feature) => format!(
            "{} {} {} {} → {}{} by {}{}{}: {}{reason}",
            kind("feature"),
            presentity(),
            say(Style::Bold, "/feature"),
            status("/old/status"),
            status("/new/status"),
            values(event.pointer("/new/values")),
            text("/origin"),
            said(" ", "/actor"),
            asked(event),
            outcome("/outcome")
        ),
        Some(EventKind::Notify) => {
            let code = if shown("/status").is_empty() { String::new() } else { format!(" {}", shown("/status")) };
            let features = event.get("features").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let features = features.fold(String::new(), |all, feature| format!("{all} {}", printable(feature)));
            let (outcome, took) = (outcome("/outcome"), shown("/took_ms"));
            format!("{} {}{features} {outcome}{code} after {took} ms{}", kind("notify"), presentity(), edge())
        }
        Some(EventKind::Hand) => by_hand(event, paint),
        Some(EventKind::Refused) => refused(event, paint),
        _ => printable(&format!("{subject} {event}")),
    };
    let cause = text("/cause");
    let cause = if cause.is_empty() { cause } else { paint.text(Style::Dim, &format!("  cause {cause}")) };
    format!("{} {what}{cause}", say(Style::Dim, "/time"))
}

/// `refused sip:alice@h 403 forbidden (not for you) SUBSCRIBE by sip:eve@h from 192.0.2.7:5060 ×12`
fn refused(event: &Value, paint: Paint) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).map(printable);
    let code = event.get("status").map(ToString::to_string).unwrap_or_default();
    let reason = paint.text(Style::Bad, &format!("{code} {}", text("reason").unwrap_or_default()));
    let presentity = text("presentity").unwrap_or_else(|| "unknown".to_owned());
    let mut line = format!("{} {} {reason}", paint.text(Style::Name, "refused"), paint.text(Style::Bold, &presentity));
    line.extend(text("detail").map(|detail| format!(" ({detail})")));
    line.push_str(&text("method").map_or_else(|| " command".to_owned(), |method| format!(" {method}")));
    line.extend(text("watcher").or_else(|| text("actor")).map(|who| format!(" by {who}")));
    line.extend(text("source").map(|source| format!(" from {source}")));
    line.extend(text("edge_id").map(|edge_id| format!(" at {edge_id}")));
    line.extend(event.get("count").and_then(Value::as_u64).filter(|count| *count > 1).map(|count| format!(" ×{count}")));
    line
}

/// `hand dead_replayed 17 of sip:alice@h on dfks.command.set (unavailable) by helpdesk`, `hand log_level debug for 600 s by mi 127.0.0.1:40112`
fn by_hand(event: &Value, paint: Paint) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).map(printable);
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let mut line = format!("{} {}", paint.text(Style::Name, "hand"), paint.text(Style::Bold, &text("what").unwrap_or_default()));
    line.extend(number("seq").map(|seq| format!(" {seq}")));
    line.extend(text("presentity").map(|of| format!(" of {of}")));
    line.extend(text("subject").map(|subject| format!(" on {subject}")));
    line.extend(text("reason").map(|reason| format!(" ({reason})")));
    line.extend(text("level").map(|level| format!(" {level}")));
    line.extend(number("for_seconds").map(|seconds| format!(" for {seconds} s")));
    line.extend(text("actor").map(|actor| format!(" by {actor}")));
    line
}

/// `, asked on forwardTo=sip:bob@h`: what was asked for, before script and responder had their say.
fn asked(event: &Value) -> String {
    let Some(asked) = event.get("asked").filter(|asked| asked.is_object()) else { return String::new() };
    let status = if asked.get("status").and_then(Value::as_u64) == Some(1) { "on" } else { "off" };
    format!(", asked {status}{}", values(asked.get("values")))
}

/// ` forwardTo=sip:bob@h ringCount=4`
fn values(values: Option<&Value>) -> String {
    let fields = values.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(field, value)| Some(printable(&format!(" {field}={}", value.as_str()?)))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn feature_event() -> Value {
        json!({"type":"io.dfks.event.v1.feature","time":"T","presentity":"sip:a@h","feature":"DoNotDisturb","old":{"status":0},
               "new":{"status":1},"origin":"phone","outcome":"applied","reason":null})
    }

    #[test]
    fn an_event_is_one_line() {
        for (event, want) in [
            (feature_event(), "T feature sip:a@h DoNotDisturb off → on by phone: applied"),
            (
                json!({"type":"io.dfks.event.v1.feature","time":"T","presentity":"sip:a@h","feature":"CallForwardingBusy","old":{"status":0},
                       "new":{"status":1,"values":{"forwardTo":"sip:b@h\u{1b}"}},"origin":"mi","outcome":"refused","reason":"no",
                       "actor":"crm","asked":{"status":0,"values":{}}}),
                "T feature sip:a@h CallForwardingBusy off → on forwardTo=sip:b@h\u{fffd} by mi crm, asked off: refused (no)",
            ),
            (
                json!({"type":"io.dfks.event.v1.hand","time":"T","what":"dead_replayed","seq":17,"presentity":"sip:a@h","subject":"dfks.command.set",
                       "reason":"denied","actor":"helpdesk"}),
                "T hand dead_replayed 17 of sip:a@h on dfks.command.set (denied) by helpdesk",
            ),
            (
                json!({"type":"io.dfks.event.v1.hand","time":"T","what":"log_level","level":"debug","for_seconds":600,"presentity":null,"actor":null}),
                "T hand log_level debug for 600 s",
            ),
            (
                json!({"type":"io.dfks.event.v1.subscription","time":"T","presentity":"sip:a@h","watcher":"sip:w@h","what":"terminated","reason":"timeout",
                       "edge_id":"edge-a","actor":"helpdesk"}),
                "T subscription sip:a@h by sip:w@h terminated (timeout) for helpdesk at edge-a",
            ),
            (
                json!({"type":"io.dfks.event.v1.notify","time":"T","presentity":"sip:a@h","outcome":"failed","status":481,"took_ms":3,
                       "edge_id":"edge-a","features":["DoNotDisturb","CallForwardingBusy"]}),
                "T notify sip:a@h DoNotDisturb CallForwardingBusy failed 481 after 3 ms at edge-a",
            ),
            (
                json!({"type":"io.dfks.event.v1.notify","time":"T","presentity":"sip:a@h","outcome":"delivered","status":200,"took_ms":3,"cause":"c0\u{7}"}),
                "T notify sip:a@h delivered 200 after 3 ms  cause c0\u{fffd}",
            ),
            (
                json!({"type":"io.dfks.event.v1.notify","time":"T","presentity":"sip:a@h","outcome":"expired","status":null,"took_ms":32000}),
                "T notify sip:a@h expired after 32000 ms",
            ),
            (
                json!({"type":"io.dfks.event.v1.refused","time":"T","presentity":"sip:a@h","watcher":"sip:e@h","source":"192.0.2.7:5060","method":"SUBSCRIBE",
                       "status":403,"reason":"forbidden","detail":"not yours","count":12}),
                "T refused sip:a@h 403 forbidden (not yours) SUBSCRIBE by sip:e@h from 192.0.2.7:5060 ×12",
            ),
            (
                json!({"type":"io.dfks.event.v1.refused","time":"T","presentity":null,"watcher":null,"actor":"crm","source":null,"method":null,"status":400,
                       "reason":"bad_request","detail":null,"count":1}),
                "T refused unknown 400 bad_request command by crm",
            ),
            (json!({"time":"T","x":"\u{7}"}), "T dfks.event.raw.h {\"time\":\"T\",\"x\":\"\\u0007\"}"),
        ] {
            assert_eq!(event_line("dfks.event.raw.h", &event, Paint::new(false)), want);
        }
    }

    #[test]
    fn a_terminal_gets_colours() {
        let line = event_line("s", &feature_event(), Paint::new(true));
        assert!(line.contains("\x1b[2mT\x1b[0m") && line.contains("\x1b[2moff\x1b[0m → \x1b[32mon\x1b[0m"), "{line:?}");
        let plain =
            line.replace("\x1b[0m", "").replace("\x1b[32m", "").replace("\x1b[36m", "").replace("\x1b[1m", "").replace("\x1b[2m", "");
        assert_eq!(plain, event_line("s", &feature_event(), Paint::new(false)));
    }
}
