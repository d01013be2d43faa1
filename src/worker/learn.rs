//! What a get learns from responders is a change: it is stored with the duty to tell the other phones. I/O.
//!
//! ```text
//! an answer differs from the record ─▶ write over it ─▶ known; the mi bridges tell the other phones and publish the event
//!   ├──(another worker was faster)─▶ read ─▶ what has changed meanwhile is newer than the answer; the rest over the latest record
//!   ├──(learnt often enough for now)─▶ the last known state counts
//!   └──(no acknowledgement in time)─▶ the answer is served to whoever asked; the next get learns it
//! ```

use std::time::{Duration, SystemTime};

use crate::bus::feature_record::{Duty, FeatureRecord};
use crate::bus::learnt::Learnt;
use crate::bus::trace::new_id;
use crate::feature::{FeatureSpec, FeatureState, Presentity};
use crate::runtime::clock;
use crate::worker::error::StoreError;
use crate::worker::get;
use crate::worker::handler::{Asker, Handler};
use crate::worker::metrics::label::DropReason;
use crate::worker::responder::answer::Answer;
use crate::worker::store::{MAX_ATTEMPTS, Versioned};

/// Most time that a get spends on storing what responders said; the next get can store it.
const STORED_WITHIN: Duration = Duration::from_millis(250);

/// What is known once responders have answered.
#[derive(Debug)]
pub(crate) struct Known {
    record: FeatureRecord,
    /// Whether the record has the answers, but for those that do not count.
    is_kept: bool,
}

impl Known {
    /// The state of a feature, given what its responder answered.
    pub(crate) fn state(&self, spec: &FeatureSpec, answer: &Answer) -> FeatureState {
        let (state, is_news) = get::known(spec, &self.record, answer);
        match (is_news, self.is_kept) {
            (false, _) => state,
            // It was changed since the responder was asked, or is learnt too often.
            (true, true) => spec.challenging(self.record.state(spec), &state.values),
            // The version is that of what is stored: the next change has the one after it, and is told.
            (true, false) => FeatureState { version: self.record.state(spec).version, ..state },
        }
    }
}

impl Handler {
    /// Stores what responders said and nobody knew, with the duty to tell everybody but the asker. Neither fails nor waits long.
    ///
    /// `asked_over` is the record as it was when the responders were asked.
    pub(crate) async fn learn(
        &self,
        presentity: &Presentity,
        asked_over: Versioned,
        answers: &[(&FeatureSpec, Answer)],
        asker: Asker<'_>,
    ) -> Known {
        // nobody has said anything, as for most
        if !answers.iter().any(|(_, answer)| matches!(answer, Answer::Change(_))) {
            return Known { record: asked_over.record, is_kept: true };
        }
        let stored = tokio::time::timeout(STORED_WITHIN, Box::pin(self.store_news(presentity, &asked_over, answers, asker)));
        match stored.await {
            Ok(Ok(None)) => Known { record: asked_over.record, is_kept: true },
            Ok(Ok(Some(record))) => Known { record, is_kept: true },
            Ok(Err(_)) | Err(_) => {
                self.metrics.dropped(DropReason::LastKnownNotStored);
                Known { record: asked_over.record, is_kept: false }
            }
        }
    }

    /// Returns the record as it is now; `None`: as it was.
    async fn store_news(
        &self,
        presentity: &Presentity,
        asked_over: &Versioned,
        answers: &[(&FeatureSpec, Answer)],
        asker: Asker<'_>,
    ) -> Result<Option<FeatureRecord>, StoreError> {
        let mut latest: Option<Versioned> = None;
        for attempt in 0..MAX_ATTEMPTS {
            let now = self.store.utc_now();
            let over = latest.as_ref().unwrap_or(asked_over);
            // What has changed since the responder was asked is newer than its answer.
            let is_current = |spec: &FeatureSpec| over.record.state(spec).version == asked_over.record.state(spec).version;
            let current = answers.iter().filter(|(spec, _)| is_current(spec));
            let (record, news) = self.news(presentity, &over.record, current, attempt == 0, now);
            if news.is_empty() {
                return Ok(latest.map(|latest| latest.record));
            }
            let record = self.with_duty(presentity, record, over.revision, news, asker, now).await;
            if self.store.write(presentity, &record, over.revision, asker.cause).await? {
                return Ok(Some(record));
            }
            self.store.pause(attempt).await;
            latest = Some(self.store.read_latest(presentity).await?);
        }
        Err(StoreError::Conflict(MAX_ATTEMPTS))
    }

    /// The record with all answers that differ from it, and each of them: feature, state before, state now.
    fn news<'s: 'a, 'a>(
        &self,
        presentity: &Presentity,
        record: &FeatureRecord,
        answers: impl Iterator<Item = &'a (&'s FeatureSpec, Answer)>,
        is_first_attempt: bool,
        now: SystemTime,
    ) -> (FeatureRecord, Vec<(&'s FeatureSpec, FeatureState, FeatureState)>) {
        let mut updated = None;
        let mut news = Vec::new();
        for (spec, answer) in answers {
            let (state, true) = get::known(spec, record, answer) else { continue };
            let state = FeatureState { values: spec.lasting(state.values.clone()), ..state };
            let updated = updated.get_or_insert_with(|| record.clone());
            if updated.put_learnt(&state, now) {
                news.push((*spec, record.state(spec), state));
            } else if is_first_attempt {
                self.metrics.responder_flaps(&presentity.domain_token(), spec.name());
            }
        }
        (updated.unwrap_or_default(), news)
    }

    async fn with_duty(
        &self,
        presentity: &Presentity,
        mut record: FeatureRecord,
        revision: u64,
        news: Vec<(&FeatureSpec, FeatureState, FeatureState)>,
        asker: Asker<'_>,
        now: SystemTime,
    ) -> FeatureRecord {
        let shown = self.scripted(presentity, news.iter().map(|(spec, _, new)| (*spec, new.clone())).collect()).await;
        let told = |((_, old, new), shown)| Learnt { event: new_id().into(), old, shown: Some(shown).filter(|shown| *shown != new), new };
        let learnt: Vec<_> = news.into_iter().zip(shown).map(told).collect();
        let features: Vec<String> = learnt.iter().map(|learnt| learnt.new.feature.clone()).collect();
        let request: Box<str> = new_id().into();
        let duty = Duty {
            features: features.clone(),
            assigned: true,
            skip: asker.subscription.map(str::to_owned),
            request: request.clone(),
            cause: asker.cause.clone(),
            actor: None,
            at: clock::rfc3339(now),
            learnt,
        };
        record.put_change(&request, revision, &features, Some(duty), now);
        record
    }
}
