//! What follows from a worker's answer to a set command: NOTIFY jobs, events and the reply. Pure.

use std::time::SystemTime;

use crate::bus::EdgeWatchers;
use crate::bus::message::{Asked, ErrorBody, FeatureChange, FeatureEvent, Kind, Origin, RouteSetResponse, SetResponse};
use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Presentity};
use crate::notify::job::{self, EdgeJob, Notice};

/// What is asked for and by whom, time, cause and source of event ids of a plan.
#[derive(Debug)]
pub(crate) struct Occasion<'a, I> {
    pub(crate) asked: &'a Asked,
    pub(crate) actor: Option<&'a str>,
    pub(crate) origin: Origin,
    pub(crate) now: SystemTime,
    /// When it was asked for.
    pub(crate) asked_at: SystemTime,
    /// Id of what led to it.
    pub(crate) cause: &'a Cause,
    pub(crate) new_id: I,
}

/// Why a command that a worker answered has no effect: the reply, 403 with the reason, and the event that says so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Denied {
    pub(crate) reply: ErrorBody,
    /// `outcome` is `refused`.
    pub(crate) event: FeatureEvent,
}

impl<I: FnMut() -> String> Occasion<'_, I> {
    /// What the worker denied, if it did.
    pub(crate) fn denied(&mut self, answer: &RouteSetResponse) -> Option<Denied> {
        let reason = answer.denied.as_ref()?;
        let reply = ErrorBody::new(403, reason);
        let event = self.event(&answer.presentity, (&answer.previous, &answer.state), Some(self.asked), 0);
        Some(Denied { reply, event: event.refused(reason).worked(self.asked_at, answer.work.clone()) })
    }

    /// The event of a change that failed, with the state as it is.
    pub(crate) fn failed(&mut self, presentity: &Presentity, state: &FeatureState, error: &ErrorBody) -> FeatureEvent {
        self.event(presentity.as_str(), (state, state), Some(self.asked), 0).refused(&error.description).worked(self.asked_at, None)
    }

    /// One job for each edge that holds a watcher, with all that changed; none where the route suppressed the NOTIFY, or
    /// where there is nothing to tell.
    ///
    /// A command's NOTIFY always has its body: that a route left the feature unassigned is ignored, as in OpenSIPS. Features
    /// that changed along with it are told unless they are unassigned or the route suppressed them.
    pub(crate) fn jobs(&mut self, answer: &RouteSetResponse, watchers: &[EdgeWatchers]) -> Vec<EdgeJob> {
        if !answer.notify {
            return Vec::new();
        }
        let states = told(answer);
        let Ok(presentity) = Presentity::parse(&answer.presentity) else { return Vec::new() };
        let notice = Notice {
            presentity: &presentity,
            states: &states,
            assigned: true,
            skip_edge: None,
            skip_subscription: None,
            cause: self.cause,
        };
        job::jobs(&notice, watchers, self.now)
    }

    /// The event of the feature asked for, then one for each that changed along with it.
    pub(crate) fn events(&mut self, answer: &RouteSetResponse, watchers: u64) -> Vec<FeatureEvent> {
        let first = self.event(&answer.presentity, (&answer.previous, &answer.state), Some(self.asked), watchers);
        let mut events = vec![first.worked(self.asked_at, answer.work.clone())];
        for (state, old) in answer.also.iter().zip(&answer.also_previous) {
            events.push(self.event(&answer.presentity, (old, state), None, watchers));
        }
        events
    }

    fn event(
        &mut self,
        presentity: &str,
        (old, new): (&FeatureState, &FeatureState),
        asked: Option<&Asked>,
        watchers: u64,
    ) -> FeatureEvent {
        let change = FeatureChange { presentity, old, new, origin: self.origin, actor: self.actor, asked };
        FeatureEvent::new((self.new_id)(), self.now, self.cause.clone(), change).notified(watchers)
    }
}

/// The states that watchers are told.
pub(crate) fn told(answer: &RouteSetResponse) -> Vec<FeatureState> {
    let also = answer.also.iter().filter(|state| state.assigned && state.notify).cloned();
    std::iter::once(FeatureState { assigned: true, notify: true, ..answer.state.clone() }).chain(also).collect()
}

/// How many subscriptions will be notified: none where the route suppressed the NOTIFY.
#[must_use]
pub(crate) fn notified(answer: &RouteSetResponse, watchers: &[EdgeWatchers]) -> u64 {
    if answer.notify { watchers.iter().map(|edge| edge.count).sum() } else { 0 }
}

