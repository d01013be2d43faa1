//! Messages of a stream, read back without taking any away: from a time or a sequence on, or the last of them. I/O.
//!
//! Each reading has a consumer of its own, in the server's memory, which is removed with it.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Message;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;

use crate::bus::answer::{self, Delivered};
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::runtime::clock;

/// Messages asked for at a time.
const BATCH: u64 = 2_000;
/// The same of those that may be large: as many are held at once.
const SMALL_BATCH: u64 = 64;
/// How long the server keeps a consumer that nobody asks.
const INACTIVE: Duration = Duration::from_secs(10);
/// So many messages are looked at for each that is wanted, at first.
const FIRST_LOOK: u64 = 4;
/// The fewest that are looked at.
const LEAST_LOOK: u64 = 500;
/// So much further back it is looked, where there were too few.
const FURTHER: u64 = 8;
/// Most bytes of messages that are kept: the oldest give way.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// What a consumer has before it.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) num_pending: u64,
    delivered: Before,
}

impl Made {
    /// The sequence that it begins after.
    pub(super) const fn begins_after(&self) -> u64 {
        self.delivered.stream_seq
    }
}

#[derive(Debug, Deserialize)]
struct Before {
    stream_seq: u64,
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    Time(SystemTime),
    Sequence(u64),
}

/// The last messages of a stream that fit, the oldest first.
#[derive(Debug)]
pub(crate) struct Last<T> {
    pub(crate) kept: Vec<T>,
    /// Whether there may be older ones.
    pub(crate) has_more: bool,
    /// The sequence of the stream's last message when it was read: what comes later is none of these.
    pub(crate) until: u64,
}

/// How much is read for the last messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// Most that are kept.
    pub(crate) most: usize,
    /// Most that are looked at.
    pub(crate) looked_at: u64,
    /// Timeout of each answer.
    pub(crate) timeout: Duration,
}

impl Bus {
    /// The last messages of a stream under these subjects that `fits` makes something of: it is looked further and further back until
    /// there are as many as are wanted.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the stream cannot be read, or not in time.
    pub(crate) async fn read_last<T>(
        &self,
        stream: &str,
        filters: &[String],
        reach: Reach,
        mut fits: impl FnMut(&Message, Delivered) -> Option<T>,
    ) -> Result<Last<T>, RequestError> {
        let Span { first_seq: first, last_seq: until, messages } = self.span(stream, reach.timeout).await?;
        let mut last = Last { kept: Vec::new(), has_more: false, until };
        if messages == 0 || reach.most == 0 {
            return Ok(last);
        }
        let mut look = u64::try_from(reach.most).unwrap_or(u64::MAX).saturating_mul(FIRST_LOOK).max(LEAST_LOOK).min(reach.looked_at);
        loop {
            let from = (until + 1).saturating_sub(look).max(first);
            let (mut kept, mut bytes, mut is_cut) = (VecDeque::new(), 0, false);
            let consumer = Consumer::of_large(self, stream);
            let made = consumer.make(filters.to_vec(), From::Sequence(from), reach.timeout).await?;
            if made.num_pending > 0 {
                let take = |message: &Message, _is_first: bool| {
                    let Some(delivered) = message.reply.as_deref().and_then(answer::delivered) else { return false };
                    if delivered.stream_seq > until {
                        return false;
                    }
                    if let Some(one) = fits(message, delivered) {
                        bytes += message.length;
                        kept.push_back((one, message.length));
                        while kept.len() > reach.most || bytes > MOST_BYTES && kept.len() > 1 {
                            bytes -= kept.pop_front().map(|(_, length)| length).unwrap_or_default();
                            is_cut = true;
                        }
                    }
                    delivered.stream_seq < until
                };
                consumer.read(made.num_pending, reach.timeout, take).await?;
            }
            if kept.len() >= reach.most || is_cut || from == first || look >= reach.looked_at {
                last.has_more = is_cut || from > first;
                last.kept = kept.into_iter().map(|(one, _)| one).collect();
                return Ok(last);
            }
            look = look.saturating_mul(FURTHER).min(reach.looked_at);
        }
    }

