//! What all pages look at, asked for once for all of them: how it is with the whole of it, and how much flows. I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::bus::message::ErrorBody;
use crate::bus::queues::{self, StreamName};
use crate::bus::{Bus, RequestError, who};
use crate::runtime::clock;

/// How long an answer serves whoever asks next: ten pages cost what one does.
const FRESH_FOR: Duration = Duration::from_millis(1500);
/// How long anybody is waited for.
const PATIENCE: Duration = Duration::from_millis(800);

/// Counters of this process, each with what its series have in common.
const OWN: [(&str, &str, &str); 6] = [
    ("subscribes", "dfks_edge_requests_total{", "method=\"SUBSCRIBE\""),
    ("notifies", "dfks_notify_sent_total{", ""),
    ("gets", "dfks_worker_requests_total{", "kind=\"get\""),
    ("sets", "dfks_worker_requests_total{", "kind=\"set\""),
    ("responders", "dfks_worker_responder_requests_total{", ""),
    ("commands", "dfks_mi_commands_total{", ""),
];

/// An answer with its age. Who asks while it is asked for waits for that.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<(Instant, Value)>>);

impl Kept {
    async fn fresh(&self, ask: impl Future<Output = Result<Value, ErrorBody>>) -> Result<Value, ErrorBody> {
        let mut kept = self.0.lock().await;
        if let Some((at, answer)) = &*kept
            && clock::now().saturating_duration_since(*at) < FRESH_FOR
        {
            return Ok(answer.clone());
        }
        let answer = ask.await?;
        *kept = Some((clock::now(), answer.clone()));
        Ok(answer)
    }
}

/// See the module.
pub(super) struct Overview {
    own: PrometheusHandle,
    began_at: Instant,
    fleet: Kept,
    flow: Kept,
}

impl std::fmt::Debug for Overview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overview").finish_non_exhaustive()
    }
}

impl Overview {
    pub(super) fn new(own: PrometheusHandle) -> Self {
        Self { own, began_at: clock::now(), fleet: Kept::default(), flow: Kept::default() }
    }

    /// Processes, edges, streams and breakers, and what is wrong.
    ///
    /// # Errors
    ///
    /// 503: nothing was asked.
    pub(super) async fn fleet(&self, bus: &Bus) -> Result<Value, ErrorBody> {
        let asked = async { json_of(bus.fleet(PATIENCE.min(bus.timeout())).await) };
        self.fleet.fresh(asked).await
    }

    /// Counters: what has ever gone along each arrow. Pages make rates of two of them.
    ///
    /// # Errors
    ///
    /// 503: nothing was asked.
    pub(super) async fn flow(&self, bus: &Bus) -> Result<Value, ErrorBody> {
        let asked = async {
            let patience = PATIENCE.min(bus.timeout());
            let streams =
                join_all(StreamName::ALL.map(async |name| (name.as_str(), queues::last_sequence(bus, name, patience).await.ok())));
            let (streams, tallies) = join(streams, who::tallies(bus, patience)).await;
            let tallies = tallies.map_err(|error| ErrorBody::new(503, error.to_string()))?;
            let mut endpoints: BTreeMap<String, [u64; 2]> = BTreeMap::new();
            let ours = [bus.subjects().edge_service(), bus.subjects().worker_service(), bus.subjects().mi_service()];
            for instance in tallies.iter().filter(|instance| ours.contains(&instance.name)) {
                for tally in &instance.endpoints {
                    let role = instance.name.rsplit('-').next().unwrap_or_default();
                    let [requests, errors] = endpoints.entry(format!("{role} {}", tally.name)).or_default();
                    *requests += tally.num_requests;
                    *errors += tally.num_errors;
                }
            }
            let at_ms = u64::try_from(clock::now().saturating_duration_since(self.began_at).as_millis()).unwrap_or_default();
            let streams: BTreeMap<_, _> = streams.into_iter().collect();
            Ok(json!({ "at_ms": at_ms, "streams": streams, "endpoints": endpoints, "own": own(&self.own.render()) }))
        };
        self.flow.fresh(asked).await
    }
}

fn json_of(answer: Result<impl serde::Serialize, RequestError>) -> Result<Value, ErrorBody> {
    let answer = answer.map_err(|error| ErrorBody::new(503, error.to_string()))?;
    serde_json::to_value(answer).map_err(|unwritable| ErrorBody::new(500, unwritable.to_string()))
}

/// The sums of this process's counters; none of a role that it has not.
fn own(metrics: &str) -> BTreeMap<&'static str, f64> {
    let mut sums = BTreeMap::new();
    for line in metrics.lines() {
        for (name, begin, part) in OWN {
            if line.starts_with(begin) && line.contains(part) {
                let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default();
                *sums.entry(name).or_insert(0.0) += value;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_this_process_are_summed() {
        let text = "# TYPE dfks_edge_requests_total counter\n\
                    dfks_edge_requests_total{method=\"SUBSCRIBE\",transport=\"udp\",code=\"200\"} 7\n\
                    dfks_edge_requests_total{method=\"SUBSCRIBE\",transport=\"tcp\",code=\"200\"} 3\n\
                    dfks_edge_requests_total{method=\"OPTIONS\",transport=\"tcp\",code=\"200\"} 9\n\
                    dfks_notify_sent_total{transport=\"udp\",outcome=\"delivered\"} 4\n";
        assert_eq!(own(text), BTreeMap::from([("subscribes", 10.0), ("notifies", 4.0)]));
    }

    #[tokio::test]
    async fn what_many_ask_for_is_asked_once() {
        let (kept, asked) = (Kept::default(), std::sync::atomic::AtomicU32::new(0));
        let ask = || async {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(json!(1))
        };
        for answer in join_all((0..10).map(|_| kept.fresh(ask()))).await {
            assert_eq!(answer.unwrap(), json!(1));
        }
        assert_eq!(asked.into_inner(), 1);
    }
}
