//! The NATS service `dfks-worker` (ADR-32): takes in requests, has them handled at the same time, sends the replies. I/O.
//!
//! One task for gets and one for sets; each holds its requests in one set of futures instead of a task for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::header::HeaderValue;
use async_nats::service::endpoint::Endpoint;
use async_nats::service::{Request, Service, ServiceExt};
use async_nats::{HeaderMap, Message};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::message::{ERROR_CODE_HEADER, ERROR_HEADER, ErrorReply, GetRequest, GetResponse, Named, RouteSetRequest, RouteSetResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, TRACEPARENT};
use crate::bus::{Bus, headers};
use crate::config::RoutesConfig;
use crate::feature::FeatureTable;
use crate::runtime::clock;
use crate::worker::error::{Refusal, WorkerError};
use crate::worker::handler::Handler;
use crate::worker::metrics::{DENIED, DropReason, OK, WorkerMetrics};
use crate::worker::responder::Responders;
use crate::worker::script::Route;
use crate::worker::script::live::Routes;
use crate::worker::store::Store;

/// Most requests of one kind in hand. One more is answered 503 at once.
pub(crate) const MAX_IN_HAND: usize = 1024;

/// Runs a worker until `shutdown`: then it takes in nothing new, finishes what is in hand and returns.
///
/// The streams and buckets must be there. `on_serving` is called once requests reach it.
///
/// # Errors
///
/// [`WorkerError`]: a bad script, a service that cannot be registered, a subscription that ended.
pub async fn run(
    bus: Bus,
    table: Arc<FeatureTable>,
    config: &RoutesConfig,
    on_serving: impl FnOnce(),
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let routes = Arc::new(Routes::load(config)?);
    let metrics = Arc::new(WorkerMetrics::new());
    let handler = Arc::new(Handler {
        responders: Responders::new(bus.clone(), Arc::clone(&table), config, Arc::clone(&metrics)),
        store: Store::open(bus.clone()).await?,
        routes: Arc::clone(&routes),
        metrics: Arc::clone(&metrics),
        table,
    });
    let errors = Errors::default();
    let service = register(&bus, &errors).await?;
    let gets = endpoint::<GetRequest, GetResponse>(&service, GET, &bus.subjects().get()).await?;
    let sets = endpoint::<RouteSetRequest, RouteSetResponse>(&service, ROUTE_SET, &bus.subjects().route_set()).await?;
    // The subscriptions are in place when the server has answered; without a server they follow with the connection.
    let is_serving = matches!(tokio::time::timeout(bus.timeout(), bus.client().flush()).await, Ok(Ok(())));
    tracing::info!(queue_group = bus.subjects().worker_service(), is_serving, "worker started");
    on_serving();

    let mut tasks = JoinSet::new();
    let lane = |route| Lane { route, bus: bus.clone(), handler: Arc::clone(&handler), errors: errors.clone() };
    let (get, set, watched) = (lane(Route::Get), lane(Route::Set), shutdown.clone());
    tasks.spawn(async move { get.serve(gets).await });
    tasks.spawn(async move { set.serve(sets).await });
    tasks.spawn(async move {
        routes.watch(metrics, watched).await;
        "script"
    });
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        ended = tasks.join_next() => return Err(WorkerError::EndedEarly(ended.and_then(Result::ok).unwrap_or("by a panic"))),
    }
    if let Err(error) = service.stop().await {
        tracing::warn!(%error, "worker service not deregistered");
    }
    while tasks.join_next().await.is_some() {}
    tracing::info!("worker stopped");
    Ok(())
}

/// Names of the endpoints, as `nats micro` shows them.
const GET: &str = "get";
const ROUTE_SET: &str = "route_set";

/// Error replies of each endpoint. The service API counts only those that it makes itself, without a body.
#[derive(Debug, Clone, Default)]
struct Errors {
    get: Arc<AtomicU64>,
    set: Arc<AtomicU64>,
}

impl Errors {
    fn of(&self, route: Route) -> &AtomicU64 {
        match route {
            Route::Get => &self.get,
            Route::Set => &self.set,
        }
    }
}

async fn register(bus: &Bus, errors: &Errors) -> Result<Service, WorkerError> {
    let name = bus.subjects().worker_service();
    let errors = errors.clone();
    let service = bus
        .client()
        .service_builder()
        .description("runs the dfks routes: answers gets, carries out sets")
        .queue_group(&name)
        .stats_handler(move |endpoint, _| {
            let route = if endpoint == GET { Route::Get } else { Route::Set };
            serde_json::json!({ "error_replies": errors.of(route).load(Ordering::Relaxed) })
        });
    service.start(&name, env!("CARGO_PKG_VERSION")).await.map_err(WorkerError::Service)
}

