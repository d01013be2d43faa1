//! Random programs: what a client does, step by step.

use serde_json::{Value, json};

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// A message, with the call of an API or without; `last` as a header's value is the last sequence of its subject.
    Send {
        subject: String,
        headers: Vec<(&'static str, String)>,
        payload: String,
        is_asked: bool,
    },
    /// A request for messages; `PIN` in it is the pin that came last.
    Ask {
        consumer: String,
        body: String,
        slot: usize,
    },
    /// An acknowledgement of the delivery that came to this inbox so many before the last one.
    Say {
        slot: usize,
        back: usize,
        word: &'static str,
        is_asked: bool,
    },
    Listen {
        slot: usize,
    },
    Deafen {
        slot: usize,
    },
    Wait {
        ms: u64,
    },
    Restart,
}

/// Where it is listened: four inboxes, one for answers, and plain subjects, of which two are a queue group.
pub(crate) const SLOTS: [(&str, Option<&str>); 9] = [
    ("in.0", None),
    ("in.1", None),
    ("in.2", None),
    ("in.3", None),
    ("re.*", None),
    ("x.*", None),
    ("x.>", None),
    ("x.a", Some("g")),
    ("x.a", Some("g")),
];
const PUSHED: usize = 2;
const INBOXES: usize = 4;

/// Either member of the queue group may get a message.
pub(crate) const fn shown_as(slot: usize) -> usize {
    if slot == 8 { 7 } else { slot }
}

pub(crate) fn inbox(slot: usize) -> String {
    format!("in.{slot}")
}

/// Streams, and what their subjects begin with.
/// Each run on a server has names of its own in place of these: a stream that was deleted may be there again with what it held, when one
/// of its name is made at once (nats-server 2.15).
pub(crate) const STREAMS: [(&str, &str); 4] = [("MODEL_B", "$KV.b"), ("MODEL_E", "e"), ("MODEL_W", "w"), ("MODEL_T", "t")];
pub(crate) const NAMED: &str = "MODEL_";
const CONSUMERS: [&str; 4] = ["c0", "c1", "c2", "c3"];
const HOUR: u64 = 3_600_000_000_000;

/// Whether there are waits in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Quick,
    Timed,
}

/// Numbers of a seed: `splitmix64`.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        let at = usize::try_from(self.below(u64::try_from(all.len()).unwrap())).unwrap();
        all.get(at).cloned().expect("there is one")
    }
}

pub(crate) fn call(call: &str, body: &Value) -> Op {
    let payload = if body.is_null() { String::new() } else { body.to_string() };
    Op::Send { subject: format!("$JS.API.{call}"), headers: Vec::new(), payload, is_asked: true }
}

/// The program of a seed.
pub(crate) fn program(seed: u64, kind: Kind) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let mut ops = Vec::new();
    let begun = 1 + dice.below(2);
    for _ in 0..begun {
        let stream = dice.of(&STREAMS).0;
        ops.push(create_stream(&mut dice, stream));
        ops.push(create_consumer(&mut dice, stream, kind));
    }
    for _ in 0..8 + dice.below(22) {
        let (stream, begins) = dice.of(&STREAMS);
        let op = match dice.below(100) {
            0..30 => store(&mut dice, begins),
            30..34 => create_stream(&mut dice, stream),
            34..42 => create_consumer(&mut dice, stream, kind),
            42..58 => ask(&mut dice, stream, kind),
            58..72 => say(&mut dice),
            72..90 => look(&mut dice, stream, begins),
            90..93 => take_away(&mut dice, stream, begins),
            93..95 => plain(&mut dice),
            95..97 => Op::Deafen { slot: usize::try_from(dice.below(4)).unwrap() },
            _ => Op::Listen { slot: usize::try_from(dice.below(4)).unwrap() },
        };
        ops.push(op);
        if kind == Kind::Timed && dice.is_one_in(6) {
            ops.push(Op::Wait { ms: 1_400 });
        }
    }
    if kind == Kind::Quick && dice.is_one_in(25) {
        let at = usize::try_from(dice.below(u64::try_from(ops.len()).unwrap())).unwrap();
        ops.insert(at, Op::Restart);
    }
    ops
}

