//! Where the requests of pages are carried out: each is asked of the bus, within bounds. I/O.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bus::message::{ErrorBody, LogRequest, WhyRequest};
use crate::bus::poll::{self, PollLimits};
use crate::bus::subject::{Pattern, Subjects};
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError};
use crate::console::errand::Errand;
use crate::console::guard;
use crate::console::letter::{self, Fate};
use crate::console::metrics::Metrics;
use crate::console::overview::Overview;
use crate::console::past;
use crate::console::tail::{Tails, Wanted};
use crate::feature::Presentity;
use crate::mi::trace;
use crate::runtime::clock;
use crate::telemetry::accept::Peer;
use crate::telemetry::token::Token;

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 32 * 1024;
/// Timeout of a request's body.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// Most requests in hand.
const MAX_IN_HAND: usize = 32;
/// Timeout of what a mi bridge carries out, and so of everything here.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// Longest cause.
const MAX_CAUSE_BYTES: usize = 128;
/// Longest name that somebody gives himself.
const MAX_NAME_CHARS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    bus: OnceLock<Bus>,
    token: Token,
    /// Whether only this machine reaches it.
    is_local: bool,
    slots: Semaphore,
    tails: Tails,
    overview: Overview,
    metrics: Metrics,
    stopping: CancellationToken,
}

impl Desk {
    pub(super) fn new(is_local: bool, token: Token, own: PrometheusHandle, stopping: CancellationToken) -> Self {
        let (slots, overview) = (Semaphore::new(MAX_IN_HAND), Overview::new(own));
        Self { bus: OnceLock::new(), token, is_local, slots, tails: Tails::default(), overview, metrics: Metrics::new(), stopping }
    }

    pub(super) const fn is_local(&self) -> bool {
        self.is_local
    }

    pub(super) fn attach(&self, bus: Bus) {
        // Once a process.
        let _is_first = self.bus.set(bus);
        self.tails.wake();
    }

    /// Follows the events while pages want them, until the process stops.
    pub(super) async fn tail(&self) {
        self.tails.run(&self.bus, &self.metrics, &self.stopping).await;
    }

    /// Carries a request out.
    ///
    /// # Errors
    ///
    /// Why not: as the bus has it, or of the guard.
    pub(super) async fn carry_out(&self, errand: Errand, peer: Peer, request: Request) -> Result<Response, ErrorBody> {
        let began_at = clock::now();
        let done = self.answer(errand, peer, request).await;
        let status = match &done {
            Ok(response) => response.status(),
            Err(error) => error.code.try_into().unwrap_or_default(),
        };
        self.metrics.request_ended(errand.purpose(), status, clock::now().saturating_duration_since(began_at));
        done
    }

    async fn answer(&self, errand: Errand, peer: Peer, request: Request) -> Result<Response, ErrorBody> {
        guard::check(errand, request.headers(), &self.token, self.is_local)?;
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(ErrorBody::new(429, format!("{MAX_IN_HAND} requests of the console are in hand already")));
        };
        let body = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES));
        let body = match body.await {
            Ok(Ok(body)) => body,
            Ok(Err(_too_large)) => return Err(ErrorBody::new(413, format!("the body is larger than {MAX_BODY_BYTES} bytes"))),
            Err(_late) => return Err(ErrorBody::new(408, format!("no whole body within {BODY_WITHIN:?}"))),
        };
        match tokio::time::timeout(ANSWER_WITHIN, self.asked(errand, peer, &body)).await {
            Ok(answer) => answer,
            Err(_late) => Err(ErrorBody::new(503, format!("no answer within {ANSWER_WITHIN:?}"))),
        }
    }

    async fn asked(&self, errand: Errand, peer: Peer, body: &Bytes) -> Result<Response, ErrorBody> {
        match errand {
            Errand::About => Ok(Json(self.about()).into_response()),
            Errand::Unlock => Ok(Json(json!({})).into_response()),
            Errand::Why => self.why(read(body)?).await,
            Errand::Past => self.past(read(body)?).await,
            Errand::Tail => self.follow(&read(body)?),
            Errand::Set => self.act((Pattern::Set, Subjects::set), peer, read(body)?).await,
            Errand::Resync => self.act((Pattern::Resync, Subjects::resync), peer, read(body)?).await,
            Errand::End => self.act((Pattern::End, Subjects::end), peer, read(body)?).await,
            Errand::Fleet => Ok(Json(self.overview.fleet(self.bus()?).await?).into_response()),
            Errand::Flow => Ok(Json(self.overview.flow(self.bus()?).await?).into_response()),
            Errand::Trace => self.trace(read(body)?).await,
            Errand::DeadList => Ok(Json(letter::listed(self.bus()?, read(body)?).await?).into_response()),
            Errand::DeadReplay => self.letters(Fate::Replay, peer, read(body)?).await,
            Errand::DeadDrop => self.letters(Fate::Drop, peer, read(body)?).await,
            Errand::Log => self.log(peer, read(body)?).await,
        }
    }

    /// What this console may do, for its pages.
    fn about(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "actions": self.token.is_required(),
            "reads_need_token": !self.is_local,
            "is_connected": self.bus.get().is_some_and(Bus::is_connected),
        })
    }

    fn bus(&self) -> Result<&Bus, ErrorBody> {
        self.bus.get().filter(|bus| bus.is_connected()).ok_or_else(|| ErrorBody::new(503, "not connected to NATS"))
    }

    async fn why(&self, request: WhyRequest) -> Result<Response, ErrorBody> {
        let bus = self.bus()?;
        let answer = bus.request::<_, Value>(Pattern::Why, bus.subjects().why(), &request, &Cause::new(), ANSWER_WITHIN).await;
        answer.map(|answer| Json(answer).into_response()).map_err(of_bridge)
    }

    async fn past(&self, of: OfPresentity) -> Result<Response, ErrorBody> {
        let bus = self.bus()?;
        let presentity = Presentity::parse(&of.presentity).map_err(|error| ErrorBody::bad(Some("presentity"), error.to_string()))?;
        let history = bus.history(&presentity, bus.timeout() * 2).await;
        let history = history.map_err(|error| ErrorBody::new(503, format!("the events cannot be read: {error}")))?;
        Ok(Json(past::listed(&history)).into_response())
    }

    fn follow(&self, wanted: &Wanted) -> Result<Response, ErrorBody> {
        let stream = self.tails.follow(wanted, self.bus()?.clone(), self.stopping.clone())?;
        Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response())
    }

    /// Has a mi bridge carry something out, in the name of whoever asks; the answer says the cause too.
    async fn act(
        &self,
        (pattern, subject): (Pattern, fn(&Subjects) -> String),
        peer: Peer,
        mut body: Value,
    ) -> Result<Response, ErrorBody> {
        let bus = self.bus()?;
        let Some(fields) = body.as_object_mut() else { return Err(ErrorBody::new(400, "expected a JSON object")) };
        let actor = actor(fields.get("actor"), peer)?;
        fields.insert("actor".to_owned(), actor.into());
        let cause = Cause::new();
        let mut answer: Value = bus.request(pattern, subject(bus.subjects()), &body, &cause, ANSWER_WITHIN).await.map_err(of_bridge)?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("cause".to_owned(), json!(cause));
        }
        Ok(Json(answer).into_response())
    }
}

