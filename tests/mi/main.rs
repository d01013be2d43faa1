//! The mi bridge over a real nats-server: a simulated worker answers `dfks.route.set`, a service sends `dfks.set`.
//!
//! ```text
//! service ──dfks.set──▶ mi bridge ──dfks.route.set──▶ worker (here)
//!                           └─▶ NOTIFY jobs (kept here) · dfks.event.feature
//! ```
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test may panic, spawn and read the clock")]

#[path = "../common/mod.rs"]
mod common;

mod beside;
mod durable;
mod edges;
mod teller;
mod tenant;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Nats, connect};
use dfks::bus::message::{
    ERROR_CODE_HEADER, ERROR_HEADER, ErrorBody, ErrorReply, FeatureEvent, FeatureOutcome, Kind, Origin, RouteSetRequest, RouteSetResponse,
    SetResponse, read_reply,
};
use dfks::bus::{Bus, RequestError};
use dfks::config::NatsConfig;
use dfks::feature::{FeatureState, FeatureTable, Status};
use dfks::mi::limit::MAX_IN_HAND;
use dfks::mi::{Bridge, MiError, run};
use edges::Edges;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// `nats.timeout_ms`. What is answered at once is answered well before it, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(2);
const AT_ONCE: Duration = Duration::from_millis(1500);

/// A nats-server with a bridge on it.
struct Scene {
    nats: Nats,
    client: async_nats::Client,
    edges: Edges,
    shutdown: CancellationToken,
    bridge: JoinHandle<Result<(), MiError>>,
}

impl Scene {
    async fn start(edges: Edges) -> Self {
        let nats = Nats::start();
        let timeout_ms = u64::try_from(TIMEOUT.as_millis()).unwrap();
        let bus = connect(&NatsConfig { timeout_ms, ..nats.config() }, "dfks-mi").await;
        let client = async_nats::connect(nats.url()).await.unwrap();
        let shutdown = CancellationToken::new();
        let bridge = Arc::new(Bridge::new(bus, edges.clone(), Arc::default()));
        let bridge = tokio::spawn(run(bridge, Arc::new(FeatureTable::built_in()), || {}, shutdown.clone()));
        let scene = Self { nats, client, edges, shutdown, bridge };
        common::eventually("the bridge serves", async || scene.ask(&json!({})).await.is_ok()).await;
        scene
    }

    /// A worker that answers every set with what `answer` makes of it.
    async fn with_worker(&self, answer: impl Fn(RouteSetRequest) -> Value + Send + 'static) {
        let mut requests = self.client.queue_subscribe("dfks.route.set", "dfks-worker".to_owned()).await.unwrap();
        self.client.flush().await.unwrap();
        let client = self.client.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let answer = answer(serde_json::from_slice(&request.payload).unwrap());
                if answer.is_null() {
                    continue;
                }
                client.publish(request.reply.unwrap(), answer.to_string().into()).await.unwrap();
            }
        });
    }

    async fn ask(&self, command: &Value) -> Result<async_nats::Message, async_nats::RequestError> {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-01"));
        self.client.request_with_headers("dfks.set", headers, command.to_string().into()).await
    }

    async fn set(&self, command: &Value) -> Result<SetResponse, ErrorBody> {
        read_reply(&self.ask(command).await.unwrap().payload)
    }

    async fn events(&self) -> async_nats::Subscriber {
        let events = self.client.subscribe("dfks.event.feature.>").await.unwrap();
        self.client.flush().await.unwrap();
        events
    }
}

async fn next_event(events: &mut async_nats::Subscriber) -> (String, FeatureEvent) {
    let message = tokio::time::timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap();
    assert!(message.headers.unwrap().get("traceparent").unwrap().as_str().contains(TRACE_ID));
    (message.subject.into_string(), serde_json::from_slice(&message.payload).unwrap())
}

fn state(feature: &str, version: u64) -> FeatureState {
    FeatureState { status: Status::ON, version, ..FeatureState::new(feature) }
}

fn applied(request: &RouteSetRequest) -> RouteSetResponse {
    RouteSetResponse {
        kind: Kind::default(),
        presentity: request.presentity.clone(),
        state: FeatureState { status: request.status, values: request.values.clone(), ..state(&request.feature, 7) },
        previous: state(&request.feature, 6),
        also: Vec::new(),
        also_previous: Vec::new(),
        notify: true,
        changed: true,
        denied: None,
        logged: false,
        work: None,
    }
}

