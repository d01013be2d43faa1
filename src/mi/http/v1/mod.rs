//! HTTP for those who speak no NATS: `/v1` and `/openapi.json` on `mi.http`. I/O.
//!
//! ```text
//! request ─▶ question ─▶ dfks.get │ command ─▶ bridge │ dfks.watchers │ hand ─▶ response, or problem
//! ```

pub(crate) mod listing;
mod metrics;
pub(crate) mod problem;
mod question;
mod tag;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::bus::RequestError;
use crate::bus::message::{ErrorBody, GetRequest, Kind, ResyncRequest};
use crate::bus::poll::{self, PollLimits};
use crate::bus::trace::{Cause, TRACEPARENT, TRACESTATE};
use crate::feature::{FeatureTable, Presentity};
use crate::mi::bridge::{Bridge, Fanout};
use crate::mi::command::{self, SetCommand};
use crate::mi::hand::Resync;
use crate::mi::http::v1::listing::WatcherList;
use crate::mi::http::v1::metrics::{Endpoint, HttpMetrics};
use crate::mi::http::v1::question::{Fault, Question};
use crate::mi::limit;
use crate::mi::metrics::Way;
use crate::mi::openapi;
use crate::mi::refused::Who;
use crate::runtime::{Tasks, clock};
use crate::telemetry::accept::Peer;
use crate::telemetry::token::Token;

/// Timeout of a request's body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Most subscriptions of one list.
const MAX_LISTED: usize = 10_000;
/// Header with the id of what a change led to, for `dfks trace`.
const CAUSE: &str = "dfks-cause";

/// Where requests are taken in and answered.
#[derive(Debug)]
pub(super) struct Door<F> {
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    token: Token,
    /// One for each request in hand, here and at `/mi`.
    slots: Arc<Semaphore>,
    tasks: Tasks,
    metrics: HttpMetrics,
}

/// The paths that are served here.
pub(super) fn router<F: Fanout>(door: Door<F>) -> Router {
    Router::new().route("/v1/{*rest}", any(handle::<F>)).route("/openapi.json", any(handle::<F>)).with_state(Arc::new(door))
}

async fn handle<F: Fanout>(State(door): State<Arc<Door<F>>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let began_at = clock::now();
    let mut endpoint = Endpoint::Other;
    let response = door.answer(peer, request, &mut endpoint).await.unwrap_or_else(problem::response);
    door.metrics.answered(endpoint, response.status().as_u16(), clock::now().saturating_duration_since(began_at));
    response
}

impl<F: Fanout> Door<F> {
    pub(super) fn new(bridge: Arc<Bridge<F>>, table: Arc<FeatureTable>, token: Token, slots: Arc<Semaphore>, tasks: Tasks) -> Self {
        Self { bridge, table, token, slots, tasks, metrics: HttpMetrics::new() }
    }

