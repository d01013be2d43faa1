//! Which streams and consumers are polled, and what is read of them. Pure.

use std::time::Duration;

use serde::Deserialize;

/// A stream, buckets included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamName {
    /// Durable commands.
    Commands,
    /// NOTIFY jobs of all edges.
    Notify,
    Events,
    Dead,
    /// The bucket of subscriptions.
    Subscriptions,
    /// The bucket of feature states.
    Features,
}

impl StreamName {
    pub(crate) const ALL: [Self; 6] = [Self::Commands, Self::Notify, Self::Events, Self::Dead, Self::Subscriptions, Self::Features];

    /// The label `stream`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Notify => "notify",
            Self::Events => "events",
            Self::Dead => "dead",
            Self::Subscriptions => "subscriptions",
            Self::Features => "features",
        }
    }
}

/// The work queues, each with one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueName {
    /// Durable commands.
    Commands,
    /// NOTIFY jobs of one edge.
    Notify,
    /// Changes of feature states, until their jobs are stored.
    Changes,
}

impl QueueName {
    /// The label `consumer`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Notify => "notify",
            Self::Changes => "changes",
        }
    }

    /// The stream that its consumer reads.
    pub(super) const fn stream(self) -> StreamName {
        match self {
            Self::Commands => StreamName::Commands,
            Self::Notify => StreamName::Notify,
            Self::Changes => StreamName::Features,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) limit_bytes: u64,
    pub(crate) oldest_age: Duration,
}

/// The state of one consumer, or of several together.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ConsumerState {
    #[serde(rename = "num_pending")]
    pub(super) pending: u64,
    #[serde(rename = "num_ack_pending")]
    pub(super) ack_pending: u64,
    #[serde(rename = "num_redelivered")]
    pub(super) redelivered: u64,
    #[serde(rename = "num_waiting")]
    pub(super) waiting: u64,
}

impl std::iter::Sum for ConsumerState {
    fn sum<I: Iterator<Item = Self>>(states: I) -> Self {
        states.fold(Self::default(), |sum, state| Self {
            pending: sum.pending + state.pending,
            ack_pending: sum.ack_pending + state.ack_pending,
            redelivered: sum.redelivered + state.redelivered,
            waiting: sum.waiting + state.waiting,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_of_one_queue_are_summed() {
        let state = |pending| ConsumerState { pending, ack_pending: 1, redelivered: 2, waiting: 3 };
        assert_eq!(
            [state(4), state(5)].into_iter().sum::<ConsumerState>(),
            ConsumerState { pending: 9, ack_pending: 2, redelivered: 4, waiting: 6 }
        );
    }
}
