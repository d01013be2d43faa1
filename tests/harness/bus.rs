//! A service on the bus, and a wiretap on it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::Nats;

const PATIENCE: Duration = Duration::from_secs(10);

/// Any service: it asks, answers and listens. It blocks the test while it waits.
#[derive(Debug)]
pub struct Service {
    runtime: Runtime,
    client: Client,
}

impl Service {
    /// Connects.
    pub fn on(nats: &Nats) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async_nats::connect(nats.url())).unwrap();
        Self { runtime, client }
    }

    /// Connects as this user, whose password is its name, with inboxes of its own.
    pub fn of_user(nats: &Nats, user: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
        let client = runtime.block_on(options.custom_inbox_prefix(format!("_INBOX_{user}")).connect(nats.url())).unwrap();
        Self { runtime, client }
    }

    /// Takes up to so many messages from a consumer that is there, and acknowledges them: their subjects.
    pub fn pull(&self, stream: &str, consumer: &str, count: usize) -> Vec<String> {
        self.runtime.block_on(async {
            let inbox = self.client.new_inbox();
            let mut messages = self.client.subscribe(inbox.clone()).await.unwrap();
            let call = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
            let body = json!({"batch": count, "no_wait": true}).to_string();
            self.client.publish_with_reply(call, inbox, body.into()).await.unwrap();
            let mut subjects = Vec::new();
            while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(2), messages.next()).await {
                let Some(ack) = message.reply.filter(|_| message.status.is_none()) else { break };
                self.client.publish(ack, "+ACK".into()).await.unwrap();
                subjects.push(message.subject.to_string());
            }
            self.client.flush().await.unwrap();
            subjects
        })
    }

    /// Makes a pull consumer of a stream.
    pub fn make_consumer(&self, stream: &str, name: &str, filters: &[&str]) {
        use async_nats::jetstream::{self, consumer::pull};
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subjects: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            ..pull::Config::default()
        };
        self.runtime.block_on(async {
            let stream = jetstream::new(self.client.clone()).get_stream(stream).await.unwrap();
            stream.create_consumer(config).await.unwrap();
        });
    }

    /// What comes of asking where it may not be allowed: the answer, or none within a second.
    pub fn try_ask(&self, subject: &str, request: &Value) -> Option<Value> {
        let asked = self.client.request(subject.to_owned(), request.to_string().into());
        let answered = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), asked).await });
        serde_json::from_slice(&answered.ok()?.ok()?.payload).ok()
    }

    /// Sends a request as it is, and waits for the reply.
    pub fn ask_raw(&self, subject: &str, payload: impl Into<String>) -> Message {
        self.reply(subject, HeaderMap::new(), payload.into())
    }

    /// The first reply that is no acknowledgement of a stream: somebody may record what is asked.
    fn reply(&self, subject: &str, headers: HeaderMap, payload: String) -> Message {
        let asked = async {
            let inbox = self.client.new_inbox();
            let mut replies = self.client.subscribe(inbox.clone()).await.unwrap();
            self.client.publish_with_reply_and_headers(subject.to_owned(), inbox, headers, payload.into()).await.unwrap();
            loop {
                let reply = replies.next().await.unwrap();
                assert!(reply.status.is_none(), "{subject}: nobody listens");
                let said: Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
                if !(said["stream"].is_string() && said["seq"].is_u64()) {
                    return reply;
                }
            }
        };
        let within = async { tokio::time::timeout(PATIENCE, asked).await };
        self.runtime.block_on(within).unwrap_or_else(|_| panic!("{subject}: no reply within {PATIENCE:?}"))
    }

    /// Asks; the reply, an error included.
    pub fn ask(&self, subject: &str, request: &Value) -> Value {
        serde_json::from_slice(&self.ask_raw(subject, request.to_string()).payload).unwrap()
    }

    /// Asks all who listen; their answers go to the subject `reply_to`.
    pub fn ask_all(&self, subject: &str, reply_to: &str, request: &Value) {
        let sent = self.client.publish_with_reply(subject.to_owned(), reply_to.to_owned(), request.to_string().into());
        self.runtime.block_on(sent).unwrap();
        self.runtime.block_on(self.client.flush()).unwrap();
    }

    /// Asks with headers of its own; the headers of the reply.
    pub fn ask_with(&self, subject: &str, headers: &[(&'static str, String)], request: &Value) -> HeaderMap {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (*name, value.as_str())).fold(HeaderMap::new(), |mut all, (name, value)| {
                all.insert(name, value);
                all
            });
        self.reply(subject, headers, request.to_string()).headers.unwrap_or_default()
    }

    /// `dfks.set` of a status.
    pub fn set(&self, presentity: &str, feature: &str, status: u8) -> Value {
        self.ask("dfks.set", &json!({"presentity": presentity, "feature": feature, "status": status}))
    }

    /// The state that `dfks.get` says.
    pub fn state(&self, presentity: &str, feature: &str) -> Value {
        self.ask("dfks.get", &json!({"presentity": presentity, "features": [feature]}))["features"][0].clone()
    }

    /// Stores a command durably.
    pub fn publish(&self, subject: &str, message: &Value) {
        let sent = self.client.publish(subject.to_owned(), message.to_string().into());
        self.runtime.block_on(sent).unwrap();
        self.runtime.block_on(self.client.flush()).unwrap();
    }

    /// Publishes the same message so many times.
    pub fn publish_many(&self, subject: &str, message: &Value, count: usize) {
        let payload = bytes::Bytes::from(message.to_string());
        self.runtime.block_on(async {
            for _ in 0..count {
                self.client.publish(subject.to_owned(), payload.clone()).await.unwrap();
            }
            self.client.flush().await.unwrap();
        });
    }

    /// Stores a message in its stream, once for each id.
    pub fn store(&self, subject: &str, message: &Value, id: &str) {
        self.store_with(subject, message, &[("Nats-Msg-Id", id)]);
    }

    /// Stores a message with these headers in its stream.
    pub fn store_with(&self, subject: &str, message: &Value, with: &[(&'static str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in with {
            headers.insert(*name, *value);
        }
        let asked = self.client.request_with_headers(subject.to_owned(), headers, message.to_string().into());
        let stored: Value = serde_json::from_slice(&self.runtime.block_on(asked).unwrap().payload).unwrap();
        assert!(stored["seq"].is_u64(), "{stored}");
    }

    /// Answers requests; `None` leaves one without an answer.
    pub fn respond(&self, subject: &str, mut answer: impl FnMut(Value) -> Option<Value> + Send + 'static) {
        let mut requests = self.runtime.block_on(self.client.subscribe(subject.to_owned())).unwrap();
        self.runtime.block_on(self.client.flush()).unwrap();
        let client = self.client.clone();
        self.runtime.spawn(async move {
            while let Some(request) = requests.next().await {
                let Some(answer) = answer(serde_json::from_slice(&request.payload).unwrap_or_default()) else { continue };
                client.publish(request.reply.unwrap(), answer.to_string().into()).await.unwrap();
            }
        });
    }

    /// Takes down everything on these subjects from now on.
    pub fn wiretap(&self, subjects: &[impl AsRef<str>]) -> Wiretap {
        let wiretap = Wiretap::default();
        for subject in subjects {
            let mut messages = self.runtime.block_on(self.client.subscribe(subject.as_ref().to_owned())).unwrap();
            let shared = Arc::clone(&wiretap.shared);
            self.runtime.spawn(async move {
                while let Some(message) = messages.next().await {
                    shared.taken.lock().unwrap_or_else(PoisonError::into_inner).push(Taken::of(&message));
                    shared.changed.notify_all();
                }
            });
        }
        self.runtime.block_on(self.client.flush()).unwrap();
        wiretap
    }
}

