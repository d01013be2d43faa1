//! Copies the SIP messages of this edge to `sip.trace_hep` as `HEPv3`, decrypted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::edge::config::{EdgeConfig, Listener};
use crate::edge::metrics::EdgeMetrics;
use crate::runtime::Tasks;
use crate::sip::flow::{Flow, Transport};
use crate::telemetry::hep::{self, Agent, Captured};
use crate::telemetry::hep_sender::{HepSender, hep_sender};

/// A mirror, or none. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Mirror {
    on: Option<Arc<On>>,
}

struct On {
    sender: HepSender,
    agent: Agent,
    /// The public address of each listener.
    listeners: Vec<SocketAddr>,
}

impl Mirror {
    /// A mirror that sends to `collector`, `host:port`; one that does nothing where it is empty.
    #[must_use]
    pub(crate) fn new(collector: &str, config: &EdgeConfig, metrics: &Arc<EdgeMetrics>, tasks: &Tasks) -> Self {
        if collector.is_empty() {
            return Self::default();
        }
        let counted = Arc::clone(metrics);
        let (sender, task) = hep_sender(collector, Arc::new(move |outcome| counted.transports.mirrored(outcome)));
        tasks.spawn("hep", task.run(tasks.stopping().clone()));
        let listeners = config.listeners.iter().map(address).collect();
        Self { on: Some(Arc::new(On { sender, agent: Agent::new(&config.edge_id), listeners })) }
    }

    /// A message came in. Never waits.
    pub(crate) fn received(&self, flow: Flow, payload: &[u8], at: SystemTime) {
        self.captured(flow, payload, at, false);
    }

    /// A message goes out. Never waits.
    pub(crate) fn sent(&self, flow: Flow, payload: &[u8], at: SystemTime) {
        self.captured(flow, payload, at, true);
    }

    fn captured(&self, flow: Flow, payload: &[u8], at: SystemTime, is_ours: bool) {
        let Some(on) = &self.on else { return };
        // Keep-alives are no messages.
        if payload.trim_ascii().is_empty() {
            return;
        }
        let same_family = |address: &&SocketAddr| address.is_ipv4() == flow.peer.is_ipv4();
        let listener = on.listeners.get(usize::from(flow.listener)).filter(same_family).or_else(|| on.listeners.iter().find(same_family));
        let Some(ours) = listener.copied() else { return };
        let (source, destination) = if is_ours { (ours, flow.peer) } else { (flow.peer, ours) };
        let is_udp = flow.transport == Transport::Udp;
        on.sender.send(hep::encode(&Captured { source, destination, is_udp, at, payload }, &on.agent));
    }
}

/// The public address of a listener: for a wildcard, the advertised one if that is an address.
fn address(listener: &Listener) -> SocketAddr {
    let advertised = listener.advertised.parse().ok().filter(|_| listener.address.ip().is_unspecified());
    advertised.unwrap_or(listener.address)
}