fn command() -> Value {
    json!({"presentity": "sip:alice@10.0.0.11:5060", "feature": "CallForwardingNoAnswer", "status": 1, "route_param": "1",
           "values": ["ringCount/4", "forwardTo/sip:bob@10.0.0.11"]})
}

fn two_edges() -> Edges {
    Edges { watchers: vec![("edge-0", 2), ("edge-1", 1)], ..Edges::default() }
}

#[tokio::test]
async fn a_command_is_routed_told_to_every_edge_and_published() {
    let scene = Scene::start(two_edges()).await;
    let mut events = scene.events().await;
    let (seen, asked) = std::sync::mpsc::sync_channel(1);
    scene
        .with_worker(move |request| {
            let answer = RouteSetResponse {
                also: vec![state("DoNotDisturb", 3)],
                also_previous: vec![state("DoNotDisturb", 2)],
                ..applied(&request)
            };
            seen.send(request).unwrap();
            serde_json::to_value(answer).unwrap()
        })
        .await;

    let message = scene.ask(&command()).await.unwrap();
    assert!(message.headers.unwrap().get("traceparent").unwrap().as_str().contains(TRACE_ID));
    let reply: SetResponse = read_reply(&message.payload).unwrap();
    assert_eq!((reply.presentity.as_str(), reply.watchers, reply.notify, reply.state.version), ("sip:alice@10.0.0.11", 3, true, 7));
    assert_eq!(reply.state.values["ringCount"], "4");

    let request = asked.recv().unwrap();
    assert_eq!((request.presentity.as_str(), request.origin), ("sip:alice@10.0.0.11", Origin::Mi));
    assert_eq!((request.param.as_deref(), request.watcher, &*request.cause.0), (Some("1"), None, TRACE_ID));

    let jobs = scene.edges.jobs();
    assert_eq!(jobs.iter().map(|(edge, _)| edge.as_str()).collect::<Vec<_>>(), ["edge-0", "edge-1"]);
    for (_, job) in jobs {
        assert_eq!(job.states.iter().map(|state| state.feature.as_str()).collect::<Vec<_>>(), ["CallForwardingNoAnswer", "DoNotDisturb"]);
        assert_eq!((job.assigned, &*job.cause.0), (true, TRACE_ID));
    }
    let (subject, event) = next_event(&mut events).await;
    assert_eq!(subject, "dfks.event.feature.10_0_0_11.CallForwardingNoAnswer");
    assert_eq!((event.outcome, event.version, event.watchers, event.old.version), (FeatureOutcome::Applied, 7, 3, 6));
    assert_eq!(next_event(&mut events).await.0, "dfks.event.feature.10_0_0_11.DoNotDisturb");
}

#[tokio::test]
async fn nobody_watching_and_a_suppressed_notify_are_successes() {
    let scene = Scene::start(Edges::default()).await;
    scene.with_worker(|request| serde_json::to_value(applied(&request)).unwrap()).await;
    let reply = scene.set(&command()).await.unwrap();
    assert_eq!((reply.watchers, reply.notify), (0, true));

    let scene = Scene::start(two_edges()).await;
    scene.with_worker(|request| serde_json::to_value(RouteSetResponse { notify: false, ..applied(&request) }).unwrap()).await;
    let reply = scene.set(&command()).await.unwrap();
    assert_eq!((reply.watchers, reply.notify, scene.edges.jobs()), (0, false, vec![]));
}

#[tokio::test]
async fn a_bad_command_is_refused_before_any_worker_is_asked() {
    let scene = Scene::start(two_edges()).await;
    scene.with_worker(|_| panic!("asked")).await;
    let message = scene.ask(&json!({"presentity": "sip:alice@h", "feature": "Foo", "status": 1})).await.unwrap();
    let headers = message.headers.unwrap();
    let ErrorReply { error } = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!((error.code, error.field.as_deref()), (400, Some("feature")));
    assert!(error.description.starts_with("unknown feature 'Foo': expected DoNotDisturb, "), "{}", error.description);
    assert_eq!(headers.get(ERROR_CODE_HEADER).unwrap().as_str(), "400");
    assert_eq!(headers.get(ERROR_HEADER).unwrap().as_str(), error.description);
    assert!(headers.get("traceparent").unwrap().as_str().contains(TRACE_ID));
}

