//! Handles one request: asks responders, script and store. I/O.

use std::sync::Arc;

use futures_util::future::{join, join_all};

use crate::bus::message::{GetRequest, GetResponse, Kind, Origin, RouteSetRequest, RouteSetResponse, WorkPart};
use crate::bus::span::{SpanKind, name};
use crate::bus::trace::Cause;
use crate::feature::{FeatureSpec, FeatureState, FeatureTable, Presentity, Status};
use crate::worker::change::Change;
use crate::worker::commit::{Claim, Committed, commit};
use crate::worker::error::{Refusal, StoreError};
use crate::worker::get;
use crate::worker::metrics::WorkerMetrics;
use crate::worker::responder::Responders;
use crate::worker::responder::answer::Approval;
use crate::worker::route::Route;
use crate::worker::script::RouteError;
use crate::worker::script::call::{Call, Verdict};
use crate::worker::script::live::Routes;
use crate::worker::set::{Ends, Set};
use crate::worker::store::{Store, Versioned};
use crate::worker::work::WorkLog;

/// Words of what came of a part of the work.
const OK: &str = "ok";
const DENIED: &str = "denied";

/// What requests need. Has no state of its own.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) table: Arc<FeatureTable>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) responders: Arc<Responders>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<WorkerMetrics>,
}

/// Who is told by the answer itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Subscription of the phone that the answer is for.
    pub(crate) subscription: Option<&'a str>,
    pub(crate) cause: &'a Cause,
}

impl Handler {
    /// Answers `dfks.get`.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub(crate) async fn get(&self, request: &GetRequest, cause: &Cause) -> Result<GetResponse, Refusal> {
        let presentity = Presentity::parse(&request.presentity)?;
        let specs = get::asked(&self.table, request.features.as_deref(), request.package.as_deref())?;
        let asking = join_all(specs.iter().map(|spec| self.responders.get(&presentity, spec, cause)));
        let (stored, answers) = join(self.store.read(&presentity, request.strict), asking).await;
        let answers: Vec<_> = specs.into_iter().zip(answers).collect();
        // The answer is what was stored, also when another worker stored it first.
        let told = Asker { subscription: request.subscription.as_deref(), cause };
        let known = self.learn(&presentity, stored?, &answers, told).await;
        let states: Vec<_> = answers.iter().map(|(spec, answer)| (*spec, known.state(spec, answer))).collect();
        let features = self.scripted(&presentity, states).await;
        Ok(GetResponse { kind: Kind::default(), presentity: presentity.as_str().to_owned(), features })
    }

    /// The states after the script's get route; each as it was before, where that fails.
    pub(super) async fn scripted(&self, presentity: &Presentity, states: Vec<(&FeatureSpec, FeatureState)>) -> Vec<FeatureState> {
        let Some(script) = self.routes.script_with(Route::Get) else { return states.into_iter().map(|(_, state)| state).collect() };
        let name = presentity.as_str();
        let calls = states.iter().map(|(_, state)| Call::new(Route::Get, Arc::clone(&self.table), name, None, state.clone())).collect();
        let verdicts = self.routes.run_each(&script, Route::Get, &presentity.domain_token(), calls, &self.metrics).await;
        let after = |((spec, before), verdict): ((&FeatureSpec, FeatureState), Result<Verdict, RouteError>)| match verdict {
            Ok(verdict) => get::scripted(spec, name, &before, &verdict.change).unwrap_or(before),
            Err(_counted) => before,
        };
        states.into_iter().zip(verdicts).map(after).collect()
    }

    /// Answers `dfks.route.set`.
    ///
    /// # Errors
    ///
    /// [`Refusal`]. A change denied by script or responder is not an error but a response with the reason.
    pub(crate) async fn set(&self, request: RouteSetRequest, cause: &Cause) -> Result<RouteSetResponse, Refusal> {
        let mut work = WorkLog::begin(self.store.utc_now());
        let answer = self.worked(request, cause, &mut work).await?;
        Ok(RouteSetResponse { work: Some(Box::new(work.end())), ..answer })
    }

    async fn worked(&self, request: RouteSetRequest, cause: &Cause, work: &mut WorkLog) -> Result<RouteSetResponse, Refusal> {
        let presentity = Presentity::parse(&request.presentity)?;
        let spec = self.table.require(&request.feature)?;
        spec.check_values(&request.values)?;
        let claim = Claim::of(&request, cause);
        let asked = AskedSet {
            presentity: &presentity,
            spec,
            origin: request.origin,
            change: Change::requested(request.status, request.values),
            ends: self.ends(spec, request.until),
            if_version: request.if_version,
            param: request.param.filter(|_| request.origin == Origin::Mi),
            watcher: request.watcher.as_deref(),
            claim: &claim,
            cause,
        };
        if let Some(known) = self.known(&asked) {
            let revision = known.revision;
            let came_to = Box::pin(self.set_over(&asked, known, work)).await;
            let has_held = match &came_to {
                Ok(Committed::Stored(_)) | Err(Refusal::Store(_)) => true,
                Ok(Committed::OutOfDate) => false,
                // What ends without a write holds if the record is still that one.
                Ok(Committed::Unchanged(_)) | Err(_) => {
                    let has_held = self.store.is_known_still_so(&presentity, revision).await?;
                    work.did(WorkPart::Read, None, OK);
                    has_held
                }
            };
            self.store.tried_known(has_held);
            if has_held {
                return answer(came_to?);
            }
        }
        let stored = self.store.read(&presentity, false).await?;
        work.did(WorkPart::Read, None, OK);
        answer(Box::pin(self.set_over(&asked, stored, work)).await?)
    }

    /// The record to begin from without a read. None where a responder may be asked: it would be told what may have been long ago.
    fn known(&self, asked: &AskedSet<'_>) -> Option<Versioned> {
        if self.responders.is_free_to_set(asked.presentity, asked.spec) { self.store.known(asked.presentity) } else { None }
    }

    async fn set_over(&self, asked: &AskedSet<'_>, stored: Versioned, work: &mut WorkLog) -> Result<Committed, Refusal> {
        let &AskedSet { presentity, spec, origin, claim, cause, .. } = asked;
        let mut set = Set {
            table: &self.table,
            spec,
            origin,
            request: asked.change.clone(),
            ends: asked.ends.clone(),
            script: Change::default(),
            responder: None,
        };
        let as_it_is = || stored.record.state(spec);
        if stored.record.is_changed_by(claim.request()) {
            return Ok(Committed::Unchanged(found(presentity, as_it_is(), asked.if_version)));
        }
        if let Some(answer) = claim.check(&stored.record, self.store.utc_now())? {
            return Ok(Committed::Unchanged(answer));
        }
        let requested = set.requested(&stored.record)?;
        if let Some(script) = self.routes.script_with(Route::Set) {
            let call = Call::new(Route::Set, Arc::clone(&self.table), presentity.as_str(), asked.param.as_deref(), requested)
                .asked_by(origin, asked.watcher)
                .instead_of(as_it_is());
            let span = cause.open(name::SCRIPT, SpanKind::Internal);
            let verdict = self.routes.run(&script, Route::Set, &presentity.domain_token(), call, &self.metrics).await;
            span.end(verdict.as_ref().err());
            let verdict = verdict?;
            work.did(WorkPart::Script, None, if verdict.denied.is_some() { DENIED } else { OK });
            if let Some(why) = verdict.denied {
                return Ok(Committed::Unchanged(denied(presentity, as_it_is(), why)));
            }
            set.script = verdict.change;
        }
        let scripted = set.scripted(&stored.record).map_err(Refusal::Route)?;
        let approval = self.responders.set(presentity, spec, scripted, origin, asked.param.clone(), cause).await;
        if !matches!(approval, Approval::Nobody) {
            work.did(WorkPart::Responder, Some(self.responders.subject_of_set(presentity, spec)), approval.as_str());
        }
        match approval {
            Approval::Nobody => {}
            // somebody listens since a moment ago
            _ if stored.is_known_only => return Ok(Committed::OutOfDate),
            Approval::Change(change) => set.responder = Some(change),
            Approval::Denied(why) => return Ok(Committed::Unchanged(denied(presentity, as_it_is(), why))),
            Approval::Missing(unapproved) => return Err(Refusal::Responder(unapproved)),
        }
        let committed = commit(&self.store, presentity, &set, stored, claim).await;
        work.did(WorkPart::Store, None, if committed.is_ok() { OK } else { "failed" });
        committed
    }

    /// When what is asked for goes off by itself; `until`: as the request says.
    fn ends(&self, spec: &FeatureSpec, until: Option<String>) -> Ends {
        match until {
            Some(until) => Ends::At(until),
            None if self.table.is_visit_that_ends(spec) => Ends::WithVisit(self.store.utc_now()),
            None => Ends::Never,
        }
    }
}

