//! Every message: what is written is read as the same.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use serde::Serialize;

use super::*;
use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Source, Status, Values};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", ".{0,8}", Just("sip:alice@10.0.0.11".to_owned())]
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    prop::option::of(text())
}

fn status() -> impl Strategy<Value = Status> {
    any::<bool>().prop_map(Status)
}

fn values() -> impl Strategy<Value = Values> {
    prop::collection::btree_map(text(), text(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Phone), Just(Origin::Mi), Just(Origin::Responder), Just(Origin::Timer)]
}

fn state() -> impl Strategy<Value = FeatureState> {
    let source = prop_oneof![Just(Source::Responder), Just(Source::Script), Just(Source::Store), Just(Source::Default)];
    (text(), any::<bool>(), status(), values(), any::<u64>(), source, any::<bool>(), maybe()).prop_map(
        |(feature, assigned, status, values, version, source, notify, until)| FeatureState {
            assigned,
            status,
            values,
            version,
            source,
            notify,
            until,
            ..FeatureState::new(&feature)
        },
    )
}

fn work(is_known: bool) -> Option<Box<Work>> {
    let step = WorkStep {
        what: WorkPart::Responder,
        who: Some("dfks.responder.set.h.DoNotDisturb".into()),
        after_us: 7,
        took_us: 9,
        outcome: "ok".into(),
    };
    let steps = vec![step.clone(), WorkStep { what: WorkPart::Store, who: None, ..step }];
    is_known.then(|| Box::new(Work { at: "2026-11-28T11:00:00.000Z".into(), took_us: 16, steps }))
}

fn states() -> impl Strategy<Value = Vec<FeatureState>> {
    prop::collection::vec(state(), 0..3)
}

fn cause() -> impl Strategy<Value = Cause> {
    text().prop_map(|text| Cause(text.into()))
}

/// Written and read, and once more as the payload of a reply where it holds no error.
fn check<M: Serialize + DeserializeOwned + PartialEq + Debug + Named>(message: &M) -> Result<(), TestCaseError> {
    let json = serde_json::to_vec(message).unwrap();
    prop_assert_eq!(&serde_json::from_slice::<M>(&json).unwrap(), message);
    prop_assert_eq!(&read_reply::<M>(&json).unwrap(), message);
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    prop_assert_eq!(&value["type"], M::TYPE);
    Ok(())
}

