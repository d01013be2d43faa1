//! The metrics recorder, and what it needs to be kept up.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Of every histogram in seconds: a request on the bus takes 100 µs, Timer F is 32 s.
const SECONDS: [f64; 18] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
/// Of a route script, which takes microseconds.
const SCRIPT_SECONDS: [f64; 12] =
    [0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1];
/// Samples of histograms wait in memory until they are sorted into buckets, at a scrape or here.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Makes the process's recorder; everything counted before is lost.
///
/// # Errors
///
/// [`BuildError`], when the process has a recorder already.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    metrics::describe_gauge!("dfks_build_info", "Version of dfks and the role it runs; always 1.");
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("dfks_worker_script_duration_seconds".to_owned()), &SCRIPT_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
}

/// Counts this process's role: `dfks_build_info{version,role}`.
pub(crate) fn build_info(role: &'static str) {
    metrics::gauge!("dfks_build_info", "version" => env!("CARGO_PKG_VERSION"), "role" => role).set(1.0);
}

/// Keeps the recorder's memory bounded until the process stops.
pub(crate) async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_histograms_with_explicit_buckets() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("dfks_edge_request_duration_seconds", "method" => "SUBSCRIBE").record(0.003);
            metrics::histogram!("dfks_worker_script_duration_seconds", "route" => "dfks_get").record(0.000_003);
            build_info("edge");
        });
        let text = recorder.handle().render();
        for line in [
            "# TYPE dfks_edge_request_duration_seconds histogram",
            "dfks_edge_request_duration_seconds_bucket{method=\"SUBSCRIBE\",le=\"0.0025\"} 0",
            "dfks_edge_request_duration_seconds_bucket{method=\"SUBSCRIBE\",le=\"0.005\"} 1",
            "dfks_edge_request_duration_seconds_bucket{method=\"SUBSCRIBE\",le=\"32\"} 1",
            "dfks_worker_script_duration_seconds_bucket{route=\"dfks_get\",le=\"0.000005\"} 1",
            concat!("dfks_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",role=\"edge\"} 1"),
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn upkeep_ends_when_told_to() {
        let stop = CancellationToken::new();
        let running = upkeep(builder().unwrap().build_recorder().handle(), stop.clone());
        tokio::pin!(running);
        assert!(tokio::time::timeout(UPKEEP_EVERY * 3, &mut running).await.is_err());
        stop.cancel();
        tokio::time::timeout(UPKEEP_EVERY, running).await.unwrap();
    }
}
