//! `dfks.command.set`: a real nats-server and its work queue, a simulated worker, one bridge or several.
//!
//! ```text
//! service ──▶ DFKS_COMMANDS ──▶ the one bridge that is active ──dfks.route.set──▶ worker (here)
//!                                    └─▶ ack · again after a while · dfks.dead.command
//! ```

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream::Stream};
use dfks::bus::pull::{DEAD_DETAIL, DEAD_REASON};
use dfks::mi::{Patience, durable};
use dfks::runtime::Backoff;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What these tests have no time to wait for.
fn patience() -> Patience {
    Patience {
        ack_wait: SECOND,
        silent_for: 2 * SECOND,
        retry: Backoff::new(Duration::from_millis(50), Duration::from_millis(200)),
        attempts_away: 8,
        attempts: 3,
        max_deliveries: 4,
    }
}

/// A nats-server with streams, and a service beside it.
pub(crate) struct Queue {
    pub(crate) nats: Nats,
    pub(crate) client: async_nats::Client,
    pub(crate) bus: Bus,
    pub(crate) edges: Edges,
}

/// A bridge that takes durable commands.
pub(crate) struct DurableBridge {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Queue {
    pub(crate) async fn start() -> Self {
        let nats = Nats::start();
        let bus = bus(&nats).await;
        dfks::bus::setup::ensure(&bus, 1).await.unwrap();
        let client = async_nats::connect(nats.url()).await.unwrap();
        Self { client, bus, edges: two_edges(), nats }
    }

    pub(crate) async fn bridge(&self) -> DurableBridge {
        let stop = CancellationToken::new();
        let bridge = Arc::new(Bridge::new(bus(&self.nats).await, self.edges.clone(), Arc::default()));
        let task = tokio::spawn(durable::run(bridge, Arc::new(FeatureTable::built_in()), patience(), stop.clone()));
        DurableBridge { stop, task }
    }

    /// Answers every set, with what `answer` makes of its number, from 0, and of the request.
    pub(crate) async fn worker(
        &self,
        answer: impl Fn(usize, &RouteSetRequest) -> Value + Send + 'static,
    ) -> Arc<Mutex<Vec<RouteSetRequest>>> {
        let mut requests = self.client.subscribe("dfks.route.set").await.unwrap();
        self.client.flush().await.unwrap();
        let (client, asked) = (self.client.clone(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(message) = requests.next().await {
                let request: RouteSetRequest = serde_json::from_slice(&message.payload).unwrap();
                let number = seen.lock().unwrap().len();
                let answer = answer(number, &request);
                seen.lock().unwrap().push(request);
                if !answer.is_null() {
                    client.publish(message.reply.unwrap(), answer.to_string().into()).await.unwrap();
                }
            }
        });
        asked
    }

    /// Stores a command; returns whether it was there already.
    pub(crate) async fn publish(&self, command: &Value, msg_id: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(id) = msg_id {
            headers.insert("Nats-Msg-Id", id);
        }
        let jetstream = jetstream::new(self.client.clone());
        let stored = jetstream.publish_with_headers("dfks.command.set", headers, command.to_string().into());
        stored.await.unwrap().await.unwrap().duplicate
    }

    pub(crate) async fn stream(&self, name: &str) -> Stream {
        jetstream::new(self.client.clone()).get_stream(name).await.unwrap()
    }

    pub(crate) async fn left(&self) -> u64 {
        self.stream("DFKS_COMMANDS").await.get_info().await.unwrap().state.messages
    }