    async fn span(&self, stream: &str, timeout: Duration) -> Result<Span, RequestError> {
        #[derive(Deserialize)]
        struct Info {
            state: Span,
        }
        self.api(&format!("STREAM.INFO.{stream}"), timeout).await.map(|info: Info| info.state)
    }
}

/// What a stream holds.
#[derive(Debug, Deserialize)]
struct Span {
    first_seq: u64,
    last_seq: u64,
    messages: u64,
}

/// Its sequence, and when the stream took it.
pub(super) fn stored_at(message: &Message) -> Option<(u64, SystemTime)> {
    let delivered = message.reply.as_deref().and_then(answer::delivered)?;
    Some((delivered.stream_seq, UNIX_EPOCH + Duration::from_nanos(delivered.stored_at)))
}

/// A consumer for one reading, removed on drop.
#[derive(Debug)]
pub(super) struct Consumer<'a> {
    bus: &'a Bus,
    stream: &'a str,
    name: String,
    batch: u64,
}

impl<'a> Consumer<'a> {
    pub(super) const fn new(bus: &'a Bus, stream: &'a str, name: String) -> Self {
        Self { bus, stream, name, batch: BATCH }
    }

    /// One of messages that may be large.
    pub(super) fn of_large(bus: &'a Bus, stream: &'a str) -> Self {
        Self { bus, stream, name: format!("read-{:016x}", rand::random::<u64>()), batch: SMALL_BATCH }
    }

    /// Has the server make it, for what is stored on these subjects; none: on all.
    pub(super) async fn make(&self, filter: Vec<String>, from: From, timeout: Duration) -> Result<Made, RequestError> {
        let mut config = json!({
            "name": self.name,
            "ack_policy": "none",
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": u64::try_from(INACTIVE.as_nanos()).unwrap_or_default(),
        });
        let (policy, key, value) = match from {
            From::Time(at) => ("by_start_time", "opt_start_time", json!(clock::rfc3339(at))),
            From::Sequence(sequence) => ("by_start_sequence", "opt_start_seq", json!(sequence)),
        };
        if let Some(config) = config.as_object_mut() {
            config.insert("deliver_policy".to_owned(), json!(policy));
            config.insert(key.to_owned(), value);
            if !filter.is_empty() {
                config.insert("filter_subjects".to_owned(), json!(filter));
            }
        }
        let body = json!({ "stream_name": self.stream, "config": config });
        self.bus.api_with(&format!("CONSUMER.CREATE.{}.{}", self.stream, self.name), &body, timeout).await
    }

    /// Reads so many messages, or as many as there are; `each` is told whether it is the first, and says whether to go on.
    pub(super) async fn read(
        &self,
        mut left: u64,
        timeout: Duration,
        mut each: impl FnMut(&Message, bool) -> bool,
    ) -> Result<(), RequestError> {
        let client = self.bus.client();
        let inbox = client.new_inbox();
        let mut messages = client.subscribe(inbox.clone()).await.map_err(|_closed| PublishError::Disconnected)?;
        let mut is_first = true;
        while left > 0 {
            let batch = left.min(self.batch);
            let body = json!({ "batch": batch, "no_wait": true }).to_string();
            self.bus.api_ask(&format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name), inbox.clone(), body.into())?;
            for _ in 0..batch {
                let next = tokio::time::timeout(timeout, messages.next()).await.map_err(|_elapsed| RequestError::Timeout(timeout))?;
                let message = next.ok_or(RequestError::Disconnected)?;
                // There are no more.
                if message.status.is_some() {
                    return Ok(());
                }
                if !each(&message, std::mem::take(&mut is_first)) {
                    return Ok(());
                }
            }
            left -= batch;
        }
        Ok(())
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        if self.bus.is_connected() {
            self.bus.api_forget(&format!("CONSUMER.DELETE.{}.{}", self.stream, self.name));
        }
    }
}