/// A set, read.
struct AskedSet<'a> {
    presentity: &'a Presentity,
    spec: &'a FeatureSpec,
    origin: Origin,
    change: Change,
    ends: Ends,
    if_version: Option<u64>,
    /// Of the command.
    param: Option<String>,
    /// The phone's user, where a phone asks.
    watcher: Option<&'a str>,
    claim: &'a Claim,
    cause: &'a Cause,
}

fn answer(committed: Committed) -> Result<RouteSetResponse, Refusal> {
    match committed {
        Committed::Stored(answer) | Committed::Unchanged(answer) => Ok(answer),
        Committed::OutOfDate => Err(StoreError::Conflict(1).into()),
    }
}

/// The answer to a request that comes again because its answer was lost: the change is made. What was before it is not known.
/// Of a change that was for one version, it was the other way around in that version.
fn found(presentity: &Presentity, state: FeatureState, if_version: Option<u64>) -> RouteSetResponse {
    let before = if_version.map(|version| FeatureState { version, status: Status(!state.status.is_on()), ..state.clone() });
    let previous = before.unwrap_or_else(|| state.clone());
    RouteSetResponse { previous, changed: true, logged: true, denied: None, ..unchanged(presentity, state) }
}

/// The answer to a change that was denied: the state as it is.
fn denied(presentity: &Presentity, state: FeatureState, why: String) -> RouteSetResponse {
    RouteSetResponse { denied: Some(why), ..unchanged(presentity, state) }
}

fn unchanged(presentity: &Presentity, state: FeatureState) -> RouteSetResponse {
    RouteSetResponse {
        kind: Kind::default(),
        presentity: presentity.as_str().to_owned(),
        previous: state.clone(),
        state,
        also: Vec::new(),
        also_previous: Vec::new(),
        notify: true,
        changed: false,
        denied: None,
        logged: false,
        work: None,
    }
}