    async fn answer(&self, peer: Peer, request: Request, endpoint: &mut Endpoint) -> Result<Response, Fault> {
        self.admit(request.headers())?;
        let question = question::read(&self.table, request.method().as_str(), request.uri().path())?;
        *endpoint = match &question {
            Question::Features { .. } => Endpoint::Features,
            Question::Set { .. } => Endpoint::Set,
            Question::Watchers { .. } => Endpoint::Watchers,
            Question::Resync { .. } => Endpoint::Resync,
            Question::Document => Endpoint::Document,
        };
        let cause = {
            let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
            Cause::of_trace(header(TRACEPARENT), header(TRACESTATE))
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let who = Who { presentity: None, actor: Some(actor(peer)) };
            if *endpoint == Endpoint::Set {
                self.bridge.metrics().command_turned_away(Way::Http);
                self.bridge.refused().note(&limit::too_many(), &who, &cause);
            }
            return Err(limit::too_many().into());
        };
        match question {
            Question::Features { presentity, feature } => self.features(&presentity, feature, request.headers(), &cause).await,
            Question::Set { presentity, feature } => {
                let read = self.command(presentity.clone(), &feature, request).await;
                let command = read.inspect_err(|fault| self.note_unread(fault, presentity, peer, &cause))?;
                self.set(command, peer, cause, slot).await
            }
            Question::Watchers { presentity } => self.watchers(presentity).await,
            Question::Resync { presentity } => self.resync(&presentity, request, peer, cause, slot).await,
            Question::Document => Ok(json(openapi::to_json())),
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), ErrorBody> {
        if !self.token.admits(headers) {
            return Err(ErrorBody::new(401, "a bearer token is needed"));
        }
        if !self.token.is_required() && headers.contains_key(ORIGIN) {
            return Err(ErrorBody::new(403, "not for web pages without a token"));
        }
        Ok(())
    }

    /// States, or nothing but that they are still those that the asker has.
    async fn features(
        &self,
        presentity: &Presentity,
        feature: Option<String>,
        headers: &HeaderMap,
        cause: &Cause,
    ) -> Result<Response, Fault> {
        let request = GetRequest {
            kind: Kind::default(),
            presentity: presentity.as_str().to_owned(),
            features: feature.map(|feature| vec![feature]),
            package: None,
            subscription: None,
            strict: false,
        };
        let bus = self.bridge.bus();
        let response = bus.get(request, cause, bus.timeout()).await.map_err(|error| match error {
            RequestError::Refused(body) => body,
            error => ErrorBody::new(503, format!("no worker answers: {error}")),
        })?;
        let body = written(&response)?;
        let tag = tag::of(&response, &body);
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| tag::is_in(value, &tag));
        let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { json(body) };
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().extend([(ETAG, tag), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))]);
        }
        Ok(response)
    }

    /// Reads what is to be set. The body may be a state as it was read: it may name whose it is, and no other.
    async fn command(&self, presentity: Presentity, feature: &str, request: Request) -> Result<SetCommand, Fault> {
        let if_version = only_over(request.headers())?;
        let fields = fields(request).await?;
        let spec = self.table.require(feature).map_err(ErrorBody::from)?;
        let of = |field: &str| fields.get(field).filter(|value| !value.is_null());
        let is_other =
            of("presentity").filter(|text| text.as_str().and_then(|text| Presentity::parse(text).ok()).as_ref() != Some(&presentity));
        if let Some(other) = is_other {
            return Err(ErrorBody::invalid("presentity", other, "that of the path, or none").into());
        }
        let is_other = of("feature").filter(|text| text.as_str().and_then(|text| self.table.meant(text)) != Some(spec));
        if let Some(other) = is_other {
            return Err(ErrorBody::invalid("feature", other, "that of the path, or none").into());
        }
        Ok(SetCommand { if_version, ..command::read_of(spec, presentity, &fields)? })
    }

    /// A command that is none counts as one that was refused.
    fn note_unread(&self, fault: &Fault, presentity: Presentity, peer: Peer, cause: &Cause) {
        let metrics = self.bridge.metrics();
        metrics.command_received(Way::Http);
        metrics.command_ended(Some(&fault.body), Duration::ZERO);
        let who = Who { presentity: Some(presentity), actor: Some(actor(peer)) };
        self.bridge.refused().note(&fault.body, &who, cause);
    }

    async fn set(&self, command: SetCommand, peer: Peer, cause: Cause, slot: OwnedSemaphorePermit) -> Result<Response, Fault> {
        let command = SetCommand { actor: command.actor.or_else(|| Some(actor(peer))), ..command };
        let (bridge, id) = (Arc::clone(&self.bridge), cause.clone());
        let result = self.apart(slot, async move {
            let started_at = clock::now();
            let _in_flight = bridge.metrics().command_started(Way::Http);
            let result = bridge.set(&command, &cause).await;
            bridge.metrics().command_ended(result.as_ref().err(), clock::now().saturating_duration_since(started_at));
            result
        });
        Ok(caused(json(written(&result.await??)?), &id))
    }

    async fn watchers(&self, presentity: Option<Presentity>) -> Result<Response, Fault> {
        let bus = self.bridge.bus();
        let limits = PollLimits { timeout: bus.timeout(), total: bus.timeout() * 3, watchers: MAX_LISTED };
        let asked = poll::watchers(bus, presentity.map(|of| of.as_str().to_owned()), limits).await;
        let mut poll = asked.map_err(|error| ErrorBody::new(503, format!("no edge answers: {error}")))?;
        if let Some(error) = poll.refused.take() {
            return Err(error.into());
        }
        if poll.edges.is_empty() && !poll.is_cut {
            return Err(ErrorBody::new(503, "no edge answers").into());
        }
        Ok(json(written(&WatcherList::from(poll))?))
    }

    async fn resync(
        &self,
        presentity: &Presentity,
        request: Request,
        peer: Peer,
        cause: Cause,
        slot: OwnedSemaphorePermit,
    ) -> Result<Response, Fault> {
        let mut fields = fields(request).await?;
        fields.insert("presentity".to_owned(), presentity.as_str().into());
        fields.remove("domain");
        let asked: ResyncRequest =
            serde_json::from_value(Value::Object(fields)).map_err(|error| ErrorBody::bad(None, error.to_string()))?;
        let resync = Resync::read(&self.table, asked)?;
        let resync = Resync { actor: resync.actor.or_else(|| Some(actor(peer))), ..resync };
        let (bridge, id) = (Arc::clone(&self.bridge), cause.clone());
        let told = self.apart(slot, async move { bridge.resync(&resync, &cause).await });
        Ok(caused(json(written(&told.await??)?), &id))
    }

    /// Carries out what changes something in a task of its own, so that a client that disconnects does not leave it half done.
    async fn apart<T: Send + 'static>(
        &self,
        slot: OwnedSemaphorePermit,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let (sender, answered) = oneshot::channel();
        self.tasks.spawn_brief("http request", async move {
            // nobody waits for it where the client hung up
            let _answered = sender.send(work.await);
            drop(slot);
        });
        answered.await.map_err(|_panicked| ErrorBody::new(500, "the request was not finished"))
    }
}

