//! Events of one cause, and what is still under way, put in order: the steps of a trace. Pure.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::step::{Step, Trace};
use super::word::{Outcome, StepKind};
use crate::bus::message::{
    EndReason, FeatureEvent, FeatureOutcome, NotifyEvent, NotifyOutcome, Origin, RefusedEvent, SubscriptionChange, SubscriptionEvent,
    Watcher, Work, WorkPart, WorkStep,
};
use crate::bus::subject::edge_token;
use crate::bus::{Caused, Under, WaitingJob};
use crate::feature::{FeatureState, Status};
use crate::runtime::clock;

/// Who carries commands out.
const BRIDGE: &str = "mi";
/// Who sends commands, where none says so.
const SERVICE: &str = "a service";
const WORKER: &str = "worker";
const STORE: &str = "store";
/// So long a change waits to be told at the most; later nobody tells it.
const TOLD_WITHIN: Duration = Duration::from_hours(1);

/// A step with its time as a number.
struct Rung {
    at: SystemTime,
    took: Option<Duration>,
    step: Step,
}

/// The trace of what is known.
pub(super) fn of(cause: &str, past: &Caused, under: &Under, now: SystemTime) -> Trace {
    let events = &past.events;
    let mut rungs = Vec::new();
    rungs.extend(events.refused.iter().filter_map(refused));
    rungs.extend(events.subscriptions.iter().filter_map(subscribed));
    for change in &events.changes {
        rungs.extend(changed(change));
    }
    for told in &events.notifies {
        rungs.extend(notified(told, under));
    }
    rungs.extend(under.jobs.iter().map(|job| waits(job, under)));
    rungs.extend(phones(past, under));
    rungs.extend(untold(past, &rungs, now));
    // by its time, and of one time in the order in which it is made above
    rungs.sort_by_key(|rung| rung.at);
    let start = rungs.first().map(|rung| rung.at);
    let end = rungs.iter().map(|rung| rung.at + rung.took.unwrap_or_default()).max();
    let took = start.zip(end).map(|(start, end)| end.duration_since(start).unwrap_or_default());
    let outcomes = rungs.iter().map(|rung| rung.step.outcome).filter(|outcome| *outcome != Outcome::Covered);
    let outcome = outcomes.max().unwrap_or(Outcome::Ok);
    let steps = rungs.into_iter().map(|Rung { at, took, step }| Step {
        at: clock::rfc3339(at),
        after_ms: start.and_then(|start| at.duration_since(start).ok()).map_or(0.0, millis),
        took_ms: took.map(millis),
        ..step
    });
    Trace {
        cause: cause.to_owned(),
        presentity: past.presentity().map(str::to_owned),
        since: events.since.clone(),
        until: past.until.clone(),
        outcome,
        took_ms: took.map_or(0.0, millis),
        steps: steps.collect(),
    }
}

/// Milliseconds to the hundredth.
fn millis(of: Duration) -> f64 {
    (of.as_secs_f64() * 100_000.0).round() / 100.0
}

fn step(kind: StepKind, who: impl Into<String>, to: Option<&str>, outcome: Outcome) -> Step {
    Step {
        at: String::new(),
        after_ms: 0.0,
        kind,
        who: who.into(),
        to: to.map(str::to_owned),
        took_ms: None,
        outcome,
        features: Vec::new(),
        subscription: None,
        status: None,
        detail: None,
    }
}

/// A request or command that was refused before anything was asked for.
fn refused(event: &RefusedEvent) -> Option<Rung> {
    let at = clock::parse_rfc3339(&event.time)?;
    let who = event.watcher.as_ref().or(event.actor.as_ref()).or(event.source.as_ref()).map_or("somebody", |who| who);
    let detail =
        event.detail.as_ref().map_or_else(|| event.reason.as_str().to_owned(), |detail| format!("{}: {detail}", event.reason.as_str()));
    let to = event.edge_id.as_deref().unwrap_or(BRIDGE);
    let step = Step { status: Some(event.status), detail: Some(detail), ..step(StepKind::Refused, who, Some(to), Outcome::Refused) };
    Some(Rung { at, took: None, step })
}

fn subscribed(event: &SubscriptionEvent) -> Option<Rung> {
    let at = clock::parse_rfc3339(&event.time)?;
    let is_stop = matches!(event.reason, Some(EndReason::Rejected | EndReason::Unreachable));
    let outcome = if is_stop { Outcome::Failed } else { Outcome::Ok };
    let by_phone =
        matches!(event.what, SubscriptionChange::Active | SubscriptionChange::Refreshed) || event.reason == Some(EndReason::Unsubscribed);
    let (who, to) = if by_phone { (&event.watcher, &event.edge_id) } else { (&event.edge_id, &event.watcher) };
    let detail =
        event.reason.map_or_else(|| event.what.as_str().to_owned(), |reason| format!("{}: {}", event.what.as_str(), reason.as_str()));
    let step = Step {
        subscription: Some(event.subscription.clone()),
        detail: Some(detail),
        ..step(StepKind::Subscription, who, Some(to), outcome)
    };
    Some(Rung { at, took: None, step })
}

