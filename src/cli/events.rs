//! `dfks events`: follows the event stream from now on, until Ctrl-C.

use clap::ValueEnum;
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use serde_json::Value;

use super::args::{EventKind, EventsArgs};
use super::exit::Failure;
use super::output::{complain, print, print_json, printable};
use super::paint::{Paint, Style};
use super::reach::Nats;
use crate::feature::{Presentity, domain_token};

/// Follows events until Ctrl-C, or until `--count` of them were shown.
pub(super) async fn follow(args: EventsArgs) -> Result<(), Failure> {
    let filter = Filter::new(&args)?;
    let nats = Nats::connect(&args.client).await?;
    let subjects = nats.bus().subjects();
    let wanted = filter.domain().map_or_else(|| vec![subjects.all_events()], |domain| subjects.events_of(&domain).to_vec());
    let mut events = SelectAll::new();
    for subject in wanted {
        events.push(nats.bus().client().subscribe(subject).await.map_err(|error| Failure::NobodyAnswered(error.to_string()))?);
    }
    let paint = Paint::of_stdout();
    let mut left = args.count;
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    while left != Some(0) {
        let event = tokio::select! {
            event = events.next() => event,
            text = nats.bus().denied(None) => return Err(nats.not_permitted(&text)),
            _ = &mut stopped => return Ok(()),
        };
        let Some(event) = event else { return Err(Failure::NobodyAnswered("the connection to NATS was closed".to_owned())) };
        match serde_json::from_slice::<Value>(&event.payload) {
            Ok(value) if !filter.takes(&value) => continue,
            Ok(value) if args.client.json => print_json(&value)?,
            Ok(value) => print(&format!("{}\n", event_line(&event.subject, &value, paint)))?,
            Err(error) => complain(&format!("dfks: unreadable event on {}: {error}", printable(&event.subject))),
        }
        left = left.map(|left| left.saturating_sub(1));
    }
    Ok(())
}

/// Which events are shown: those that every option given takes.
#[derive(Debug)]
struct Filter {
    presentity: Option<Presentity>,
    /// As a token of subjects.
    domain: Option<String>,
    features: Vec<String>,
    kinds: Vec<EventKind>,
}

impl Filter {
    fn new(args: &EventsArgs) -> Result<Self, Failure> {
        let parse = |text: &String| Presentity::parse(text).map_err(|error| Failure::Usage(format!("--presentity '{text}': {error}")));
        Ok(Self {
            presentity: args.presentity.as_ref().map(parse).transpose()?,
            domain: args.domain.as_deref().map(domain_token),
            features: args.features.clone(),
            kinds: args.kinds.clone(),
        })
    }

    /// The one domain whose events can be shown, if it is one: a tenant may hear no others.
    fn domain(&self) -> Option<String> {
        self.domain.clone().or_else(|| self.presentity.as_ref().map(Presentity::domain_token))
    }

    fn takes(&self, event: &Value) -> bool {
        let has = |name: &str| self.features.iter().any(|feature| feature.eq_ignore_ascii_case(name));
        let kind = kind_of(event);
        let is_of_feature = || match (event.get("feature"), event.get("features")) {
            (Some(feature), _) => feature.as_str().is_some_and(has),
            (_, Some(Value::Array(features))) => features.iter().filter_map(Value::as_str).any(has),
            _ => false,
        };
        let is_of = |presentity: &Presentity| event.get("presentity").and_then(Value::as_str) == Some(presentity.as_str());
        (self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind)))
            && self.presentity.as_ref().is_none_or(is_of)
            && (self.features.is_empty() || is_of_feature())
    }
}

fn kind_of(event: &Value) -> Option<EventKind> {
    let name = event.get("type")?.as_str()?.rsplit('.').next()?;
    EventKind::from_str(name, false).ok()
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
    let kind = |word: &str| paint.text(Style::Name, word);
    let presentity = || say(Style::Bold, "/presentity");
    let what = match kind_of(event) {
        Some(EventKind::Subscription) => {
            format!("{} {} by {} {}{reason}", kind("subscription"), presentity(), text("/watcher"), outcome("/what"))
        }
        Some(EventKind::Feature) => format!(
            "{} {} {} {} → {}{} by {}: {}{reason}",
            kind("feature"),
            presentity(),
            say(Style::Bold, "/feature"),
            status("/old/status"),
            status("/new/status"),
            values(event.pointer("/new/values")),
            text("/origin"),
            outcome("/outcome")
        ),
        Some(EventKind::Notify) => {
            let code = if shown("/status").is_empty() { String::new() } else { format!(" {}", shown("/status")) };
            format!("{} {} {}{code} after {} ms", kind("notify"), presentity(), outcome("/outcome"), shown("/took_ms"))
        }
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
    line.extend(event.get("count").and_then(Value::as_u64).filter(|count| *count > 1).map(|count| format!(" ×{count}")));
    line
}

/// ` forwardTo=sip:bob@h ringCount=4`
fn values(values: Option<&Value>) -> String {
    let fields = values.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(field, value)| Some(printable(&format!(" {field}={}", value.as_str()?)))).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::args::{Cli, Command};
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
                       "new":{"status":1,"values":{"forwardTo":"sip:b@h\u{1b}"}},"origin":"mi","outcome":"refused","reason":"no"}),
                "T feature sip:a@h CallForwardingBusy off → on forwardTo=sip:b@h\u{fffd} by mi: refused (no)",
            ),
            (
                json!({"type":"io.dfks.event.v1.subscription","time":"T","presentity":"sip:a@h","watcher":"sip:w@h","what":"terminated","reason":"timeout"}),
                "T subscription sip:a@h by sip:w@h terminated (timeout)",
            ),
            (
                json!({"type":"io.dfks.event.v1.notify","time":"T","presentity":"sip:a@h","outcome":"failed","status":481,"took_ms":3}),
                "T notify sip:a@h failed 481 after 3 ms",
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

    #[test]
    fn shows_what_every_option_takes() {
        let notify = json!({"type":"io.dfks.event.v1.notify","presentity":"sip:a@h","features":["CallForwardingBusy"]});
        let subscription = json!({"type":"io.dfks.event.v1.subscription","presentity":"sip:b@h"});
        for (options, want) in [
            (&[][..], [true, true, true]),
            (&["--presentity", "sip:a@H:5060"], [true, true, false]),
            (&["--feature", "donotdisturb"], [true, false, false]),
            (&["--feature", "DoNotDisturb", "--feature", "CallForwardingBusy"], [true, true, false]),
            (&["--kind", "notify", "--kind", "subscription"], [false, true, true]),
            (&["--kind", "feature", "--presentity", "sip:b@h"], [false, false, false]),
        ] {
            let cli = Cli::try_parse_from([&["dfks", "events"], options].concat()).unwrap();
            let Command::Events(args) = cli.command else { panic!("events") };
            let filter = Filter::new(&args).unwrap();
            assert_eq!([feature_event(), notify.clone(), subscription.clone()].map(|event| filter.takes(&event)), want, "{options:?}");
        }
    }
}
