//! The answer: states with who answers for them, subscriptions with what was told, and the findings. Pure.

use std::collections::BTreeMap;

use crate::bus::message::{
    Ended, Explained, Kind, Owner, ResponderReport, SubscriptionEvent, Told, Verdict, Watcher, WhyResponse, WhyWatcher,
};
use crate::feature::{FeatureState, Source};
use crate::mi::why::facts::{Facts, severity};
use crate::mi::why::verdict;
use crate::runtime::clock;

/// What the facts say.
pub(super) fn of(facts: &Facts) -> WhyResponse {
    let findings = verdict::findings(facts);
    let live = facts.live().map(|(edge_id, watcher)| live(facts, edge_id, watcher));
    let ended = facts.ended().into_iter().rev().map(|event| ended(facts, event));
    WhyResponse {
        kind: Kind::default(),
        presentity: facts.presentity.as_str().to_owned(),
        at: clock::rfc3339(facts.now),
        in_step: findings.iter().all(|finding| finding.verdict == Verdict::InStep),
        findings,
        features: facts.states.iter().flatten().map(|state| Explained { state: state.clone(), owner: owner(facts, state) }).collect(),
        watchers: live.chain(ended).collect(),
        events_since: facts.history.as_ref().ok().map(|history| history.since.clone()),
    }
}

fn owner(facts: &Facts, state: &FeatureState) -> Owner {
    let worst = |one: &&ResponderReport, other: &&ResponderReport| severity(one).cmp(&severity(other));
    let is_owner = |report: &&ResponderReport| report.last_heard.is_some() || report.breaker != "closed";
    let report = facts.reports_of(&state.feature).filter(is_owner).max_by(worst);
    let kind = match state.source {
        Source::Script => "script",
        Source::Responder => "responder",
        _ if report.is_some() => "responder",
        Source::Store => "store",
        Source::Default => "default",
    };
    Owner {
        kind: kind.to_owned(),
        subject: report.map(|report| report.subject.clone()),
        breaker: report.map(|report| report.breaker.clone()),
        last_heard: report.and_then(|report| report.last_heard.clone()),
        last_error: report.and_then(|report| report.last_error.clone()),
    }
}

fn live(facts: &Facts, edge_id: &str, watcher: &Watcher) -> WhyWatcher {
    let standing = watcher.standing.clone();
    let told = facts.states_of(watcher).into_iter().filter(|state| state.assigned).map(|state| told(facts, watcher, &state.feature));
    let told = told.collect();
    let watcher = Watcher { standing: None, ..watcher.clone() };
    WhyWatcher {
        edge_id: edge_id.to_owned(),
        watcher,
        told,
        pending: standing.map(|standing| standing.pending).unwrap_or_default(),
        ended: None,
    }
}

fn told(facts: &Facts, watcher: &Watcher, feature: &str) -> Told {
    let last = facts.last_notify(&watcher.subscription, Some(feature));
    Told {
        feature: feature.to_owned(),
        version: watcher.versions.get(feature).copied(),
        at: last.map(|last| last.time.clone()),
        outcome: last.map(|last| last.outcome),
        status: last.and_then(|last| last.status),
        cause: last.map(|last| last.cause.clone()),
    }
}

fn ended(facts: &Facts, event: &SubscriptionEvent) -> WhyWatcher {
    let watcher = Watcher {
        subscription: event.subscription.clone(),
        presentity: event.presentity.clone(),
        package: event.package.clone(),
        watcher: event.watcher.clone(),
        call_id: event.call_id.clone(),
        contact: String::new(),
        transport: event.transport.clone(),
        user_agent: event.user_agent.clone(),
        expires_at: event.expires_at.clone(),
        versions: BTreeMap::new(),
        standing: None,
    };
    let states = facts.states_of(&watcher).into_iter().filter(|state| state.assigned);
    let told = states.map(|state| told(facts, &watcher, &state.feature)).filter(|told| told.outcome.is_some());
    let told = told.collect();
    let end = Ended { at: event.time.clone(), reason: event.reason, actor: event.actor.clone() };
    WhyWatcher { edge_id: event.edge_id.clone(), watcher, told, pending: Vec::new(), ended: Some(end) }
}