proptest! {
    #[test]
    fn commands(presentity in text(), feature in text(), status in prop::option::of(status()), route_param in maybe(), fields in values(), list in prop::option::of(prop::collection::vec(text(), 0..4)), actor in prop::option::of("[ -~é]{0,128}"), (until, for_seconds) in (maybe(), any::<Option<u64>>())) {
        let values = list.map_or(CommandValues::Fields(fields), CommandValues::List);
        check(&SetRequest { kind: Kind::default(), presentity, feature, status, route_param, values, actor, until, for_seconds })?;
    }

    #[test]
    fn answers_to_commands(presentity in text(), state in state(), watchers: u64, notify: bool, also in states()) {
        check(&SetResponse { kind: Kind::default(), presentity, state, watchers, notify, also })?;
    }

    #[test]
    fn gets(presentity in text(), features in prop::option::of(prop::collection::vec(text(), 0..4)), (package, subscription) in (maybe(), maybe()), strict: bool, states in states()) {
        check(&GetRequest { kind: Kind::default(), presentity: presentity.clone(), features, package, subscription, strict })?;
        check(&GetResponse { kind: Kind::default(), presentity, features: states })?;
    }

    #[test]
    fn route_sets((presentity, feature) in (text(), text()), status in status(), values in values(), origin in origin(), (param, watcher, command, actor) in (maybe(), maybe(), maybe(), maybe()), (request, subscription, not_after) in (maybe(), maybe(), maybe()), (until, if_version) in (maybe(), any::<Option<u64>>()), place in prop::option::of((any::<u64>(), any::<u64>(), maybe())), cause in cause()) {
        let place = place.map(|(sequence, stored_at_nanos, sender_id)| CommandPlace { sequence, stored_at_nanos, sender_id });
        check(&RouteSetRequest { kind: Kind::default(), presentity, feature, status, values, origin, param, watcher, actor, request, subscription, not_after, command, place, until, if_version, cause })?;
    }

    #[test]
    fn answers_to_route_sets(presentity in text(), state in state(), previous in state(), (also, also_previous) in (states(), states()), notify: bool, changed: bool, denied in maybe()) {
        check(&RouteSetResponse { kind: Kind::default(), presentity, state, previous, also, also_previous, notify, changed, denied, logged: false, work: work(notify) })?;
    }

    #[test]
    fn responder_messages((presentity, feature) in (text(), text()), status in status(), values in values(), origin in origin(), param in maybe()) {
        check(&ResponderGetRequest { kind: Kind::default(), presentity: presentity.clone(), feature: feature.clone() })?;
        check(&ResponderSetRequest { kind: Kind::default(), presentity, feature, status, values, origin, param })?;
    }

    #[test]
    fn responder_states(status in prop::option::of(status()), values in values(), assigned: Option<bool>, notify: Option<bool>, also in prop::collection::vec((text(), prop::option::of(status()), values(), any::<Option<bool>>()), 0..3)) {
        let also = also.into_iter().map(|(feature, status, values, assigned)| AlsoChange { feature, status, values, assigned }).collect();
        check(&ResponderState { kind: Kind::default(), status, values, assigned, notify, also })?;
    }

    #[test]
    fn questions_for_passwords(username in text(), realm in text(), algorithm in text()) {
        check(&AuthRequest { kind: Kind::default(), username, realm, algorithm })?;
    }

    #[test]
    fn jobs((id, presentity, not_after) in (text(), text(), text()), states in states(), assigned: bool, skip in maybe(), taken_from in maybe(), cause in cause()) {
        check(&NotifyJob { kind: Kind::default(), id, presentity, states, assigned, skip, not_after, taken_from, cause })?;
    }

    #[test]
    fn watchers((presentity, domain) in (maybe(), maybe()), edge_id in text(), rows in prop::collection::vec((prop::array::uniform9(text()), prop::collection::btree_map(text(), any::<u64>(), 0..3)), 0..3), more: bool) {
        check(&WatchersRequest { kind: Kind::default(), presentity, domain, details: more })?;
        let watchers = rows.into_iter().map(|([subscription, presentity, watcher, call_id, contact, transport, user_agent, expires_at, package], versions)| {
            Watcher { subscription, presentity, package, watcher, call_id, contact, transport, user_agent, expires_at, versions, standing: None }
        });
        check(&WatchersResponse { kind: Kind::default(), edge_id, watchers: watchers.collect(), more })?;
    }

    #[test]
    fn responders(worker in text(), rows in prop::collection::vec((prop::array::uniform5(text()), prop::array::uniform3(maybe()), any::<(Option<bool>, bool, Option<u64>)>()), 0..3), more: bool, subject in text(), forgotten in prop::collection::vec(text(), 0..3)) {
        let responders = rows.into_iter().map(|([subject, kind, domain, feature, breaker], [last_heard, last_error, last_error_at], (listening, observer, latency_ms))| {
            ResponderReport { subject, kind, domain, feature, listening, observer, last_heard, latency_ms, breaker, last_error, last_error_at }
        });
        check(&RespondersRequest { kind: Kind::default() })?;
        check(&RespondersResponse { kind: Kind::default(), worker, responders: responders.collect(), more })?;
        check(&ForgetRequest { kind: Kind::default(), subject })?;
        check(&ForgetResponse { kind: Kind::default(), forgotten })?;
    }

    #[test]
    fn hands([presentity, domain, package] in prop::array::uniform3(maybe()), subscription in text(), phones: u64, is_rejected: bool) {
        let reason = if is_rejected { Dismissal::Rejected } else { Dismissal::Deactivated };
        let actor = Some("helpdesk, ticket 4711".to_owned());
        check(&ResyncRequest { kind: Kind::default(), presentity: presentity.clone(), domain, subscription: Some(subscription.clone()), package, actor: actor.clone() })?;
        check(&ResyncResponse { kind: Kind::default(), phones })?;
        check(&EndRequest { kind: Kind::default(), subscription: subscription.clone(), reason, actor })?;
        check(&EndResponse { kind: Kind::default(), subscription, presentity: presentity.unwrap_or_default() })?;
    }

    #[test]
    fn events_of_subscriptions(texts in prop::array::uniform10(text()), package in text(), cause in cause(), what in 0..4_usize, reason in prop::option::of(0..6_usize), actor in maybe()) {
        let [id, time, edge_id, subscription, presentity, watcher, expires_at, user_agent, transport, call_id] = texts;
        let what = [SubscriptionChange::Active, SubscriptionChange::Refreshed, SubscriptionChange::Resynced, SubscriptionChange::Terminated][what];
        let reasons = [EndReason::Timeout, EndReason::Unsubscribed, EndReason::Rejected, EndReason::Unreachable, EndReason::Moved, EndReason::Deactivated];
        let reason = reason.map(|at| reasons[at]);
        check(&SubscriptionEvent { kind: Kind::default(), id, time, cause, edge_id, subscription, presentity, watcher, what, reason, actor, expires_at, user_agent, transport, call_id, package })?;
    }

    #[test]
    fn events_of_features([id, time, presentity, feature] in prop::array::uniform4(text()), cause in cause(), (old, new) in (state(), state()), (version, watchers) in any::<(u64, u64)>(), origin in origin(), is_applied: bool, (reason, actor) in (maybe(), maybe()), asked in prop::option::of((status(), values()))) {
        let asked = asked.map(|(status, values)| Asked { status, values });
        let outcome = if is_applied { FeatureOutcome::Applied } else { FeatureOutcome::Refused };
        check(&FeatureEvent { kind: Kind::default(), id, time, cause, presentity, feature, old, new, version, origin, actor, asked, outcome, reason: reason.clone(), watchers, edge_id: reason.clone(), asked_at: reason, work: work(is_applied) })?;
    }

    #[test]
    fn events_of_notifies([id, time, edge_id, subscription, presentity] in prop::array::uniform5(text()), package in text(), cause in cause(), features in prop::collection::vec(text(), 0..4), outcome in 0..3_usize, status: Option<u16>, took_ms: u64) {
        let outcome = [NotifyOutcome::Delivered, NotifyOutcome::Failed, NotifyOutcome::Expired][outcome];
        check(&NotifyEvent { kind: Kind::default(), id, time, cause, edge_id, subscription, presentity, features, outcome, status, took_ms, package, waited_ms: status.map(u64::from), by_job: took_ms > 7 })?;
    }

    #[test]
    fn events_of_refusals([id, time] in prop::array::uniform2(text()), cause in cause(), [edge_id, presentity, watcher, actor, source, transport, method, detail, user_agent, call_id] in prop::array::uniform10(maybe()), status: u16, reason in 0..RefusedReason::ALL.len(), count: u64) {
        let reason = RefusedReason::ALL[reason];
        check(&RefusedEvent { kind: Kind::default(), id, time, cause, edge_id, presentity, watcher, actor, source, transport, method, status, reason, detail, user_agent, call_id, count })?;
    }

    #[test]
    fn errors(code: u16, description in text(), field in maybe()) {
        let reply = ErrorReply { error: ErrorBody { code, description, field } };
        let json = serde_json::to_vec(&reply).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<ErrorReply>(&json).unwrap(), &reply);
        prop_assert_eq!(read_reply::<GetResponse>(&json), Err(reply.error));
    }
}