    /// Reason, detail and payload of the dead letters, once there are so many.
    pub(crate) async fn dead(&self, count: u64) -> Vec<(String, String, String)> {
        let stream = self.stream("DFKS_DEAD").await;
        common::eventually("the dead letters are stored", async || stream.get_info().await.unwrap().state.messages >= count).await;
        let mut dead = Vec::new();
        for seq in 1..=count {
            let message = stream.get_raw_message(seq).await.unwrap();
            assert_eq!(message.subject.as_str(), "dfks.dead.command");
            let header = |name: &str| message.headers.get(name).unwrap().to_string();
            dead.push((header(DEAD_REASON), header(DEAD_DETAIL), String::from_utf8(message.payload.to_vec()).unwrap()));
        }
        dead
    }
}

async fn bus(nats: &Nats) -> Bus {
    connect(&NatsConfig { timeout_ms: 500, ..nats.config() }, "dfks-mi").await
}

pub(crate) fn dnd(user: &str, status: u8, param: usize) -> Value {
    json!({"presentity": format!("sip:{user}@h"), "feature": "DoNotDisturb", "status": status, "route_param": param.to_string()})
}

pub(crate) fn ok(_: usize, request: &RouteSetRequest) -> Value {
    serde_json::to_value(applied(request)).unwrap()
}

pub(crate) fn params(asked: &Mutex<Vec<RouteSetRequest>>) -> Vec<String> {
    asked.lock().unwrap().iter().map(|request| request.param.clone().unwrap()).collect()
}

#[tokio::test]
async fn what_was_stored_while_no_bridge_was_up_is_carried_out_once_for_each_msg_id_and_leaves_the_queue() {
    let queue = Queue::start().await;
    let asked = queue.worker(ok).await;
    assert!(!queue.publish(&dnd("alice", 1, 0), Some("a")).await);
    assert!(queue.publish(&dnd("alice", 1, 0), Some("a")).await, "the same");
    assert!(!queue.publish(&dnd("alice", 0, 1), None).await);
    let _bridge = queue.bridge().await;
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    assert_eq!(params(&asked), ["0", "1"]);
    let requests = asked.lock().unwrap().clone();
    assert!(requests[0].command.is_some() && requests[0].command != requests[1].command, "{requests:?}");
    assert_eq!(requests[0].cause.0.len(), 32);
    assert_eq!(queue.edges.jobs().len(), 4);
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_a_dead_letter_with_the_reason() {
    let queue = Queue::start().await;
    let asked = queue
        .worker(|_, request| match request.feature.as_str() {
            "CallForwardingAlways" => {
                serde_json::to_value(RouteSetResponse { denied: Some("not abroad".into()), ..applied(request) }).unwrap()
            }
            "CallForwardingBusy" => json!({"error": {"code": 500, "description": "dfks_set, line 3: no such field"}}),
            _ => ok(0, request),
        })
        .await;
    let mut letters = queue.client.subscribe("dfks.dead.>").await.unwrap();
    let bad = json!({"presentity": "sip:alice@h", "feature": "Foo", "status": 1});
    let denied = json!({"presentity": "sip:alice@h", "feature": "CallForwardingAlways", "status": 1});
    let failed = json!({"presentity": "sip:alice@h", "feature": "CallForwardingBusy", "status": 1});
    let _bridge = queue.bridge().await;
    for command in [&bad, &denied, &failed, &dnd("alice", 1, 0)] {
        queue.publish(command, None).await;
        common::eventually("the queue is empty", async || queue.left().await == 0).await;
    }
    let dead = queue.dead(3).await;
    let reasons: Vec<_> = dead.iter().map(|(reason, detail, _)| (reason.as_str(), detail.split(':').next().unwrap())).collect();
    assert_eq!(reasons, [("invalid", "unknown feature 'Foo'"), ("denied", "not abroad"), ("failed", "dfks_set, line 3")]);
    assert_eq!(dead.iter().map(|dead| dead.2.clone()).collect::<Vec<_>>(), [bad, denied, failed].map(|command| command.to_string()));
    assert_eq!(asked.lock().unwrap().len(), 3, "none twice");

    let traced = |letter: async_nats::Message| letter.headers.unwrap().get("traceparent").unwrap().as_str().to_owned();
    for _ in 0..3 {
        let new = traced(letters.next().await.unwrap());
        assert_eq!(new.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2], "one of its own");
    }
    for (given, is_kept) in [(format!("00-{TRACE_ID}-00f067aa0ba902b7-01"), true), ("00-nothing-1-01".to_owned(), false)] {
        let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), given.parse().unwrap())]);
        queue.client.publish_with_headers("dfks.command.set", headers, "no JSON".into()).await.unwrap();
        let letter = traced(letters.next().await.unwrap());
        assert_eq!(letter == given, is_kept, "{letter}");
    }
}