#[tokio::test]
async fn a_denied_command_gets_403_and_nobody_is_told() {
    let scene = Scene::start(two_edges()).await;
    let mut events = scene.events().await;
    scene
        .with_worker(|request| {
            let answer = applied(&request);
            serde_json::to_value(RouteSetResponse { denied: Some("not abroad".into()), state: answer.previous.clone(), ..answer }).unwrap()
        })
        .await;
    let error = scene.set(&command()).await.unwrap_err();
    assert_eq!((error.code, error.description.as_str(), scene.edges.jobs()), (403, "not abroad", vec![]));
    let (_, event) = next_event(&mut events).await;
    assert_eq!((event.outcome, event.reason.as_deref(), event.new.version), (FeatureOutcome::Refused, Some("not abroad"), 6));
}

#[tokio::test]
async fn a_workers_refusal_goes_on_as_it_is_and_an_absent_one_is_503() {
    let scene = Scene::start(two_edges()).await;
    let error = scene.set(&command()).await.unwrap_err();
    assert_eq!((error.code, error.description.as_str()), (503, "no worker answers: the change was not made"));

    scene.with_worker(|_| json!({"error": {"code": 500, "description": "dfks_set, line 3: no such field"}})).await;
    let error = scene.set(&command()).await.unwrap_err();
    assert_eq!((error.code, error.description.as_str()), (500, "dfks_set, line 3: no such field"));
}

/// ```text
/// dfks.set ──▶ bridge ──dfks.route.set──▶ worker ✗        the reply first, then dfks.get and the event
/// ```
#[tokio::test]
async fn a_change_that_fails_is_told_as_refused_with_the_state_as_it_is() {
    let scene = Scene::start(two_edges()).await;
    let mut events = scene.events().await;
    scene.set(&command()).await.unwrap_err();
    let (subject, event) = next_event(&mut events).await;
    assert_eq!(subject, "dfks.event.feature.10_0_0_11.CallForwardingNoAnswer");
    let unset = FeatureState::new("CallForwardingNoAnswer");
    assert_eq!((&event.old, &event.new, event.version), (&unset, &unset, 0), "nobody says what it is");
    assert_eq!(event.reason.as_deref(), Some("no worker answers: the change was not made"));

    let mut gets = scene.client.subscribe("dfks.get").await.unwrap();
    scene.with_worker(|_| json!({"error": {"code": 503, "description": "the responder gave no usable answer"}})).await;
    let error = scene.set(&command()).await.unwrap_err();
    assert_eq!(error.code, 503);
    let get = gets.next().await.unwrap();
    let asked: Value = serde_json::from_slice(&get.payload).unwrap();
    assert_eq!((&asked["presentity"], &asked["features"]), (&json!("sip:alice@10.0.0.11"), &json!(["CallForwardingNoAnswer"])));
    let known = state("CallForwardingNoAnswer", 6);
    let answer = json!({"presentity": "sip:alice@10.0.0.11", "features": [known]});
    scene.client.publish(get.reply.unwrap(), answer.to_string().into()).await.unwrap();
    let (_, event) = next_event(&mut events).await;
    assert_eq!((&event.old, &event.new, event.version, event.watchers), (&known, &known, 6, 0));
    let why = event.reason.as_deref();
    assert_eq!((event.outcome, event.origin, why), (FeatureOutcome::Refused, Origin::Mi, Some("the responder gave no usable answer")));
    assert_eq!((event.presentity.as_str(), &*event.cause.0), ("sip:alice@10.0.0.11", TRACE_ID));
    assert!(events.next().now_or_never().is_none(), "one each");
}

#[tokio::test]
async fn a_late_worker_is_503_in_time_and_delays_no_other_command() {
    let scene = Scene::start(two_edges()).await;
    scene
        .with_worker(
            |request| if request.feature == "DoNotDisturb" { Value::Null } else { serde_json::to_value(applied(&request)).unwrap() },
        )
        .await;
    let late = json!({"presentity": "sip:alice@h", "feature": "DoNotDisturb", "status": 1});
    let asked_at = Instant::now();
    let (late, quick) = tokio::join!(scene.set(&late), async {
        let reply = scene.set(&command()).await;
        (reply, asked_at.elapsed())
    });
    assert_eq!(late.unwrap_err().code, 503);
    assert!(asked_at.elapsed() < TIMEOUT * 2, "{:?}", asked_at.elapsed());
    assert!(quick.0.is_ok() && quick.1 < AT_ONCE, "{quick:?}");
}

