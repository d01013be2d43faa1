//! `POST /mi` on `mi.http`, and beside it what [`v1`] serves. I/O.
//!
//! Each request runs in a task of its own, so that a client that disconnects does not leave a change without its NOTIFYs.

mod dead;
mod hand;
mod jsonrpc;
mod listing;
mod log;
mod method;
mod param;
pub(crate) mod v1;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::bus::RequestError;
use crate::bus::message::{EndRequest, ErrorBody, GetRequest, Kind, WatchersRequest};
use crate::bus::poll::{self, PollLimits};
use crate::bus::trace::{Cause, TRACEPARENT, TRACESTATE};
use crate::feature::FeatureTable;
use crate::mi::bridge::{Bridge, Fanout};
use crate::mi::command::SetCommand;
use crate::mi::hand::Resync;
use crate::mi::http::jsonrpc::{Answer, Call, Document, RpcError};
use crate::mi::http::method::{Filter, Method};
use crate::mi::http::v1::Door;
use crate::mi::limit::{self, MAX_IN_HAND};
use crate::mi::metrics::Way;
use crate::mi::refused::Who;
use crate::runtime::{Tasks, clock};
use crate::telemetry::accept::{BoundedListener, Peer};
use crate::telemetry::token::Token;

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Timeout of a request's body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Most open connections.
const MAX_CONNECTIONS: usize = 512;
/// Idle timeout of a connection, to which the longest command is added.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Requests of a batch not begun within this time are refused.
const BATCH_WITHIN: Duration = Duration::from_secs(20);
/// Time for answers to reach their clients at a stop.
const ANSWERS_LEAVE_WITHIN: Duration = Duration::from_millis(500);
/// Most subscriptions of one list.
const MAX_LISTED: usize = 10_000;

/// The listener of `mi.http`, bound and not serving yet.
#[derive(Debug)]
pub(crate) struct MiHttp<F> {
    listener: TcpListener,
    desk: Arc<Desk<F>>,
}