/// From what was asked for to what came of it.
fn changed(event: &FeatureEvent) -> Vec<Rung> {
    let Some(time) = clock::parse_rfc3339(&event.time) else { return Vec::new() };
    let by = event.edge_id.as_deref().unwrap_or(if event.origin == Origin::Responder { WORKER } else { BRIDGE });
    let features = vec![event.feature.clone()];
    let mut rungs = Vec::new();
    if let Some(asked) = &event.asked {
        let asked_at = event.asked_at.as_ref().and_then(|at| clock::parse_rfc3339(at)).unwrap_or(time);
        let unnamed = if event.origin == Origin::Mi { SERVICE } else { event.origin.as_str() };
        let who = event.actor.clone().unwrap_or_else(|| unnamed.to_owned());
        let work_at = event.work.as_ref().and_then(|work| clock::parse_rfc3339(&work.at));
        let took = work_at.and_then(|at| at.duration_since(asked_at).ok());
        let detail = Some(format!("{} {}", event.feature, on_or_off(asked.status)));
        rungs.push(Rung {
            at: asked_at,
            took,
            step: Step { features: features.clone(), detail, ..step(StepKind::Asked, who, Some(by), Outcome::Ok) },
        });
        if let (Some(work), Some(at)) = (&event.work, work_at) {
            rungs.extend(worked(work, at.max(asked_at), by, event));
        }
    }
    let outcome = if event.outcome == FeatureOutcome::Refused { Outcome::Refused } else { Outcome::Ok };
    let step = Step { features, detail: Some(what_changed(event)), ..step(StepKind::Change, by, None, outcome) };
    rungs.push(Rung { at: time, took: None, step });
    rungs
}

fn worked(work: &Work, at: SystemTime, by: &str, event: &FeatureEvent) -> Vec<Rung> {
    let whole = step(StepKind::Worker, by, Some(WORKER), Outcome::Ok);
    let mut rungs = vec![Rung { at, took: Some(Duration::from_micros(work.took_us)), step: whole }];
    for WorkStep { what, who, after_us, took_us, outcome } in &work.steps {
        let (kind, to) = match what {
            WorkPart::Read => (StepKind::Read, Some(STORE)),
            WorkPart::Script => (StepKind::Script, None),
            WorkPart::Responder => (StepKind::Responder, who.as_deref()),
            WorkPart::Store => (StepKind::Store, Some(STORE)),
        };
        let outcome = Said(outcome);
        let detail = (outcome.0 != "ok").then(|| outcome.0.clone());
        let detail = if *what == WorkPart::Store { Some(what_changed(event)) } else { detail };
        let at = at + Duration::from_micros(*after_us);
        let took = Some(Duration::from_micros(*took_us));
        rungs.push(Rung { at, took, step: Step { detail, ..step(kind, WORKER, to, outcome.read()) } });
    }
    rungs
}

/// The word of a worker for what came of a part of its work.
struct Said<'a>(&'a String);

impl Said<'_> {
    fn read(&self) -> Outcome {
        match self.0.as_str() {
            "denied" => Outcome::Refused,
            "timeout" => Outcome::Expired,
            "failed" | "error" | "open" | "missing" => Outcome::Failed,
            _ => Outcome::Ok,
        }
    }
}

fn what_changed(event: &FeatureEvent) -> String {
    let FeatureEvent { old, new, .. } = event;
    if let Some(reason) = &event.reason {
        return format!("{} stays {}: {reason}", event.feature, shown(new));
    }
    format!("{} {} → {}, version {}", event.feature, shown(old), shown(new), event.version)
}

fn shown(state: &FeatureState) -> String {
    let mut text = on_or_off(state.status).to_owned();
    for (field, value) in &state.values {
        let _infallible = write!(text, " {field}={value}");
    }
    text
}

const fn on_or_off(status: Status) -> &'static str {
    if status.is_on() { "on" } else { "off" }
}