/// A message that was taken down.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its subject.
    pub subject: String,
    /// Where its answer goes, if it wants one.
    pub reply: Option<String>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its payload; `null` where it is no JSON.
    pub json: Value,
}

impl Taken {
    fn of(message: &Message) -> Self {
        Self {
            subject: message.subject.to_string(),
            reply: message.reply.as_ref().map(ToString::to_string),
            headers: message.headers.clone().unwrap_or_default(),
            json: serde_json::from_slice(&message.payload).unwrap_or_default(),
        }
    }

    /// The id of what led to it, out of its header.
    pub fn trace_id(&self) -> Option<&str> {
        self.headers.get("traceparent")?.as_str().split('-').nth(1)
    }
}

/// See [`Service::wiretap`].
#[derive(Debug, Default)]
pub struct Wiretap {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Vec<Taken>>,
    changed: Condvar,
}

impl Wiretap {
    /// All that was taken down so far.
    pub fn all(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first message that fits, once there is one.
    pub fn find(&self, what: &str, fits: impl FnMut(&Taken) -> bool) -> Taken {
        self.find_within(PATIENCE, what, fits)
    }

    /// The first message that fits, for which the test has more or less patience.
    pub fn find_within(&self, patience: Duration, what: &str, mut fits: impl FnMut(&Taken) -> bool) -> Taken {
        let deadline = Instant::now() + patience;
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = taken.iter().find(|message| fits(message)) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not within {patience:?}; taken down: {taken:#?}");
            taken = self.shared.changed.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