#[tokio::test]
async fn while_no_worker_answers_a_command_waits_and_after_a_while_it_is_given_up() {
    let queue = Queue::start().await;
    let _bridge = queue.bridge().await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = queue.worker(ok).await;
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    assert_eq!(asked.lock().unwrap().len(), 1);

    let queue = Queue::start().await;
    let _bridge = queue.bridge().await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    let dead = queue.dead(1).await;
    assert_eq!((dead[0].0.as_str(), dead[0].1.as_str()), ("unavailable", "no worker answers: the change was not made"));
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
}

#[tokio::test]
async fn a_command_that_is_given_up_has_one_event_and_one_whose_notifys_are_not_stored_no_other() {
    let mut queue = Queue::start().await;
    let mut events = queue.client.subscribe("dfks.event.feature.>").await.unwrap();
    let asked = queue.worker(|_, _| json!({"error": {"code": 503, "description": "the responder gave no usable answer"}})).await;
    let bridge = queue.bridge().await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    queue.dead(1).await;
    assert_eq!(asked.lock().unwrap().len(), 3, "attempts");
    let event: FeatureEvent = serde_json::from_slice(&events.next().await.unwrap().payload).unwrap();
    assert_eq!((event.outcome, event.reason.as_deref()), (FeatureOutcome::Refused, Some("the responder gave no usable answer")));
    assert!(tokio::time::timeout(Duration::from_millis(300), events.next()).await.is_err(), "one");
    drop(bridge);

    queue = Queue::start().await;
    queue.edges.fail(RequestError::Timeout(SECOND));
    let mut events = queue.client.subscribe("dfks.event.feature.>").await.unwrap();
    let gone = json!({"error": {"code": 503, "description": "gone"}});
    let _asked = queue.worker(move |number, request| if number == 0 { ok(0, request) } else { gone.clone() }).await;
    let _bridge = queue.bridge().await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    queue.dead(1).await;
    let event: FeatureEvent = serde_json::from_slice(&events.next().await.unwrap().payload).unwrap();
    assert_eq!(event.outcome, FeatureOutcome::Applied);
    assert!(tokio::time::timeout(Duration::from_millis(300), events.next()).await.is_err(), "it is made");
}

#[tokio::test]
async fn a_responder_that_fails_holds_up_its_own_presentity_alone() {
    let queue = Queue::start().await;
    let asked = queue
        .worker(|number, request| {
            let is_failing = request.presentity == "sip:alice@h" && number < 2;
            if is_failing { json!({"error": {"code": 503, "description": "the responder gave no usable answer"}}) } else { ok(0, request) }
        })
        .await;
    for (user, param) in [("alice", 0), ("alice", 1), ("bob", 2)] {
        queue.publish(&dnd(user, 1, param), None).await;
    }
    let _bridge = queue.bridge().await;
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    let params = params(&asked);
    let of_alice: Vec<_> = params.iter().filter(|param| *param != "2").cloned().collect();
    assert_eq!(of_alice, ["0", "0", "1"], "in order");
    assert!(params.iter().position(|param| param == "2").unwrap() < 3, "bob did not wait: {params:?}");
}

#[tokio::test]
async fn commands_whose_notifys_are_not_stored_are_carried_out_again_with_the_same_id() {
    let queue = Queue::start().await;
    queue.edges.fail(RequestError::Timeout(SECOND));
    let asked = queue.worker(ok).await;
    let mut events = queue.client.subscribe("dfks.event.feature.>").await.unwrap();
    queue.client.flush().await.unwrap();
    let _bridge = queue.bridge().await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    let dead = queue.dead(1).await;
    assert_eq!(dead[0].0, "unavailable");
    let ids: BTreeSet<_> = asked.lock().unwrap().iter().map(|request| request.command.clone()).collect();
    assert_eq!((asked.lock().unwrap().len(), ids.len()), (8, 1));
    let mut event = async || serde_json::from_slice::<FeatureEvent>(&events.next().await.unwrap().payload).unwrap().id;
    assert_eq!(event().await, event().await, "whoever follows can tell");
}