/// Subscribes to `subject` in the queue group of the workers.
async fn endpoint<Q: Named, A: Named>(service: &Service, name: &str, subject: &str) -> Result<Endpoint, WorkerError> {
    let metadata = HashMap::from([("request".to_owned(), Q::TYPE.to_owned()), ("response".to_owned(), A::TYPE.to_owned())]);
    service.endpoint_builder().name(name).metadata(metadata).add(subject).await.map_err(WorkerError::Service)
}

/// The requests of one kind.
#[derive(Debug)]
struct Lane {
    route: Route,
    bus: Bus,
    handler: Arc<Handler>,
    errors: Errors,
}

/// What goes back.
struct Reply {
    payload: Vec<u8>,
    headers: HeaderMap,
    outcome: &'static str,
}

impl Lane {
    /// Handles requests until the subscription ends, then finishes what is in hand.
    async fn serve(&self, mut requests: Endpoint) -> &'static str {
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                request = requests.next() => match request {
                    Some(request) if in_hand.len() < MAX_IN_HAND => in_hand.push(self.handle(request)),
                    Some(request) => self.turn_away(request.message),
                    None => break,
                },
            }
        }
        while in_hand.next().await.is_some() {}
        self.route.as_str()
    }

    async fn handle(&self, request: Request) {
        let metrics = &self.handler.metrics;
        let started_at = clock::now();
        metrics.request_started(self.route);
        let reply = self.answer(&request.message).await;
        if request.message.reply.is_some() {
            let sent = request.respond_with_headers(Ok(reply.payload.into()), reply.headers);
            // A queue to NATS that stays full while the connection is away must not hold the request for ever.
            if !matches!(tokio::time::timeout(self.bus.timeout(), sent).await, Ok(Ok(()))) {
                metrics.dropped(DropReason::ReplyNotSent);
            }
        }
        metrics.request_ended(self.route, reply.outcome, clock::now().saturating_duration_since(started_at));
    }

    async fn answer(&self, message: &Message) -> Reply {
        let header = message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT)).map(HeaderValue::as_str);
        let mut cause = Cause::of_traceparent(header);
        match self.route {
            Route::Get => {
                let outcome = self.handler.get(&message.payload, &cause).await;
                self.reply(outcome.map(|response| (response, OK)), &cause, true)
            }
            Route::Set => {
                let outcome = match serde_json::from_slice::<RouteSetRequest>(&message.payload) {
                    Ok(request) => {
                        if !request.cause.0.is_empty() {
                            cause = request.cause.clone();
                        }
                        self.handler.set(request, &cause).await
                    }
                    Err(error) => Err(error.into()),
                };
                let outcome = outcome.map(|response| {
                    let word = if response.denied.is_some() { DENIED } else { OK };
                    (response, word)
                });
                self.reply(outcome, &cause, false)
            }
        }
    }

    fn reply<M: Serialize>(&self, outcome: Result<(M, &'static str), Refusal>, cause: &Cause, names_a_list: bool) -> Reply {
        let refusal = match outcome {
            Ok((response, outcome)) => match serde_json::to_vec(&response) {
                Ok(payload) => return Reply { payload, headers: headers(cause), outcome },
                Err(error) => Refusal::Unwritable(error),
            },
            Err(refusal) => refusal,
        };
        self.handler.metrics.request_refused(self.route, &refusal);
        self.errors.of(self.route).fetch_add(1, Ordering::Relaxed);
        let outcome = refusal.reason();
        let (payload, mut headers) = (ErrorReply { error: refusal.into_body(names_a_list) }, headers(cause));
        if let Ok(description) = payload.error.description.parse::<HeaderValue>() {
            headers.insert(ERROR_HEADER, description);
        }
        headers.insert(ERROR_CODE_HEADER, HeaderValue::from(u64::from(payload.error.code)));
        Reply { payload: serde_json::to_vec(&payload).unwrap_or_default(), headers, outcome }
    }

    /// Answers 503 at once, without waiting for anything.
    fn turn_away(&self, message: Message) {
        self.handler.metrics.request_turned_away(self.route);
        let cause = Cause::of_traceparent(message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT)).map(HeaderValue::as_str));
        let reply = self.reply::<()>(Err(Refusal::Overloaded(MAX_IN_HAND)), &cause, false);
        if let Some(subject) = message.reply {
            let pattern = match self.route {
                Route::Get => Pattern::Get,
                Route::Set => Pattern::RouteSet,
            };
            if self.bus.try_publish(pattern, subject.into_string(), None, reply.headers, reply.payload.into()).is_err() {
                self.handler.metrics.dropped(DropReason::ReplyNotSent);
            }
        }
    }
}
