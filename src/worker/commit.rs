//! Storing what a set comes to: the change, the duty to tell it and the mark of a durable command are one write. I/O.
//!
//! ```text
//! write ─(acknowledged)─▶ answer
//!   ├──(another worker was faster)─▶ read ─▶ put over the latest record, write again
//!   └──(no acknowledgement)─▶ read ─▶ ours stands there: answer ─ else write again, until the request's time is over
//! ```

use std::time::{Duration, SystemTime};

use crate::bus::RequestError;
use crate::bus::feature_record::{Duty, FeatureRecord, Fenced};
use crate::bus::message::{CommandPlace, Kind, Origin, RouteSetRequest, RouteSetResponse};
use crate::bus::trace::Cause;
use crate::feature::Presentity;
use crate::runtime::clock;
use crate::worker::error::{Refusal, StoreError};
use crate::worker::set::{Outcome, Set};
use crate::worker::store::{MAX_ATTEMPTS, Store, Versioned};

/// So long before its time is over a change is not begun to be stored: whoever asks again just after that sees what became of it.
const STORE_TAKES: Duration = Duration::from_millis(20);

/// Who wants a change, until when, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Id of the request.
    request: Box<str>,
    cause: Cause,
    origin: Origin,
    actor: Option<Box<str>>,
    /// Subscription of the phone that asks.
    subscription: Option<String>,
    not_after: Option<SystemTime>,
    /// Id of a durable command.
    command: Option<String>,
    place: Option<CommandPlace>,
    /// The feature, and the version that it must still have.
    only_over: Option<(Box<str>, u64)>,
}

impl Claim {
    /// The claim of a request. One that has no id gets one.
    pub(crate) fn of(request: &RouteSetRequest, cause: &Cause) -> Self {
        let id = request.request.clone().unwrap_or_else(crate::bus::trace::new_id);
        Self {
            request: id.into(),
            cause: cause.clone(),
            origin: request.origin,
            actor: request.actor.as_deref().map(Into::into),
            subscription: request.subscription.clone(),
            not_after: request.not_after.as_deref().and_then(clock::parse_rfc3339),
            command: request.command.clone(),
            place: request.place.clone(),
            only_over: request.if_version.map(|version| (request.feature.as_str().into(), version)),
        }
    }

    /// Id of the request.
    pub(crate) fn request(&self) -> &str {
        &self.request
    }

    /// Whether nobody waits for it any more when it is stored.
    fn is_late(&self, now: SystemTime) -> bool {
        self.not_after.is_some_and(|not_after| now + STORE_TAKES > not_after)
    }

    /// The answer that it has already, if it was carried out.
    ///
    /// # Errors
    ///
    /// [`Refusal::Passed`]: it is a durable command that was carried out before, or one that was sent before one that was;
    /// [`Refusal::Late`]; [`Refusal::Changed`]: the feature has another version than the change is for.
    pub(crate) fn check(&self, record: &FeatureRecord, now: SystemTime) -> Result<Option<RouteSetResponse>, Refusal> {
        let fenced = self.command.as_deref().map_or(Fenced::No, |command| record.fence(command, self.place.as_ref(), now));
        match fenced {
            Fenced::Answered(answer) => Ok(Some(answer.clone())),
            Fenced::Passed => Err(Refusal::Passed),
            Fenced::No if self.is_late(now) => Err(Refusal::Late),
            Fenced::No if self.only_over.as_ref().is_some_and(|(feature, version)| !record.is_at(feature, *version)) => {
                Err(Refusal::Changed)
            }
            Fenced::No => Ok(None),
        }
    }

    /// What is to be stored over this revision, and the answer. `None`: nothing changes.
    fn applied(
        &self,
        presentity: &Presentity,
        outcome: Outcome,
        revision: u64,
        now: SystemTime,
    ) -> (Option<FeatureRecord>, RouteSetResponse) {
        let Outcome { previous, state, also, also_previous, notify, changed, mut record } = outcome;
        let presentity = presentity.as_str().to_owned();
        let answer = RouteSetResponse {
            kind: Kind::default(),
            presentity,
            state,
            previous,
            also,
            also_previous,
            notify,
            changed,
            denied: None,
            logged: record.is_some(),
            work: None,
        };
        if let Some(record) = &mut record {
            let features: Vec<String> = std::iter::once(&answer.state).chain(&answer.also).map(|state| state.feature.clone()).collect();
            let duty = notify.then(|| self.duty(&answer, features.clone(), now));
            record.put_change(&self.request, revision, &features, duty, now);
            if let Some(command) = &self.command {
                record.put_done(command, self.place.as_ref(), answer.clone(), now);
            }
        }
        (record, answer)
    }

