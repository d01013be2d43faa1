//! Waits until the index has everything that was stored before.
//!
//! A fence asks the stream for its last sequence and waits until the feed has come that far. All that ask while a fence
//! runs share the next one (group commit): it starts after each of them asked, so it is good for all of them.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::watchers::feed::Position;
use crate::runtime::clock;

/// Most waiters for the next fence.
pub(crate) const MAX_WAITING: usize = 16_384;
/// Delay after which the server is asked whether the feed has anything left to deliver.
const PROBE_AFTER: Duration = Duration::from_millis(15);

/// Progress of the index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Number of the feed, from 1; 0 while there is none.
    pub(crate) feed: u64,
    pub(crate) consumer: Arc<str>,
    /// What the index has of it.
    pub(crate) position: Position,
}

impl Progress {
    /// Sequence of the stream that the index has come to.
    pub(crate) fn reached(&self) -> u64 {
        if self.feed == 0 { 0 } else { self.position.stream_seq }
    }
}

/// The number of the feed that passed the fence.
pub(crate) type Passed = Result<u64, RequestError>;

/// Runs fences on request until stopped.
pub(crate) async fn run(
    bus: Bus,
    stream: String,
    mut progress: watch::Receiver<Progress>,
    mut asked: mpsc::Receiver<oneshot::Sender<Passed>>,
    stopping: CancellationToken,
) {
    let mut waiting = Vec::new();
    loop {
        let arrived = tokio::select! {
            () = stopping.cancelled() => return,
            arrived = asked.recv_many(&mut waiting, MAX_WAITING) => arrived,
        };
        if arrived == 0 {
            // nobody is left who could ask
            stopping.cancelled().await;
            return;
        }
        let passed = tokio::select! {
            () = stopping.cancelled() => return,
            passed = pass(&bus, &stream, &mut progress) => passed,
        };
        for asker in waiting.drain(..) {
            // an asker that has given up is gone
            let _gone = asker.send(passed.clone());
        }
    }
}

async fn pass(bus: &Bus, stream: &str, progress: &mut watch::Receiver<Progress>) -> Passed {
    let timeout = bus.timeout();
    let deadline = clock::now() + timeout;
    let last = bus.last_sequence(stream, timeout).await?;
    let left = deadline.saturating_duration_since(clock::now());
    let reached = reach(bus, stream, progress, last);
    tokio::time::timeout(left, reached).await.unwrap_or(Err(RequestError::Timeout(timeout)))
}

/// Waits until the index has all of the stream up to `last_seq`.
async fn reach(bus: &Bus, stream: &str, progress: &mut watch::Receiver<Progress>, last_seq: u64) -> Passed {
    let mut target = None;
    let mut probe_after = PROBE_AFTER;
    loop {
        let now = progress.borrow_and_update().clone();
        if has_reached(&now, last_seq, target) {
            return Ok(now.feed);
        }
        match tokio::time::timeout(probe_after, progress.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_index_gone)) => return Err(RequestError::Disconnected),
            Err(_elapsed) if !bus.is_connected() => return Err(RequestError::Disconnected),
            Err(_elapsed) => {
                probe_after = probe_after.saturating_mul(2);
                if now.feed != 0 {
                    target = probe(bus, stream, &now, last_seq).await.or(target);
                }
            }
        }
    }
}

/// Where a feed stands once it has delivered all up to the fence: found out by asking, for when the last messages are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    feed: u64,
    consumer_seq: u64,
}

fn has_reached(now: &Progress, last_seq: u64, target: Option<Target>) -> bool {
    let is_past = now.position.stream_seq >= last_seq;
    let is_at_end = target.is_some_and(|target| target.feed == now.feed && now.position.consumer_seq >= target.consumer_seq);
    now.feed != 0 && (is_past || is_at_end)
}

/// Asks the server whether the consumer has passed the fence: with the last messages gone, it delivers nothing that says so.
async fn probe(bus: &Bus, stream: &str, now: &Progress, last_seq: u64) -> Option<Target> {
    #[derive(Deserialize)]
    struct ConsumerInfo {
        delivered: Delivered,
    }
    #[derive(Deserialize)]
    struct Delivered {
        consumer_seq: u64,
        stream_seq: u64,
    }
    let call = format!("CONSUMER.INFO.{stream}.{}", now.consumer);
    let info: ConsumerInfo = bus.api(&call, bus.timeout()).await.ok()?;
    let is_past = info.delivered.stream_seq >= last_seq;
    is_past.then_some(Target { feed: now.feed, consumer_seq: info.delivered.consumer_seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_reached_by_the_feed_that_has_all_up_to_it() {
        let at = |feed, consumer_seq, stream_seq| Progress { feed, consumer: "c".into(), position: Position { consumer_seq, stream_seq } };
        let target = Some(Target { feed: 2, consumer_seq: 5 });
        for (name, now, target, want) in [
            ("an empty stream, no feed", at(0, 0, 0), None, false),
            ("an empty stream", at(1, 0, 0), None, false),
            ("short of it", at(1, 3, 9), None, false),
            ("at it", at(1, 3, 10), None, true),
            ("delivered, but not all applied", at(2, 4, 9), target, false),
            ("delivered and applied", at(2, 5, 9), target, true),
            ("another feed's target", at(3, 5, 9), target, false),
        ] {
            assert_eq!(has_reached(&now, 10, target), want, "{name}");
        }
        assert!(has_reached(&at(1, 0, 0), 0, None), "nothing was ever stored");
    }
}
