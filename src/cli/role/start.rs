//! What each role starts with: what it shares with the others, and the report that it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, SharedIndex};
use crate::cli::args::Role;
use crate::cli::exit::Failure;
use crate::cli::role::common::Common;
use crate::config::Config;
use crate::feature::FeatureTable;
use crate::telemetry::{Condition, Readiness};

/// What one role is given.
pub(crate) struct Start {
    pub(crate) role: Role,
    pub(crate) config: Arc<Config>,
    pub(crate) readiness: Readiness,
    pub(super) common: Common,
    /// Cancelled: take in nothing new, finish what is in hand, return.
    pub(crate) stop: CancellationToken,
    pub(super) condition: Condition,
    pub(super) serving: oneshot::Sender<Vec<String>>,
    pub(super) is_serving: Arc<AtomicBool>,
}

impl Start {
    /// The process's connection to NATS, part of `/readyz` from now on.
    pub(crate) fn bus(&self) -> Bus {
        let bus = self.common.bus.clone();
        let asked = bus.clone();
        let (nats, _) = self.conditions();
        self.readiness.probe(nats, move || if asked.is_connected() { Ok(()) } else { Err("not connected") });
        bus
    }

    /// The process's watcher index.
    pub(super) const fn index(&self) -> &SharedIndex {
        &self.common.index
    }

    /// Waits for the bus, and until all streams and buckets are there. The role is ready only while all are.
    pub(super) async fn streams(&self) -> Result<(), Failure> {
        let are_there = self.common.streams().await?.probe();
        let (_, streams) = self.conditions();
        self.readiness.probe(streams, move || if are_there() { Ok(()) } else { Err("not known to be there") });
        Ok(())
    }

    const fn conditions(&self) -> (&'static str, &'static str) {
        match self.role {
            Role::Edge => ("edge nats", "edge streams"),
            Role::Worker => ("worker nats", "worker streams"),
            Role::Mi => ("mi nats", "mi streams"),
        }
    }

    /// The role serves from now on; `listening` names its listeners, if any. Returns the stop token.
    pub(crate) fn serving(self, listening: Vec<String>) -> CancellationToken {
        self.is_serving.store(true, Ordering::Release);
        self.condition.ready();
        // nobody waits for it any more when the process stops while it starts
        let _stopping = self.serving.send(listening);
        self.stop
    }
}

/// The features by name, with those of `[features]`.
pub(in crate::cli) fn table(config: &Config) -> Result<Arc<FeatureTable>, Failure> {
    let table = FeatureTable::with_config(&config.features.tables, &config.packages);
    let of_config = |table: FeatureTable| table.with_target(config.features.target).with_visits_that_end(config.features.hoteling_ends);
    table.map(|table| Arc::new(of_config(table))).map_err(|error| Failure::Config(error.to_string()))
}
