//! Depth and age of the JetStream streams and consumers, polled every few seconds.
//!
//! The mi role polls all streams and the consumers of commands and changes, an edge the consumer of its own jobs. One request at a time, a
//! handful a round: the cost does not depend on how much is stored.

mod metrics;
mod state;

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::kv;
use crate::bus::queues::metrics::{ConsumerMetrics, LookMetrics, StreamMetrics};
use crate::bus::queues::state::ConsumerState;
pub(crate) use crate::bus::queues::state::{QueueName, StreamName, StreamState};
use crate::bus::subject::Subjects;
use crate::runtime::clock;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a role polls.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// Streams, buckets included.
    pub(crate) streams: Vec<StreamName>,
    /// Consumers, each with the names that it has in this process.
    pub(crate) consumers: Vec<(QueueName, Vec<String>)>,
}

/// The part of a `STREAM.INFO` answer that is read.
#[derive(Debug, Deserialize)]
struct StreamInfo {
    state: State,
    config: Limits,
    /// The server's clock; older servers leave it out.
    #[serde(default)]
    ts: Option<String>,
}

#[derive(Debug, Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    first_ts: String,
}

#[derive(Debug, Deserialize)]
struct Limits {
    #[serde(default)]
    max_bytes: i64,
}

impl StreamInfo {
    /// Ages by the server's clock, where it says what it is.
    fn state(&self, now: SystemTime) -> StreamState {
        let now = self.ts.as_deref().and_then(clock::parse_rfc3339).unwrap_or(now);
        let first_at = clock::parse_rfc3339(&self.state.first_ts).filter(|_| self.state.messages > 0);
        StreamState {
            messages: self.state.messages,
            bytes: self.state.bytes,
            limit_bytes: u64::try_from(self.config.max_bytes).unwrap_or_default(),
            oldest_age: first_at.and_then(|first_at| now.duration_since(first_at).ok()).unwrap_or_default(),
        }
    }
}

/// The stream's name in NATS.
fn stream_of(name: StreamName, subjects: &Subjects) -> String {
    match name {
        StreamName::Commands => subjects.stream("COMMANDS"),
        StreamName::Notify => subjects.stream("NOTIFY"),
        StreamName::Events => subjects.stream("EVENTS"),
        StreamName::Dead => subjects.stream("DEAD"),
        StreamName::Subscriptions => kv::stream(&subjects.subscription_bucket()),
        StreamName::Features => kv::stream(&subjects.feature_bucket()),
    }
}

/// A stream as it is now.
///
/// # Errors
///
/// [`RequestError`] of the call.
pub(crate) async fn look(bus: &Bus, name: StreamName, timeout: Duration) -> Result<StreamState, RequestError> {
    let info: StreamInfo = bus.api(&format!("STREAM.INFO.{}", stream_of(name, bus.subjects())), timeout).await?;
    Ok(info.state(clock::utc_now()))
}

/// The sequence of the last message that a stream has taken: how many it has ever had.
///
/// # Errors
///
/// [`RequestError`] of the call.
pub(crate) async fn last_sequence(bus: &Bus, name: StreamName, timeout: Duration) -> Result<u64, RequestError> {
    bus.last_sequence(&stream_of(name, bus.subjects()), timeout).await
}

/// Polls until `stop`. While NATS is away the gauges keep their values, and failed polls are counted.
pub(crate) async fn watch(bus: Bus, watched: Watched, stop: CancellationToken) {
    let looks = LookMetrics::new();
    let streams: Vec<_> = watched.streams.iter().map(|name| (*name, stream_of(*name, bus.subjects()), StreamMetrics::new(*name))).collect();
    let consumer = |(queue, durables): (QueueName, Vec<String>)| {
        let call = |durable| format!("CONSUMER.INFO.{}.{durable}", stream_of(queue.stream(), bus.subjects()));
        (queue, durables.into_iter().map(call).collect::<Vec<_>>(), ConsumerMetrics::new(queue))
    };
    let consumers: Vec<_> = watched.consumers.into_iter().map(consumer).collect();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for (name, stream, metrics) in &streams {
            let asked: Result<StreamInfo, RequestError> = bus.api(&format!("STREAM.INFO.{stream}"), bus.timeout()).await;
            match asked {
                Ok(info) => {
                    looks.seen();
                    metrics.is(&info.state(clock::utc_now()));
                }
                Err(error) => looks.not_seen(name.as_str(), error.reason()),
            }
        }
        for (queue, calls, metrics) in &consumers {
            let mut states = Vec::with_capacity(calls.len());
            for call in calls {
                match bus.api::<ConsumerState>(call, bus.timeout()).await {
                    Ok(state) => {
                        looks.seen();
                        states.push(state);
                    }
                    Err(error) => looks.not_seen(queue.as_str(), error.reason()),
                }
            }
            if states.len() == calls.len() {
                metrics.is(&states.into_iter().sum());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_by_the_servers_clock_and_none_where_there_is_no_message() {
        let info = |messages: u64, ts: &str| -> StreamInfo {
            serde_json::from_value(serde_json::json!({
                "config": {"name": "DFKS_DEAD", "max_bytes": 1000}, "ts": ts,
                "state": {"messages": messages, "bytes": 10, "first_ts": "2026-11-25T10:00:00.123456789Z", "consumer_count": 0},
            }))
            .unwrap()
        };
        let far = SystemTime::UNIX_EPOCH;
        let state = info(2, "2026-11-25T10:01:00.123456789Z").state(far);
        assert_eq!(state, StreamState { messages: 2, bytes: 10, limit_bytes: 1000, oldest_age: Duration::from_mins(1) });
        assert_eq!(info(0, "2026-11-25T10:01:00Z").state(far).oldest_age, Duration::ZERO);
        assert_eq!(info(2, "2026-11-25T09:00:00Z").state(far).oldest_age, Duration::ZERO, "a clock that went back");
    }

    #[test]
    fn a_stream_without_a_limit_has_0() {
        let info: StreamInfo = serde_json::from_value(serde_json::json!({
            "config": {"max_bytes": -1}, "state": {"messages": 0, "bytes": 0, "first_ts": "0001-01-01T00:00:00Z"},
        }))
        .unwrap();
        assert_eq!(info.state(SystemTime::UNIX_EPOCH), StreamState::default());
    }
}
