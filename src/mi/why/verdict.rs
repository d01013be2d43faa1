//! What the facts mean: a finding for each thing that is not in step, one that all is, where it is. Pure.

use crate::bus::message::{EndReason, FeatureOutcome, Finding, NotifyOutcome, Standing, SubscriptionEvent, Verdict, Watcher};
use crate::feature::{FeatureState, Source};
use crate::mi::why::facts::{Facts, severity};
use crate::mi::why::text::{self, Said};

/// All findings, what is not in step first.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(why) = &facts.holders {
        found.push(about(Verdict::BusAway, text::bus_away(why)));
    } else if let Err(why) = &facts.history
        && !(facts.is_history_slow && facts.live().next().is_some())
    {
        // Of phones that are there, their edges say enough.
        found.push(about(Verdict::BusAway, text::events_away(why)));
    }
    if let Err(why) = &facts.states {
        found.push(about(Verdict::NoWorker, text::no_worker(why)));
    }
    found.extend(facts.silent().map(|(edge_id, count)| about(Verdict::EdgeSilent, text::edge_silent(edge_id, count))));
    found.extend(facts.states.iter().flatten().flat_map(|state| of_feature(facts, state)));
    let mut steps = Vec::new();
    for (_, watcher) in facts.live() {
        let of_phone = of_phone(facts, watcher);
        if of_phone.is_empty() && facts.states.is_ok() {
            steps.push(of(watcher, None, Verdict::InStep, text::in_step(facts, watcher)));
        }
        found.extend(of_phone);
    }
    found.extend(gone(facts));
    found.append(&mut steps);
    found
}

fn about(verdict: Verdict, said: Said) -> Finding {
    Finding { verdict, feature: None, subscription: None, text: said.text, next: said.next }
}

fn of(watcher: &Watcher, feature: Option<&str>, verdict: Verdict, said: Said) -> Finding {
    let (feature, subscription) = (feature.map(str::to_owned), Some(watcher.subscription.clone()));
    Finding { verdict, feature, subscription, text: said.text, next: said.next }
}

/// What is so of a feature, whoever watches.
fn of_feature(facts: &Facts, state: &FeatureState) -> Vec<Finding> {
    let mut found = Vec::new();
    let feature = &state.feature;
    let mut say = |verdict, said: Said| {
        found.push(Finding { verdict, feature: Some(feature.clone()), subscription: None, text: said.text, next: said.next });
    };
    let is_asked = facts.asked.iter().any(|asked| asked == feature);
    // Nobody has ever said a word of it: that it is not there is no news, unless somebody asks.
    if !state.assigned && (is_asked || state.source != Source::Default) {
        say(Verdict::NotAssigned, text::not_assigned(facts, state));
    } else if state.assigned && !state.notify {
        say(Verdict::Suppressed, text::suppressed(state));
    }
    let failing = facts.reports_of(feature).filter(|report| {
        let is_owner = report.last_heard.is_some();
        report.breaker != "closed" || is_owner && report.last_error_at > report.last_heard || is_owner && report.listening == Some(false)
    });
    if let Some(report) = failing.max_by(|one, other| severity(one).cmp(&severity(other))) {
        say(Verdict::ResponderFailing, text::responder_failing(report));
    }
    if let Some(change) = facts.last_change(feature).filter(|change| change.outcome == FeatureOutcome::Refused) {
        say(Verdict::Refused, text::refused_change(facts, change));
    }
    found
}

/// What is so of a live subscription.
fn of_phone(facts: &Facts, watcher: &Watcher) -> Vec<Finding> {
    let standing = watcher.standing.as_ref();
    if standing.is_some_and(|standing| !standing.is_reachable) {
        return vec![of(watcher, None, Verdict::Unreachable, text::connection_gone(watcher))];
    }
    let told = facts.states_of(watcher).into_iter().filter(|state| state.assigned && state.notify);
    told.filter_map(|state| of_state(facts, watcher, standing, state)).collect()
}

fn of_state(facts: &Facts, watcher: &Watcher, standing: Option<&Standing>, state: &FeatureState) -> Option<Finding> {
    let feature = state.feature.as_str();
    let waits = standing.is_some_and(|standing| standing.pending.iter().any(|pending| pending == feature));
    if waits {
        return Some(of(watcher, Some(feature), Verdict::Pending, text::pending(facts, watcher, feature)));
    }
    let told = watcher.versions.get(feature).copied();
    if told.is_some_and(|told| told >= state.version) || facts.was_told(&watcher.subscription, state) {
        return None;
    }
    if standing.is_some_and(|standing| standing.is_busy) {
        return Some(of(watcher, Some(feature), Verdict::Pending, text::pending(facts, watcher, feature)));
    }
    let last = facts.last_notify(&watcher.subscription, Some(feature));
    if let Some(failed) = last.filter(|last| last.outcome != NotifyOutcome::Delivered) {
        return Some(of(watcher, Some(feature), Verdict::NotifyFailed, text::notify_failed(facts, watcher, failed)));
    }
    Some(of(watcher, Some(feature), Verdict::Behind, text::behind(facts, watcher, state, told)))
}

/// What is so of phones that are not there any more, or never were.
fn gone(facts: &Facts) -> Vec<Finding> {
    let is_anybody_live = facts.live().next().is_some() || facts.silent().next().is_some();
    let mut found = Vec::new();
    let refused = facts.refused_subscribe();
    if let Some(refused) = refused {
        found.push(about(Verdict::Refused, text::refused_subscribe(refused)));
    }
    let ended = facts.ended();
    let newest = ended.iter().rev();
    for event in newest.filter(|event| !facts.is_back(event)) {
        let verdict = verdict_of_end(facts, event);
        // With other phones there, one that took its leave is none that is missing.
        if is_anybody_live && verdict == Verdict::Unsubscribed {
            continue;
        }
        let already = found.iter().any(|finding: &Finding| finding.verdict == verdict);
        if !already {
            let said = text::ended(facts, event, verdict);
            let subscription = Some(event.subscription.clone());
            found.push(Finding { verdict, feature: None, subscription, text: said.text, next: said.next });
        }
    }
    let is_known = facts.holders.is_ok() && facts.history.is_ok();
    if found.is_empty() && !is_anybody_live && is_known {
        found.push(about(Verdict::NeverSubscribed, text::never_subscribed(facts)));
    }
    found
}

fn verdict_of_end(facts: &Facts, event: &SubscriptionEvent) -> Verdict {
    let last = facts.last_notify(&event.subscription, None);
    match event.reason {
        Some(EndReason::Timeout) => Verdict::Expired,
        Some(EndReason::Unreachable) => Verdict::Unreachable,
        // The same word where somebody ended it so by hand.
        Some(EndReason::Rejected) if last.is_some_and(|last| last.outcome == NotifyOutcome::Failed) => Verdict::NotifyFailed,
        Some(EndReason::Rejected) => Verdict::Refused,
        _ => Verdict::Unsubscribed,
    }
}