/// The reply to a command that took effect.
#[must_use]
pub(crate) fn reply(answer: RouteSetResponse, watchers: u64) -> SetResponse {
    let RouteSetResponse { presentity, state, notify, also, .. } = answer;
    SetResponse { kind: Kind::default(), presentity, state, watchers, notify, also }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::FeatureOutcome;
    use crate::feature::{Source, Status, Values};

    fn state(feature: &str, version: u64) -> FeatureState {
        FeatureState { status: Status::ON, version, source: Source::Store, ..FeatureState::new(feature) }
    }

    fn answer() -> RouteSetResponse {
        RouteSetResponse {
            kind: Kind::default(),
            presentity: "sip:alice@h".into(),
            state: state("CallForwardingAlways", 7),
            previous: state("CallForwardingAlways", 6),
            also: vec![state("DoNotDisturb", 3)],
            also_previous: vec![state("DoNotDisturb", 2)],
            notify: true,
            changed: true,
            denied: None,
            logged: false,
            work: None,
        }
    }

    fn edges() -> Vec<EdgeWatchers> {
        [("edge-0", 2), ("edge-1", 1), ("edge-2", 0)].map(|(edge_id, count)| EdgeWatchers { edge_id: edge_id.into(), count }).into()
    }

    fn with<T>(make: impl FnOnce(&mut Occasion<'_, &mut dyn FnMut() -> String>) -> T) -> T {
        let mut number = 0;
        let mut new_id = || {
            number += 1;
            format!("id-{number}")
        };
        let cause = Cause("c".into());
        let asked = Asked { status: Status::OFF, values: Values::new() };
        make(&mut Occasion {
            asked: &asked,
            actor: Some("crm"),
            origin: Origin::Mi,
            now: SystemTime::UNIX_EPOCH,
            asked_at: SystemTime::UNIX_EPOCH,
            cause: &cause,
            new_id: &mut new_id,
        })
    }

    #[test]
    fn each_edge_with_watchers_gets_one_job_with_all_that_changed() {
        let jobs = with(|occasion| occasion.jobs(&answer(), &edges()));
        let seen: Vec<_> = jobs.iter().map(|job| &*job.edge_id).collect();
        assert_eq!(seen, ["edge-0", "edge-1"]);
        assert_ne!(jobs[0].job.id, jobs[1].job.id);
        for EdgeJob { job, .. } in jobs {
            let features: Vec<_> = job.states.iter().map(|state| (state.feature.as_str(), state.version)).collect();
            assert_eq!(features, [("CallForwardingAlways", 7), ("DoNotDisturb", 3)]);
            assert_eq!((job.presentity.as_str(), job.assigned, job.skip, &*job.cause.0), ("sip:alice@h", true, None, "c"));
            assert_eq!(job.not_after, "1970-01-01T01:00:00.000Z");
        }
    }

    #[test]
    fn a_command_is_told_even_where_the_route_left_it_unassigned() {
        let mut answer = answer();
        answer.state.assigned = false;
        answer.also[0].assigned = false;
        let jobs = with(|occasion| occasion.jobs(&answer, &edges()));
        assert!(jobs[0].job.assigned);
        assert_eq!(
            jobs[0].job.states.iter().map(|state| (state.feature.as_str(), state.assigned)).collect::<Vec<_>>(),
            [("CallForwardingAlways", true)]
        );
        assert!(!reply(answer, 3).state.assigned, "the reply says what is");
    }

    #[test]
    fn what_the_route_suppresses_is_not_told() {
        let mut along = answer();
        along.also[0].notify = false;
        assert_eq!(with(|occasion| occasion.jobs(&along, &edges()))[0].job.states.len(), 1);
        let all = RouteSetResponse { notify: false, ..answer() };
        assert_eq!(with(|occasion| occasion.jobs(&all, &edges())), []);
        assert_eq!((notified(&all, &edges()), notified(&answer(), &edges()), notified(&answer(), &[])), (0, 3, 0));
    }

    #[test]
    fn every_feature_that_changed_has_its_event() {
        let events = with(|occasion| occasion.events(&answer(), 3));
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.feature.as_str(), event.old.version, event.new.version, event.version, event.watchers))
            .collect();
        assert_eq!(seen, [("CallForwardingAlways", 6, 7, 7, 3), ("DoNotDisturb", 2, 3, 3, 3)]);
        assert!(
            events.iter().all(|event| event.outcome == FeatureOutcome::Applied && event.reason.is_none() && event.origin == Origin::Mi)
        );
        assert_ne!(events[0].id, events[1].id);
        let asked: Vec<_> = events.iter().map(|event| (event.actor.as_deref(), event.asked.as_ref().map(|asked| asked.status))).collect();
        assert_eq!(asked, [(Some("crm"), Some(Status::OFF)), (Some("crm"), None)], "what came along was not asked for");
    }

    #[test]
    fn a_denied_change_is_refused_with_its_reason() {
        assert_eq!(with(|occasion| occasion.denied(&answer())), None);
        let answer = RouteSetResponse { denied: Some("not allowed here".into()), state: state("CallForwardingAlways", 6), ..answer() };
        let denied = with(|occasion| occasion.denied(&answer)).unwrap();
        assert_eq!((denied.reply.code, denied.reply.description.as_str()), (403, "not allowed here"));
        assert_eq!((denied.event.outcome, denied.event.reason.as_deref()), (FeatureOutcome::Refused, Some("not allowed here")));
        assert_eq!((denied.event.old, denied.event.new, denied.event.watchers), (answer.previous, answer.state, 0));
    }
}
