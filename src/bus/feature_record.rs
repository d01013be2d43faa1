//! What the bucket of feature states holds: one record a presentity. It is the state, and the log of what is still to be told. Pure.
//!
//! A change and the duty to tell it are one write: the record has the new state of each feature that changed and a [`Duty`]
//! that says who is told. Whoever follows the bucket finds the duty and stores the NOTIFY jobs; nothing has to survive
//! between the two. A bucket keeps one record a key, so a duty that nobody has seen yet is carried on by the next write.
//!
//! The record also fences durable commands: it knows the place in the stream of the last one that was carried out, and the
//! ids that their senders gave in the last minutes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bus::learnt::{Learnt, Pace};
use crate::bus::message::{CommandPlace, RouteSetResponse};
use crate::bus::trace::Cause;
use crate::feature::{FeatureSpec, FeatureState, FeatureTable, Presentity, Source, Status, Values};
use crate::runtime::clock;

/// A duty that is older is nobody's any more: its phones have refreshed since, which brings the full state.
pub(crate) const DUTY_LIFETIME: Duration = Duration::from_hours(1);
/// How long the id that a sender gave its durable command is known: as long as a stream knows it while nothing restarts.
const SENDER_ID_LIFETIME: Duration = Duration::from_mins(2);
/// What was learnt and is covered up by later changes: so many of them are still told as events.
const MAX_COVERED_UP: usize = 16;
/// Sender's ids known for one presentity; over it the oldest is forgotten.
const MAX_SENDER_IDS: usize = 128;
/// How long a request is known after the change that followed its own: whoever has lost its answer asks again before.
const REQUEST_LIFETIME: Duration = Duration::from_secs(10);
/// Earlier requests known for one presentity; over it the oldest is forgotten.
const MAX_EARLIER: usize = 32;

/// The stored states of one presentity's features.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","features":{"DoNotDisturb":{"assigned":true,"status":1,"values":{},"version":3}},
/// "duties":[{"features":["DoNotDisturb"],"request":"5f…","cause":"9c…","at":"2026-11-27T18:00:00.000Z"}]}`.
/// A feature that the table does not know (any more) is kept as it is. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct FeatureRecord {
    presentity: String,
    #[serde(default)]
    features: BTreeMap<String, Stored>,
    /// Oldest first. Each feature is in one of them at the most: the last change of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    duties: Vec<Duty>,
    /// The request of the last change, told or not.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    request: Box<str>,
    /// The requests of the changes before it, and when the next one followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Known>,
    /// The revision that the last change was made over.
    #[serde(default)]
    after: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Box<Done>>,
}

/// The stored state of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    #[serde(default = "yes")]
    assigned: bool,
    status: Status,
    #[serde(default)]
    values: Values,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learnt: Option<Pace>,
    /// When it is to go off by itself: RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// A committed change that phones are to be told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Duty {
    /// The feature asked for, then those that changed along with it.
    pub(crate) features: Vec<String>,
    /// `false`: its NOTIFY has an empty body.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub(crate) assigned: bool,
    /// The subscription whose phone asked for it: its edge tells that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skip: Option<String>,
    /// Id of the request that made the change.
    pub(crate) request: Box<str>,
    /// Id of what led to it.
    pub(crate) cause: Cause,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<Box<str>>,
    /// When it was committed: RFC 3339 UTC.
    pub(crate) at: String,
    /// What a get learnt from responders; empty: whoever asked for the change publishes its event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) learnt: Vec<Learnt>,
}

/// The durable command that was carried out last, its answer, and what is known of those before it.
///
/// It is stored with the change that it made, in one write: when the command comes again because its bridge crashed or stood
/// still, that shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    command: String,
    /// 0 in a record from before places were kept.
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    stored_at_nanos: u64,
    answer: RouteSetResponse,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sender_ids: Vec<Known>,
}

/// An id, and since when it is only remembered, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known(Box<str>, u64);

/// What a record says of a durable command that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fenced<'r> {
    /// It was not carried out, and none after it was.
    No,
    /// It is the one that was carried out last, with this answer.
    Answered(&'r RouteSetResponse),
    /// It, or one that its sender sent after it, was carried out before; or one with its sender's id was.
    Passed,
}

/// What the watchers of a presentity are to be told of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telling<'r> {
    /// The states as phones are shown them; none where there is only an event.
    pub(crate) states: Vec<FeatureState>,
    /// What is to be told as an event.
    pub(crate) learnt: &'r [Learnt],
    /// The duty that asks for it.
    pub(crate) duty: &'r Duty,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde's skip_serializing_if asks for")]
const fn is_true(value: &bool) -> bool {
    *value
}

