//! The NATS service `dfks-worker`: gets and sets, each in an endpoint and a task of its own. I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::local::{AskedGet, AskedSet};
use crate::bus::message::{ErrorBody, GetRequest, GetResponse, RouteSetRequest, RouteSetResponse};
use crate::bus::service::{self, Endpoint, EndpointSpec, Place, Request, Service};
use crate::bus::span::{SpanKind, name};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::config::RoutesConfig;
use crate::feature::FeatureTable;
use crate::runtime::clock;
use crate::runtime::tasks::here;
use crate::worker::again;
use crate::worker::desk::{self, Desk};
use crate::worker::error::{Refusal, WorkerError};
use crate::worker::get;
use crate::worker::handler::Handler;
use crate::worker::local::{self, Taken};
use crate::worker::metrics::WorkerMetrics;
use crate::worker::metrics::label::{DropReason, RequestOutcome};
use crate::worker::responder::Responders;
use crate::worker::route::Route;
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
    let metrics = Arc::new(WorkerMetrics::new(MAX_IN_HAND));
    let (responders, to_ask_again) = Responders::new(bus.clone(), Arc::clone(&table), config, Arc::clone(&metrics));
    let handler = Arc::new(Handler {
        responders: Arc::clone(&responders),
        store: Store::new(bus.clone()),
        routes: Arc::clone(&routes),
        metrics: Arc::clone(&metrics),
        table,
    });
    let mut tasks = JoinSet::new();
    let (followed, followed_until) = (Arc::clone(&responders), shutdown.clone());
    tasks.spawn(here(async move {
        followed_until.run_until_cancelled(followed.memory().follow()).await;
        "memory of responders"
    }));
    // before that a set could pass without the owner whom another worker has heard
    if shutdown.run_until_cancelled(responders.memory().loaded()).await.is_none() {
        return Ok(());
    }
    let [gets, gets_of_tenants, sets] = endpoints(&bus).await?;
    let [told, forgotten] = desk::endpoints(&bus).await?;
    let name = bus.subjects().worker_service();
    // `told` and `forgotten` are for the operator: they are no part of the service
    let shown =
        Service::announce(&bus, name.clone(), DESCRIPTION, BTreeMap::new(), &[&gets, &gets_of_tenants, &sets], shutdown.clone()).await;
    let _shown = shown.map_err(WorkerError::Service)?;
    // After the flush the server has the subscriptions; without a connection they follow once there is one.
    let is_serving = bus.flush().await;
    tracing::info!(queue_group = name, is_serving, "worker started");
    on_serving();

    let lane = |route| Lane { route, handler: Arc::clone(&handler) };
    let (gets_here, sets_here) = local::open(&bus, [gets.places(), sets.places()]);
    let (by_get, by_set, stop) = (Arc::new(lane(Route::Get)), Arc::new(lane(Route::Set)), shutdown.clone());
    tasks.spawn(here(local::serve(gets_here, stop.clone(), move |taken| Arc::clone(&by_get).get_here(taken)).map(|()| "local gets")));
    tasks.spawn(here(local::serve(sets_here, stop, move |taken| Arc::clone(&by_set).set_here(taken)).map(|()| "local sets")));
    for (endpoint, lane) in [(gets, lane(Route::Get)), (gets_of_tenants, lane(Route::Get)), (sets, lane(Route::Set))] {
        let shutdown = shutdown.clone();
        tasks.spawn(here(async move {
            endpoint.serve(&lane, &shutdown).await;
            lane.route.as_str()
        }));
    }
    for (endpoint, question) in [(told, desk::Question::Report), (forgotten, desk::Question::Forget)] {
        let desk = Desk::new(bus.clone(), Arc::clone(&responders), Arc::clone(&metrics), question);
        let shutdown = shutdown.clone();
        tasks.spawn(here(async move {
            endpoint.serve(&desk, &shutdown).await;
            "responders"
        }));
    }
    let asking = again::run(bus.clone(), Arc::clone(&handler), to_ask_again, shutdown.clone());
    tasks.spawn(here(async move {
        asking.await;
        "asking again"
    }));
    let watched = shutdown.clone();
    tasks.spawn(here(async move {
        routes.watch(metrics, watched).await;
        "script"
    }));
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        ended = tasks.join_next() => return Err(WorkerError::EndedEarly(ended.and_then(Result::ok).unwrap_or("by a panic"))),
    }
    while tasks.join_next().await.is_some() {}
    tracing::info!("worker stopped");
    Ok(())
}

const DESCRIPTION: &str = "runs the dfks routes: answers gets, carries out sets";

/// Subscribes to gets and sets in the queue group of the workers.
async fn endpoints(bus: &Bus) -> Result<[Endpoint; 3], WorkerError> {
    let subjects = bus.subjects();
    let get = |name, pattern, subject| EndpointSpec::new::<GetRequest, GetResponse>(name, pattern, subject, MAX_IN_HAND);
    let set = EndpointSpec::new::<RouteSetRequest, RouteSetResponse>("route_set", Pattern::RouteSet, subjects.route_set(), MAX_IN_HAND);
    let open = async |spec: EndpointSpec| Endpoint::open(bus, spec.in_group(subjects.worker_service())).await.map_err(WorkerError::Service);
    Ok([
        open(get("get", Pattern::Get, subjects.get())).await?,
        open(get("get_domain", Pattern::GetDomain, subjects.get_of_any_domain())).await?,
        open(set).await?,
    ])
}

