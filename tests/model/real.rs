//! A program on a nats-server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::common::Nats;
use crate::modelled::{delivery_of, pin_of, with_pin};
use crate::program::{NAMED, Op, SLOTS, STREAMS, inbox, shown_as};
use crate::seen::Seen;

/// What is expected comes by then.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What the server does without saying so takes no longer.
const SETTLED: Duration = Duration::from_millis(3);
const ROOM: usize = 10_000;
/// Streams and consumers are read from disk by then.
const RESTORED: Duration = Duration::from_millis(100);

/// Runs so far.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// One client of the server, and what came to it.
pub(crate) struct Real {
    client: Client,
    listeners: BTreeMap<usize, JoinHandle<()>>,
    sender: mpsc::Sender<(usize, Message)>,
    receiver: mpsc::Receiver<(usize, Message)>,
    came: Vec<(usize, Message)>,
    left: Vec<Seen>,
    asked: u64,
    /// What the names of its streams begin with.
    named: String,
}

impl Real {
    pub(crate) async fn begin(nats: &Nats) -> Self {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let (sender, receiver) = mpsc::channel(ROOM);
        // as long as what it stands for
        let named = format!("M{:04}_", RUNS.fetch_add(1, Ordering::Relaxed) % 10_000);
        let mut real = Self { client, listeners: BTreeMap::new(), sender, receiver, came: Vec::new(), left: Vec::new(), asked: 0, named };
        real.listen_all().await;
        real
    }

    async fn listen_all(&mut self) {
        for slot in 0..SLOTS.len() {
            self.listen(slot).await;
        }
        self.client.flush().await.unwrap();
    }

    async fn listen(&mut self, slot: usize) {
        self.deafen(slot);
        let Some((subject, queue)) = SLOTS.get(slot) else { return };
        let mut messages = match queue {
            Some(queue) => self.client.queue_subscribe(*subject, (*queue).to_owned()).await.unwrap(),
            None => self.client.subscribe(*subject).await.unwrap(),
        };
        let sender = self.sender.clone();
        let listener = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if sender.send((slot, message)).await.is_err() {
                    return;
                }
            }
        });
        self.listeners.insert(slot, listener);
    }

    fn deafen(&mut self, slot: usize) {
        if let Some(listener) = self.listeners.remove(&slot) {
            // dropped, the subscription ends
            listener.abort();
        }
    }

    pub(crate) async fn carry_out(&mut self, nats: &mut Nats, op: &Op) {
        let mut is_silent = false;
        match op {
            Op::Send { subject, headers, payload, is_asked } => {
                is_silent = !is_asked;
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    map.insert(*name, value.replace(NAMED, &self.named).as_str());
                }
                let reply = is_asked.then(|| self.reply());
                let [subject, payload] = [subject, payload].map(|text| text.replace(NAMED, &self.named));
                self.publish(subject, reply, map, payload).await;
            }
            Op::Ask { consumer, body, slot } => {
                is_silent = true;
                let body = with_pin(body, pin_of(&self.came));
                let consumer = consumer.replace(NAMED, &self.named);
                self.publish(format!("$JS.API.CONSUMER.MSG.NEXT.{consumer}"), Some(inbox(*slot)), HeaderMap::new(), body).await;
            }
            Op::Say { slot, back, word, is_asked } => {
                is_silent = true;
                if let Some(subject) = delivery_of(&self.came, *slot, *back) {
                    let reply = is_asked.then(|| self.reply());
                    self.publish(subject, reply, HeaderMap::new(), (*word).to_owned()).await;
                }
            }
            Op::Listen { slot } => {
                is_silent = true;
                self.listen(*slot).await;
            }
            Op::Deafen { slot } => {
                is_silent = true;
                self.deafen(*slot);
                tokio::task::yield_now().await;
            }
            Op::Wait { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Op::Restart => {
                for slot in 0..SLOTS.len() {
                    self.deafen(slot);
                }
                nats.stop();
                nats.restart();
                while self.receiver.try_recv().is_ok() {}
                self.client = connect(nats).await;
                tokio::time::sleep(RESTORED).await;
                self.listen_all().await;
            }
        }
        self.client.flush().await.unwrap();
        if is_silent {
            tokio::time::sleep(SETTLED).await;
        }
    }

    fn reply(&mut self) -> String {
        self.asked += 1;
        format!("re.{}", self.asked)
    }

    async fn publish(&self, subject: String, reply: Option<String>, headers: HeaderMap, payload: String) {
        let payload = payload.into();
        let sent = match (reply, headers.is_empty()) {
            (None, true) => self.client.publish(subject, payload).await,
            (None, false) => self.client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), true) => self.client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), false) => self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
        };
        sent.unwrap();
    }

    /// What came, of each slot as many as are wanted, once they are there.
    pub(crate) async fn collect(&mut self, wanted: &[Seen]) -> Vec<Seen> {
        let count = |all: &[Seen], slot| all.iter().filter(|seen| seen.slot == slot).count();
        let is_there = |left: &[Seen]| (0..SLOTS.len()).all(|slot| count(left, slot) >= count(wanted, slot));
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            while let Ok((slot, message)) = self.receiver.try_recv() {
                self.take(slot, message);
            }
            if is_there(&self.left) {
                break;
            }
            match tokio::time::timeout_at(until, self.receiver.recv()).await {
                Ok(Some((slot, message))) => self.take(slot, message),
                Ok(None) | Err(_) => break,
            }
        }
        std::mem::take(&mut self.left)
    }

    fn take(&mut self, slot: usize, message: Message) {
        let slot = shown_as(slot);
        self.left.push(Seen::of(slot, &message).renamed(&self.named, NAMED));
        self.came.push((slot, message));
    }

    /// What came and was not expected.
    pub(crate) fn left(&mut self) -> Vec<Seen> {
        while let Ok((slot, message)) = self.receiver.try_recv() {
            self.take(slot, message);
        }
        std::mem::take(&mut self.left)
    }

    /// Takes all streams away.
    pub(crate) async fn end(self, nats: &Nats) {
        for (_, listener) in self.listeners {
            listener.abort();
        }
        let client = connect(nats).await;
        for (stream, _) in STREAMS {
            let stream = stream.replace(NAMED, &self.named);
            let _gone_or_never_there = client.request(format!("$JS.API.STREAM.DELETE.{stream}"), "".into()).await.unwrap();
        }
        let names = client.request("$JS.API.STREAM.NAMES", "".into()).await.unwrap();
        assert!(String::from_utf8_lossy(&names.payload).contains(r#""streams":null"#), "the next program begins with no stream");
    }
}

async fn connect(nats: &Nats) -> Client {
    let client = async_nats::connect(nats.url()).await.expect("the server is there");
    // JetStream begins a moment after its server
    while client.request("$JS.API.INFO", "".into()).await.is_err() {
        tokio::time::sleep(SETTLED).await;
    }
    client
}