#[tokio::test]
async fn a_change_whose_notifys_are_not_stored_says_so() {
    let edges = two_edges();
    edges.fail(RequestError::Timeout(Duration::from_secs(1)));
    let scene = Scene::start(edges).await;
    let mut events = scene.events().await;
    scene.with_worker(|request| serde_json::to_value(applied(&request)).unwrap()).await;
    let error = scene.set(&command()).await.unwrap_err();
    assert_eq!(error.code, 503);
    assert!(error.description.contains("the change is made"), "{}", error.description);
    assert_eq!(next_event(&mut events).await.1.outcome, FeatureOutcome::Applied);
}

#[tokio::test]
async fn over_the_bound_commands_are_turned_away_at_once() {
    const MORE: usize = 20;
    let scene = Scene::start(two_edges()).await;
    scene.with_worker(|_| Value::Null).await;
    let asked_at = Instant::now();
    let replies = futures_util::future::join_all((0..MAX_IN_HAND + MORE).map(|_| async {
        let error = scene.set(&command()).await.unwrap_err();
        (error, asked_at.elapsed())
    }))
    .await;
    let away: Vec<_> = replies.iter().filter(|(error, _)| error.description == "256 commands are in hand already").collect();
    assert_eq!(away.len(), MORE);
    assert!(away.iter().all(|(error, took)| error.code == 503 && *took < AT_ONCE), "{away:?}");
}

#[tokio::test]
async fn it_finishes_what_is_in_hand_and_takes_nothing_new() {
    let scene = Scene::start(two_edges()).await;
    let (asked, mut is_asked) = tokio::sync::mpsc::channel(1);
    scene
        .with_worker(move |request| {
            asked.try_send(()).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            serde_json::to_value(applied(&request)).unwrap()
        })
        .await;
    let shutdown = scene.shutdown.clone();
    let command = command();
    let (reply, ()) = tokio::join!(scene.set(&command), async {
        is_asked.recv().await.unwrap();
        shutdown.cancel();
    });
    assert_eq!(reply.unwrap().watchers, 3);
    let Scene { client, bridge, nats, .. } = scene;
    assert!(tokio::time::timeout(Duration::from_secs(5), bridge).await.unwrap().unwrap().is_ok());
    let error = client.request("dfks.set", command.to_string().into()).await.unwrap_err();
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);
    drop(nats);
}

#[tokio::test]
async fn it_stops_in_time_while_nats_is_away() {
    let mut scene = Scene::start(two_edges()).await;
    scene.nats.kill();
    scene.shutdown.cancel();
    assert!(tokio::time::timeout(Duration::from_secs(5), scene.bridge).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn it_shows_itself_as_a_service() {
    let scene = Scene::start(two_edges()).await;
    let info: Value = serde_json::from_slice(&scene.client.request("$SRV.INFO.dfks-mi", "".into()).await.unwrap().payload).unwrap();
    assert_eq!((&info["name"], &info["version"]), (&json!("dfks-mi"), &json!(env!("CARGO_PKG_VERSION"))));
    let endpoint = &info["endpoints"][0];
    assert_eq!((&endpoint["subject"], &endpoint["queue_group"]), (&json!("dfks.set"), &json!("dfks-mi")));
    assert_eq!(endpoint["metadata"], json!({"request": "io.dfks.api.v1.set_request", "response": "io.dfks.api.v1.set_response"}));
    let stats: Value = serde_json::from_slice(&scene.client.request("$SRV.STATS.dfks-mi", "".into()).await.unwrap().payload).unwrap();
    assert!(stats["endpoints"][0]["num_requests"].as_u64().unwrap() >= 1, "{stats}");
    assert!(stats["endpoints"][0]["num_errors"].as_u64().unwrap() >= 1, "{stats}");
    assert!(stats["endpoints"][0]["last_error"].as_str().unwrap().starts_with("400:"), "{stats}");
}
