//! How a responder is asked: one that was heard before, and whoever listens where none ever was. I/O.
//!
//! ```text
//! owner ────▶ breaker ─▶ request ─▶ answer · late · failed · nobody there
//! unheard ──▶ request in a task of its own ─▶ answer in time: an owner from now on
//!                                         └─▶ silence: an observer, gone on without ─ late answer: owner, asked again
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant as Deadline;

use crate::bus::RequestError;
use crate::bus::request::Screen;
use crate::bus::span::SpanKind;
use crate::bus::subject::Pattern;
use crate::runtime::clock;
use crate::worker::metrics::WorkerMetrics;
use crate::worker::metrics::label::DropReason;
use crate::worker::responder::answer::{self, Answer, AnswerError};
use crate::worker::responder::breaker::Input;
use crate::worker::responder::known::{Absence, Pass};
use crate::worker::responder::memory::Noted;
use crate::worker::responder::question::{Asked, Put, Question};
use crate::worker::responder::{Again, Responders, Waiting, lock};
use crate::worker::route::Route;

/// Who has never answered is listened to for so long, whoever waits for it: one that is always late is heard all the same.
const ASIDE_FOR: Duration = Duration::from_secs(5);
/// A get that has waited so long for somebody unheard asks whether somebody looks on.
const WONDERS_AFTER: Duration = Duration::from_millis(30);
/// So long a get waits for somebody unheard while somebody looks on.
const LOOKED_ON_PATIENCE: Duration = Duration::from_millis(150);
/// It is asked no more often whether somebody looks on.
const LOOKED_ON_FOR: Duration = Duration::from_secs(2);

impl Responders {
    /// Asks the owner of a subject.
    pub(super) async fn ask_owner(self: &Arc<Self>, question: &Question) -> Asked {
        let Some(_waiting) = Waiting::enter(self, &question.subject) else {
            self.metrics.dropped(DropReason::ResponderBusy);
            let said = Some("too many requests wait for it".into());
            return self.counted(question, Asked { answer: Answer::Failed, said }, Duration::ZERO);
        };
        if !self.break_or_pass(question, Input::Ask) {
            let mut known = lock(&self.known);
            known.absent(&question.subject, Some(self.absence(question)), clock::now());
            let said = known.of(&question.subject).and_then(|note| note.error.as_ref()).map(|(said, _)| said.clone());
            drop(known);
            return self.counted(question, Asked { answer: Answer::Open, said }, Duration::ZERO);
        }
        let put = self.put(question, self.timeout).await;
        if let Some(input) = put.shows() {
            self.break_or_pass(question, input);
        }
        let took = put.took;
        let asked = self.conclude(question, put, true).await;
        self.counted(question, asked, took)
    }

    /// Asks whoever listens on a subject where no responder was ever heard.
    pub(super) async fn ask_unheard(self: &Arc<Self>, question: Question) -> Asked {
        let started_at = clock::now();
        let pass = lock(&self.known).pass(&question.subject, question.route, started_at);
        if let Pass::GoOn { is_asked } = pass {
            if is_asked {
                let _asked = self.ask_aside(question.clone(), None);
            }
            return self.counted(&question, Answer::Observer.into(), Duration::ZERO);
        }
        let (sender, receiver) = oneshot::channel();
        if !self.ask_aside(question.clone(), Some(sender)) {
            self.metrics.dropped(DropReason::ResponderBusy);
            let said = Some("too many requests wait for it".into());
            return self.counted(&question, Asked { answer: Answer::Failed, said }, Duration::ZERO);
        }
        let asked = self.waited(question.route, receiver).await;
        let now = clock::now();
        let took = now.saturating_duration_since(started_at);
        let asked = asked.unwrap_or_else(|| {
            if lock(&self.known).is_silent(&question.subject, question.route, now) {
                WorkerMetrics::observer_found(&question.subject);
            }
            Answer::Observer.into()
        });
        self.counted(&question, asked, took)
    }

    /// What comes in time; `None`: silence.
    async fn waited(&self, route: Route, mut receiver: oneshot::Receiver<Asked>) -> Option<Asked> {
        let started_at = Deadline::now();
        let mut deadline = started_at + self.timeout;
        if self.timeout > LOOKED_ON_PATIENCE {
            if let Ok(asked) = tokio::time::timeout(WONDERS_AFTER, &mut receiver).await {
                return asked.ok();
            }
            if self.is_looked_on().await {
                deadline = started_at
                    + match route {
                        Route::Get => LOOKED_ON_PATIENCE,
                        // whoever asks has to hear what is made of it
                        Route::Set => self.timeout.min(self.bus.timeout() / 2),
                    };
            }
        }
        tokio::time::timeout_at(deadline, &mut receiver).await.ok()?.ok()
    }

    /// Asks in a task of its own, and hands the outcome to whoever still waits for it. `false`: there is no room for it.
    fn ask_aside(self: &Arc<Self>, question: Question, waits: Option<oneshot::Sender<Asked>>) -> bool {
        let (Some(waiting), Ok(place)) = (Waiting::enter(self, &question.subject), Arc::clone(&self.aside).try_acquire_owned()) else {
            return false;
        };
        let this = Arc::clone(self);
        self.tasks.spawn_brief("responder", async move {
            let _places = (waiting, place);
            let put = this.put(&question, this.timeout.max(ASIDE_FOR)).await;
            let is_heard = put.is_heard();
            let asked = this.conclude(&question, put, false).await;
            let is_late = waits.is_none_or(|waits| waits.send(asked).is_err());
            if is_heard && is_late {
                // what it says is news to whoever went on without it
                this.again(Again::State { presentity: question.presentity, feature: question.feature, cause: question.cause });
            }
        });
        true
    }