impl Desk {
    async fn trace(&self, of: OfCause) -> Result<Response, ErrorBody> {
        let bus = self.bus()?;
        if of.cause.is_empty() || of.cause.len() > MAX_CAUSE_BYTES {
            return Err(ErrorBody::bad(Some("cause"), format!("expected a cause of 1 to {MAX_CAUSE_BYTES} bytes")));
        }
        let traced = trace::trace(bus, &of.cause, bus.timeout() * 3).await;
        let traced = traced.map_err(|error| ErrorBody::new(503, format!("the events cannot be read: {error}")))?;
        Ok(Json(json!({ "picture": trace::draw(&traced), "trace": traced })).into_response())
    }

    async fn letters(&self, fate: Fate, peer: Peer, chosen: letter::Chosen) -> Result<Response, ErrorBody> {
        let actor = actor(chosen.actor.as_ref(), peer)?;
        Ok(Json(letter::act(self.bus()?, fate, chosen, &actor).await?).into_response())
    }

    /// Which processes log at that level now.
    async fn log(&self, peer: Peer, request: LogRequest) -> Result<Response, ErrorBody> {
        let bus = self.bus()?;
        let actor = actor(request.actor.map(Value::String).as_ref(), peer)?;
        let request = LogRequest { actor: Some(actor), ..request };
        let limits = PollLimits { timeout: bus.timeout(), total: bus.timeout() * 2, watchers: 0 };
        let asked = poll::set_log(bus, &request, limits).await;
        let (mut processes, refused) = asked.map_err(|error| ErrorBody::new(503, format!("nobody was asked: {error}")))?;
        processes.retain(|process| process.log_set);
        match refused {
            Some(error) => Err(error),
            None if processes.is_empty() => Err(ErrorBody::new(404, "no such process answers")),
            None => Ok(Json(json!({ "processes": processes })).into_response()),
        }
    }
}

#[derive(Debug, serde::Deserialize)]
struct OfCause {
    cause: String,
}

#[derive(Debug, serde::Deserialize)]
struct OfPresentity {
    presentity: String,
}

/// `console 127.0.0.1:40312`, `console mia 127.0.0.1:40312`: who asks, by his own word.
fn actor(name: Option<&Value>, peer: Peer) -> Result<String, ErrorBody> {
    let name = match name {
        None | Some(Value::Null) => "",
        Some(Value::String(name)) if name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control) => name.trim(),
        Some(other) => {
            return Err(ErrorBody::invalid("actor", other, "a name of at most 64 characters, none of them a control character"));
        }
    };
    let gap = if name.is_empty() { "" } else { " " };
    Ok(format!("console {name}{gap}{}", peer.0))
}

fn read<M: DeserializeOwned>(body: &Bytes) -> Result<M, ErrorBody> {
    serde_json::from_slice(body).map_err(|error| ErrorBody::new(400, format!("the body is not what is expected: {error}")))
}

/// What a mi bridge said, or that it said nothing.
fn of_bridge(error: RequestError) -> ErrorBody {
    match error {
        RequestError::Refused(body) => body,
        RequestError::NoResponders => ErrorBody::new(503, "no mi bridge answers: start one with dfks run --role mi"),
        error => ErrorBody::new(503, format!("no mi bridge answers: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_the_console_the_name_given_and_the_peer() {
        let peer = Peer("127.0.0.1:4711".parse().unwrap());
        for (name, want) in [
            (None, Some("console 127.0.0.1:4711")),
            (Some(json!(" ")), Some("console 127.0.0.1:4711")),
            (Some(json!("mia")), Some("console mia 127.0.0.1:4711")),
            (Some(json!("x".repeat(65))), None),
            (Some(json!("a\nb")), None),
            (Some(json!(7)), None),
        ] {
            assert_eq!(actor(name.as_ref(), peer).ok().as_deref(), want, "{name:?}");
        }
    }
}