/// The requests of one kind.
#[derive(Debug)]
struct Lane {
    route: Route,
    handler: Arc<Handler>,
}

/// The reply, a message or an error, and the outcome of the request.
type Reply = (Result<Vec<u8>, ErrorBody>, RequestOutcome);

impl service::Handler for Lane {
    async fn handle(&self, request: Request) {
        let metrics = &self.handler.metrics;
        metrics.request_started(self.route);
        let (cause, (reply, outcome)) = match self.route {
            Route::Get => self.read_and_get(&request).await,
            Route::Set => self.read_and_set(&request).await,
        };
        if !request.respond(reply.map(Into::into), &cause).await {
            metrics.dropped(DropReason::ReplyNotSent);
        }
        metrics.request_ended(self.route, outcome, clock::now().saturating_duration_since(request.received_at()));
    }

    fn turn_away(&self) -> ErrorBody {
        self.handler.metrics.request_turned_away(self.route);
        self.refused(Refusal::Overloaded(MAX_IN_HAND))
    }

    fn reply_not_sent(&self) {
        self.handler.metrics.dropped(DropReason::ReplyNotSent);
    }
}

impl Lane {
    async fn read_and_get(&self, request: &Request) -> (Cause, Reply) {
        let cause = request.cause().clone();
        let asked = request.domain().map_or(Ok(()), |domain| get::within(request.payload(), domain));
        let outcome = match asked.and_then(|()| get::read(request.payload())) {
            Ok(asked) => self.get(&asked, &cause).await,
            Err(refusal) => Err(refusal),
        };
        (cause, self.reply(outcome))
    }

    /// A set sent by an edge or the mi bridge names its cause in the message.
    async fn read_and_set(&self, request: &Request) -> (Cause, Reply) {
        let mut cause = request.cause().clone();
        let outcome = match serde_json::from_slice::<RouteSetRequest>(request.payload()) {
            Ok(request) => {
                if !request.cause.0.is_empty() {
                    cause = cause.named_by(request.cause.clone());
                }
                self.set(request, &cause).await
            }
            Err(error) => Err(error.into()),
        };
        (cause, self.reply(outcome))
    }

    async fn get_here(self: Arc<Self>, Taken { asked, place }: Taken<AskedGet>) {
        let taken_at = asked.since;
        self.handler.metrics.request_handed_over(self.route);
        let (request, cause, answer) = asked.into_parts();
        let outcome = self.get(&request, &cause).await;
        answer(self.ended_here(outcome, taken_at, &place));
    }

    async fn set_here(self: Arc<Self>, Taken { asked, place }: Taken<AskedSet>) {
        let taken_at = asked.since;
        self.handler.metrics.request_handed_over(self.route);
        let (request, cause, answer) = asked.into_parts();
        let outcome = self.set(*request, &cause).await;
        answer(self.ended_here(outcome, taken_at, &place));
    }

    /// Counts a request of this process as one that came over NATS.
    fn ended_here<M>(&self, outcome: Result<(M, RequestOutcome), Refusal>, taken_at: Instant, place: &Place) -> Result<M, ErrorBody> {
        let (answer, outcome) = match outcome {
            Ok((response, outcome)) => (Ok(response), outcome),
            Err(refusal) => {
                let outcome = refusal.outcome();
                (Err(self.refused(refusal)), outcome)
            }
        };
        let took = clock::now().saturating_duration_since(taken_at);
        place.ended(took, answer.as_ref().err());
        self.handler.metrics.request_ended(self.route, outcome, took);
        answer
    }

    async fn get(&self, request: &GetRequest, cause: &Cause) -> Result<(GetResponse, RequestOutcome), Refusal> {
        let span = cause.open(name::GET, SpanKind::Server);
        let got = self.handler.get(request, span.cause()).await;
        span.end(got.as_ref().err());
        got.map(|response| (response, RequestOutcome::Ok))
    }

    async fn set(&self, request: RouteSetRequest, cause: &Cause) -> Result<(RouteSetResponse, RequestOutcome), Refusal> {
        let mut span = cause.open(name::SET, SpanKind::Server);
        span.tell("dfks.feature", || request.feature.clone());
        let came_to = self.handler.set(request, span.cause()).await;
        span.end(came_to.as_ref().err());
        let response = came_to?;
        let outcome = if response.denied.is_some() { RequestOutcome::Denied } else { RequestOutcome::Ok };
        Ok((response, outcome))
    }

    fn reply<M: Serialize>(&self, outcome: Result<(M, RequestOutcome), Refusal>) -> Reply {
        let refusal = match outcome {
            Ok((response, outcome)) => match serde_json::to_vec(&response) {
                Ok(payload) => return (Ok(payload), outcome),
                Err(error) => Refusal::Unwritable(error),
            },
            Err(refusal) => refusal,
        };
        let outcome = refusal.outcome();
        (Err(self.refused(refusal)), outcome)
    }

    /// A get names its features in a list.
    fn refused(&self, refusal: Refusal) -> ErrorBody {
        self.handler.metrics.request_refused(self.route, refusal.outcome(), refusal.is_ours(), &refusal);
        refusal.into_body(self.route == Route::Get)
    }
}