impl FeatureRecord {
    /// The record of a presentity of which nothing is stored.
    pub(crate) fn new(presentity: &Presentity) -> Self {
        Self { presentity: presentity.as_str().to_owned(), ..Self::default() }
    }

    /// Whose it is, canonical.
    pub(crate) fn presentity(&self) -> &str {
        &self.presentity
    }

    /// The stored state of a feature, else its default.
    pub(crate) fn state(&self, spec: &FeatureSpec) -> FeatureState {
        self.stored(spec.name()).unwrap_or_else(|| spec.default_state())
    }

    /// The state of a feature, if one is stored.
    pub(crate) fn stored(&self, feature: &str) -> Option<FeatureState> {
        self.features.get(feature).map(|stored| stored.state(feature))
    }

    /// All that is stored, in the order of the names, features that no table knows (any more) included.
    pub(crate) fn states(&self) -> impl Iterator<Item = FeatureState> {
        self.features.iter().map(|(feature, stored)| stored.state(feature))
    }

    /// The features that are to go off by themselves: name, version, when.
    pub(crate) fn timed(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.features.iter().filter_map(|(feature, stored)| Some((feature.as_str(), stored.version, stored.until.as_deref()?)))
    }

    /// Whether a feature has this version: nothing has changed it since.
    pub(crate) fn is_at(&self, feature: &str, version: u64) -> bool {
        self.features.get(feature).map_or(0, |stored| stored.version) == version
    }

    /// Puts in the state of a feature, with its version.
    pub(crate) fn put(&mut self, state: &FeatureState) {
        let learnt = self.features.get(&state.feature).and_then(|before| before.learnt);
        let (status, values, until) = (state.status, state.values.clone(), state.until.clone());
        let stored = Stored { assigned: state.assigned, status, values, version: state.version, learnt, until };
        self.features.insert(state.feature.clone(), stored);
    }

    /// Puts in what a get has learnt; `false`, and nothing is changed: this feature was learnt often enough for now.
    pub(crate) fn put_learnt(&mut self, state: &FeatureState, now: SystemTime) -> bool {
        let before = self.features.get(&state.feature).and_then(|before| before.learnt);
        let Some(pace) = Pace::next(before, now) else { return false };
        self.put(state);
        if let Some(stored) = self.features.get_mut(&state.feature) {
            stored.learnt = Some(pace);
        }
        true
    }

