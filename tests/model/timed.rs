//! Two programs that take their time: what ends by itself, and what a pinned client keeps.

use serde_json::{Value, json};

use crate::program::{Op, call};

const SECOND: u64 = 1_000_000_000;

fn store(subject: &str, headers: &[(&'static str, &str)]) -> Op {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Op::Send { subject: subject.to_owned(), headers, payload: "p".to_owned(), is_asked: true }
}

/// By their seed: markers of what ends, or the pinned client.
pub(crate) fn program(seed: u64) -> Vec<Op> {
    if seed.is_multiple_of(2) { endings() } else { pinned() }
}

fn endings() -> Vec<Op> {
    vec![
        call(
            "STREAM.CREATE.MODEL_B",
            &json!({
                "name": "MODEL_B", "subjects": ["$KV.b.>"], "max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": true,
                "allow_direct": true, "allow_msg_ttl": true, "subject_delete_marker_ttl": 2 * SECOND,
            }),
        ),
        call(
            "STREAM.CREATE.MODEL_T",
            &json!({ "name": "MODEL_T", "subjects": ["t.>"], "allow_msg_schedules": true, "max_age": 4 * SECOND }),
        ),
        call(
            "CONSUMER.CREATE.MODEL_B.c0.$KV.b.>",
            &json!({ "stream_name": "MODEL_B", "config": {
                "name": "c0", "filter_subject": "$KV.b.>", "deliver_subject": "in.2", "ack_policy": "none",
                "deliver_policy": "last_per_subject", "inactive_threshold": 60 * SECOND,
            } }),
        ),
        store("$KV.b.a", &[("Nats-TTL", "1s")]),
        store("$KV.b.b", &[("Nats-TTL", "1s"), ("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")]),
        store("$KV.b.c", &[]),
        store("$KV.b.d", &[("Nats-TTL", "3s"), ("KV-Operation", "PUT")]),
        store("t.at.a", &[("Nats-Schedule", "@at 2020-01-01T00:00:00Z"), ("Nats-Schedule-Target", "t.due.a"), ("X", "y")]),
        Op::Wait { ms: 1_700 },
        call("DIRECT.GET.MODEL_B.$KV.b.a", &Value::Null),
        call("STREAM.INFO.MODEL_B", &Value::Null),
        call("STREAM.INFO.MODEL_T", &json!({ "subjects_filter": ">" })),
        call("STREAM.MSG.GET.MODEL_T", &json!({ "last_by_subj": "t.>" })),
        store("$KV.b.a", &[("Nats-Expected-Last-Subject-Sequence", "last")]),
        Op::Wait { ms: 4_400 },
        call("STREAM.INFO.MODEL_B", &Value::Null),
        call("STREAM.INFO.MODEL_T", &Value::Null),
        call("CONSUMER.INFO.MODEL_B.c0", &Value::Null),
    ]
}

fn pinned() -> Vec<Op> {
    let ask = |body: &str, slot| Op::Ask { consumer: "MODEL_W.c0".to_owned(), body: body.to_owned(), slot };
    vec![
        call("STREAM.CREATE.MODEL_W", &json!({ "name": "MODEL_W", "subjects": ["w.>"], "retention": "workqueue" })),
        call(
            "CONSUMER.CREATE.MODEL_W.c0.w.>",
            &json!({ "stream_name": "MODEL_W", "config": {
                "durable_name": "c0", "filter_subject": "w.>", "ack_policy": "explicit", "ack_wait": SECOND,
                "priority_policy": "pinned_client", "priority_groups": ["one"], "priority_timeout": 3 * SECOND / 2,
            } }),
        ),
        ask(r#"{"group":"one","batch":2,"expires":60000000000}"#, 0),
        ask(r#"{"group":"one","batch":9,"expires":60000000000}"#, 1),
        store("w.a", &[]),
        store("w.b", &[]),
        Op::Wait { ms: 2_600 },
        ask(r#"{"id":"PIN","group":"one","batch":1,"expires":60000000000}"#, 1),
        call("CONSUMER.INFO.MODEL_W.c0", &Value::Null),
        Op::Say { slot: 1, back: 0, word: "+ACK", is_asked: true },
        Op::Say { slot: 1, back: 1, word: "-NAK {\"delay\": 300000000}", is_asked: true },
        Op::Wait { ms: 650 },
        call("CONSUMER.INFO.MODEL_W.c0", &Value::Null),
    ]
}
