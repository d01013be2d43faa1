//! The one client of a consumer that gets its messages. Source: ADR-42, policy `pinned_client`.

use std::time::Duration;

use crate::simulate::server::config::PriorityPolicy;
use crate::simulate::server::consumer::client::Pin;
use crate::simulate::server::consumer::state::{Consumer, Scene};

impl Consumer {
    pub(super) fn is_pinned_policy(&self) -> bool {
        self.config.priority_policy == PriorityPolicy::PinnedClient
    }

    pub(super) fn pin_anew(&mut self, scene: &Scene<'_>) -> String {
        self.pins += 1;
        let id = format!("pin{:019}", self.pins);
        self.pin = Some(Pin { id: id.clone(), since: scene.wall(), until: self.pinned_until(scene) });
        id
    }

    pub(super) fn pinned_until(&self, scene: &Scene<'_>) -> Duration {
        scene.now + Duration::from_nanos(self.config.priority_timeout)
    }

    /// Nobody is pinned any more: the next one who asks, or asks already, will be.
    pub(in crate::simulate::server) fn unpin(&mut self) {
        self.pin = None;
    }

    pub(super) fn unpin_late(&mut self, scene: &Scene<'_>) {
        if self.pin.as_ref().is_some_and(|pin| pin.until <= scene.now) {
            self.pin = None;
        }
    }

    pub(in crate::simulate::server) const fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }
}
