//! Answers `dfks.edge.resync.<edge_id>` and `dfks.edge.end.<edge_id>`: what somebody does by hand to subscriptions of this edge.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::SubscribeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bus::client::Bus;
use crate::bus::message::{EndRequest, EndResponse, ErrorBody, Kind, Named, ResyncRequest, ResyncResponse};
use crate::bus::service::{Endpoint, EndpointSpec, Request};
use crate::bus::subject::Pattern;
use crate::edge::io::watchers::{error, refuse};
use crate::edge::notifier::{Input, Notifier, Order};
use crate::edge::subscription::{Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::runtime::clock::Now;

/// Requests taken in at a time; one more is told to come again. Each is answered at once.
const MAX_REQUESTS: usize = 64;

pub(super) struct Hands {
    resync: Endpoint,
    end: Endpoint,
}

impl Hands {
    /// Subscribes.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub(super) async fn open(bus: &Bus, edge_id: &str) -> Result<Self, SubscribeError> {
        let subjects = bus.subjects();
        let (resync, end) = (subjects.edge_resync(edge_id), subjects.edge_end(edge_id));
        let resync = EndpointSpec::new::<ResyncRequest, ResyncResponse>("resync", Pattern::EdgeResync, resync, MAX_REQUESTS);
        let end = EndpointSpec::new::<EndRequest, EndResponse>("end", Pattern::EdgeEnd, end, MAX_REQUESTS);
        Ok(Self { resync: Endpoint::open(bus, resync).await?, end: Endpoint::open(bus, end).await? })
    }

    /// For the service that they are of.
    pub(super) const fn endpoints(&self) -> [&Endpoint; 2] {
        [&self.resync, &self.end]
    }

    /// Takes requests in, and answers each. `true` when there was any.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, notifier: &mut Notifier, now: Now) -> bool {
        let mut had_any = false;
        let too_many = |request: &Request| refuse(request, error(503, "too many requests at a time", None));
        while let Poll::Ready(Some(request)) = self.resync.poll_request(cx, too_many) {
            had_any = true;
            answer(&request, resync(&request, notifier, now));
        }
        while let Poll::Ready(Some(request)) = self.end.poll_request(cx, too_many) {
            had_any = true;
            answer(&request, end(&request, notifier, now));
        }
        had_any
    }
}

fn answer(request: &Request, answer: Result<impl Serialize, ErrorBody>) {
    let written = answer.and_then(|answer| serde_json::to_vec(&answer).map_err(|unwritable| error(500, &unwritable.to_string(), None)));
    if let Err(error) = request.respond_now(written.map(Into::into), request.cause()) {
        tracing::debug!(%error, "answer not sent");
    }
}

fn read<M: DeserializeOwned + Named>(request: &Request, notifier: &Notifier) -> Result<M, ErrorBody> {
    if !notifier.takes_orders() {
        return Err(error(503, "this edge stops, or has lost its lease", None));
    }
    serde_json::from_slice(request.payload()).map_err(|unreadable| error(400, &format!("no {}: {unreadable}", M::TYPE), None))
}

fn order(request: &Request, actor: Option<String>) -> Order {
    Order { cause: request.cause().clone(), actor: actor.map(String::into_boxed_str) }
}

fn resync(request: &Request, notifier: &mut Notifier, now: Now) -> Result<ResyncResponse, ErrorBody> {
    let ResyncRequest { kind: _, presentity, domain, subscription, package, actor } = read(request, notifier)?;
    let of_package = |one: &&Subscription| package.as_deref().is_none_or(|package| package == one.package.name);
    let id = subscription.as_deref().map(id_of).transpose()?;
    let (ids, is_first): (Vec<_>, bool) = match (presentity, domain) {
        (Some(presentity), None) => {
            let presentity =
                Presentity::parse(&presentity).map_err(|why| error(400, &format!("Invalid presentity: {why}"), Some("presentity")))?;
            let meant = notifier.live_of(&presentity).filter(of_package).map(|one| one.id);
            (meant.filter(|held| id.is_none_or(|id| id == *held)).collect(), true)
        }
        (None, Some(domain)) if id.is_none() => {
            (notifier.live().filter(|one| *one.presentity.domain_token() == *domain).filter(of_package).map(|one| one.id).collect(), false)
        }
        _ => return Err(error(400, "expected a presentity, with or without a subscription, or a domain", None)),
    };
    let phones = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    notifier.handle(Input::Resync { ids, by: Arc::new(order(request, actor)), is_first }, now);
    Ok(ResyncResponse { kind: Kind::default(), phones })
}

fn end(request: &Request, notifier: &mut Notifier, now: Now) -> Result<EndResponse, ErrorBody> {
    let EndRequest { kind: _, subscription, reason, actor } = read(request, notifier)?;
    let id = id_of(&subscription)?;
    let held = notifier.live_by_id(id).ok_or_else(|| error(404, "no such subscription at this edge", Some("subscription")))?;
    let presentity = held.presentity.as_str().to_owned();
    notifier.handle(Input::Dismiss { id, how: reason, by: order(request, actor) }, now);
    Ok(EndResponse { kind: Kind::default(), subscription, presentity })
}

fn id_of(text: &str) -> Result<SubscriptionId, ErrorBody> {
    text.parse().map_err(|why: crate::edge::subscription::SubscriptionIdError| error(404, &why.to_string(), Some("subscription")))
}
