//! What this worker knows of the subjects that it asks: who listens, who is silent, what was said last. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use crate::feature::Presentity;
use crate::worker::route::Route;

/// A set waits for whoever listens and has never answered, no more often than this.
const WAITS_EVERY: Duration = Duration::from_mins(1);
/// A request that nothing waits for is sent no more often.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// A subject that nobody asked about for so long makes room.
const IDLE_FOR: Duration = Duration::from_hours(1);
/// Looking for room costs time for each subject.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// What is known, by subject. What does not fit is not remembered: it is waited for each time.
#[derive(Debug)]
pub(crate) struct Known {
    capacity: usize,
    notes: HashMap<Box<str>, Note, ahash::RandomState>,
    swept_at: Option<Instant>,
}

/// What is known of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    touched_at: Instant,
    /// Whether anybody listened last.
    pub(crate) is_listening: bool,
    silence: Option<Silence>,
    /// Of the last answer.
    pub(crate) latency: Option<Duration>,
    /// What was wrong last, and when.
    pub(crate) error: Option<(Box<str>, SystemTime)>,
    /// Of an owner that is not there.
    absence: Option<Absence>,
}

/// Somebody listens, and has never answered.
#[derive(Debug, Clone, Copy)]
struct Silence {
    set_waited_at: Option<Instant>,
    asked_at: Instant,
}

/// An owner went away.
#[derive(Debug, Clone)]
pub(crate) struct Absence {
    pub(crate) since: SystemTime,
    /// Whose state was asked for then.
    pub(crate) presentity: Presentity,
    pub(crate) feature: Box<str>,
}

/// What becomes of a request to a subject where no responder was ever heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It waits for an answer.
    Wait,
    /// It goes on without; `is_asked`: the request is sent all the same.
    GoOn { is_asked: bool },
}

impl Known {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, notes: HashMap::default(), swept_at: None }
    }

    /// What becomes of a request where no responder was ever heard.
    pub(crate) fn pass(&mut self, subject: &str, route: Route, now: Instant) -> Pass {
        let Some(note) = self.notes.get_mut(subject) else { return Pass::Wait };
        note.touched_at = now;
        let Some(silence) = &mut note.silence else { return Pass::Wait };
        let is_over = |at: Instant, time: Duration| now.saturating_duration_since(at) >= time;
        if route == Route::Set && silence.set_waited_at.is_none_or(|at| is_over(at, WAITS_EVERY)) {
            silence.set_waited_at = Some(now);
            silence.asked_at = now;
            return Pass::Wait;
        }
        let is_asked = is_over(silence.asked_at, ASKED_EVERY);
        if is_asked {
            silence.asked_at = now;
        }
        Pass::GoOn { is_asked }
    }

    /// Somebody listens and did not answer, nor ever has. Whether that is news.
    pub(crate) fn is_silent(&mut self, subject: &str, route: Route, now: Instant) -> bool {
        let Some(note) = self.note(subject, now) else { return false };
        note.is_listening = true;
        let is_news = note.silence.is_none();
        let silence = note.silence.get_or_insert(Silence { set_waited_at: None, asked_at: now });
        if route == Route::Set {
            silence.set_waited_at = Some(now);
        }
        is_news
    }

    /// It answered. Returns its absence, if that is over now.
    pub(crate) fn answered(&mut self, subject: &str, took: Duration, now: Instant) -> Option<Absence> {
        let note = self.note(subject, now)?;
        (note.is_listening, note.silence, note.latency) = (true, None, Some(took));
        note.absence.take()
    }

    /// Somebody listens, but the answer did not come in time.
    pub(crate) fn was_late(&mut self, subject: &str, now: Instant) {
        if let Some(note) = self.note(subject, now) {
            note.is_listening = true;
        }
    }

    /// Nobody listens. With an absence: an owner is gone.
    pub(crate) fn nobody(&mut self, subject: &str, absence: Option<Absence>, now: Instant) {
        // what nobody ever listened to needs no note
        if absence.is_none() && !self.notes.contains_key(subject) {
            return;
        }
        if let Some(note) = self.note(subject, now) {
            (note.is_listening, note.silence) = (false, None);
            self.absent(subject, absence, now);
        }
    }

    /// An owner is gone, or is not asked for a while.
    pub(crate) fn absent(&mut self, subject: &str, absence: Option<Absence>, now: Instant) {
        if let (Some(absence), Some(note)) = (absence, self.note(subject, now)) {
            note.absence.get_or_insert(absence);
        }
    }

    /// Something was wrong with it.
    pub(crate) fn failed(&mut self, subject: &str, why: &str, now: Instant, utc: SystemTime) {
        if let Some(note) = self.note(subject, now) {
            note.error = Some((why.into(), utc));
        }
    }

    pub(crate) fn of(&self, subject: &str) -> Option<&Note> {
        self.notes.get(subject)
    }

    /// It is forgotten, as if it had never been asked.
    pub(crate) fn forget(&mut self, subject: &str) {
        self.notes.remove(subject);
    }

    /// Subjects where somebody listened at some time, or an owner is gone.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.notes.keys().map(|subject| &**subject)
    }

    /// Owners that are gone.
    pub(crate) fn absences(&self) -> impl Iterator<Item = (&str, &Absence)> {
        self.notes.iter().filter_map(|(subject, note)| Some((&**subject, note.absence.as_ref()?)))
    }

    /// The note of a subject, made where there is room.
    fn note(&mut self, subject: &str, now: Instant) -> Option<&mut Note> {
        if !self.notes.contains_key(subject) {
            if self.notes.len() >= self.capacity {
                self.sweep(now);
            }
            if self.notes.len() >= self.capacity {
                return None;
            }
            let note = Note { touched_at: now, is_listening: false, silence: None, latency: None, error: None, absence: None };
            self.notes.insert(subject.into(), note);
        }
        let note = self.notes.get_mut(subject)?;
        note.touched_at = now;
        Some(note)
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
            return;
        }
        self.swept_at = Some(now);
        self.notes.retain(|_, note| now.saturating_duration_since(note.touched_at) < IDLE_FOR);
    }
}

