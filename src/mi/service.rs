//! The NATS service `dfks-mi`: commands from `dfks.set` and `dfks.set.<domain>`, and what is done by hand (`dfks.resync`, `dfks.end`),
//! carried out at the same time. I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join3;
use tokio_util::sync::CancellationToken;

use crate::bus::message::{ErrorBody, SetRequest, SetResponse};
use crate::bus::service::{Endpoint, EndpointSpec, Handler, Request, Service};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::feature::FeatureTable;
use crate::mi::bridge::{Bridge, Fanout};
use crate::mi::command;
use crate::mi::error::MiError;
use crate::mi::hand::Hands;
use crate::mi::limit::{self, MAX_IN_HAND};
use crate::mi::metrics::{DropReason, Way};
use crate::mi::refused::Who;
use crate::runtime::clock;

const DESCRIPTION: &str = "carries out dfks commands: has a worker run the set route, and the phones notified, told anew, or ended";

/// Serves `dfks.set` and `dfks.set.<domain>` until `shutdown`: then it takes in nothing new, finishes what is in hand and returns.
///
/// The streams and buckets must be there. `on_serving` is called once commands reach it.
///
/// # Errors
///
/// [`MiError`]: a service that cannot be registered, a subscription that ended.
pub async fn run<F: Fanout>(
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    on_serving: impl FnOnce(),
    shutdown: CancellationToken,
) -> Result<(), MiError> {
    let bus = bridge.bus().clone();
    let name = bus.subjects().mi_service();
    let open = async |endpoint: &'static str, pattern: Pattern, subject: String| {
        let set = EndpointSpec::new::<SetRequest, SetResponse>(endpoint, pattern, subject, MAX_IN_HAND);
        Endpoint::open(&bus, set.in_group(name.clone())).await.map_err(MiError::Service)
    };
    let commands = open("set", Pattern::Set, bus.subjects().set()).await?;
    let of_tenants = open("set_domain", Pattern::SetDomain, bus.subjects().set_of_any_domain()).await?;
    let hands = Hands::open(&bus, &name).await.map_err(MiError::Service)?;
    let [resync, end, why] = hands.endpoints();
    let endpoints = [&commands, &of_tenants, resync, end, why];
    let shown = Service::announce(&bus, name.clone(), DESCRIPTION, BTreeMap::new(), &endpoints, shutdown.clone()).await;
    let _shown = shown.map_err(MiError::Service)?;
    // After the flush the server has the subscription; without a connection it follows once there is one.
    let is_serving = bus.flush().await;
    tracing::info!(queue_group = name, is_serving, "mi bridge started");
    on_serving();

    let desk = Desk { bridge: Arc::clone(&bridge), table };
    // where the subscription of one ends, both do
    let stop = shutdown.child_token();
    let serve = async |endpoint: Endpoint| {
        endpoint.serve(&desk, &stop).await;
        stop.cancel();
    };
    let by_hand = async {
        hands.serve(&bridge, &stop).await;
        stop.cancel();
    };
    join3(serve(commands), serve(of_tenants), by_hand).await;
    if !shutdown.is_cancelled() {
        return Err(MiError::EndedEarly);
    }
    tracing::info!("mi bridge stopped");
    Ok(())
}

/// Where commands are taken in and replies given out.
#[derive(Debug)]
struct Desk<F> {
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
}

impl<F: Fanout> Handler for Desk<F> {
    async fn handle(&self, request: Request) {
        let metrics = self.bridge.metrics();
        let _in_flight = metrics.command_started(Way::Bus);
        let cause = request.cause();
        let command = command::read(&self.table, request.payload()).and_then(|command| command.within(request.domain()));
        let result = match &command {
            Ok(command) => self.bridge.carry_out(command, None, cause).await,
            Err(error) => Err(error.clone().into()),
        };
        let failure = result.as_ref().err().cloned();
        let took = clock::now().saturating_duration_since(request.received_at());
        metrics.command_ended(failure.as_ref().map(|failure| &failure.body), took);
        let reply = result
            .map_err(|failure| failure.body)
            .and_then(|response| serde_json::to_vec(&response).map_err(|error| ErrorBody::new(500, error.to_string())));
        if !request.respond(reply.map(Into::into), cause).await {
            metrics.dropped(DropReason::ReplyNotSent);
        }
        if let Some(failure) = &failure {
            let who = command.as_ref().map_or_else(|_| Who::in_payload(request.payload()), Who::of);
            self.bridge.refused().note(&failure.body, &who, cause);
        }
        // after the reply: the event needs one more request
        if let (Ok(command), Some(failure)) = (&command, &failure) {
            self.bridge.tell_refused(command, failure, None, cause).await;
        }
    }

    fn turn_away(&self) -> ErrorBody {
        self.bridge.metrics().command_turned_away(Way::Bus);
        let error = limit::too_many();
        self.bridge.refused().note(&error, &Who::default(), &Cause::new());
        error
    }

    fn reply_not_sent(&self) {
        self.bridge.metrics().dropped(DropReason::ReplyNotSent);
    }
}
