//! The NATS service `dfks-edge`: what others may ask of this edge.
//!
//! It is read from the notifier and done there, so requests are taken in and answered by the driver, which owns it:
//! [`EdgeService::poll`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;

use async_nats::SubscribeError;
use tokio_util::sync::CancellationToken;

use crate::bus::client::Bus;
use crate::bus::service::Service;
use crate::edge::io::asked_sip::AskedSip;
use crate::edge::io::hands::Hands;
use crate::edge::io::mirror::Mirror;
use crate::edge::io::watchers::Watchers;
use crate::edge::notifier::Notifier;
use crate::feature::table::FeatureTable;
use crate::runtime::clock::Now;

const DESCRIPTION: &str = "keeps subscriptions of phones: lists them with its watchers, tells them anew, ends them, shows their SIP";

pub(crate) struct EdgeService {
    watchers: Watchers,
    hands: Hands,
    sip: AskedSip,
    _service: Service,
}

impl EdgeService {
    /// Subscribes, and shows itself as a service until `shutdown`.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub(crate) async fn open(
        bus: Bus,
        edge_id: &str,
        table: Arc<FeatureTable>,
        mirror: Mirror,
        shutdown: CancellationToken,
    ) -> Result<Self, SubscribeError> {
        let (watchers, hands) = (Watchers::open(&bus, edge_id, table).await?, Hands::open(&bus, edge_id).await?);
        let sip = AskedSip::open(&bus, edge_id, mirror).await?;
        let metadata = BTreeMap::from([("edge_id", edge_id.to_owned())]);
        let [resync, end] = hands.endpoints();
        let endpoints = [watchers.endpoint(), resync, end, sip.endpoint()];
        let service = Service::announce(&bus, bus.subjects().edge_service(), DESCRIPTION, metadata, &endpoints, shutdown).await?;
        Ok(Self { watchers, hands, sip, _service: service })
    }

    /// Takes requests in, and sends one message of the answers under way. `true` when there was anything.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, notifier: &mut Notifier, now: Now) -> bool {
        let was_asked = self.watchers.poll(cx, notifier, now);
        was_asked | self.hands.poll(cx, notifier, now) | self.sip.poll(cx)
    }
}