    /// What a durable command is to this record.
    pub(crate) fn fence(&self, command: &str, place: Option<&CommandPlace>, now: SystemTime) -> Fenced<'_> {
        let Some(done) = &self.done else { return Fenced::No };
        if done.command == command {
            return Fenced::Answered(&done.answer);
        }
        // A bridge of before does not say where the command stands.
        let Some(place) = place else { return Fenced::No };
        // A stream that was made anew counts from 1 again, and a new leader's clock may be behind: one of the two grows.
        let is_younger = place.sequence > done.sequence || place.stored_at_nanos > done.stored_at_nanos;
        let is_sent_again = place.sender_id.as_deref().is_some_and(|id| done.sent(now).any(|sent| *sent.0 == *id));
        if is_younger && !is_sent_again { Fenced::No } else { Fenced::Passed }
    }

    /// A durable command is carried out with this record.
    pub(crate) fn put_done(&mut self, command: &str, place: Option<&CommandPlace>, answer: RouteSetResponse, now: SystemTime) {
        let mut sender_ids: Vec<_> = self.done.iter().flat_map(|done| done.sent(now)).cloned().collect();
        sender_ids.extend(place.and_then(|place| place.sender_id.clone()).map(|id| Known(id.into(), seconds(now))));
        let surplus = sender_ids.len().saturating_sub(MAX_SENDER_IDS);
        sender_ids.drain(..surplus);
        let (sequence, stored_at_nanos) = place.map_or((0, 0), |place| (place.sequence, place.stored_at_nanos));
        self.done = Some(Box::new(Done { command: command.to_owned(), sequence, stored_at_nanos, answer, sender_ids }));
    }

    /// A request changed these features with this write, over the revision `after`. With a duty its phones are told; without, nobody is told of them,
    /// nor of an earlier change of theirs.
    pub(crate) fn put_change(&mut self, request: &str, after: u64, features: &[String], duty: Option<Duty>, now: SystemTime) {
        self.after = after;
        let before = std::mem::replace(&mut self.request, request.into());
        self.earlier.retain(|earlier| earlier.is_within(REQUEST_LIFETIME, now));
        if !before.is_empty() {
            self.earlier.push(Known(before, seconds(now)));
        }
        let surplus = self.earlier.len().saturating_sub(MAX_EARLIER);
        self.earlier.drain(..surplus);
        for duty in &mut self.duties {
            duty.features.retain(|feature| !features.contains(feature));
        }
        let covered_up = self.duties.iter().filter(|duty| duty.features.is_empty()).count();
        let mut surplus = covered_up.saturating_sub(MAX_COVERED_UP);
        self.duties.retain(|duty| {
            let is_covered_up = duty.features.is_empty();
            let is_surplus = is_covered_up && surplus > 0;
            surplus -= usize::from(is_surplus);
            let is_wanted = !is_covered_up || !duty.learnt.is_empty();
            is_wanted && !is_surplus && duty.is_fresh(now)
        });
        self.duties.extend(duty);
    }

    /// Whether this request has made one of the last changes, or one whose telling may still be owed.
    pub(crate) fn is_changed_by(&self, request: &str) -> bool {
        let mut known = self.duties.iter().map(|duty| &duty.request).chain(self.earlier.iter().map(|earlier| &earlier.0));
        !request.is_empty() && (*self.request == *request || known.any(|id| **id == *request))
    }

    /// What is to be told, oldest first. The states are those of now: where a feature changed again, its newest.
    ///
    /// `told` is a revision whose duties are done with: where the last change was made over it, that change alone is told.
    /// `unseen_since`: a change that was made before, and is not the last one, was seen by itself: its events are published.
    pub(crate) fn tellings(&self, table: &FeatureTable, told: Option<u64>, unseen_since: SystemTime, now: SystemTime) -> Vec<Telling<'_>> {
        let is_last_alone = told.is_some_and(|told| told == self.after);
        let is_meant = |duty: &&Duty| duty.is_fresh(now) && (!is_last_alone || duty.request == self.request);
        let fresh = self.duties.iter().filter(is_meant);
        let telling = |duty| self.telling(duty, table, unseen_since);
        fresh.map(telling).filter(|telling| !telling.states.is_empty() || !telling.learnt.is_empty()).collect()
    }

    fn telling<'r>(&'r self, duty: &'r Duty, table: &FeatureTable, unseen_since: SystemTime) -> Telling<'r> {
        let is_unseen = duty.request == self.request || clock::parse_rfc3339(&duty.at).is_none_or(|at| at >= unseen_since);
        Telling { states: self.shown(duty, table), learnt: if is_unseen { &duty.learnt } else { &[] }, duty }
    }

    /// The subscriptions whose phones have asked for a change since then, or were told what a get has learnt.
    pub(crate) fn pressed_since(&self, since: SystemTime) -> impl Iterator<Item = &str> {
        let is_late = move |duty: &&Duty| clock::parse_rfc3339(&duty.at).is_none_or(|at| at >= since);
        self.duties.iter().filter(is_late).filter_map(|duty| duty.skip.as_deref())
    }

    /// The feature asked for as its duty says, and of the others those that are assigned; of what was learnt, what the script shows.
    fn shown(&self, duty: &Duty, table: &FeatureTable) -> Vec<FeatureState> {
        if !duty.learnt.is_empty() {
            let is_last = |learnt: &&Learnt| duty.features.contains(&learnt.new.feature) && table.require(&learnt.new.feature).is_ok();
            return duty.learnt.iter().filter(is_last).filter_map(Learnt::told).cloned().collect();
        }
        let mut states = Vec::with_capacity(duty.features.len());
        for (at, feature) in duty.features.iter().enumerate() {
            let Ok(spec) = table.require(feature) else { continue };
            let mut state = self.state(spec);
            if at == 0 {
                state.assigned = duty.assigned;
            } else if !state.assigned {
                continue;
            }
            states.push(state);
        }
        states
    }
}

impl Stored {
    fn state(&self, feature: &str) -> FeatureState {
        FeatureState {
            feature: feature.to_owned(),
            assigned: self.assigned,
            status: self.status,
            values: self.values.clone(),
            version: self.version,
            source: Source::Store,
            notify: true,
            until: self.until.clone(),
        }
    }
}

impl Done {
    fn sent(&self, now: SystemTime) -> impl Iterator<Item = &Known> {
        self.sender_ids.iter().filter(move |sent| sent.is_within(SENDER_ID_LIFETIME, now))
    }
}

impl Known {
    fn is_within(&self, lifetime: Duration, now: SystemTime) -> bool {
        self.1 >= seconds(now).saturating_sub(lifetime.as_secs())
    }
}

impl Duty {
    fn is_fresh(&self, now: SystemTime) -> bool {
        clock::parse_rfc3339(&self.at).is_none_or(|at| now.duration_since(at).is_ok_and(|age| age <= DUTY_LIFETIME) || at > now)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[path = "tests/feature_record.rs"]
mod tests;
