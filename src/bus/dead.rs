//! Dead letters, as whoever operates dfks handles them: listed, shown, published again, taken away. I/O.
//!
//! A letter is published again to the stream that it came from, and is taken away once that stream has acknowledged it. It is carried
//! out once, however often that is tried: under the sender's own message id, and under one of the letter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, HeaderValue, Message};
use bytes::Bytes;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::bus::answer::{self, Delivered};
use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::message::{Deed, ErrorBody, HandEvent};
use crate::bus::pull::{DEAD_DELIVERIES, DEAD_DETAIL, DEAD_MSG_ID, DEAD_REASON, DEAD_SUBJECT, REPLAYED};
use crate::bus::reading::{Consumer, From, Reach};
use crate::bus::setup::JOB_LIFETIME;
use crate::bus::subject::Pattern;
use crate::bus::trace::{self, Cause, TRACEPARENT, TRACESTATE};
use crate::feature::error::Shown;
use crate::feature::{Presentity, domain_token};
use crate::runtime::clock;

/// Most letters of one list.
pub(crate) const MOST_LISTED: usize = 10_000;
/// `err_code` of a message that is not there.
const NO_MESSAGE: u64 = 10037;
/// The same, of one that cannot be removed because it is not there.
const NOT_DELETED: u64 = 10057;

/// What was given up on.
///
/// Shape: `{"seq":7,"subject":"dfks.command.set","time":"…","reason":"denied","detail":"not on this tariff","msg_id":"order-4711",…}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeadLetter {
    /// Its sequence in the stream of dead letters.
    pub(crate) seq: u64,
    /// The subject that it came on.
    pub(crate) subject: String,
    /// When it was given up: RFC 3339 UTC.
    pub(crate) time: String,
    /// Why, a word.
    pub(crate) reason: String,
    /// What was wrong, for people.
    pub(crate) detail: String,
    /// The `Nats-Msg-Id` that its sender gave it.
    pub(crate) msg_id: Option<String>,
    /// Who gave it up: `command` or `notify`.
    pub(crate) stage: String,
    /// How often it was delivered.
    pub(crate) deliveries: Option<u64>,
    /// The id of what led to it.
    pub(crate) cause: Cause,
    /// What it said: JSON, or a text where it is none.
    pub(crate) payload: Value,
}

/// Which letters are meant: those that everything given fits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DeadFilter {
    pub(crate) reason: Option<String>,
    /// In any spelling.
    pub(crate) presentity: Option<String>,
    /// As in a presentity, or as it stands in subjects.
    pub(crate) domain: Option<String>,
}

/// Letters, the newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadList {
    pub(crate) letters: Vec<DeadLetter>,
    /// Whether there may be older ones.
    pub(crate) has_more: bool,
}

/// Why nothing was done about a letter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DeadError {
    /// It is not there, or not any more.
    #[error("there is no dead letter {0}")]
    Unknown(u64),
    /// It says that it came on a subject that is no work queue's.
    #[error("dead letter {seq} came on '{}': only what came on {} or {} is published again", Shown(.subject), .taken[0], .taken[1])]
    Foreign { seq: u64, subject: String, taken: [String; 2] },
    /// The stream did not answer, or refused.
    #[error("dead letter {seq}: {source}")]
    Bus { seq: u64, source: RequestError },
    /// It was published again, and could not be taken away.
    #[error("dead letter {seq} is published again and still listed: {source}")]
    StillThere { seq: u64, source: RequestError },
}

impl DeadError {
    /// The same as an error reply.
    pub(crate) fn body(&self) -> ErrorBody {
        let code = match self {
            Self::Unknown(_) => 404,
            Self::Foreign { .. } => 409,
            Self::Bus { .. } | Self::StillThere { .. } => 503,
        };
        ErrorBody { code, description: self.to_string(), field: Some("seq".to_owned()) }
    }
}