impl<F: Fanout> MiHttp<F> {
    /// Binds.
    ///
    /// # Errors
    ///
    /// The system's error: the address is in use, or not local.
    pub(crate) async fn bind(addr: SocketAddr, token: Token, bridge: Arc<Bridge<F>>, table: Arc<FeatureTable>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let slots = Arc::new(Semaphore::new(MAX_IN_HAND));
        let desk = Desk { bridge, table, token, slots, started_at: (clock::utc_now(), clock::now()) };
        Ok(Self { listener, desk: Arc::new(desk) })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `tasks` stop; what is in hand then is finished and answered.
    pub(crate) async fn serve(self, tasks: Tasks) {
        let (stop, slots) = (tasks.stopping().clone(), Arc::clone(&self.desk.slots));
        let idle_timeout = IDLE_TIMEOUT + self.desk.bridge.bus().timeout() * 4;
        let listener = BoundedListener::new(self.listener, MAX_CONNECTIONS, idle_timeout);
        let desk = self.desk;
        let door = Door::new(Arc::clone(&desk.bridge), Arc::clone(&desk.table), desk.token.clone(), Arc::clone(&desk.slots), tasks.clone());
        let router = Router::new()
            .route("/mi", post(handle::<F>))
            .with_state(Served { desk, tasks })
            .merge(v1::router(door))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let finished = async {
            stop.cancelled().await;
            // all slots are free once nothing is in hand, and while this waits none is handed out
            let _all = slots.acquire_many(u32::try_from(MAX_IN_HAND).unwrap_or(u32::MAX)).await;
            tokio::time::sleep(ANSWERS_LEAVE_WITHIN).await;
        };
        tokio::select! {
            served = async { serving.await } => if let Err(error) = served {
                tracing::error!(%error, "mi http stopped");
            },
            () = finished => {}
        }
    }
}

struct Served<F> {
    desk: Arc<Desk<F>>,
    tasks: Tasks,
}

impl<F> Clone for Served<F> {
    fn clone(&self) -> Self {
        Self { desk: Arc::clone(&self.desk), tasks: self.tasks.clone() }
    }
}

/// Who sent a request, and the id of what follows from it.
#[derive(Debug)]
struct Sender {
    peer: Peer,
    cause: Cause,
}

impl Sender {
    /// Who asks, for the event.
    fn actor(&self) -> String {
        format!("mi {}", self.peer.0)
    }
}

/// Where requests are taken in and carried out.
#[derive(Debug)]
struct Desk<F> {
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    token: Token,
    /// One for each request in hand.
    slots: Arc<Semaphore>,
    started_at: (SystemTime, Instant),
}

async fn handle<F: Fanout>(State(served): State<Served<F>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let Served { desk, tasks } = served;
    if !desk.token.admits(request.headers()) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "a bearer token is needed\n").into_response();
    }
    // any Content-Type is accepted, so a web page could send commands from a browser on this machine: browsers send Origin
    if !desk.token.is_required() && request.headers().contains_key(ORIGIN) {
        return (StatusCode::FORBIDDEN, "not for web pages without a token\n").into_response();
    }
    let cause = {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        Cause::of_trace(header(TRACEPARENT), header(TRACESTATE))
    };
    let body = match tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return rejection.into_response(),
        Err(_late) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let from = Sender { peer, cause };
    let document = match Document::read(&body) {
        Ok(document) => document,
        Err(answer) => return written(&answer),
    };
    let Ok(slot) = Arc::clone(&desk.slots).try_acquire_owned() else { return turned_away(&desk, &document, &from) };
    let waits = !document.is_notification();
    let (sender, answered) = oneshot::channel();
    tasks.clone().spawn_brief("mi request", async move {
        // nobody waits for it where the client hung up
        let _answered = sender.send(desk.answer(document, &from, &tasks, slot).await);
    });
    if !waits {
        return StatusCode::NO_CONTENT.into_response();
    }
    answered.await.unwrap_or_else(|_panicked| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Answers 503 at once, without waiting for anything. A notification has no answer to say so, but an HTTP status.
fn turned_away<F: Fanout>(desk: &Desk<F>, document: &Document, from: &Sender) -> Response {
    desk.bridge.metrics().command_turned_away(Way::Http);
    desk.bridge.refused().note(&limit::too_many(), &Who { actor: Some(from.actor()), ..Who::default() }, &from.cause);
    let error = RpcError::from(limit::too_many());
    let mut answers = document.refused(&error);
    match (document, answers.pop()) {
        (_, None) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (Document::One(_), Some(answer)) => written(&answer),
        (Document::Batch(_), Some(last)) => {
            answers.push(last);
            written(&answers)
        }
    }
}

fn written(answer: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl<F: Fanout> Desk<F> {
    /// Carries a request out, those of a batch in order.
    async fn answer(&self, document: Document, from: &Sender, tasks: &Tasks, _slot: OwnedSemaphorePermit) -> Response {
        let calls = match document {
            Document::One(call) => {
                let answer = self.answer_one(call, from).await;
                return answer.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |answer| written(&answer));
            }
            Document::Batch(calls) => calls,
        };
        let began_at = clock::now();
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let is_late = clock::now().saturating_duration_since(began_at) >= BATCH_WITHIN;
            if is_late || tasks.stopping().is_cancelled() {
                let why = if is_late { "the batch took too long" } else { "the mi bridge stops" };
                answers.extend(Document::One(call).refused(&RpcError::new(503, format!("{why}: not carried out"))));
            } else {
                answers.extend(self.answer_one(call, from).await);
            }
        }
        if answers.is_empty() { StatusCode::NO_CONTENT.into_response() } else { written(&answers) }
    }

    /// The answer to one request; none to a notification.
    async fn answer_one(&self, call: Result<Call, Answer>, from: &Sender) -> Option<Answer> {
        let Call { id, method, params } = match call {
            Ok(call) => call,
            Err(answer) => return Some(answer),
        };
        let named = Method::is_command(&method).then(|| params.presentity()).flatten();
        let outcome = match Method::read(&self.table, &method, params) {
            Ok(Method::SetFeature(command)) => self.set_feature(command, from).await,
            Ok(Method::Subscriptions(filter)) => self.subscriptions(filter).await,
            Ok(Method::Features(request)) => self.features(request, from).await,
            Ok(Method::Resync(resync)) => {
                let resync = Resync { actor: Some(from.actor()), ..resync };
                let told = self.bridge.resync(&resync, &from.cause).await;
                told.map(|told| json!({ "phones": told.phones })).map_err(RpcError::from)
            }
            Ok(Method::End(request)) => {
                let request = EndRequest { actor: Some(from.actor()), ..request };
                let ended = self.bridge.end_subscription(&request, &from.cause).await;
                ended.map(|ended| json!({ "subscription": ended.subscription, "presentity": ended.presentity })).map_err(RpcError::from)
            }
            Ok(Method::Dead(call)) => dead::answer(self.bridge.bus(), call, &from.actor()).await,
            Ok(Method::Log(call)) => log::answer(self.bridge.bus(), call, &from.actor()).await,
            Ok(Method::Own(own)) => Ok(own.result(|| self.uptime())),
            Err(error) => {
                if Method::is_command(&method) {
                    let refused = ErrorBody::new(400, error.message.clone());
                    self.bridge.metrics().command_received(Way::Http);
                    self.bridge.metrics().command_ended(Some(&refused), Duration::ZERO);
                    let who = Who { presentity: named, actor: Some(from.actor()) };
                    self.bridge.refused().note(&refused, &who, &from.cause);
                }
                Err(error)
            }
        };
        Some(Answer::new(id?, outcome))
    }

    async fn set_feature(&self, command: SetCommand, from: &Sender) -> Result<Value, RpcError> {
        let command = SetCommand { actor: Some(from.actor()), ..command };
        let metrics = self.bridge.metrics();
        let started_at = clock::now();
        let _in_flight = metrics.command_started(Way::Http);
        let result = self.bridge.set(&command, &from.cause).await;
        metrics.command_ended(result.as_ref().err(), clock::now().saturating_duration_since(started_at));
        result.map(|_response| "OK".into()).map_err(RpcError::from)
    }

    /// The states of `dfks_get_feature`, as `dfks.get` has them.
    async fn features(&self, request: GetRequest, from: &Sender) -> Result<Value, RpcError> {
        let bus = self.bridge.bus();
        let timeout = bus.timeout();
        let response = bus.get(request, &from.cause, timeout).await.map_err(|error| match error {
            RequestError::Refused(body) => RpcError::from(body),
            error => RpcError::new(503, format!("no worker answers: {error}")),
        })?;
        Ok(json!({ "presentity": response.presentity, "features": response.features }))
    }

    async fn subscriptions(&self, mut filter: Filter) -> Result<Value, RpcError> {
        let bus = self.bridge.bus();
        let presentity = listing::presentity_of(&filter);
        if presentity.is_some() {
            // the edges know it in any spelling
            filter.to = None;
        }
        let limits = PollLimits { timeout: bus.timeout(), total: bus.timeout() * 3, watchers: MAX_LISTED };
        let asked = WatchersRequest { kind: Kind::default(), presentity, domain: listing::domain_of(&filter), details: false };
        // those alone that the pattern lets through count
        let poll = poll::watchers_that(bus, &asked, limits, |watcher| listing::takes(&filter, watcher)).await;
        let poll = poll.map_err(|error| RpcError::new(503, error.to_string()))?;
        if poll.is_cut {
            return Err(RpcError::new(500, format!("more than {MAX_LISTED} subscriptions: give a presentity as 'to'")));
        }
        if let Some(error) = poll.refused {
            return Err(error.into());
        }
        Ok(listing::listing(poll.edges.iter().map(|(edge_id, watchers)| (edge_id.as_str(), watchers.as_slice())), &filter))
    }

    fn uptime(&self) -> Value {
        let (since, started_at) = self.started_at;
        let up = clock::now().saturating_duration_since(started_at);
        json!({ "Now": ctime(clock::utc_now()), "Up since": ctime(since), "Up time": format!("{} [sec]", up.as_secs()) })
    }
}

/// `Mon Nov 23 02:48:40 2026`, UTC: as `ctime(3)` writes it.
fn ctime(time: SystemTime) -> String {
    let format = format_description!("[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]");
    OffsetDateTime::from(time).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_opensips_writes_it() {
        let at = clock::parse_rfc3339("2026-11-03T02:48:40.120Z").unwrap();
        assert_eq!(ctime(at), "Tue Nov  3 02:48:40 2026");
    }
}
