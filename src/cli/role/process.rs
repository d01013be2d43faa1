//! What this process says of itself on the bus: its roles, configuration and edges, and its log level.

use metrics_exporter_prometheus::PrometheusHandle;
use sha2::{Digest, Sha256};

use crate::bus::message::Holder;
use crate::bus::process::{self, Process};
use crate::cli::args::Role;
use crate::cli::role::common::Common;
use crate::config::Config;
use crate::runtime::Tasks;
use crate::telemetry::level::LogLevel;

/// Digits of the hash of a configuration that are shown.
const HASH_DIGITS: usize = 12;

/// What operators see of this process.
pub(in crate::cli) struct Seen {
    pub(in crate::cli) log: LogLevel,
    pub(in crate::cli) metrics: PrometheusHandle,
}

/// Answers `dfks.status` and `dfks.log` until `tasks` stop.
pub(in crate::cli) fn start(config: &Config, roles: &[Role], common: &Common, seen: Seen, tasks: &Tasks) {
    let (index, metrics) = (common.index.clone(), seen.metrics);
    let holders = move || {
        let holders = index.current()?.holders();
        Some(holders.into_iter().map(|(edge_id, subscriptions)| Holder { edge_id: edge_id.to_string(), subscriptions }).collect())
    };
    let process = Process {
        host: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default(),
        roles: roles.iter().map(|role| role.as_str().to_owned()).collect(),
        config: hash(config),
        edges: if roles.contains(&Role::Edge) { edges(config) } else { Vec::new() },
        holders: Box::new(holders),
        log: seen.log,
        settings: config.to_toml(),
        metrics: Box::new(move || metrics.render()),
    };
    let (bus, stopping) = (common.bus.clone(), tasks.stopping().clone());
    tasks.spawn_brief("process", async move {
        if let Err(error) = process::serve(bus, process, stopping.clone()).await {
            tracing::warn!(%error, "this process does not answer dfks.status");
        }
        // it is no reason to end the process
        stopping.cancelled().await;
    });
}

/// Of the effective configuration, secrets hidden.
pub(in crate::cli) fn hash(config: &Config) -> String {
    let digest = Sha256::digest(config.to_toml());
    let number = digest.iter().take(HASH_DIGITS / 2).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:0HASH_DIGITS$x}")
}

/// The edges of this process: one a notifier thread.
fn edges(config: &Config) -> Vec<String> {
    let edge_id = config.edge_id();
    (1..=config.sip.threads).map(|number| if number == 1 { edge_id.clone() } else { format!("{edge_id}.{number}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_configuration_has_the_same_hash() {
        let mut config = Config::default();
        let before = hash(&config);
        assert_eq!((before.len(), hash(&Config::default()) == before), (HASH_DIGITS, true));
        config.sip.threads = 2;
        config.sip.edge_id = "edge-0".into();
        assert_ne!(hash(&config), before);
        assert_eq!(edges(&config), ["edge-0", "edge-0.2"]);
    }
}
