//! What others read of the notifier.

use smallvec::SmallVec;

use super::{MAX_WAITS, Notifier};
use crate::edge::subscription::write;
use crate::edge::subscription::{Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::sip::flow::Flow;

impl Notifier {
    /// Live subscriptions, for `dfks.watchers`.
    pub fn live(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values().map(AsRef::as_ref).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// A live subscription by its id.
    pub fn live_by_id(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.get(&id).map(AsRef::as_ref).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// The live subscriptions of one presentity.
    pub fn live_of(&self, presentity: &Presentity) -> impl Iterator<Item = &Subscription> {
        let ids = self.watchers.get(presentity).map(SmallVec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| self.subscriptions.get(id)).map(AsRef::as_ref).filter(|subscription| subscription.phase == Phase::Live)
    }

    /// Requests to the bus whose answers are waited for, of [`MAX_WAITS`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Whether nothing new may be started: draining, the bus away, or queues full.
    pub(super) fn refuses_new(&self) -> bool {
        self.drains_since.is_some() || !self.is_bus_up || self.is_overloaded || self.waits.len() >= MAX_WAITS
    }

    pub(super) fn contact_of(&self, flow: Flow, is_sips: bool) -> String {
        format!("<{}>", write::contact(flow.transport, self.advertised(flow), is_sips))
    }

    pub(super) fn advertised(&self, flow: Flow) -> &str {
        self.config.listeners.get(usize::from(flow.listener)).map_or("invalid", |listener| &listener.advertised)
    }
}
