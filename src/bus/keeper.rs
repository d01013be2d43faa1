//! Recreates streams and buckets that are gone: a server that comes back may have lost them, and an operator may delete one. Keeps track
//! of the server's clock.
//!
//! ```text
//! connected ─▶ looked for, made where missing ─▶ there ─▶ connection lost ─▶ not there, as far as is known ─▶ connected …
//!                        ▲                         └─ a store or call finds none ─┐
//!                        └────────────────────────────────────────────────────────┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::bus::client::Bus;
use crate::bus::setup::{self, SetupError, Wanted};
use crate::runtime::tasks;

/// Retry interval after errors that waiting does not fix, and for connection events that were dropped.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the clock of NATS is compared with ours.
const COMPARE_CLOCKS_EVERY: Duration = Duration::from_secs(30);

/// Checks the streams after each connection, until dropped.
#[derive(Debug)]
pub(crate) struct StreamKeeper {
    is_there: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl StreamKeeper {
    /// Waits for a connection and creates what is missing, now and after each reconnect.
    ///
    /// # Errors
    ///
    /// [`SetupError`] of the first time.
    pub(crate) async fn start(bus: &Bus, wanted: impl Into<Wanted>) -> Result<Self, SetupError> {
        let wanted = wanted.into();
        bus.connected().await;
        let connection = bus.link_status().borrow().connections;
        Box::pin(setup::ensure(bus, wanted)).await?;
        look_no_more(bus).await;
        bus.compare_clocks().await;
        let is_there = Arc::new(AtomicBool::new(true));
        let task = tasks::spawn_owned(keep(bus.clone(), wanted, connection, Arc::clone(&is_there)));
        Ok(Self { is_there, _task: task })
    }

    /// Whether all streams were found on the current connection. The probe may outlive this.
    pub(crate) fn probe(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let is_there = Arc::clone(&self.is_there);
        move || is_there.load(Ordering::Acquire)
    }
}

/// `connection`: the last one on which all streams were found.
async fn keep(bus: Bus, wanted: Wanted, mut connection: u64, is_there: Arc<AtomicBool>) {
    let mut link = bus.link_status();
    let (mut said, mut is_missed) = (String::new(), false);
    loop {
        let status = *link.borrow_and_update();
        let is_known = status.is_up && status.connections == connection;
        is_there.store(is_known, Ordering::Release);
        if (is_missed || !is_known) && bus.is_connected() {
            let ensured = tokio::select! {
                biased;
                // What is said of the streams below must be of the connection that there is.
                changed = link.changed(), if is_known => match changed {
                    Ok(()) => continue,
                    Err(_closed) => return,
                },
                ensured = Box::pin(setup::ensure(&bus, wanted)) => ensured,
            };
            look_no_more(&bus).await;
            match ensured {
                Ok(made) => {
                    if made > 0 {
                        tracing::warn!(streams = made, "streams were gone, and what they held with them: made again");
                    }
                    is_missed = false;
                    connection = status.connections;
                    bus.compare_clocks().await;
                    is_there.store(!link.has_changed().unwrap_or(true), Ordering::Release);
                    said.clear();
                }
                Err(error) => {
                    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    if said != reason {
                        tracing::error!(stream = error.stream, error = reason, "stream cannot be made again");
                        said = reason;
                    }
                }
            }
        }
        let is_settled = is_there.load(Ordering::Acquire);
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return },
            () = bus.stream_missed(), if is_settled && !is_missed => {
                is_missed = true;
                // Where a cluster has no leader, every store finds nobody. A new connection is looked at as soon as it is there.
                let _either = tokio::time::timeout(AGAIN_AFTER, link.changed()).await;
            }
            () = tokio::time::sleep(AGAIN_AFTER), if is_missed || !is_settled => {}
            () = tokio::time::sleep(COMPARE_CLOCKS_EVERY), if is_settled => bus.compare_clocks().await,
        }
    }
}

/// What was missed until now is there.
async fn look_no_more(bus: &Bus) {
    let _missed_before = tokio::time::timeout(Duration::ZERO, bus.stream_missed()).await;
}
