//! Answers `dfks.watchers`, where every edge lists its live subscriptions, a message of them at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::SubscribeError;

use crate::bus::client::Bus;
use crate::bus::message::{ErrorBody, Kind, Standing, Watcher, WatchersRequest, WatchersResponse};
use crate::bus::service::{Endpoint, EndpointSpec, Request};
use crate::bus::subject::Pattern;
use crate::edge::notifier::Notifier;
use crate::edge::subscription::{Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::feature::table::FeatureTable;
use crate::runtime::clock::{self, Now};

/// Subscriptions in one message: well below the 1 MiB that a server takes.
const PER_MESSAGE: usize = 500;
/// Requests answered at a time; one more is told to come again.
const MAX_REQUESTS: usize = 16;

pub(super) struct Watchers {
    edge_id: Box<str>,
    table: Arc<FeatureTable>,
    endpoint: Endpoint,
    answers: VecDeque<Answer>,
}

/// An answer under way.
struct Answer {
    request: Request,
    left: Vec<SubscriptionId>,
    /// Whether what phones are still to be told is asked for.
    is_detailed: bool,
}

impl Watchers {
    /// Subscribes; without a queue group, for every edge answers.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub(super) async fn open(bus: &Bus, edge_id: &str, table: Arc<FeatureTable>) -> Result<Self, SubscribeError> {
        let subject = bus.subjects().watchers();
        let spec = EndpointSpec::new::<WatchersRequest, WatchersResponse>("watchers", Pattern::Watchers, subject, MAX_REQUESTS);
        Ok(Self { edge_id: edge_id.into(), table, endpoint: Endpoint::open(bus, spec).await?, answers: VecDeque::new() })
    }

    /// For the service that it is of.
    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes requests in, and sends one message of the answer under way. `true` when there was anything.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, notifier: &Notifier, now: Now) -> bool {
        let mut had_any = false;
        let too_many = |request: &Request| refuse(request, error(503, "too many requests for watchers at a time", None));
        while let Poll::Ready(Some(request)) = self.endpoint.poll_request(cx, too_many) {
            had_any = true;
            self.take_in(request, notifier);
        }
        if let Some(mut answer) = self.answers.pop_front() {
            had_any = true;
            if self.send_next(&mut answer, notifier, now) {
                self.answers.push_back(answer);
            }
        }
        had_any
    }

    fn take_in(&mut self, request: Request, notifier: &Notifier) {
        if !request.wants_reply() {
            return;
        }
        let (of, is_detailed) = match read(request.payload()) {
            Ok(asked) => asked,
            Err(error) => return refuse(&request, error),
        };
        let left = match of {
            Of::All => notifier.live().map(|subscription| subscription.id).collect(),
            Of::Domain(domain) => {
                let is_meant = |subscription: &&Subscription| subscription.presentity.domain_token() == domain;
                notifier.live().filter(is_meant).map(|subscription| subscription.id).collect()
            }
            Of::Presentity(presentity) => notifier.live_of(&presentity).map(|subscription| subscription.id).collect(),
        };
        self.answers.push_back(Answer { request, left, is_detailed });
    }

    /// Sends up to a message full; `true` when more follow.
    fn send_next(&self, answer: &mut Answer, notifier: &Notifier, now: Now) -> bool {
        let rest = answer.left.split_off(answer.left.len().min(PER_MESSAGE));
        let page = std::mem::replace(&mut answer.left, rest);
        let more = !answer.left.is_empty();
        let live = page.into_iter().filter_map(|id| notifier.live_by_id(id));
        let watchers = live.map(|subscription| {
            let standing = answer.is_detailed.then(|| standing(notifier, subscription, now));
            Watcher { standing, ..self.watcher(subscription, now) }
        });
        let watchers = watchers.collect();
        let response = WatchersResponse { kind: Kind::default(), edge_id: self.edge_id.to_string(), watchers, more };
        let request = &answer.request;
        let sent = match serde_json::to_vec(&response) {
            Ok(payload) if more => request.respond_in_part(payload.into(), request.cause()),
            Ok(payload) => request.respond_now(Ok(payload.into()), request.cause()),
            Err(unwritable) => request.respond_now(Err(error(500, &unwritable.to_string(), None)), request.cause()),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "watchers not sent");
        }
        more
    }

    fn watcher(&self, subscription: &Subscription, now: Now) -> Watcher {
        let named = |(at, version): &(u8, u64)| Some((self.table.names().nth(usize::from(*at))?.to_owned(), *version));
        Watcher {
            subscription: subscription.id.to_string(),
            presentity: subscription.presentity.as_str().to_owned(),
            package: subscription.package.name.to_owned(),
            watcher: subscription.watcher.to_string(),
            call_id: subscription.dialog.call_id.to_string(),
            contact: subscription.dialog.target.to_string(),
            transport: subscription.flow.transport.as_str().to_owned(),
            user_agent: subscription.user_agent.to_string(),
            expires_at: clock::rfc3339(subscription.expires_at_utc(now.at, now.utc)),
            versions: subscription.versions.iter().filter_map(named).collect(),
            standing: None,
        }
    }
}

fn standing(notifier: &Notifier, subscription: &Subscription, now: Now) -> Standing {
    let in_flight = subscription.in_flight.iter().flat_map(|in_flight| &in_flight.parcel.updates);
    let in_flight = in_flight.map(|update| update.state.feature.as_str());
    let mut pending: Vec<_> = in_flight.chain(subscription.outbox.features()).map(str::to_owned).collect();
    pending.sort();
    pending.dedup();
    let lane = &subscription.lane;
    let until = subscription.outbox.retry_at().filter(|at| *at > now.at);
    Standing {
        pending,
        until: until.map(|at| clock::rfc3339(clock::time_of_day(at, now.at, now.utc))),
        is_busy: subscription.in_flight.is_some() || !lane.has_no_query() || lane.is_asked_for(),
        is_reachable: notifier.is_reachable(subscription),
    }
}

pub(super) fn refuse(request: &Request, error: ErrorBody) {
    if let Err(error) = request.respond_now(Err(error), request.cause()) {
        tracing::debug!(%error, "refusal not sent");
    }
}

/// Whose watchers are asked for.
enum Of {
    All,
    /// As it stands in subjects.
    Domain(String),
    Presentity(Presentity),
}

/// Whose, and whether in detail.
fn read(payload: &[u8]) -> Result<(Of, bool), ErrorBody> {
    if payload.is_empty() {
        return Ok((Of::All, false));
    }
    let request: WatchersRequest =
        serde_json::from_slice(payload).map_err(|unreadable| error(400, &format!("no watchers_request: {unreadable}"), None))?;
    let presentity = request.presentity.map(|text| Presentity::parse(&text)).transpose();
    let presentity = presentity.map_err(|why| error(400, &format!("Invalid presentity: {why}"), Some("presentity")))?;
    let of = presentity.map_or_else(|| request.domain.map_or(Of::All, Of::Domain), Of::Presentity);
    Ok((of, request.details))
}

pub(super) fn error(code: u16, description: &str, field: Option<&str>) -> ErrorBody {
    ErrorBody { code, description: description.to_owned(), field: field.map(str::to_owned) }
}