impl Note {
    /// Whether whoever listens only looks on.
    pub(crate) const fn is_observed(&self) -> bool {
        self.silence.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    const SUBJECT: &str = "dfks.responder.set.a_example.DoNotDisturb";

    #[test]
    fn whoever_never_answers_is_waited_for_once_a_minute_by_sets_alone() {
        let (mut known, start) = (Known::new(4), clock::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(known.pass(SUBJECT, Route::Set, start), Pass::Wait, "nothing is known");
        assert!(known.is_silent(SUBJECT, Route::Set, start) && !known.is_silent(SUBJECT, Route::Set, start));
        for (route, seconds, want) in [
            (Route::Set, 0, Pass::GoOn { is_asked: false }),
            (Route::Get, 0, Pass::GoOn { is_asked: false }),
            (Route::Get, 1, Pass::GoOn { is_asked: true }),
            (Route::Set, 1, Pass::GoOn { is_asked: false }),
            (Route::Set, 59, Pass::GoOn { is_asked: true }),
            (Route::Set, 60, Pass::Wait),
            (Route::Set, 61, Pass::GoOn { is_asked: true }),
            (Route::Get, 600, Pass::GoOn { is_asked: true }),
        ] {
            assert_eq!(known.pass(SUBJECT, route, at(seconds)), want, "{route:?} after {seconds} s");
        }
        assert!(known.of(SUBJECT).unwrap().is_observed());
        known.answered(SUBJECT, Duration::from_millis(3), at(601));
        assert_eq!(known.pass(SUBJECT, Route::Set, at(601)), Pass::Wait);
        assert!(known.is_silent(SUBJECT, Route::Get, at(602)));
        assert_eq!(known.pass(SUBJECT, Route::Set, at(602)), Pass::Wait, "only a get has waited");
        known.nobody(SUBJECT, None, at(603));
        assert_eq!((known.pass(SUBJECT, Route::Get, at(603)), known.of(SUBJECT).unwrap().is_listening), (Pass::Wait, false));
    }

    #[test]
    fn an_owner_that_is_gone_is_known_until_it_answers() {
        let (mut known, now) = (Known::new(4), clock::now());
        let since = clock::utc_now();
        let absence = || Some(Absence { since, presentity: Presentity::parse("sip:alice@a.example").unwrap(), feature: "X".into() });
        known.nobody("nobody's", None, now);
        assert_eq!(known.subjects().count(), 0, "of no interest");
        known.nobody(SUBJECT, absence(), now);
        known.absent(SUBJECT, absence().map(|absence| Absence { since: since + IDLE_FOR, ..absence }), now);
        assert_eq!(known.absences().map(|(subject, absence)| (subject, absence.since)).collect::<Vec<_>>(), [(SUBJECT, since)]);
        assert!(known.answered(SUBJECT, Duration::ZERO, now).is_some_and(|absence| absence.since == since));
        assert!(known.answered(SUBJECT, Duration::ZERO, now).is_none() && known.absences().count() == 0);
    }

    #[test]
    fn takes_no_more_room_than_there_is() {
        let (mut known, now) = (Known::new(2), clock::now());
        for subject in ["a", "b", "c"] {
            known.was_late(subject, now);
        }
        assert_eq!(known.subjects().count(), 2);
        assert!(!known.is_silent("c", Route::Get, now), "no room");
        known.was_late("a", now + IDLE_FOR);
        known.was_late("c", now + IDLE_FOR);
        assert!(known.of("b").is_none() && known.of("c").is_some());
    }
}
