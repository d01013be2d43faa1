//! Messages of a stream, read back without taking any away: from a sequence on, or the last of them. I/O.
//!
//! Each reading has a consumer of its own, in the server's memory, which is removed with it.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;

use crate::bus::answer::{self, Delivered};
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};

/// Messages asked for at a time.
const BATCH: u64 = 500;
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

/// A consumer for one reading, removed on drop.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    bus: &'a Bus,
    stream: &'a str,
    name: String,
    /// Messages that there were when it was made.
    pub(crate) pending: u64,
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

impl<'a> Reading<'a> {
    /// Begins to read what stands under these subjects from this sequence on; no subjects: all of it.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: there is no such stream, or it may not be read.
    pub(crate) async fn open(
        bus: &'a Bus,
        stream: &'a str,
        filters: &[String],
        from: u64,
        timeout: Duration,
    ) -> Result<Self, RequestError> {
        #[derive(Deserialize)]
        struct Made {
            num_pending: u64,
        }
        let name = format!("read-{:016x}", rand::random::<u64>());
        let mut config = json!({
            "name": name,
            "ack_policy": "none",
            "mem_storage": true,
            "num_replicas": 1,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": from.max(1),
            "inactive_threshold": u64::try_from(INACTIVE.as_nanos()).unwrap_or_default(),
        });
        if let (false, Some(config)) = (filters.is_empty(), config.as_object_mut()) {
            config.insert("filter_subjects".to_owned(), json!(filters));
        }
        let body = json!({ "stream_name": stream, "config": config });
        // before it is made: one that is made and not heard of is removed as well
        let mut reading = Self { bus, stream, name, pending: 0 };
        let made: Made = bus.api_with(&format!("CONSUMER.CREATE.{stream}.{}", reading.name), &body, timeout).await?;
        reading.pending = made.num_pending;
        Ok(reading)
    }

    /// Reads until there are no more, or `each` says that it has enough.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: no answer in time.
    pub(crate) async fn each(&self, timeout: Duration, mut each: impl FnMut(Message, Delivered) -> bool) -> Result<(), RequestError> {
        let client = self.bus.client();
        let inbox = client.new_inbox();
        let mut messages = client.subscribe(inbox.clone()).await.map_err(|_closed| PublishError::Disconnected)?;
        loop {
            let body = json!({ "batch": BATCH, "no_wait": true }).to_string();
            self.bus.api_ask(&format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name), inbox.clone(), body.into())?;
            for _ in 0..BATCH {
                let next = tokio::time::timeout(timeout, messages.next()).await.map_err(|_elapsed| RequestError::Timeout(timeout))?;
                let message = next.ok_or(RequestError::Disconnected)?;
                // there are no more
                let Some(delivered) = message.reply.as_deref().and_then(answer::delivered).filter(|_| message.status.is_none()) else {
                    return Ok(());
                };
                let is_last = delivered.left == 0;
                if !each(message, delivered) || is_last {
                    return Ok(());
                }
            }
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.bus.is_connected() {
            self.bus.api_forget(&format!("CONSUMER.DELETE.{}.{}", self.stream, self.name));
        }
    }
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
            let reading = Reading::open(self, stream, filters, from, reach.timeout).await?;
            if reading.pending > 0 {
                let take = |message: Message, delivered: Delivered| {
                    if delivered.stream_seq > until {
                        return false;
                    }
                    if let Some(one) = fits(&message, delivered) {
                        bytes += message.length;
                        kept.push_back((one, message.length));
                        while kept.len() > reach.most || bytes > MOST_BYTES && kept.len() > 1 {
                            bytes -= kept.pop_front().map(|(_, length)| length).unwrap_or_default();
                            is_cut = true;
                        }
                    }
                    delivered.stream_seq < until
                };
                reading.each(reach.timeout, take).await?;
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