/// A NOTIFY that has an answer, or none in time, and the job that brought it.
fn notified(event: &NotifyEvent, under: &Under) -> Vec<Rung> {
    let Some(ended_at) = clock::parse_rfc3339(&event.time) else { return Vec::new() };
    let took = Duration::from_millis(event.took_ms);
    let sent_at = ended_at.checked_sub(took).unwrap_or(UNIX_EPOCH);
    let waited = event.waited_ms.map(Duration::from_millis);
    let mut rungs = Vec::new();
    if let (true, Some(waited)) = (event.by_job, waited) {
        let at = sent_at.checked_sub(waited).unwrap_or(sent_at);
        let step = Step { features: event.features.clone(), ..step(StepKind::Job, BRIDGE, Some(&event.edge_id), Outcome::Ok) };
        rungs.push(Rung { at, took: Some(waited), step });
    }
    let outcome = match event.outcome {
        NotifyOutcome::Delivered => Outcome::Ok,
        NotifyOutcome::Failed => Outcome::Failed,
        NotifyOutcome::Expired => Outcome::Expired,
    };
    let phone = watcher(under, &event.subscription);
    let step = Step {
        features: event.features.clone(),
        subscription: Some(event.subscription.clone()),
        status: event.status,
        detail: event.status.is_none().then(|| if outcome == Outcome::Expired { "no answer" } else { "not reached" }.to_owned()),
        ..step(StepKind::Notify, &event.edge_id, Some(phone.unwrap_or("its phone")), outcome)
    };
    rungs.push(Rung { at: sent_at, took: Some(took), step });
    rungs
}

/// The user of a subscription's phone, where it lives.
fn watcher<'u>(under: &'u Under, subscription: &str) -> Option<&'u str> {
    let mut live = under.edges.values().flatten();
    live.find(|watcher| watcher.subscription == subscription).map(|watcher| watcher.watcher.as_str())
}

fn waits(job: &WaitingJob, under: &Under) -> Rung {
    let edge = under.edges.keys().find(|edge_id| edge_token(edge_id) == job.edge).unwrap_or(&job.edge);
    let is_there = under.edges.contains_key(edge);
    let detail = if is_there { "its edge has it in hand" } else { "its edge does not answer" };
    let step = Step {
        features: job.features.clone(),
        detail: Some(detail.to_owned()),
        ..step(StepKind::Job, BRIDGE, Some(edge), Outcome::Waiting)
    };
    Rung { at: job.at, took: None, step }
}

/// The phones that wait for what was changed, and those that know it from a later NOTIFY.
fn phones(past: &Caused, under: &Under) -> Vec<Rung> {
    let mut rungs = Vec::new();
    let changes = || past.events.changes.iter().filter(|change| change.outcome == FeatureOutcome::Applied && change.watchers > 0);
    for (edge_id, watcher) in under.edges.iter().flat_map(|(edge_id, watchers)| watchers.iter().map(move |watcher| (edge_id, watcher))) {
        if past.events.notifies.iter().any(|told| told.subscription == watcher.subscription) {
            continue;
        }
        let of_it: Vec<_> = changes().filter(|change| concerns(watcher, change)).collect();
        let Some(at) = of_it.iter().filter_map(|change| clock::parse_rfc3339(&change.time)).min() else { continue };
        let is_told = of_it.iter().all(|change| watcher.versions.get(&change.feature).is_some_and(|told| *told >= change.version));
        let (outcome, detail) = match &watcher.standing {
            _ if is_told => (Outcome::Covered, "told by a later NOTIFY".to_owned()),
            Some(standing) if !standing.is_reachable => (Outcome::Waiting, "no way to the phone until it comes back".to_owned()),
            Some(standing) => (
                Outcome::Waiting,
                standing.until.as_ref().map_or_else(|| "on its way".to_owned(), |until| format!("put off until {until}")),
            ),
            None => (Outcome::Waiting, "on its way".to_owned()),
        };
        let step = Step {
            features: of_it.iter().map(|change| change.feature.clone()).collect(),
            subscription: Some(watcher.subscription.clone()),
            detail: Some(detail),
            ..step(StepKind::Notify, edge_id, Some(&watcher.watcher), outcome)
        };
        rungs.push(Rung { at, took: None, step });
    }
    rungs
}

/// Whether the phone waits for a change, or was told that version of it or a later one.
fn concerns(watcher: &Watcher, change: &FeatureEvent) -> bool {
    let waits = watcher.standing.as_ref().is_some_and(|standing| standing.pending.contains(&change.feature));
    waits || watcher.versions.get(&change.feature).is_some_and(|told| *told >= change.version)
}

/// A change that phones are to be told of, and of which nothing was heard since.
fn untold(past: &Caused, rungs: &[Rung], now: SystemTime) -> Option<Rung> {
    let is_told = rungs.iter().any(|rung| matches!(rung.step.kind, StepKind::Job | StepKind::Notify));
    let mut changes = past.events.changes.iter();
    let change = changes.find(|change| change.outcome == FeatureOutcome::Applied && change.watchers > 0).filter(|_| !is_told)?;
    let at = clock::parse_rfc3339(&change.time)?;
    if now.duration_since(at).is_ok_and(|age| age > TOLD_WITHIN) || past.until.is_some() {
        return None;
    }
    let step = Step {
        features: vec![change.feature.clone()],
        detail: Some("not told yet: is a mi bridge up".to_owned()),
        ..step(StepKind::Job, BRIDGE, None, Outcome::Waiting)
    };
    Some(Rung { at, took: None, step })
}
