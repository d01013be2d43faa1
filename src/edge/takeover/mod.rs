//! Take-over from a silent edge: the others divide its subscriptions over UDP, end those that expire, and redirect its jobs.
//!
//! ```text
//! every edge ─▶ dfks.edge.alive ─▶ heartbeat ─▶ membership: who is silent, whose turn it is       heartbeat ─▶ bucket dfks-edges ─▶ lease: do we live, by the word of NATS
//! index of the bucket ─▶ taker ─(orphans)─▶ notifier, which stores them in its name
//!                          ├─ what is over a connection: ended when it expires
//!                          └─ dfks.notify.<silent edge> ─▶ redirect ─▶ the edges that hold the watchers now
//! ```
//! Two edges that want the same subscription meet at its key's revision: one has it. An edge that was not heard for
//! `sip.takeover_seconds` sends no NOTIFY until it is heard again and has read what it lost.

mod heartbeat;
mod lease;
mod membership;
mod missed;
mod orphan;
mod redirect;
mod taker;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;

use crate::bus::Bus;
use crate::bus::pull::Delivery;
use crate::edge::config::EdgeConfig;
use crate::edge::limit::{MISSED_QUEUE, MOVED_JOB_QUEUE, ORPHAN_QUEUE};
use crate::edge::metrics::EdgeMetrics;
use crate::edge::notifier::Orphan;
pub(crate) use crate::edge::takeover::lease::Lease;
use crate::edge::takeover::membership::{Membership, SharedMembership};
pub(crate) use crate::edge::takeover::missed::Missed;
use crate::notify::Queue;
use crate::runtime::Tasks;
use crate::sip::flow::Transport;

/// The driver's end of the take-over.
pub(crate) struct TakeOver {
    /// Subscriptions to take over.
    pub orphans: mpsc::Receiver<Box<Orphan>>,
    /// Until when no other edge takes over from us.
    pub lease: Lease,
    /// What phones may have missed.
    pub missed: mpsc::Receiver<Missed>,
    /// For jobs whose watchers may be at another edge by now.
    pub moved_jobs: mpsc::Sender<Delivery>,
}

impl TakeOver {
    /// Starts the heartbeat and the taker. All that was asked of this edge before its restart was told up to `told_before_restart`.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub(crate) async fn start(
        bus: &Bus,
        queue: Queue,
        config: &Arc<EdgeConfig>,
        metrics: &Arc<EdgeMetrics>,
        told_before_restart: Option<SystemTime>,
        tasks: &Tasks,
    ) -> Result<Self, async_nats::SubscribeError> {
        let takes_udp = config.listeners.iter().any(|listener| listener.transport == Transport::Udp);
        let membership = SharedMembership::new(Membership::new(&config.edge_id, takes_udp, config.silent_after));
        let heard = bus.client().subscribe(bus.subjects().edge_alive()).await?;
        let (lease_sender, lease) = Lease::new();
        let (orphan_sender, orphans) = mpsc::channel(ORPHAN_QUEUE);
        let (missed_sender, missed) = mpsc::channel(MISSED_QUEUE);
        let (moved_jobs, moved) = mpsc::channel(MOVED_JOB_QUEUE);
        let stopping = tasks.stopping().clone();
        missed::follow_restart(bus, told_before_restart, config, missed_sender.clone(), tasks);
        let index = queue.index().clone();
        let heartbeat = heartbeat::Heartbeat::new(bus.clone(), index, config, takes_udp, &membership, lease_sender, missed_sender.clone());
        tasks.spawn("heartbeat", heartbeat.run(heard, stopping.clone()));
        let taker =
            taker::Taker::new(bus.clone(), queue, Arc::clone(config), membership, Arc::clone(metrics), orphan_sender, missed_sender);
        tasks.spawn("take-over", taker.run(moved, stopping));
        Ok(Self { orphans, lease, missed, moved_jobs })
    }
}