fn create_stream(dice: &mut Dice, stream: &str) -> Op {
    let mut config = match stream {
        "MODEL_B" => json!({
            "name": stream, "subjects": ["$KV.b.>"], "max_msgs_per_subject": 1, "max_bytes": -1, "discard": "new",
            "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true, "allow_msg_ttl": true,
            "subject_delete_marker_ttl": HOUR, "storage": "file", "num_replicas": 1,
        }),
        "MODEL_W" => json!({
            "name": stream, "subjects": ["w.>"], "retention": "workqueue", "discard": "new", "max_bytes": 700,
            "max_age": HOUR, "allow_direct": true,
        }),
        "MODEL_T" => json!({
            "name": stream, "subjects": ["t.>"], "retention": "workqueue", "max_msgs_per_subject": 1, "allow_direct": true,
            "allow_msg_schedules": true,
        }),
        _ => json!({ "name": stream, "subjects": ["e.>"], "max_bytes": 900, "max_msgs_per_subject": 3, "allow_direct": true }),
    };
    if dice.is_one_in(5) {
        config["max_msgs"] = dice.of(&[4, 6]).into();
    }
    if dice.is_one_in(8) {
        config["discard"] = dice.of(&["old", "new"]).into();
    }
    if dice.is_one_in(12) {
        config["subjects"] = json!([dice.of(&["e.>", "w.a", "$KV.b.*", "z"])]);
    }
    let verb = if dice.is_one_in(5) { "UPDATE" } else { "CREATE" };
    call(&format!("STREAM.{verb}.{stream}"), &config)
}

fn subject(dice: &mut Dice, begins: &str) -> String {
    format!("{begins}.{}", dice.of(&["a", "b", "c", "d"]))
}

/// With wildcards, some of them.
fn filter(dice: &mut Dice, begins: &str) -> String {
    format!("{begins}.{}", dice.of(&["a", "b", "*", ">", ">"]))
}

fn store(dice: &mut Dice, begins: &str) -> Op {
    let subject = subject(dice, begins);
    let mut headers = Vec::new();
    match dice.below(12) {
        0 => headers.push(("Nats-Msg-Id", dice.of(&["1", "2"]).to_owned())),
        1 | 2 => headers.push(("Nats-Expected-Last-Subject-Sequence", dice.of(&["0", "1", "last", "last"]).to_owned())),
        3 => {
            headers.push(("Nats-Expected-Last-Subject-Sequence", "last".to_owned()));
            headers.push(("Nats-Expected-Last-Subject-Sequence-Subject", self::subject(dice, begins)));
        }
        4 => headers.push(("Nats-TTL", dice.of(&["3600s", "1h0m0s", "60", "500ms", "x", "never"]).to_owned())),
        5 => {
            headers.push(("Nats-Rollup", dice.of(&["sub", "sub", "all", "x"]).to_owned()));
            headers.push(("KV-Operation", "PURGE".to_owned()));
        }
        6 => headers.push(dice.of(&[
            ("Nats-Expected-Last-Sequence", "3".to_owned()),
            ("Nats-Expected-Stream", "MODEL_E".to_owned()),
            ("Nats-Expected-Last-Msg-Id", "1".to_owned()),
        ])),
        7 => {
            headers.push(("Nats-Schedule", dice.of(&["@at 2050-01-01T00:00:00Z", "x"]).to_owned()));
            headers.push(("Nats-Schedule-Target", dice.of(&["t.due", "t.a", "e.a"]).to_owned()));
        }
        8 => headers.push(("X", "y".to_owned())),
        _ => {}
    }
    let payload = "p".repeat(usize::try_from(dice.of(&[0, 1, 5, 200])).unwrap());
    Op::Send { subject, headers, payload, is_asked: !dice.is_one_in(6) }
}

fn create_consumer(dice: &mut Dice, stream: &str, kind: Kind) -> Op {
    let begins = STREAMS.iter().find(|(name, _)| *name == stream).map_or("x", |(_, begins)| *begins);
    let name = dice.of(&CONSUMERS);
    let is_queue = matches!(stream, "MODEL_W" | "MODEL_T") && !dice.is_one_in(10);
    let filter = filter(dice, begins);
    let mut config = json!({ "filter_subject": filter });
    if is_queue || dice.is_one_in(3) {
        config["durable_name"] = name.into();
        config["ack_policy"] = "explicit".into();
        config["max_ack_pending"] = dice.of(&[2, 3, 50]).into();
        config["max_deliver"] = dice.of(&[-1, -1, 2]).into();
        if kind == Kind::Timed {
            config["ack_wait"] = 1_000_000_000_u64.into();
        }
        if dice.is_one_in(3) {
            config["priority_policy"] = "pinned_client".into();
            config["priority_groups"] = json!(["one"]);
            config["priority_timeout"] = if kind == Kind::Timed { 1_000_000_000_u64 } else { HOUR }.into();
        }
    } else {
        config["name"] = name.into();
        config["inactive_threshold"] = HOUR.into();
        config["ack_policy"] = dice.of(&["none", "none", "explicit"]).into();
        if dice.is_one_in(2) {
            config["deliver_subject"] = inbox(PUSHED + usize::try_from(dice.below(2)).unwrap()).into();
            config["headers_only"] = dice.is_one_in(3).into();
        }
        config["deliver_policy"] = dice.of(&["all", "last", "new", "last_per_subject", "by_start_sequence", "by_start_time"]).into();
        match config["deliver_policy"].as_str() {
            Some("by_start_sequence") => config["opt_start_seq"] = (1 + dice.below(6)).into(),
            Some("by_start_time") => config["opt_start_time"] = dice.of(&["2020-01-01T00:00:00Z", "2050-01-01T00:00:00Z"]).into(),
            _ => {}
        }
        if dice.is_one_in(4) {
            config["mem_storage"] = true.into();
        }
    }
    let mut body = json!({ "stream_name": stream, "config": config });
    if dice.is_one_in(6) {
        body["action"] = dice.of(&["create", "update"]).into();
    }
    call(&format!("CONSUMER.CREATE.{stream}.{name}.{filter}"), &body)
}