impl DeadLetter {
    fn read(message: &Message, delivered: Delivered) -> Self {
        let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name)).map(HeaderValue::as_str);
        let text = |name: &str| header(name).unwrap_or_default().to_owned();
        let subject = header(DEAD_SUBJECT).unwrap_or(&message.subject).to_owned();
        let payload = serde_json::from_slice(&message.payload);
        Self {
            seq: delivered.stream_seq,
            subject,
            time: clock::rfc3339(UNIX_EPOCH + Duration::from_nanos(delivered.stored_at)),
            reason: text(DEAD_REASON),
            detail: text(DEAD_DETAIL),
            msg_id: header(DEAD_MSG_ID).map(str::to_owned),
            stage: message.subject.rsplit('.').next().unwrap_or_default().to_owned(),
            deliveries: header(DEAD_DELIVERIES).and_then(|count| count.parse().ok()),
            cause: Cause::of_headers(message.headers.as_ref()),
            payload: payload.unwrap_or_else(|_no_json| String::from_utf8_lossy(&message.payload).into()),
        }
    }

    /// Whose it is, where its payload says so.
    pub(crate) fn presentity(&self) -> Option<Presentity> {
        Presentity::parse(self.payload.get("presentity")?.as_str()?).ok()
    }

    /// Its feature, or those of a NOTIFY job.
    pub(crate) fn features(&self) -> Vec<&str> {
        let states = self.payload.get("states").and_then(Value::as_array).into_iter().flatten();
        let states = states.filter_map(|state| state.get("feature"));
        self.payload.get("feature").into_iter().chain(states).filter_map(Value::as_str).collect()
    }
}

impl DeadFilter {
    /// Checks what is asked for.
    ///
    /// # Errors
    ///
    /// 400: no presentity.
    pub(crate) fn check(mut self) -> Result<Self, ErrorBody> {
        if let Some(presentity) = &mut self.presentity {
            let parsed = Presentity::parse(presentity)
                .map_err(|error| ErrorBody::bad(Some("presentity"), format!("Invalid presentity '{}': {error}", Shown(presentity))))?;
            parsed.as_str().clone_into(presentity);
        }
        self.domain = self.domain.map(|domain| domain_token(&domain));
        Ok(self)
    }

    fn takes(&self, letter: &DeadLetter) -> bool {
        let of = letter.presentity();
        let is_of = |presentity: &String| of.as_ref().is_some_and(|of| of.as_str() == presentity);
        let is_in = |domain: &String| of.as_ref().is_some_and(|of| of.domain_token() == *domain);
        self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.presentity.as_ref().is_none_or(is_of)
            && self.domain.as_ref().is_none_or(is_in)
    }
}

impl Bus {
    /// The last dead letters that fit, the newest last.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the stream cannot be read.
    pub(crate) async fn dead_letters(&self, filter: &DeadFilter, limit: usize) -> Result<DeadList, RequestError> {
        let stream = self.subjects().stream("DEAD");
        let reach = Reach { most: limit.min(MOST_LISTED), looked_at: u64::MAX, timeout: self.timeout() };
        let fits =
            |message: &Message, delivered: Delivered| Some(DeadLetter::read(message, delivered)).filter(|letter| filter.takes(letter));
        let last = self.read_last(&stream, &[], reach, fits).await?;
        Ok(DeadList { letters: last.kept, has_more: last.has_more })
    }

    /// One dead letter.
    ///
    /// # Errors
    ///
    /// [`DeadError`]
    pub(crate) async fn dead_letter(&self, seq: u64) -> Result<DeadLetter, DeadError> {
        self.raw_dead_letter(seq).await.map(|(_message, letter)| letter)
    }

    /// Publishes a dead letter again where it came from, takes it away once that is acknowledged, and says so as an event.
    ///
    /// # Errors
    ///
    /// [`DeadError`]: it is a dead letter as before, unless the error says otherwise.
    pub(crate) async fn replay_dead(&self, seq: u64, actor: Option<&str>) -> Result<DeadLetter, DeadError> {
        let (message, letter) = self.raw_dead_letter(seq).await?;
        let pattern = self.pattern_of(&letter).ok_or_else(|| {
            let taken = [self.subjects().all_commands(), self.subjects().all_notify()];
            DeadError::Foreign { seq, subject: letter.subject.clone(), taken }
        })?;
        let payload = match pattern {
            Pattern::Notify => renewed(&letter.payload, self.utc_now()).unwrap_or_else(|| message.payload.clone()),
            _ => message.payload.clone(),
        };
        let headers = headers_again(&message, &letter);
        self.store(pattern, letter.subject.clone(), headers, payload).await.map_err(|source| DeadError::Bus { seq, source })?;
        let removed = self.remove_dead(seq).await;
        self.tell_dead(Deed::DeadReplayed, &letter, actor).await;
        match removed {
            // somebody else was faster: it is published once
            Ok(()) | Err(DeadError::Unknown(_)) => Ok(letter),
            Err(DeadError::Bus { seq, source }) => Err(DeadError::StillThere { seq, source }),
            Err(error) => Err(error),
        }
    }

    /// Takes a dead letter away, and says so as an event.
    ///
    /// # Errors
    ///
    /// [`DeadError`]: it is a dead letter as before.
    pub(crate) async fn drop_dead(&self, seq: u64, actor: Option<&str>) -> Result<DeadLetter, DeadError> {
        let (_message, letter) = self.raw_dead_letter(seq).await?;
        self.remove_dead(seq).await?;
        self.tell_dead(Deed::DeadDropped, &letter, actor).await;
        Ok(letter)
    }