/// Who asks, for the event, where the request does not say.
fn actor(peer: Peer) -> String {
    format!("http {}", peer.0)
}

/// The version that a feature must still have, by `If-Match`. Source: RFC 9110 §13.1.1.
fn only_over(headers: &HeaderMap) -> Result<Option<u64>, ErrorBody> {
    let Some(tags) = headers.get(IF_MATCH) else { return Ok(None) };
    let tags = tags.to_str().unwrap_or_default();
    if tags.trim() == "*" {
        return Ok(None);
    }
    let nothing = || ErrorBody::new(412, "If-Match is no ETag of the feature: expected the one that a GET of it has");
    tag::version(tags).map(Some).ok_or_else(nothing)
}

/// The fields of a body; none of an empty one.
async fn fields(request: Request) -> Result<Map<String, Value>, ErrorBody> {
    let media_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !media_type.is_none_or(is_json) || request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ErrorBody::new(415, "expected a body in JSON: Content-Type application/json, and no Content-Encoding"));
    }
    let body = match tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return Err(ErrorBody::new(rejection.status().as_u16(), rejection.body_text())),
        Err(_late) => return Err(ErrorBody::new(408, format!("the body did not come within {BODY_WITHIN:?}"))),
    };
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&body).map_err(|error| ErrorBody::bad(None, format!("not JSON: {error}")))? {
        Value::Object(fields) => Ok(fields),
        other => Err(ErrorBody::bad(None, format!("invalid body '{}': expected a JSON object", crate::bus::message::shown(&other)))),
    }
}

/// `application/json`, or a type that ends in `+json`, whatever its parameters.
fn is_json(media_type: &[u8]) -> bool {
    let name = media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    name == b"application/json" || name.ends_with(b"+json")
}

fn written(answer: &impl Serialize) -> Result<Vec<u8>, ErrorBody> {
    serde_json::to_vec(answer).map_err(|error| ErrorBody::new(500, error.to_string()))
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The response, with the id of what follows from the request.
fn caused(mut response: Response, cause: &Cause) -> Response {
    if let Ok(id) = HeaderValue::from_str(&cause.0) {
        response.headers_mut().insert(CAUSE, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_by_its_type() {
        for (media_type, want) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("application/x-www-form-urlencoded", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(media_type.as_bytes()), want, "{media_type}");
        }
    }
}
