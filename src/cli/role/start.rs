//! What each role starts with: the connection, the streams, and the report that it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, StreamKeeper};
use crate::cli::args::Role;
use crate::cli::exit::{Failure, chain};
use crate::config::Config;
use crate::feature::FeatureTable;
use crate::runtime::Backoff;
use crate::telemetry::{Condition, Readiness};

/// Attempts at creating streams and buckets before a role gives up.
const SETUP_TRIES: usize = 10;

/// What one role is given.
pub(crate) struct Start {
    pub(crate) role: Role,
    pub(crate) config: Arc<Config>,
    pub(crate) readiness: Readiness,
    /// Cancelled: take in nothing new, finish what is in hand, return.
    pub(crate) stop: CancellationToken,
    pub(super) condition: Condition,
    pub(super) serving: oneshot::Sender<Vec<String>>,
    pub(super) is_serving: Arc<AtomicBool>,
}

impl Start {
    /// The role's connection to NATS, part of `/readyz` from now on.
    pub(crate) async fn bus(&self) -> Result<Bus, Failure> {
        let name = match self.role {
            Role::Edge => "dfks-edge",
            Role::Worker => "dfks-worker",
            Role::Mi => "dfks-mi",
        };
        let bus = Bus::connect(&self.config.nats, name).await.map_err(|error| Failure::Config(error.to_string()))?;
        let asked = bus.clone();
        let (nats, _) = self.conditions();
        self.readiness.probe(nats, move || if asked.is_connected() { Ok(()) } else { Err("not connected") });
        Ok(bus)
    }

    /// Makes the streams part of `/readyz`.
    fn has_streams(&self, are_there: impl Fn() -> bool + Send + Sync + 'static) {
        let (_, streams) = self.conditions();
        self.readiness.probe(streams, move || if are_there() { Ok(()) } else { Err("not known to be there") });
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

    /// Waits for the bus and creates missing streams and buckets, now and after each reconnect while the keeper lives. The role is
    /// ready only while all are there.
    pub(super) async fn streams(&self, bus: &Bus) -> Result<StreamKeeper, Failure> {
        let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut tries = 0;
        let keeper = loop {
            tries += 1;
            match StreamKeeper::start(bus, &self.config.nats).await {
                Ok(keeper) => break keeper,
                Err(error) if tries > SETUP_TRIES || error.has_no_room => {
                    return Err(Failure::Refused(format!("nats: {}", chain(&error))));
                }
                Err(error) => tracing::warn!(error = chain(&error), "streams and buckets are not there yet"),
            }
            tokio::time::sleep(retry.next(0.0)).await;
        };
        self.has_streams(keeper.probe());
        Ok(keeper)
    }
}

/// The features by name, with those of `[features]`.
pub(in crate::cli) fn table(config: &Config) -> Result<Arc<FeatureTable>, Failure> {
    let table = FeatureTable::with_config(&config.features.tables);
    table.map(Arc::new).map_err(|error| Failure::Config(error.to_string()))
}
