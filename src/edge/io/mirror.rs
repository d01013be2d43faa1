//! Copies the SIP messages of this edge, decrypted: to `sip.trace_hep` as `HEPv3`, and into the ring of each subscription's last.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::config::Config;
use crate::edge::config::{EdgeConfig, Listener};
use crate::edge::io::ring::{Passed, Ring};
use crate::edge::metrics::EdgeMetrics;
use crate::runtime::Tasks;
use crate::sip::flow::{Flow, Transport};
use crate::telemetry::hep::{self, Agent, Captured};
use crate::telemetry::hep_sender::{HepSender, hep_sender};

/// A mirror, or none. Clones share it.
#[derive(Clone)]
pub(crate) struct Mirror {
    on: Option<Arc<On>>,
}

struct On {
    hep: Option<(HepSender, Agent)>,
    /// Of the edge's own thread alone: nobody ever waits for it.
    ring: Option<Mutex<Ring>>,
    /// The public address of each listener.
    listeners: Vec<SocketAddr>,
}

impl Mirror {
    /// A mirror as `source` has it; one that does nothing where it asks for none.
    #[must_use]
    pub(crate) fn new(source: &Config, config: &EdgeConfig, metrics: &Arc<EdgeMetrics>, tasks: &Tasks) -> Self {
        let hep = (!source.sip.trace_hep.is_empty()).then(|| {
            let counted = Arc::clone(metrics);
            let (sender, task) = hep_sender(&source.sip.trace_hep, Arc::new(move |outcome| counted.transports.mirrored(outcome)));
            tasks.spawn("hep", task.run(tasks.stopping().clone()));
            (sender, Agent::new(&config.edge_id))
        });
        let bytes = source.http.sip_ring_bytes.div_ceil(config.place.of.into());
        let ring = Ring::new(source.http.sip_ring_messages, bytes).map(Mutex::new);
        let listeners = config.listeners.iter().map(address).collect();
        let is_on = hep.is_some() || ring.is_some();
        Self { on: is_on.then(|| Arc::new(On { hep, ring, listeners })) }
    }

    /// A message came in. Never waits.
    pub(crate) fn received(&self, flow: Flow, payload: &[u8], at: SystemTime) {
        self.captured(flow, payload, at, false);
    }

    /// A message came in at another thread, which has sent it to the collector: it is of a subscription here.
    pub(crate) fn handed_over(&self, flow: Flow, payload: &[u8], at: SystemTime) {
        if let Some((on, local)) = self.on.as_ref().and_then(|on| Some((on, on.local(flow)?))) {
            on.keep(flow, local, payload, at, false);
        }
    }

    /// A message goes out. Never waits.
    pub(crate) fn sent(&self, flow: Flow, payload: &[u8], at: SystemTime) {
        self.captured(flow, payload, at, true);
    }

    /// Looks at what is kept, where anything is.
    pub(crate) fn with_ring(&self, look: impl FnOnce(&Ring)) {
        if let Some(ring) = self.on.as_ref().and_then(|on| on.ring.as_ref()) {
            look(&ring.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn captured(&self, flow: Flow, payload: &[u8], at: SystemTime, is_ours: bool) {
        let Some(on) = &self.on else { return };
        // Keep-alives are no messages.
        if payload.trim_ascii().is_empty() {
            return;
        }
        let Some(local) = on.local(flow) else { return };
        on.keep(flow, local, payload, at, is_ours);
        let Some((sender, agent)) = &on.hep else { return };
        let (source, destination) = if is_ours { (local, flow.peer) } else { (flow.peer, local) };
        let is_udp = flow.transport == Transport::Udp;
        sender.send(hep::encode(&Captured { source, destination, is_udp, at, payload }, agent));
    }
}

impl On {
    /// Our address on a flow.
    fn local(&self, flow: Flow) -> Option<SocketAddr> {
        let same_family = |address: &&SocketAddr| address.is_ipv4() == flow.peer.is_ipv4();
        let listener = self.listeners.get(usize::from(flow.listener)).filter(same_family);
        listener.or_else(|| self.listeners.iter().find(same_family)).copied()
    }

    fn keep(&self, flow: Flow, local: SocketAddr, payload: &[u8], at: SystemTime, is_ours: bool) {
        let Some(ring) = &self.ring else { return };
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.pass(is_ours, payload, |packet| Passed { at, is_ours, transport: flow.transport, local, peer: flow.peer, packet });
    }
}

/// The public address of a listener: for a wildcard, the advertised one if that is an address.
fn address(listener: &Listener) -> SocketAddr {
    let advertised = listener.advertised.parse().ok().filter(|_| listener.address.ip().is_unspecified());
    advertised.unwrap_or(listener.address)
}