/// ```text
/// bridge A ✕        bridge B waits for A's place … and gets all that A had in hand, in order, before anything new
/// ```
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_dies_leaves_its_commands_to_another_in_order() {
    const COMMANDS: usize = 60;
    const USERS: [&str; 3] = ["alice", "bob", "carol"];
    let queue = Queue::start().await;
    // the first answers are never given: those commands are in hand when the bridge dies
    let asked = queue.worker(|number, request| if number < 2 { Value::Null } else { ok(0, request) }).await;
    for number in 0..COMMANDS {
        queue.publish(&dnd(USERS[number % 3], 1, number), None).await;
    }
    let first = queue.bridge().await;
    common::eventually("it has asked", async || asked.lock().unwrap().len() >= 2).await;
    first.task.abort();
    let died_at = Instant::now();
    let seen_before = asked.lock().unwrap().len();
    let (_second, _third) = (queue.bridge().await, queue.bridge().await);
    for number in COMMANDS..COMMANDS + 6 {
        queue.publish(&dnd(USERS[number % 3], 1, number), None).await;
    }
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    assert!(died_at.elapsed() < Duration::from_secs(8), "{:?}", died_at.elapsed());
    let all = asked.lock().unwrap().clone();
    let number_of = |request: &RouteSetRequest| request.param.as_deref().unwrap().parse::<usize>().unwrap();
    let carried_out: BTreeSet<_> = all.iter().map(number_of).collect();
    assert_eq!(carried_out.len(), COMMANDS + 6, "none is lost");
    for user in USERS {
        let of_user = |request: &&RouteSetRequest| request.presentity == format!("sip:{user}@h");
        let in_order: Vec<_> = all[seen_before..].iter().filter(of_user).map(number_of).collect();
        let mut numbers = in_order.clone();
        numbers.sort_unstable();
        assert_eq!(in_order, numbers, "{user}: each after the one before it");
    }
}

#[tokio::test]
async fn a_bridge_that_stops_gives_its_commands_back_at_once_and_in_order() {
    let queue = Queue::start().await;
    let asked = queue
        .worker(|_, request| {
            std::thread::sleep(Duration::from_millis(20));
            ok(0, request)
        })
        .await;
    let first = queue.bridge().await;
    for number in 0..30 {
        queue.publish(&dnd("alice", 1, number), None).await;
    }
    common::eventually("it has begun", async || asked.lock().unwrap().len() > 3).await;
    let second = queue.bridge().await;
    first.stop.cancel();
    tokio::time::timeout(3 * SECOND, first.task).await.unwrap().unwrap();
    assert!(asked.lock().unwrap().len() < 30, "some are left");
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    let want: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    assert_eq!(params(&asked), want, "none is lost, none comes twice");
    second.stop.cancel();
    tokio::time::timeout(3 * SECOND, second.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_goes_on_where_it_was_when_nats_comes_back() {
    let mut queue = Queue::start().await;
    let _bridge = queue.bridge().await;
    queue.nats.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    queue.nats.restart();
    queue.bus.connected().await;
    let asked = queue.worker(ok).await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    assert_eq!(params(&asked), ["0"]);
}

#[tokio::test]
async fn a_command_that_no_bridge_survives_is_given_up() {
    let queue = Queue::start().await;
    let _asked = queue.worker(|_, _| Value::Null).await;
    let mut refused = queue.bus.client().subscribe("dfks.event.refused.>").await.unwrap();
    queue.publish(&dnd("alice", 1, 0), None).await;
    let consumer = || async {
        let bridge = queue.bridge().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        bridge.task.abort();
    };
    let dead = async {
        for _ in 0..5 {
            consumer().await;
            tokio::time::sleep(2 * SECOND + Duration::from_millis(300)).await;
        }
        let _last = queue.bridge().await;
        queue.dead(1).await
    };
    let dead = tokio::time::timeout(40 * SECOND, dead).await.unwrap();
    assert_eq!(dead[0].0, "max_deliver");
    let event = tokio::time::timeout(SECOND, refused.next()).await.unwrap().unwrap();
    let event: Value = serde_json::from_slice(&event.payload).unwrap();
    assert_eq!((&event["status"], &event["detail"]), (&json!(503), &json!("delivered too often without being carried out")));
}