    fn duty(&self, answer: &RouteSetResponse, features: Vec<String>, now: SystemTime) -> Duty {
        Duty {
            features,
            // A command's NOTIFY always has its body: that a route left the feature unassigned is ignored, as in OpenSIPS.
            assigned: self.origin.is_command() || answer.state.assigned,
            skip: self.subscription.clone(),
            request: self.request.clone(),
            cause: self.cause.clone(),
            actor: self.actor.clone(),
            at: clock::rfc3339(now),
            learnt: Vec::new(),
        }
    }
}

/// What a set came to.
#[derive(Debug)]
pub(crate) enum Committed {
    /// It is stored.
    Stored(RouteSetResponse),
    /// Nothing is to be stored. Over a record that is only known this holds if the record is still that one.
    Unchanged(RouteSetResponse),
    /// The record that was only known is another by now; nothing is stored.
    OutOfDate,
}

/// A write that nobody confirmed. For as long as the key has this revision, it may still be made.
struct Lost {
    after: u64,
    why: RequestError,
}

/// Stores what the set comes to; put over the latest record again for as long as other workers are faster. Not so where the
/// record was only known: script and responder were shown what may have been long ago.
///
/// # Errors
///
/// [`Refusal`]. Nothing is changed then, but with [`StoreError::Unconfirmed`]: then the change may be made, and its phones are
/// told of it.
pub(crate) async fn commit(
    store: &Store,
    presentity: &Presentity,
    set: &Set<'_>,
    stored: Versioned,
    claim: &Claim,
) -> Result<Committed, Refusal> {
    let mut lost = None;
    let committed = attempt(store, presentity, set, stored, claim, &mut lost).await;
    // Whatever the last attempt ended with: what is said must hold for an earlier one, too.
    committed.map_err(|refusal| lost.map_or(refusal, |lost: Lost| StoreError::Unconfirmed(lost.why).into()))
}

async fn attempt(
    store: &Store,
    presentity: &Presentity,
    set: &Set<'_>,
    mut stored: Versioned,
    claim: &Claim,
    lost: &mut Option<Lost>,
) -> Result<Committed, Refusal> {
    let started_at = clock::now();
    for attempt in 0..MAX_ATTEMPTS {
        let now = store.utc_now();
        if let Some(answer) = claim.check(&stored.record, now)? {
            return Ok(Committed::Unchanged(answer));
        }
        let (record, answer) = claim.applied(presentity, set.outcome(&stored.record).map_err(Refusal::Route)?, stored.revision, now);
        let mut is_beaten = false;
        if let Some(record) = record {
            match store.write(presentity, &record, stored.revision, &claim.cause).await {
                Ok(true) => return Ok(Committed::Stored(answer)),
                Ok(false) if stored.is_known_only => return Ok(Committed::OutOfDate),
                Ok(false) => is_beaten = clock::now().saturating_duration_since(started_at) >= store.timeout(),
                Err(StoreError::Unconfirmed(why)) => *lost = Some(Lost { after: stored.revision, why }),
                Err(error) => return Err(error.into()),
            }
        } else if stored.is_known_only || store.is_latest(presentity, stored.revision).await? {
            return Ok(Committed::Unchanged(answer));
        }
        store.pause(attempt).await;
        let before = std::mem::replace(&mut stored, store.read_latest(presentity).await?);
        if stored.record.is_changed_by(&claim.request) {
            return Ok(Committed::Stored(answer));
        }
        if before.is_known_only && before.revision != stored.revision {
            // A write over a revision that is gone is refused whenever it comes.
            lost.take();
            return Ok(Committed::OutOfDate);
        }
        // Over another revision than its own, the lost write is refused whenever it comes.
        lost.take_if(|lost| lost.after != stored.revision);
        if is_beaten {
            return Err(StoreError::Conflict(attempt + 1).into());
        }
    }
    Err(StoreError::Conflict(MAX_ATTEMPTS).into())
}
