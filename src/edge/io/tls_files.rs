//! The TLS files of an edge: read at the start, checked for changes every second.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::edge::metrics::EdgeMetrics;
use crate::runtime::Tasks;
use crate::sip::transport::{Tls, TlsError};

/// Poll interval of the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The TLS of the listeners; none where no certificate is configured.
pub(in crate::edge) fn load(config: &Config, metrics: &Arc<EdgeMetrics>, tasks: &Tasks) -> Result<Option<Arc<Tls>>, TlsError> {
    let Some(files) = config.sip.tls.files() else { return Ok(None) };
    let tls = Arc::new(Tls::load(files)?);
    tasks.spawn("tls files", watch(Arc::clone(&tls), Arc::clone(metrics), tasks.stopping().clone()));
    Ok(Some(tls))
}

async fn watch(tls: Arc<Tls>, metrics: Arc<EdgeMetrics>, stop: CancellationToken) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(look.tick()).await.is_some() {
        let looked_at = Arc::clone(&tls);
        // Not on the edge's own thread: the disk may be slow.
        match tokio::task::spawn_blocking(move || looked_at.reload()).await {
            Ok(Some(Ok(()))) => metrics.transports.tls_reloaded(),
            Ok(Some(Err(error))) => metrics.transports.tls_not_reloaded(&error),
            Ok(None) | Err(_) => {}
        }
    }
}
