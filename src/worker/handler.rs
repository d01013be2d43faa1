//! Handles one request: asks responders, script and store. I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};

use crate::bus::feature_record::FeatureRecord;
use crate::bus::message::{GetRequest, GetResponse, Kind, Origin, RouteSetRequest, RouteSetResponse};
use crate::bus::trace::Cause;
use crate::feature::{FeatureSpec, FeatureState, FeatureTable, Presentity};
use crate::worker::change::Change;
use crate::worker::commit::{Claim, commit};
use crate::worker::error::{Refusal, StoreError};
use crate::worker::get;
use crate::worker::metrics::WorkerMetrics;
use crate::worker::metrics::label::DropReason;
use crate::worker::responder::Responders;
use crate::worker::responder::answer::{Answer, Approval};
use crate::worker::route::Route;
use crate::worker::script::Script;
use crate::worker::script::call::Call;
use crate::worker::script::live::Routes;
use crate::worker::set::Set;
use crate::worker::store::{MAX_ATTEMPTS, Store, Versioned};

/// Most time that a get spends on storing what responders said; the next get can store it.
const LAST_KNOWN_WITHIN: Duration = Duration::from_millis(250);

/// What requests need. Has no state of its own.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) table: Arc<FeatureTable>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) responders: Arc<Responders>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<WorkerMetrics>,
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
        let asked = join_all(specs.iter().map(|spec| self.responders.get(&presentity, spec, cause)));
        let (stored, answers) = join(self.store.read(&presentity), asked).await;
        let stored = stored?;
        let asked_over: BTreeMap<_, _> = specs.iter().map(|spec| (spec.name(), stored.record.state(spec).version)).collect();
        let answers: Vec<_> = specs.into_iter().zip(answers).collect();
        // The answer is what was stored, also when another worker stored it first.
        let known = self.keep_last_known(&presentity, stored, &answers, cause).await;
        let script = self.routes.script_with(Route::Get);
        let mut features = Vec::with_capacity(answers.len());
        for (spec, answer) in &answers {
            let (mut before, is_news) = get::known(spec, &known.record, answer);
            if is_news {
                let now = known.record.state(spec);
                // It was changed since the responder was asked.
                let is_newer = now.version != asked_over.get(spec.name()).copied().unwrap_or_default();
                before = if is_newer { now } else { before };
            }
            features.push(match &script {
                Some(script) => self.scripted(script, &presentity, spec, before).await,
                None => before,
            });
        }
        Ok(GetResponse { kind: Kind::default(), presentity: presentity.as_str().to_owned(), features })
    }

    /// Stores the responders' answers as the last known states. A get neither fails nor waits long for it.
    ///
    /// Returns the record to apply the answers to.
    async fn keep_last_known(
        &self,
        presentity: &Presentity,
        stored: Versioned,
        answers: &[(&FeatureSpec, Answer)],
        cause: &Cause,
    ) -> Versioned {
        let Some(record) = get::last_known(&stored.record, answers) else { return stored };
        let kept = self.write_last_known(presentity, &stored.record, record, stored.revision, answers, cause);
        match tokio::time::timeout(LAST_KNOWN_WITHIN, kept).await {
            Ok(Ok(None)) => stored,
            Ok(Ok(Some(latest))) => latest,
            Ok(Err(_)) | Err(_) => {
                self.metrics.dropped(DropReason::LastKnownNotStored);
                stored
            }
        }
    }

    /// Returns the latest record if another worker was faster.
    async fn write_last_known(
        &self,
        presentity: &Presentity,
        asked_over: &FeatureRecord,
        mut record: FeatureRecord,
        mut revision: u64,
        answers: &[(&FeatureSpec, Answer)],
        cause: &Cause,
    ) -> Result<Option<Versioned>, StoreError> {
        let mut latest = None;
        for attempt in 0..MAX_ATTEMPTS {
            // It is nobody's request, and nobody is told: the phone that asked is.
            record.put_change("", revision, &[], None, self.store.utc_now());
            if self.store.write(presentity, &record, revision, cause).await? {
                return Ok(latest);
            }
            self.store.pause(attempt).await;
            let theirs = self.store.read_latest(presentity).await?;
            // What has changed since the responder was asked is newer than its answer.
            let still = answers.iter().filter(|(spec, _)| theirs.record.state(spec).version == asked_over.state(spec).version);
            let still: Vec<_> = still.cloned().collect();
            let Some(again) = get::last_known(&theirs.record, &still) else { return Ok(Some(theirs)) };
            (record, revision) = (again, theirs.revision);
            latest = Some(theirs);
        }
        Err(StoreError::Conflict(MAX_ATTEMPTS))
    }

    /// The state after the script's get route; as it was before, where that fails.
    async fn scripted(&self, script: &Arc<Script>, presentity: &Presentity, spec: &FeatureSpec, before: FeatureState) -> FeatureState {
        let call = Call::new(Route::Get, Arc::clone(&self.table), presentity.as_str(), None, before.clone());
        match self.routes.run(script, Route::Get, &presentity.domain_token(), call, &self.metrics).await {
            Ok(verdict) => get::scripted(spec, &before, &verdict.change).unwrap_or(before),
            Err(_counted) => before,
        }
    }

    /// Answers `dfks.route.set`.
    ///
    /// # Errors
    ///
    /// [`Refusal`]. A change denied by script or responder is not an error but a response with the reason.
    pub(crate) async fn set(&self, request: RouteSetRequest, cause: &Cause) -> Result<RouteSetResponse, Refusal> {
        let presentity = Presentity::parse(&request.presentity)?;
        let spec = self.table.require(&request.feature)?;
        spec.check_values(&request.values)?;
        let claim = Claim::of(&request, cause);
        let param = request.param.filter(|_| request.origin == Origin::Mi);
        let mut set = Set {
            table: &self.table,
            spec,
            origin: request.origin,
            request: Change::requested(request.status, request.values),
            script: Change::default(),
            responder: None,
        };
        let stored = self.store.read(&presentity).await?;
        if stored.record.is_changed_by(claim.request()) {
            return Ok(found(&presentity, stored.record.state(spec)));
        }
        if let Some(answer) = claim.check(&stored.record, self.store.utc_now())? {
            return Ok(answer);
        }
        let requested = set.requested(&stored.record)?;
        if let Some(script) = self.routes.script_with(Route::Set) {
            let call = Call::new(Route::Set, Arc::clone(&self.table), presentity.as_str(), param.as_deref(), requested);
            let verdict = self.routes.run(&script, Route::Set, &presentity.domain_token(), call, &self.metrics).await?;
            if let Some(why) = verdict.denied {
                return Ok(denied(&presentity, stored.record.state(spec), why));
            }
            set.script = verdict.change;
        }
        let scripted = set.scripted(&stored.record).map_err(Refusal::Route)?;
        match self.responders.set(&presentity, spec, scripted, request.origin, param, cause).await {
            Approval::Change(change) => set.responder = Some(change),
            Approval::Nobody => {}
            Approval::Denied(why) => return Ok(denied(&presentity, stored.record.state(spec), why)),
            Approval::Missing(unapproved) => return Err(Refusal::Responder(unapproved)),
        }
        commit(&self.store, &presentity, &set, stored, &claim).await
    }
}

/// The answer to a request that comes again because its answer was lost: the change is made. What was before it is not known.
fn found(presentity: &Presentity, state: FeatureState) -> RouteSetResponse {
    RouteSetResponse { changed: true, logged: true, denied: None, ..unchanged(presentity, state) }
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
    }
}
