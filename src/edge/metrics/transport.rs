//! Metrics of the transports: connections, TLS files, the mirror.

use std::error::Error;

use ahash::AHashMap;
use metrics::{Counter, Gauge, counter, gauge};

use crate::edge::metrics::label::zero;
use crate::sip::flow::Transport;
use crate::sip::transport::{CloseReason, RefuseReason};
use crate::telemetry::hep_sender::HepOutcome;

/// Handles of every series.
pub struct TransportMetrics {
    connections: AHashMap<Transport, Gauge>,
    refused: AHashMap<(Transport, RefuseReason), Counter>,
    tls_reloads: Counter,
    tls_reloads_failed: Counter,
    mirrored: AHashMap<HepOutcome, Counter>,
}

impl TransportMetrics {
    /// Registers every series of these transports, at 0.
    #[must_use]
    pub fn new(transports: &[Transport]) -> Self {
        Self {
            connections: transports
                .iter()
                .filter(|transport| transport.is_reliable())
                .map(|transport| (*transport, zero(gauge!("dfks_edge_connections", "transport" => transport.as_str()))))
                .collect(),
            refused: transports
                .iter()
                .filter(|transport| transport.is_reliable())
                .flat_map(|transport| RefuseReason::ALL.map(|reason| ((*transport, reason), refused_counter(*transport, reason))))
                .collect(),
            tls_reloads: counter!("dfks_edge_tls_reloads_total", "outcome" => "ok"),
            tls_reloads_failed: counter!("dfks_edge_tls_reloads_total", "outcome" => "failed"),
            mirrored: HepOutcome::ALL
                .map(|outcome| (outcome, counter!("dfks_edge_hep_packets_total", "outcome" => outcome.as_str())))
                .into(),
        }
    }

    /// A connection was opened.
    pub fn opened(&self, transport: Transport) {
        if let Some(gauge) = self.connections.get(&transport) {
            gauge.increment(1.0);
        }
    }

    /// A connection is gone.
    pub fn closed(&self, transport: Transport, reason: CloseReason) {
        tracing::debug!(transport = transport.as_str(), reason = reason.as_str(), "connection closed");
        // One that never stood was not counted.
        if reason != CloseReason::ConnectFailed
            && let Some(gauge) = self.connections.get(&transport)
        {
            gauge.decrement(1.0);
        }
    }

    /// A connection was not taken in.
    pub fn refused(&self, transport: Transport, reason: RefuseReason) {
        if let Some(counter) = self.refused.get(&(transport, reason)) {
            counter.increment(1);
        }
        tracing::debug!(transport = transport.as_str(), reason = reason.as_str(), "connection refused");
    }

    /// The files of `sip.tls` have changed, and are used from now on.
    pub fn tls_reloaded(&self) {
        self.tls_reloads.increment(1);
        tracing::info!("tls files reloaded");
    }

    /// The files of `sip.tls` have changed and cannot be used: those of before stay in use.
    pub fn tls_not_reloaded(&self, error: &dyn Error) {
        self.tls_reloads_failed.increment(1);
        tracing::error!(%error, "tls files not reloaded, those of before stay in use");
    }

    /// A message was mirrored, or was not.
    pub fn mirrored(&self, outcome: HepOutcome) {
        if let Some(counter) = self.mirrored.get(&outcome) {
            counter.increment(1);
        }
    }
}

fn refused_counter(transport: Transport, reason: RefuseReason) -> Counter {
    counter!("dfks_edge_connections_refused_total", "transport" => transport.as_str(), "reason" => reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_never_stood_are_not_counted_down() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let metrics = TransportMetrics::new(&Transport::ALL);
            metrics.closed(Transport::Tcp, CloseReason::ConnectFailed);
            metrics.opened(Transport::Tls);
            metrics.opened(Transport::Tls);
            metrics.closed(Transport::Tls, CloseReason::Peer);
            metrics.refused(Transport::Ws, RefuseReason::Subprotocol);
        });
        let text = recorder.handle().render();
        for line in [
            "dfks_edge_connections{transport=\"tcp\"} 0",
            "dfks_edge_connections{transport=\"tls\"} 1",
            "dfks_edge_connections_refused_total{transport=\"ws\",reason=\"subprotocol\"} 1",
            "dfks_edge_connections_refused_total{transport=\"wss\",reason=\"tls\"} 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
