//! What takes long on a real server, and what breaks only in a cluster. What the real one does is said beside each; `tests/model` compares
//! the rest with it.

use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message};
use serde_json::{Value, json};

use super::{ConnectionId, Publication, Server, SubscriptionId};

const SECOND: u64 = 1_000_000_000;

/// A client of the model; what it listens to comes in order.
struct Client {
    server: Server,
    id: ConnectionId,
    now: Duration,
    asked: u64,
}

impl Client {
    fn new() -> Self {
        let mut server = Server::new(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000));
        let id = server.connect();
        let mut client = Self { server, id, now: Duration::ZERO, asked: 0 };
        client.listen();
        client
    }

    fn listen(&mut self) {
        for (number, subject) in [(1, "in.1"), (2, "in.2"), (3, "re.*")] {
            self.server.subscribe(self.id, SubscriptionId(number), subject, None);
        }
    }

    fn send(&mut self, subject: &str, reply: Option<&str>, headers: &[(&'static str, &str)], payload: &str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let (subject, reply, payload) = (subject.to_owned(), reply.map(str::to_owned), payload.to_owned().into());
        self.server.publish(self.id, Publication { subject, reply, headers: map, payload }, self.now);
    }

    /// What is answered; `None`: nothing.
    fn ask(&mut self, subject: &str, headers: &[(&'static str, &str)], payload: &str) -> Option<Message> {
        self.asked += 1;
        let reply = format!("re.{}", self.asked);
        self.send(subject, Some(&reply), headers, payload);
        let all = std::iter::from_fn(|| self.server.poll()).collect::<Vec<_>>();
        all.into_iter().map(|delivery| delivery.message).find(|message| *message.subject == *reply)
    }

    fn call(&mut self, call: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(&format!("$JS.API.{call}"), &[], &body).map(|message| message.payload).unwrap_or_default();
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// Lets time pass, from one thing that is due to the next; what came meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<Message> {
        let until = self.now + time;
        while let Some(at) = self.server.next_at().filter(|at| *at <= until) {
            self.server.advance(at);
            assert!(self.server.next_at().is_none_or(|next| next > at), "what was due is done");
        }
        self.server.advance(until);
        self.now = until;
        self.came()
    }

    fn came(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.server.poll()).map(|delivery| delivery.message).collect()
    }

    /// A work queue with three messages, and its consumer.
    fn with_queue() -> Self {
        let mut client = Self::new();
        client.call("STREAM.CREATE.W", &json!({ "name": "W", "subjects": ["w.>"], "retention": "workqueue" }));
        let config = json!({ "durable_name": "d", "filter_subject": "w.>", "ack_policy": "explicit", "ack_wait": 2 * SECOND });
        client.call("CONSUMER.CREATE.W.d.w.>", &json!({ "stream_name": "W", "config": config }));
        for subject in ["w.a", "w.b", "w.c"] {
            client.ask(subject, &[("Nats-Msg-Id", subject)], "p");
        }
        client
    }

    fn next(&mut self, batch: u64, inbox: &str) -> Vec<Message> {
        let body = json!({ "batch": batch, "expires": 3600 * SECOND }).to_string();
        self.send("$JS.API.CONSUMER.MSG.NEXT.W.d", Some(inbox), &[], &body);
        self.came()
    }
}

fn replies(messages: &[Message]) -> Vec<String> {
    let short = |reply: &str| reply.split('.').skip(4).take(3).collect::<Vec<_>>().join(".");
    messages.iter().map(|message| message.reply.as_deref().map_or_else(|| format!("{:?}", message.status), short)).collect()
}

/// nats-server: `-p 4 -ack-wait 2s`; what is late comes in stream order, counted, with new consumer sequences.
#[test]
fn what_is_not_acknowledged_comes_again() {
    let mut client = Client::with_queue();
    let first = client.next(9, "in.1");
    assert_eq!(replies(&first), ["1.1.1", "1.2.2", "1.3.3"], "deliveries, stream and consumer sequence");
    let ack = first.first().and_then(|message| message.reply.clone()).map(|reply| reply.to_string()).unwrap_or_default();
    client.send(&ack, None, &[], "+ACK");
    assert!(client.pass(Duration::from_millis(1999)).is_empty());
    assert_eq!(replies(&client.pass(Duration::from_millis(1))), ["2.2.4", "2.3.5"]);
    assert_eq!(client.server.messages("W").map(|stored| stored.sequence).collect::<Vec<_>>(), [2, 3]);
    // in progress: its time begins again
    client.pass(Duration::from_secs(1));
    client.send("$JS.ACK.W.d.2.2.4.0.0", None, &[], "+WPI");
    assert_eq!(replies(&client.pass(Duration::from_secs(1))), ["3.3.6"]);
    assert_eq!(replies(&client.pass(Duration::from_secs(1))), ["3.2.7"]);
}

/// nats-server 2.15: the last message of a subject that ends leaves a marker with these headers, and the marker ends without one.
#[test]
fn what_ends_leaves_a_marker() {
    let mut client = Client::new();
    let config = json!({ "name": "K", "subjects": ["k.>"], "max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": true,
        "allow_msg_ttl": true, "allow_direct": true, "subject_delete_marker_ttl": 60 * SECOND });
    client.call("STREAM.CREATE.K", &config);
    client.ask("k.a", &[("Nats-TTL", "5s")], "v");
    client.pass(Duration::from_secs(5));
    let marker = client.ask("$JS.API.DIRECT.GET.K.k.a", &[], "").and_then(|message| message.headers).unwrap_or_default();
    for (name, value) in [("Nats-Marker-Reason", "MaxAge"), ("Nats-TTL", "1m0s"), ("Nats-Rollup", "sub"), ("Nats-Sequence", "2")] {
        assert_eq!(marker.get(name).map(async_nats::HeaderValue::as_str), Some(value), "{name}");
    }
    client.pass(Duration::from_mins(1));
    assert_eq!(client.server.messages("K").count(), 0);
    assert_eq!(client.server.last_sequence("K"), 2);
}

/// nats-server: a pinned client that asks no more is replaced after `priority_timeout` by one that waits already.
#[test]
fn a_silent_pinned_client_is_replaced() {
    let mut client = Client::new();
    client.call("STREAM.CREATE.W", &json!({ "name": "W", "subjects": ["w.>"], "retention": "workqueue" }));
    let config = json!({ "durable_name": "d", "filter_subject": "w.>", "ack_policy": "explicit", "ack_wait": 4 * SECOND,
        "priority_policy": "pinned_client", "priority_groups": ["one"], "priority_timeout": 10 * SECOND });
    client.call("CONSUMER.CREATE.W.d.w.>", &json!({ "stream_name": "W", "config": config }));
    for inbox in ["in.1", "in.2"] {
        client.send("$JS.API.CONSUMER.MSG.NEXT.W.d", Some(inbox), &[], r#"{"group":"one","batch":1,"expires":99000000000}"#);
    }
    client.send("w.a", None, &[], "p");
    let first = client.came();
    let pin = |messages: &[Message]| Some(messages.first()?.headers.as_ref()?.get("Nats-Pin-Id")?.as_str().to_owned());
    assert!(pin(&first).is_some());
    client.send("w.b", None, &[], "p");
    assert!(client.pass(Duration::from_millis(9_999)).is_empty(), "the other one waits");
    let then = client.pass(Duration::from_millis(1));
    assert_eq!(replies(&then), ["2.1.2"], "what the first one had comes first");
    assert_ne!(pin(&then), pin(&first));
    let old = json!({ "group": "one", "id": pin(&first), "batch": 1, "expires": SECOND }).to_string();
    let refused = client.ask("$JS.API.CONSUMER.MSG.NEXT.W.d", &[], &old);
    assert_eq!(refused.and_then(|message| message.status).map(|status| status.as_u16()), Some(423));
}

/// nats-server: an idle pushed consumer says every `idle_heartbeat` how far it has come; with nobody there it goes.
#[test]
fn a_pushed_consumer_has_a_heart() {
    let mut client = Client::with_queue();
    client.call("STREAM.CREATE.L", &json!({ "name": "L", "subjects": ["l.>"] }));
    client.ask("l.a", &[], "p");
    let config = json!({ "name": "p", "deliver_subject": "in.2", "filter_subject": "l.>", "ack_policy": "none", "idle_heartbeat": SECOND,
        "flow_control": true, "inactive_threshold": 30 * SECOND, "mem_storage": true, "deliver_policy": "last_per_subject" });
    client.send("$JS.API.CONSUMER.CREATE.L.p.l.>", None, &[], &json!({ "stream_name": "L", "config": config }).to_string());
    assert_eq!(replies(&client.came()), ["1.1.1"]);
    let beats = client.pass(Duration::from_secs(3));
    assert_eq!(beats.len(), 3);
    for beat in beats {
        assert_eq!(beat.status.map(|status| status.as_u16()), Some(100));
        assert_eq!(beat.headers.and_then(|headers| headers.get("Nats-Last-Stream").map(ToString::to_string)), Some("1".to_owned()));
    }
    client.server.unsubscribe(client.id, SubscriptionId(2));
    assert!(client.pass(Duration::from_millis(29_999)).is_empty());
    assert_eq!(client.call("CONSUMER.NAMES.L", &Value::Null)["consumers"], json!(["p"]));
    client.pass(Duration::from_millis(1));
    assert_eq!(client.call("CONSUMER.NAMES.L", &Value::Null)["total"], 0);
}

/// nats-server: files are read again; requests, consumers in memory and the ids of messages that are done with are gone.
#[test]
fn a_restart_keeps_what_is_on_disk() {
    let mut client = Client::with_queue();
    let config = json!({ "name": "m", "filter_subject": "w.none", "ack_policy": "explicit", "mem_storage": true });
    client.call("STREAM.CREATE.L", &json!({ "name": "L", "subjects": ["l.>"] }));
    client.call("CONSUMER.CREATE.L.m", &json!({ "stream_name": "L", "config": config }));
    let first = client.next(1, "in.1");
    let ack = first.first().and_then(|message| message.reply.clone()).unwrap_or_else(|| "none".into());
    client.send(&ack, None, &[], "+ACK");
    client.next(1, "in.1");
    client.server.restart(client.now);
    assert!(client.server.poll().is_none());
    client.id = client.server.connect();
    client.listen();
    assert_eq!(client.call("CONSUMER.NAMES.L", &Value::Null)["total"], 0);
    let info = client.call("CONSUMER.INFO.W.d", &Value::Null);
    assert_eq!((&info["num_ack_pending"], &info["num_waiting"]), (&json!(1), &json!(0)));
    let again = |client: &mut Client, id| {
        let answer = client.ask("w.a", &[("Nats-Msg-Id", id)], "p").map(|message| message.payload).unwrap_or_default();
        serde_json::from_slice::<Value>(&answer).unwrap_or_default()
    };
    assert_eq!(again(&mut client, "w.c")["duplicate"], true, "it is still there");
    assert_eq!(again(&mut client, "w.a")["seq"], 4, "it was done with, and its id went with it");
}

/// A cluster of nats-server whose nodes cannot agree: the leader takes no call, and followers answer direct gets.
#[test]
fn without_a_leader_nothing_changes() {
    let mut client = Client::with_queue();
    client.call("STREAM.CREATE.L", &json!({ "name": "L", "subjects": ["l.>"], "allow_direct": true }));
    client.ask("l.a", &[], "p");
    client.server.set_leaderless(true);
    assert!(client.ask("l.a", &[], "p").is_none());
    assert_eq!(client.call("STREAM.INFO.L", &Value::Null), Value::Null);
    assert!(client.next(1, "in.1").is_empty());
    assert!(client.ask("$JS.API.DIRECT.GET.L.l.a", &[], "").is_some_and(|message| message.status.is_none()));
    client.server.set_leaderless(false);
    assert_eq!(client.server.last_sequence("L"), 1);
    assert_eq!(replies(&client.next(1, "in.1")), ["1.1.1"], "what was asked meanwhile is lost");
}

/// nats-server: requests end with 409, what is pending stays pending.
#[test]
fn another_leader_ends_requests_and_keeps_what_is_pending() {
    let mut client = Client::with_queue();
    client.next(4, "in.1");
    client.server.step_down(client.now);
    let said = client.came();
    assert_eq!(said.first().and_then(|message| message.description.as_deref()), Some("Leadership Change"));
    assert_eq!(client.call("CONSUMER.INFO.W.d", &Value::Null)["num_ack_pending"], 3);
    assert!(client.next(3, "in.2").is_empty());
    assert_eq!(replies(&client.pass(Duration::from_secs(2))), ["2.1.4", "2.2.5", "2.3.6"]);
}

#[test]
fn a_full_store_takes_nothing() {
    let mut client = Client::with_queue();
    client.server.set_full(true);
    let answer = client.ask("w.d", &[], "p").map(|message| message.payload).unwrap_or_default();
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    assert_eq!(answer["error"]["err_code"], 10023);
    client.server.set_full(false);
    assert!(client.ask("w.d", &[], "p").is_some_and(|message| message.payload.starts_with(br#"{"stream":"W","seq":4}"#)));
}

#[test]
fn a_queue_group_shares_and_nobody_there_is_said() {
    let mut client = Client::new();
    let other = client.server.connect();
    for (connection, number) in [(client.id, 7), (other, 7)] {
        client.server.subscribe(connection, SubscriptionId(number), "q.*", Some("g"));
    }
    let mut to = Vec::new();
    for _ in 0..64 {
        client.send("q.a", None, &[], "p");
        to.extend(std::iter::from_fn(|| client.server.poll()).map(|delivery| delivery.to));
    }
    assert_eq!(to.len(), 64);
    assert!(to.contains(&other) && to.contains(&client.id));
    let nobody = client.ask("nobody", &[], "p");
    assert_eq!(nobody.and_then(|message| message.status).map(|status| status.as_u16()), Some(503));
}