    async fn raw_dead_letter(&self, seq: u64) -> Result<(Message, DeadLetter), DeadError> {
        let stream = self.subjects().stream("DEAD");
        let failed = |source| DeadError::Bus { seq, source };
        let consumer = Consumer::of_large(self, &stream);
        let made = consumer.make(Vec::new(), From::Sequence(seq.max(1)), self.timeout()).await.map_err(failed)?;
        let mut found = None;
        let take = |message: &Message, _is_first: bool| {
            let delivered = message.reply.as_deref().and_then(answer::delivered).filter(|delivered| delivered.stream_seq == seq);
            found = delivered.map(|delivered| (message.clone(), DeadLetter::read(message, delivered)));
            false
        };
        consumer.read(made.num_pending.min(1), self.timeout(), take).await.map_err(failed)?;
        found.ok_or(DeadError::Unknown(seq))
    }

    /// Which of our work queues a letter came from. Whoever may write dead letters is not to have us publish elsewhere.
    fn pattern_of(&self, letter: &DeadLetter) -> Option<Pattern> {
        match self.subjects().domain_of_command(&letter.subject) {
            Ok(None) => return Some(Pattern::CommandSet),
            Ok(Some(_)) => return Some(Pattern::CommandSetDomain),
            Err(_) => {}
        }
        self.subjects().edge_of_notify(&letter.subject).is_some_and(|edge_id| !edge_id.is_empty()).then_some(Pattern::Notify)
    }

    async fn remove_dead(&self, seq: u64) -> Result<(), DeadError> {
        let call = format!("STREAM.MSG.DELETE.{}", self.subjects().stream("DEAD"));
        let body = json!({ "seq": seq, "no_erase": true });
        match self.api_with::<_, IgnoredAny>(&call, &body, self.timeout()).await {
            Ok(_removed) => Ok(()),
            Err(RequestError::Stream { code: NO_MESSAGE | NOT_DELETED, .. }) => Err(DeadError::Unknown(seq)),
            Err(source) => Err(DeadError::Bus { seq, source }),
        }
    }

    async fn tell_dead(&self, what: Deed, letter: &DeadLetter, actor: Option<&str>) {
        let presentity = letter.presentity();
        let event = HandEvent {
            presentity: presentity.as_ref().map(|presentity| presentity.as_str().to_owned()),
            seq: Some(letter.seq),
            subject: Some(letter.subject.clone()),
            reason: Some(letter.reason.clone()),
            msg_id: letter.msg_id.clone(),
            ..HandEvent::new(what, actor, self.utc_now(), letter.cause.clone())
        };
        let domain = presentity.map(|presentity| presentity.domain_token());
        self.tell_by_hand(domain.as_deref(), &event).await;
    }

    /// Publishes the event of what was done by hand, and waits until it is stored. One that is not is counted, and logged.
    pub(crate) async fn tell_by_hand(&self, domain: Option<&str>, event: &HandEvent) {
        let subject = self.subjects().event_hand(domain);
        let Ok(payload) = serde_json::to_vec(event) else { return };
        if let Err(error) = self.store(Pattern::EventHand, subject, trace::headers(&event.cause), payload.into()).await {
            tracing::warn!(what = event.what.as_str(), %error, "what was done by hand is not in the stream of events");
        }
    }
}

/// Of a letter that is published again: the trace of the first time, and the id that its sender gave it.
fn headers_again(message: &Message, letter: &DeadLetter) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let old = |name: &'static str| message.headers.as_ref().and_then(|headers| headers.get(name)).cloned();
    for name in [TRACEPARENT, TRACESTATE, DEAD_MSG_ID] {
        if let Some(value) = old(name) {
            headers.insert(name, value);
        }
    }
    // not the sender's: the stream would take the letter for a copy of what it gave up a moment ago
    headers.insert(NATS_MESSAGE_ID, format!("{REPLAYED}{}-{}", letter.seq, letter.time).as_str());
    headers
}

/// A NOTIFY job that is too old by now, worth telling for as long as a new one. `None`: it is not too old.
fn renewed(job: &Value, now: SystemTime) -> Option<Bytes> {
    let mut job = job.as_object()?.clone();
    let not_after = job.get("not_after").and_then(Value::as_str).and_then(clock::parse_rfc3339)?;
    if not_after > now {
        return None;
    }
    job.insert("not_after".to_owned(), clock::rfc3339(now + JOB_LIFETIME).into());
    serde_json::to_vec(&job).ok().map(Into::into)
}