    /// Sends a question, and waits for its answer.
    async fn put(&self, question: &Question, timeout: Duration) -> Put {
        let pattern = match question.route {
            Route::Get => Pattern::ResponderGet,
            Route::Set => Pattern::ResponderSet,
        };
        let started_at = clock::now();
        let mut screen = Screen::of_responders();
        let asked = (pattern, question.subject.to_string());
        let mut span = question.cause.open(pattern.as_str(), SpanKind::Client);
        span.tell("messaging.destination.name", || question.subject.to_string());
        let reply: Result<Map<String, Value>, RequestError> =
            self.bus.request_responder(asked, question.payload.clone(), span.cause(), timeout, &mut screen).await;
        span.end(reply.as_ref().err());
        let answer = match (reply, self.table.require(&question.feature)) {
            (Ok(reply), Ok(spec)) => answer::read(&self.table, spec, question.route, reply),
            (Ok(_), Err(unknown)) => Err(AnswerError::Feature(unknown)),
            (Err(error), _) => answer::missing(error),
        };
        let trouble = answer::trouble(&answer, screen.came.as_deref(), timeout);
        Put { answer, trouble, took: clock::now().saturating_duration_since(started_at) }
    }

    /// Remembers what came, and who was heard.
    async fn conclude(self: &Arc<Self>, question: &Question, put: Put, is_owned: bool) -> Asked {
        let Question { subject, presentity, .. } = question;
        let is_heard = put.is_heard();
        let now = clock::now();
        {
            let mut silent = lock(&self.silent);
            if matches!(put.answer, Ok(Answer::None)) {
                silent.insert(subject, now);
            } else {
                silent.remove(subject);
            }
        }
        // an owner that is gone is late only, where somebody else listens
        let is_missed = is_owned && matches!(put.answer, Ok(Answer::Timeout)) && self.is_looked_on().await;
        if is_heard {
            self.heard(question, put.took).await;
        } else {
            let mut known = lock(&self.known);
            match &put.answer {
                Ok(Answer::None) => known.nobody(subject, is_owned.then(|| self.absence(question)), now),
                Ok(Answer::Timeout) if is_owned => {
                    known.was_late(subject, now);
                    known.absent(subject, is_missed.then(|| self.absence(question)), now);
                }
                _ => {}
            }
        }
        let is_trouble = is_heard || is_owned;
        let trouble = put.trouble.filter(|_| is_trouble);
        if let Some(trouble) = &trouble {
            lock(&self.known).failed(subject, trouble, now, self.bus.utc_now());
            let reason = put.answer.as_ref().err().map_or("timeout", AnswerError::reason);
            self.metrics.responder_failed(subject, presentity, reason, trouble, &answer::anonymous(trouble, presentity));
        }
        Asked { answer: put.answer.unwrap_or(Answer::Failed), said: trouble.map(Into::into) }
    }

    /// A responder answered: it owns the subject. Where it was gone, what it says of its domain is compared.
    async fn heard(&self, question: &Question, took: Duration) {
        let subject = &question.subject;
        let absence = lock(&self.known).answered(subject, took, clock::now());
        // another worker that missed it has heard it since, and has it compared
        let is_back = absence.is_some_and(|absence| self.memory.last_heard(subject).is_none_or(|heard| heard <= absence.since));
        match self.memory.hear(subject, is_back, &question.cause).await {
            Noted::Written { is_first: true } => WorkerMetrics::owner_found(subject),
            Noted::Written { is_first: false } if is_back && question.route == Route::Get => {
                tracing::info!(%subject, "responder is back: what phones are told is compared with what it says");
                let (domain, feature) = (question.presentity.domain_token().into(), question.feature.clone());
                self.again(Again::Domain { domain, feature });
            }
            Noted::Written { .. } | Noted::Known => {}
            Noted::NotWritten(error) => self.metrics.owner_not_stored(subject, &error),
        }
    }

    /// Whether somebody listens to everything: what is said on a subject that is nobody's is heard.
    async fn is_looked_on(&self) -> bool {
        let now = clock::now();
        if let Some((at, is_looked_on)) = *lock(&self.looked_on)
            && now.saturating_duration_since(at) < LOOKED_ON_FOR
        {
            return is_looked_on;
        }
        let is_looked_on = self.bus.is_looked_on().await;
        *lock(&self.looked_on) = Some((now, is_looked_on));
        is_looked_on
    }

    fn absence(&self, question: &Question) -> Absence {
        let Question { presentity, feature, .. } = question;
        Absence { since: self.bus.utc_now(), presentity: presentity.clone(), feature: feature.clone() }
    }

    fn counted(&self, question: &Question, asked: Asked, took: Duration) -> Asked {
        let outcome = asked.answer.outcome();
        self.metrics.responder_asked(question.route, outcome, took);
        self.features.answered(question.route, &question.feature, outcome);
        asked
    }
}
