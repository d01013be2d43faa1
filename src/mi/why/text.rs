//! The sentences of the findings, and what to do next. Pure.

use std::time::SystemTime;

use crate::bus::message::{
    EndReason, FeatureEvent, NotifyEvent, NotifyOutcome, RefusedEvent, RefusedReason, ResponderReport, SubscriptionEvent, Verdict, Watcher,
};
use crate::feature::{FeatureState, Source};
use crate::mi::why::facts::Facts;
use crate::runtime::clock;

/// A sentence, and the next step.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) next: Option<String>,
}

fn said(text: String, next: impl Into<String>) -> Said {
    Said { text, next: Some(next.into()) }
}

/// `1.2 s ago`, `3 min ago`: of a time in an event.
fn ago(now: SystemTime, at: &str) -> String {
    let Some(at) = clock::parse_rfc3339(at) else { return at.to_owned() };
    match now.duration_since(at).unwrap_or_default().as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

fn phone(watcher: &Watcher) -> String {
    let agent = if watcher.user_agent.is_empty() { String::new() } else { format!(" ({})", watcher.user_agent) };
    format!("the phone of {}{agent}", watcher.watcher)
}

fn resync(watcher: &Watcher) -> String {
    format!("dfks resync {} --subscription {}", watcher.presentity, watcher.subscription)
}

fn shown(state: &FeatureState) -> String {
    format!("{} version {}", if state.status.is_on() { "on," } else { "off," }, state.version)
}

pub(super) fn in_step(facts: &Facts, watcher: &Watcher) -> Said {
    let last = facts.last_notify(&watcher.subscription, None);
    let told = last.map_or_else(String::new, |last| format!(", told last {}", ago(facts.now, &last.time)));
    Said { text: format!("{} has confirmed all of it{told}", phone(watcher)), next: None }
}

pub(super) fn behind(facts: &Facts, watcher: &Watcher, state: &FeatureState, told: Option<u64>) -> Said {
    let had = told.map_or_else(|| "nothing".to_owned(), |version| format!("version {version}"));
    let last = facts.last_notify(&watcher.subscription, Some(&state.feature));
    let when = last.map_or_else(String::new, |last| format!(", {}", ago(facts.now, &last.time)));
    let text = format!("{} is {}; {} was told {had} last{when}", state.feature, shown(state), phone(watcher));
    said(text, resync(watcher))
}

pub(super) fn pending(facts: &Facts, watcher: &Watcher, feature: &str) -> Said {
    let until = watcher.standing.as_ref().and_then(|standing| standing.until.clone());
    let last = facts.last_notify(&watcher.subscription, None);
    let status = last.and_then(|last| last.status).filter(|status| *status >= 300);
    let because = status.map_or_else(String::new, |status| format!(": the phone answered {status}"));
    match until {
        Some(until) => said(
            format!("what {} is to be told of {feature} is put off until {until}{because}", phone(watcher)),
            format!("wait until then; or have the phone subscribe again at once: dfks end {}", watcher.subscription),
        ),
        None => said(
            format!("a NOTIFY about {feature} is on its way to {}", phone(watcher)),
            format!("ask again: without an answer within 32 s the subscription ends; dfks why {} {feature}", watcher.presentity),
        ),
    }
}

pub(super) fn notify_failed(facts: &Facts, watcher: &Watcher, last: &NotifyEvent) -> Said {
    let answered = match (last.status, last.outcome) {
        (Some(status), _) => format!("answered {status}"),
        (None, NotifyOutcome::Expired) => "did not answer".to_owned(),
        (None, _) => "could not be reached".to_owned(),
    };
    let text = format!("{} {answered} when it was told {}, {}", phone(watcher), last.features.join(", "), ago(facts.now, &last.time));
    said(text, format!("once the phone takes it: {}", resync(watcher)))
}

pub(super) fn connection_gone(watcher: &Watcher) -> Said {
    let text = format!("{} came over {}, and that connection is gone", phone(watcher), watcher.transport);
    said(text, format!("have the phone connect and subscribe again; what is left of the old one: dfks end {}", watcher.subscription))
}

pub(super) fn not_assigned(facts: &Facts, state: &FeatureState) -> Said {
    let (of, feature) = (facts.presentity.as_str(), &state.feature);
    match state.source {
        Source::Responder => said(
            format!("its responder says that {of} does not have {feature}: phones are not told of it"),
            format!("have the responder answer with assigned true, then: dfks resync {of}"),
        ),
        Source::Script => said(
            format!("the get route takes {feature} away from {of}: phones are not told of it"),
            format!("change dfks_get in the route script, then: dfks resync {of}"),
        ),
        Source::Store | Source::Default => said(
            format!("{of} does not have {feature} until somebody sets it: phones are not told of it"),
            format!("dfks set {of} {feature} on"),
        ),
    }
}

pub(super) fn suppressed(state: &FeatureState) -> Said {
    let (route, where_to) = match state.source {
        Source::Responder => ("the responder's answer", "the responder: notify false in its answers"),
        _ => ("the route script", "dfks_get in the route script: notify = 0"),
    };
    said(format!("{route} keeps {} out of every NOTIFY", state.feature), format!("change {where_to}"))
}

pub(super) fn responder_failing(report: &ResponderReport) -> Said {
    let state = match &*report.breaker {
        "closed" if report.listening == Some(false) => "is not there".to_owned(),
        "closed" => "failed last".to_owned(),
        "half_open" => "failed again and again, and is being tried".to_owned(),
        _ => "failed again and again, and is not asked for a while".to_owned(),
    };
    let why = report.last_error.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let text = format!("the responder on {} {state}{why}", report.subject);
    let get = report.subject.replacen(".responder.set.", ".responder.get.", 1);
    said(text, format!("dfks responders test {get}; if it is gone for good: dfks responders forget {}", report.subject))
}

pub(super) fn refused_change(facts: &Facts, change: &FeatureEvent) -> Said {
    let who = change.actor.as_ref().map_or_else(String::new, |actor| format!(" by {actor}"));
    let why = change.reason.as_deref().unwrap_or("no reason was given");
    let text = format!("the last change of {}{who} was refused {}: {why}", change.feature, ago(facts.now, &change.time));
    let (of, feature) = (facts.presentity.as_str(), &change.feature);
    let wanted = change.asked.as_ref().is_none_or(|asked| asked.status.is_on());
    said(text, format!("once its cause is mended: dfks set {of} {feature} {}", if wanted { "on" } else { "off" }))
}

pub(super) fn refused_subscribe(refused: &RefusedEvent) -> Said {
    let from = refused.source.as_deref().unwrap_or("somewhere");
    let detail = refused.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    let who = refused.watcher.as_deref().unwrap_or("somebody");
    let text = format!(
        "a SUBSCRIBE of {who} from {from} was refused with {} ({}) at {}{detail}",
        refused.status,
        refused.reason.as_str(),
        refused.time
    );
    let next = match (refused.reason, refused.status) {
        (RefusedReason::TooManyWatchers, _) => {
            let of = refused.presentity.as_deref().unwrap_or_default();
            return said(
                text,
                format!("dfks watchers {of}: end what is dead with dfks end, or raise sip.max_subscriptions_per_presentity"),
            );
        }
        (RefusedReason::RateLimited, _) => "its source sends too much: sip.rate_limit_exempt for a proxy; then have it subscribe again",
        (_, 401 | 403) => "mend the phone's user and password, or sip.auth; then have it subscribe again",
        (_, 404) => "mend the phone's address for its features, or sip.domains; then have it subscribe again",
        (_, 503) => "have it subscribe again; when it happens again: dfks_edge_requests_total{code=\"503\"}, and the edge's log",
        _ => "mend what the phone sends: the reason says what; then have it subscribe again",
    };
    said(text, next)
}

pub(super) fn ended(facts: &Facts, event: &SubscriptionEvent, verdict: Verdict) -> Said {
    let agent = if event.user_agent.is_empty() { String::new() } else { format!(" ({})", event.user_agent) };
    let (who, when) = (format!("the phone of {}{agent}", event.watcher), ago(facts.now, &event.time));
    let by = event.actor.as_ref().map_or_else(String::new, |actor| format!(" by {actor}"));
    let again = "have the phone subscribe again: restart it, or its line";
    match (verdict, event.reason) {
        (Verdict::Expired, _) => {
            said(format!("{who} did not refresh its subscription, which was over at {} ({when})", event.expires_at), again)
        }
        (Verdict::Unreachable, _) => said(
            format!("{who} did not answer a NOTIFY, which ended its subscription {when}"),
            format!("see that the phone is on and can be reached; {again}"),
        ),
        (Verdict::NotifyFailed, _) => {
            let status = facts.last_notify(&event.subscription, None).and_then(|last| last.status);
            let status = status.map_or_else(|| "an error".to_owned(), |status| status.to_string());
            said(format!("{who} answered a NOTIFY with {status}, which ended its subscription {when}"), again)
        }
        (Verdict::Refused, _) => {
            said(format!("the subscription of {who} was ended{by} as rejected {when}: the phone should not come back by itself"), again)
        }
        (_, Some(EndReason::Deactivated)) => {
            said(format!("the subscription of {who} was ended{by} {when}, and it has not come back"), again)
        }
        _ => said(format!("{who} ended its subscription itself {when}"), again),
    }
}

pub(super) fn never_subscribed(facts: &Facts) -> Said {
    let since = facts.history.as_ref().map_or_else(|_| String::new(), |history| format!(" since {}", history.since));
    let of = facts.presentity.as_str();
    said(
        format!("no phone has subscribed to {of}{since}, and none was refused"),
        format!("switch feature key synchronisation on in the phone, towards an edge; to try without one: dfks phone {of} --server EDGE"),
    )
}

pub(super) fn edge_silent(edge_id: &str, count: u64) -> Said {
    let phones = if count == 1 { "1 subscription".to_owned() } else { format!("{count} subscriptions") };
    said(
        format!("the edge {edge_id}, which holds {phones} of it, does not answer"),
        format!("start it again, with sip.edge_id \"{edge_id}\"; other edges take those over UDP over within sip.takeover_seconds"),
    )
}

pub(super) fn no_worker(why: &str) -> Said {
    said(format!("no worker says how things are: {why}"), "start one: dfks run --role worker")
}

pub(super) fn bus_away(why: &str) -> Said {
    said(format!("NATS does not say who holds the subscriptions: {why}"), "see to JetStream: nats server report jetstream; then ask again")
}

pub(super) fn events_away(why: &str) -> Said {
    said(
        format!("NATS does not say what happened of late: {why}"),
        "see to the stream DFKS_EVENTS: nats stream info DFKS_EVENTS; then ask again",
    )
}
