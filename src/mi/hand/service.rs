//! The endpoints `dfks.resync`, `dfks.end` and `dfks.why`. I/O.

use std::sync::Arc;

use async_nats::SubscribeError;
use futures_util::future::join3;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::message::{EndRequest, EndResponse, ErrorBody, Named, ResyncRequest, ResyncResponse, WhyRequest, WhyResponse};
use crate::bus::service::{Endpoint, EndpointSpec, Handler, Request};
use crate::bus::subject::Pattern;
use crate::mi::bridge::{Bridge, Fanout};
use crate::mi::hand::Resync;
use crate::mi::limit::{self, MAX_HANDS};
use crate::mi::metrics::DropReason;

/// Where requests by hand come in.
#[derive(Debug)]
pub(crate) struct Hands {
    resync: Endpoint,
    end: Endpoint,
    why: Endpoint,
}

impl Hands {
    /// Subscribes, in this queue group.
    pub(crate) async fn open(bus: &Bus, group: &str) -> Result<Self, SubscribeError> {
        let subjects = bus.subjects();
        let resync = EndpointSpec::new::<ResyncRequest, ResyncResponse>("resync", Pattern::Resync, subjects.resync(), MAX_HANDS);
        let end = EndpointSpec::new::<EndRequest, EndResponse>("end", Pattern::End, subjects.end(), MAX_HANDS);
        let why = EndpointSpec::new::<WhyRequest, WhyResponse>("why", Pattern::Why, subjects.why(), MAX_HANDS);
        let open = async |spec: EndpointSpec| Endpoint::open(bus, spec.in_group(group.to_owned())).await;
        Ok(Self { resync: open(resync).await?, end: open(end).await?, why: open(why).await? })
    }

    /// For the service that they are of.
    pub(crate) const fn endpoints(&self) -> [&Endpoint; 3] {
        [&self.resync, &self.end, &self.why]
    }

    /// Serves until `shutdown`, or until one of them has ended.
    pub(crate) async fn serve<F: Fanout>(self, bridge: &Arc<Bridge<F>>, shutdown: &CancellationToken) {
        let stop = shutdown.child_token();
        let serve = async |endpoint: Endpoint, deed: Deed| {
            endpoint.serve(&ByHand { bridge, deed }, &stop).await;
            stop.cancel();
        };
        join3(serve(self.resync, Deed::Resync), serve(self.end, Deed::End), serve(self.why, Deed::Why)).await;
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Resync,
    End,
    Why,
}

struct ByHand<'a, F> {
    bridge: &'a Bridge<F>,
    deed: Deed,
}

impl<F: Fanout> ByHand<'_, F> {
    async fn done(&self, request: &Request) -> Result<Vec<u8>, ErrorBody> {
        match self.deed {
            Deed::Resync => written(&self.bridge.resync(&Resync::read(self.bridge.table(), read(request)?)?, request.cause()).await?),
            Deed::Why => written(&self.bridge.why(read(request)?, request.cause()).await?),
            Deed::End => written(&self.bridge.end_subscription(&read(request)?, request.cause()).await?),
        }
    }
}

impl<F: Fanout> Handler for ByHand<'_, F> {
    async fn handle(&self, request: Request) {
        let done = self.done(&request).await;
        if !request.respond(done.map(Into::into), request.cause()).await {
            self.reply_not_sent();
        }
    }

    fn turn_away(&self) -> ErrorBody {
        self.bridge.metrics().dropped(DropReason::Overloaded);
        limit::too_many_hands()
    }

    fn reply_not_sent(&self) {
        self.bridge.metrics().dropped(DropReason::ReplyNotSent);
    }
}

fn read<M: DeserializeOwned + Named>(request: &Request) -> Result<M, ErrorBody> {
    serde_json::from_slice(request.payload()).map_err(|unreadable| ErrorBody::new(400, format!("no {}: {unreadable}", M::TYPE)))
}

fn written(reply: &impl Serialize) -> Result<Vec<u8>, ErrorBody> {
    serde_json::to_vec(reply).map_err(|unwritable| ErrorBody::new(500, unwritable.to_string()))
}
