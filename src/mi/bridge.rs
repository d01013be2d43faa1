//! Carries a command out: a worker's set route, then the NOTIFY jobs and the events. I/O.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join;

use crate::bus::message::{CommandPlace, ErrorBody, FeatureEvent, GetRequest, Kind, RouteSetRequest, RouteSetResponse, SetResponse};
use crate::bus::schedule::{NoTimers, Schedule};
use crate::bus::span::{SpanKind, name};
use crate::bus::subject::Pattern;
use crate::bus::trace::{self, Cause};
use crate::bus::{Bus, EdgeWatchers, RequestError};
use crate::feature::{FeatureTable, Package, Presentity};
use crate::mi::command::SetCommand;
use crate::mi::error::{Failure, Step};
use crate::mi::limit::{MAX_DURABLE_IN_HAND, MAX_IN_HAND};
use crate::mi::metrics::MiMetrics;
use crate::mi::plan::{self, Occasion};
use crate::mi::refused::{RefusedCommands, Who};
use crate::notify::{EdgeJob, Queue};
use crate::runtime::clock;

/// The way from a change to the edges that hold its watchers.
pub trait Fanout: Send + Sync + 'static {
    /// The edges that hold live subscriptions of a presentity in one of these event packages, but for one subscription, those
    /// included that were stored just before the call.
    fn watchers(
        &self,
        presentity: &Presentity,
        packages: &[&'static Package],
        but: Option<&str>,
    ) -> impl Future<Output = Result<Vec<EdgeWatchers>, RequestError>> + Send;

    /// As [`watchers`](Self::watchers), as far as is known now.
    fn watchers_seen(&self, presentity: &Presentity, packages: &[&'static Package]) -> Vec<EdgeWatchers>;

    /// The edge that holds a live subscription, those included that were stored just before the call.
    fn holder(&self, subscription: &str) -> impl Future<Output = Result<Option<Arc<str>>, RequestError>> + Send;

    /// The edges that hold live subscriptions, as far as is known now.
    fn edges(&self) -> Vec<Arc<str>>;

    /// Stores NOTIFY jobs, each for its edge; done when all are acknowledged.
    fn store(&self, jobs: Vec<EdgeJob>) -> impl Future<Output = Result<(), RequestError>> + Send;
}

impl Fanout for Queue {
    async fn watchers(
        &self,
        presentity: &Presentity,
        packages: &[&'static Package],
        but: Option<&str>,
    ) -> Result<Vec<EdgeWatchers>, RequestError> {
        self.watchers_but(presentity, packages, but).await
    }

    fn watchers_seen(&self, presentity: &Presentity, packages: &[&'static Package]) -> Vec<EdgeWatchers> {
        self.index().watchers_seen(presentity, packages)
    }

    async fn holder(&self, subscription: &str) -> Result<Option<Arc<str>>, RequestError> {
        self.index().holder(subscription).await
    }

    fn edges(&self) -> Vec<Arc<str>> {
        self.index().edges()
    }

    async fn store(&self, jobs: Vec<EdgeJob>) -> Result<(), RequestError> {
        Self::store(self, jobs).await.map(drop)
    }
}

/// Part of `nats.timeout_ms` that a worker has to say what became of a request whose answer was lost.
const LOOKED_UP_WITHIN: u32 = 4;

/// What came out of a stream: our id of it, the same for each delivery, and where it stands there, of a durable command.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) place: Option<CommandPlace>,
}

/// Carries commands out, whichever way they came in. Any number at the same time.
#[derive(Debug)]
pub struct Bridge<F> {
    bus: Bus,
    fanout: F,
    table: Arc<FeatureTable>,
    metrics: Arc<MiMetrics>,
    refused: RefusedCommands,
    schedule: Schedule,
}

impl<F: Fanout> Bridge<F> {
    /// A bridge that asks the workers of this bus. Made after the metrics recorder is installed.
    #[must_use]
    pub fn new(bus: Bus, fanout: F, table: Arc<FeatureTable>) -> Self {
        let refused = RefusedCommands::new(bus.clone());
        let schedule = Schedule::new(bus.clone());
        Self { bus, fanout, table, metrics: Arc::new(MiMetrics::new(MAX_IN_HAND, MAX_DURABLE_IN_HAND)), refused, schedule }
    }

    /// Has a worker run the set route, and publishes the events.
    ///
    /// Returns when the change is stored, and with it the duty to tell its watchers: no more than three times
    /// `nats.timeout_ms` after the call.
    ///
    /// # Errors
    ///
    /// An [`ErrorBody`] for the sender of the command: 403 with the reason where the route denied it, 503 where a worker or
    /// the bus is away or late, else what the worker refused it with. Nothing is changed then, unless the error says that this
    /// is not known; what is changed all the same is told all the same.
    pub async fn set(&self, command: &SetCommand, cause: &Cause) -> Result<SetResponse, ErrorBody> {
        let result = self.carry_out(command, None, cause).await;
        if let Err(failure) = &result {
            self.refused.note(&failure.body, &Who::of(command), cause);
            self.tell_refused(command, failure, None, cause).await;
        }
        result.map_err(|failure| failure.body)
    }

    /// As [`set`](Self::set), without the event of a failure. With an `order` it is idempotent: however often it is carried out, the
    /// change is made once, with the same event ids.
    pub(crate) async fn carry_out(&self, command: &SetCommand, order: Option<&Order>, cause: &Cause) -> Result<SetResponse, Failure> {
        let mut span = cause.open(name::COMMAND, if order.is_some() { SpanKind::Consumer } else { SpanKind::Server });
        span.tell("dfks.feature", || command.feature.clone());
        let result = self.carried_out(command, order, span.cause()).await;
        span.end(result.as_ref().err().map(|failure| &failure.body));
        result
    }

    async fn carried_out(&self, command: &SetCommand, order: Option<&Order>, cause: &Cause) -> Result<SetResponse, Failure> {
        let until = self.until(command, order).await?;
        let SetCommand { presentity, feature, status, values, param, actor, lasts: _, if_version, origin, unset: _ } = command.clone();
        let asked_at = self.bus.utc_now();
        let request = RouteSetRequest {
            kind: Kind::default(),
            presentity: presentity.as_str().to_owned(),
            feature,
            status,
            values,
            origin,
            param,
            watcher: None,
            actor,
            // a timer is found by its own, a durable command by its place
            request: Some(order.filter(|order| order.place.is_none()).map_or_else(trace::new_id, |order| order.id.clone())),
            subscription: None,
            not_after: Some(clock::rfc3339(self.bus.utc_now() + self.bus.timeout())),
            command: order.filter(|order| order.place.is_some()).map(|order| order.id.clone()),
            place: order.and_then(|order| order.place.clone()),
            until,
            if_version,
            cause: cause.clone(),
        };
        // Looked up meanwhile: a phone that is told soon may be gone when the answer comes.
        let package = [self.table.package_of(&request.feature)];
        let (answer, watchers) = join(self.ask_worker(&request), self.fanout.watchers(&presentity, &package, None)).await;
        let answer = answer?;

        let mut events = 0_u32;
        let new_id = || match order {
            Some(order) => {
                events += 1;
                format!("{}-{events}", order.id)
            }
            None => trace::new_id(),
        };
        let asked = command.asked(&self.table);
        let now = self.bus.utc_now();
        let mut occasion = Occasion { asked: &asked, actor: command.actor.as_deref(), origin, now, asked_at, cause, new_id };
        if let Some(denied) = occasion.denied(&answer) {
            self.publish(&presentity, &[denied.event], cause);
            return Err(denied.reply.into());
        }
        let notified = if answer.logged {
            let packages = self.table.packages_of_states(&plan::told(&answer));
            let watchers = if packages == package { watchers } else { self.fanout.watchers(&presentity, &packages, None).await };
            Ok(self.notified(&presentity, &answer, watchers))
        } else {
            // A worker of before, or of somebody's own: nobody else stores the jobs.
            self.notify(&presentity, &answer, &mut occasion).await
        };
        let watchers = notified.as_ref().copied().unwrap_or(0);
        // The change is made, so its event is published whatever became of its NOTIFYs.
        self.publish(&presentity, &occasion.events(&answer, watchers), cause);
        notified.map(|watchers| plan::reply(answer, watchers))
    }

    /// Publishes the event of a refused change, with the reason and the current state.
    ///
    /// If no worker answers, the event has the default state: version 0, source `default`. Takes `nats.timeout_ms` at most.
    pub(crate) async fn tell_refused(&self, command: &SetCommand, failure: &Failure, id: Option<&str>, cause: &Cause) {
        if !failure.is_untold {
            return;
        }
        let SetCommand { presentity, feature, unset, .. } = command;
        let request = GetRequest {
            kind: Kind::default(),
            presentity: presentity.as_str().to_owned(),
            features: Some(vec![feature.clone()]),
            package: None,
            subscription: None,
            strict: false,
        };
        let states = self.bus.get(request, cause, self.bus.timeout()).await.map(|answer| answer.features).unwrap_or_default();
        let state = states.into_iter().find(|state| state.feature == *feature).unwrap_or_else(|| unset.clone());
        let new_id = || id.map_or_else(trace::new_id, |id| format!("{id}-refused"));
        let asked = command.asked(&self.table);
        let now = self.bus.utc_now();
        let origin = command.origin;
        let mut occasion = Occasion { asked: &asked, actor: command.actor.as_deref(), origin, now, asked_at: now, cause, new_id };
        self.publish(presentity, &[occasion.failed(presentity, &state, &failure.body)], cause);
    }

    /// When what a command switches on goes off by itself: RFC 3339 UTC. A durable command was sent when its stream took it.
    async fn until(&self, command: &SetCommand, order: Option<&Order>) -> Result<Option<String>, ErrorBody> {
        let now = self.bus.utc_now();
        let place = order.and_then(|order| order.place.as_ref());
        let sent_at = place.map_or(now, |place| SystemTime::UNIX_EPOCH + Duration::from_nanos(place.stored_at_nanos));
        let Some(at) = command.lasts.ends_at(sent_at, now)? else { return Ok(None) };
        self.schedule.ready().await.map_err(|error| match error {
            NoTimers::OldServer(_) => ErrorBody::bad(Some("until"), format!("a feature cannot be set for a time here: {error}")),
            NoTimers::Away(_) => ErrorBody::new(503, format!("{error}: the change was not made")),
        })?;
        Ok(Some(clock::rfc3339(at)))
    }

    pub(crate) const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(crate) const fn fanout(&self) -> &F {
        &self.fanout
    }

    pub(crate) const fn bus(&self) -> &Bus {
        &self.bus
    }

    pub(crate) const fn table(&self) -> &Arc<FeatureTable> {
        &self.table
    }

    pub(crate) const fn refused(&self) -> &RefusedCommands {
        &self.refused
    }

    pub(crate) const fn metrics(&self) -> &Arc<MiMetrics> {
        &self.metrics
    }

    /// Has a worker run the set route. An answer that is lost is asked for once more, after the time past which no worker carries
    /// the request out: a change that was made is found then.
    async fn ask_worker(&self, request: &RouteSetRequest) -> Result<RouteSetResponse, Failure> {
        let timeout = self.bus.timeout();
        let ask = |timeout| self.bus.route_set(request, timeout);
        let lost = match ask(timeout).await {
            Ok(answer) => return Ok(answer),
            // A durable command is tried again as a whole.
            Err(error) if request.command.is_some() || !matches!(error, RequestError::Timeout(_) | RequestError::Disconnected) => {
                return Err(self.failed(Step::Route, &error));
            }
            Err(error) => error,
        };
        ask(timeout / LOOKED_UP_WITHIN).await.map_err(|error| match error {
            // That it is not made so far is no proof: a write may wait for NATS to have its quorum again.
            RequestError::Refused(ref body) if body.code != 503 => self.failed(Step::Route, &error),
            _ => self.failed(Step::Route, &lost),
        })
    }

    /// How many subscriptions will be notified of a change whose telling is stored with it. Where the index cannot catch up, as
    /// far as it has read: the change is made, and that is what the reply says.
    fn notified(&self, presentity: &Presentity, answer: &RouteSetResponse, watchers: Result<Vec<EdgeWatchers>, RequestError>) -> u64 {
        let watchers = watchers.unwrap_or_else(|error| {
            self.metrics.step_failed(Step::Watchers.as_str(), error.reason());
            self.fanout.watchers_seen(presentity, &self.table.packages_of_states(&plan::told(answer)))
        });
        plan::notified(answer, &watchers)
    }

    /// Stores the jobs; returns how many subscriptions will be notified.
    async fn notify<I: FnMut() -> String>(
        &self,
        presentity: &Presentity,
        answer: &RouteSetResponse,
        occasion: &mut Occasion<'_, I>,
    ) -> Result<u64, Failure> {
        if !answer.notify {
            return Ok(0);
        }
        let watchers = self
            .fanout
            .watchers(presentity, &self.table.packages_of_states(&plan::told(answer)), None)
            .await
            .map_err(|error| self.failed(Step::Watchers, &error))?;
        let jobs = occasion.jobs(answer, &watchers);
        let count = jobs.len();
        if count > 0 {
            self.fanout.store(jobs).await.map_err(|error| self.failed(Step::Jobs, &error))?;
            self.metrics.jobs_stored(count);
        }
        Ok(plan::notified(answer, &watchers))
    }

    fn publish(&self, presentity: &Presentity, events: &[FeatureEvent], cause: &Cause) {
        for event in events {
            let subject = self.bus.subjects().event_feature(presentity, &event.feature);
            self.bus.publish_event(Pattern::EventFeature, subject, event, cause);
        }
    }

    fn failed(&self, step: Step, error: &RequestError) -> Failure {
        self.metrics.step_failed(step.as_str(), error.reason());
        Failure::new(step, error)
    }
}
