//! What every test here starts with: a server, workers, responders, and the requests of an edge.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dfks::bus::message::ErrorBody;
use dfks::bus::subject::Pattern;
use dfks::bus::trace::Cause;
use dfks::bus::{Bus, RequestError, setup};
use dfks::config::{NatsConfig, RoutesConfig};
use dfks::feature::FeatureTable;
use dfks::worker;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::common::{self, Nats, eventually};

pub(crate) const ALICE: &str = "sip:alice@a.example";
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A server, a client of it, and the workers and responders of a test.
pub(crate) struct Bench {
    pub(crate) nats: Nats,
    pub(crate) bus: Bus,
    pub(crate) tasks: JoinSet<Result<(), worker::WorkerError>>,
    pub(crate) shutdown: CancellationToken,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let nats = Nats::start();
        let bus = connect(&nats).await;
        setup::ensure(&bus, 1).await.unwrap();
        Self { nats, bus, tasks: JoinSet::new(), shutdown: CancellationToken::new() }
    }

    /// A server with one worker that has these routes.
    pub(crate) async fn with(config: RoutesConfig) -> Self {
        let mut bench = Self::new().await;
        bench.start_worker(config).await;
        bench
    }

    pub(crate) async fn start_worker(&mut self, config: RoutesConfig) {
        self.start_worker_on(connect(&self.nats).await, config).await;
    }

    /// A worker that is told of three replicas, of which this server is the only one.
    pub(crate) async fn start_worker_of_a_cluster(&mut self) {
        let config = NatsConfig { replicas: 3, timeout_ms: 500, ..self.nats.config() };
        self.start_worker_on(common::connect(&config, "dfks-worker").await, routes()).await;
    }

    async fn start_worker_on(&mut self, bus: Bus, config: RoutesConfig) {
        let shutdown = self.shutdown.clone();
        let before = self.instances().await;
        let table = Arc::new(FeatureTable::built_in());
        self.tasks.spawn(async move { worker::run(bus, table, &config, || {}, shutdown).await });
        eventually("the worker answers", async || self.instances().await > before).await;
    }

    /// How many workers answer a ping.
    pub(crate) async fn instances(&self) -> usize {
        let inbox = self.bus.client().new_inbox();
        let mut pongs = self.bus.client().subscribe(inbox.clone()).await.unwrap();
        self.bus.client().send("$SRV.PING.dfks-worker", Some(inbox), async_nats::HeaderMap::new(), "".into()).await.unwrap();
        let mut count = 0;
        while let Ok(Some(pong)) = tokio::time::timeout(Duration::from_millis(50), pongs.next()).await {
            count += usize::from(pong.status.is_none());
        }
        count
    }

    /// A responder on `subject` that answers what `answer` makes of a request, after `delay`.
    pub(crate) async fn responder(
        &mut self,
        subject: &str,
        delay: Duration,
        answer: impl Fn(Value) -> Value + Send + Sync + 'static,
    ) -> Arc<AtomicUsize> {
        let client = self.bus.client().clone();
        let mut requests = client.subscribe(subject.to_owned()).await.unwrap();
        client.flush().await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        self.tasks.spawn(async move {
            let answer = Arc::new(answer);
            let mut replies = JoinSet::new();
            while let Some(request) = requests.next().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let (client, answer) = (client.clone(), Arc::clone(&answer));
                replies.spawn(async move {
                    tokio::time::sleep(delay).await;
                    let reply = answer(serde_json::from_slice(&request.payload).unwrap());
                    client.publish(request.reply.unwrap(), serde_json::to_vec(&reply).unwrap().into()).await.unwrap();
                });
            }
            Ok(())
        });
        asked
    }

    /// A responder that can be stopped: it is asked until what is returned is dropped.
    pub(crate) async fn owner(&self, subject: &str, answer: impl Fn(&Value) -> Value + Send + 'static) -> Owner {
        let client = async_nats::connect(self.nats.url()).await.unwrap();
        let mut requests = client.subscribe(subject.to_owned()).await.unwrap();
        client.flush().await.unwrap();
        let mut task = JoinSet::new();
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        task.spawn(async move {
            while let Some(request) = requests.next().await {
                let question = serde_json::from_slice(&request.payload).unwrap();
                let reply = answer(&question);
                seen.lock().unwrap().push(question);
                client.publish(request.reply.unwrap(), serde_json::to_vec(&reply).unwrap().into()).await.unwrap();
            }
        });
        Owner { asked, _task: task }
    }

    /// What the workers know of a subject; the first that knows it.
    pub(crate) async fn known(&self, subject: &str) -> Option<Value> {
        let report = self.ask(Pattern::Responders, "dfks.responders", json!({})).await.unwrap();
        assert_eq!((&report["type"], &report["more"]), (&json!("io.dfks.api.v1.responders_response"), &json!(false)));
        report["responders"].as_array().unwrap().iter().find(|known| known["subject"] == subject).cloned()
    }

    /// Has every worker know that a responder was heard on this subject.
    pub(crate) async fn was_heard(&self, key: &str) {
        let bucket = self.bus.jetstream().unwrap().get_key_value("dfks-responders").await.unwrap();
        let heard = json!({ "last_heard": dfks::runtime::clock::rfc3339(dfks::runtime::clock::utc_now()) });
        bucket.put(key, heard.to_string().into()).await.unwrap();
        let subject = format!("dfks.responder.{key}");
        eventually("the worker knows it", async || self.known(&subject).await.is_some_and(|known| known["last_heard"].is_string())).await;
    }

    pub(crate) async fn get(&self, presentity: &str, features: Value) -> Result<Value, ErrorBody> {
        self.ask(Pattern::Get, "dfks.get", json!({ "presentity": presentity, "features": features })).await
    }

    /// The state of one feature.
    pub(crate) async fn state(&self, presentity: &str, feature: &str) -> Value {
        self.get(presentity, json!([feature])).await.unwrap()["features"][0].clone()
    }

    pub(crate) async fn set(&self, presentity: &str, feature: &str, status: u8, origin: &str) -> Result<Value, ErrorBody> {
        let request = json!({ "presentity": presentity, "feature": feature, "status": status, "origin": origin });
        self.ask(Pattern::RouteSet, "dfks.route.set", request).await
    }

    pub(crate) async fn ask(&self, pattern: Pattern, subject: &str, request: Value) -> Result<Value, ErrorBody> {
        match self.bus.request(pattern, subject.to_owned(), &request, &Cause::new(), PATIENCE).await {
            Ok(reply) => Ok(reply),
            Err(RequestError::Refused(error)) => Err(error),
            Err(error) => panic!("{request}: {error}"),
        }
    }
}

/// See [`Bench::owner`].
pub(crate) struct Owner {
    /// What it was asked so far.
    pub(crate) asked: Arc<std::sync::Mutex<Vec<Value>>>,
    _task: JoinSet<()>,
}

async fn connect(nats: &Nats) -> Bus {
    common::connect(&nats.config(), "dfks-worker").await
}

pub(crate) fn routes() -> RoutesConfig {
    RoutesConfig { responder_timeout_ms: 300, ..RoutesConfig::default() }
}

pub(crate) fn script(bench: &Bench, text: &str) -> RoutesConfig {
    let path: PathBuf = bench.nats.dir().join("routes.rhai");
    std::fs::write(&path, text).unwrap();
    RoutesConfig { script: path, ..routes() }
}