fn ask(dice: &mut Dice, stream: &str, kind: Kind) -> Op {
    let mut body = json!({ "batch": dice.of(&[1, 2, 5]) });
    if dice.is_one_in(2) {
        body["no_wait"] = true.into();
    }
    if !dice.is_one_in(3) {
        let expires: u64 = if kind == Kind::Timed { 1_000_000_000 } else { HOUR };
        body["expires"] = expires.into();
    }
    let mut body = body.to_string();
    if dice.is_one_in(2) {
        // before the rest, so that it can be left out
        let pin = if dice.is_one_in(2) { r#""id":"PIN","# } else { "" };
        body = body.replacen('{', &format!(r#"{{"group":"one",{pin}"#), 1);
    }
    let consumer = format!("{stream}.{}", dice.of(&CONSUMERS));
    Op::Ask { consumer, body, slot: usize::try_from(dice.below(2)).unwrap() }
}

fn say(dice: &mut Dice) -> Op {
    let word = dice.of(&["+ACK", "+ACK", "+ACK", "", "-NAK", "+TERM", "+WPI", "?"]);
    let slot = usize::try_from(dice.below(u64::try_from(INBOXES).unwrap())).unwrap();
    Op::Say { slot, back: usize::try_from(dice.below(3)).unwrap(), word, is_asked: dice.is_one_in(2) }
}

fn look(dice: &mut Dice, stream: &str, begins: &str) -> Op {
    let consumer = dice.of(&CONSUMERS);
    let (seq, subject, filter) = (1 + dice.below(7), subject(dice, begins), filter(dice, begins));
    match dice.below(12) {
        0 => call(&format!("STREAM.INFO.{stream}"), &Value::Null),
        1 => call(&format!("STREAM.INFO.{stream}"), &json!({ "subjects_filter": filter })),
        2 => call("STREAM.NAMES", &json!({ "subject": subject })),
        3 => call(&format!("STREAM.MSG.GET.{stream}"), &json!({ "seq": seq })),
        4 => call(&format!("STREAM.MSG.GET.{stream}"), &json!({ "last_by_subj": filter })),
        5 => call(&format!("STREAM.MSG.GET.{stream}"), &json!({ "seq": seq, "next_by_subj": filter })),
        6 => call(&format!("DIRECT.GET.{stream}"), &json!({ "seq": seq })),
        7 => call(&format!("DIRECT.GET.{stream}.{subject}"), &Value::Null),
        8 => call(&format!("CONSUMER.NAMES.{stream}"), &Value::Null),
        9 => call(&format!("DIRECT.GET.{stream}"), &json!({ "seq": seq, "next_by_subj": filter })),
        _ => call(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null),
    }
}

fn take_away(dice: &mut Dice, stream: &str, begins: &str) -> Op {
    let consumer = dice.of(&CONSUMERS);
    let seq = 1 + dice.below(6);
    match dice.below(8) {
        0 => call(&format!("STREAM.DELETE.{stream}"), &Value::Null),
        1 => call(&format!("STREAM.PURGE.{stream}"), &Value::Null),
        2 => call(&format!("STREAM.PURGE.{stream}"), &json!({ "filter": filter(dice, begins) })),
        3 => call(&format!("STREAM.PURGE.{stream}"), &json!({ "seq": seq })),
        4 | 5 => call(&format!("STREAM.MSG.DELETE.{stream}"), &json!({ "seq": seq, "no_erase": true })),
        6 => call(&format!("CONSUMER.UNPIN.{stream}.{consumer}"), &json!({ "group": "one" })),
        _ => call(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &Value::Null),
    }
}

fn plain(dice: &mut Dice) -> Op {
    let subject = dice.of(&["x.a", "x.b", "x.a.b", "y"]).to_owned();
    Op::Send { subject, headers: vec![("X", "y".to_owned())], payload: "p".to_owned(), is_asked: dice.is_one_in(2) }
}
