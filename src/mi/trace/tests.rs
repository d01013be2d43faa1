//! What happened, and the steps that are made of it.

use serde_json::{Value, json};

use super::*;
use crate::bus::WaitingJob;

const ALICE: &str = "sip:alice@h";

/// A moment of the scene: `T` + milliseconds.
fn at(millis: u32) -> String {
    format!("2026-11-28T11:00:{:02}.{:03}Z", millis / 1000, millis % 1000)
}

fn state(on: u8, version: u64) -> Value {
    json!({"feature": "DoNotDisturb", "assigned": true, "status": on, "values": {}, "version": version, "source": "store"})
}

/// A press at edge-a that took effect, with a responder in between.
fn press() -> Value {
    json!({
        "id": "1", "time": at(40), "cause": "c", "presentity": ALICE, "feature": "DoNotDisturb", "old": state(0, 6), "new": state(1, 7), "version": 7,
        "origin": "phone", "actor": "sip:desk@h", "asked": {"status": 1, "values": {}}, "outcome": "applied", "reason": null, "watchers": 2,
        "edge_id": "edge-a", "asked_at": at(0),
        "work": {"at": at(5), "took_us": 33_000, "steps": [
            {"what": "read", "after_us": 0, "took_us": 400, "outcome": "ok"},
            {"what": "responder", "who": "dfks.responder.set.h.DoNotDisturb", "after_us": 400, "took_us": 30_000, "outcome": "ok"},
            {"what": "store", "after_us": 30_400, "took_us": 2_600, "outcome": "ok"},
        ]},
    })
}

fn notify(edge: &str, subscription: &str, (ended, took, waited): (u32, u64, u64), by_job: bool) -> Value {
    json!({
        "id": "2", "time": at(ended), "cause": "c", "edge_id": edge, "subscription": subscription, "presentity": ALICE,
        "features": ["DoNotDisturb"], "outcome": "delivered", "status": 200, "took_ms": took, "waited_ms": waited, "by_job": by_job,
    })
}

fn watcher(subscription: &str, told: u64, pending: bool) -> Value {
    json!({
        "subscription": subscription, "presentity": ALICE, "watcher": format!("sip:{subscription}@h"), "call_id": "x", "contact": "c",
        "transport": "udp", "user_agent": "", "expires_at": at(0), "versions": {"DoNotDisturb": told},
        "standing": {"pending": if pending { json!(["DoNotDisturb"]) } else { json!([]) }, "until": null, "is_busy": pending, "is_reachable": true},
    })
}

fn past(changes: &[Value], notifies: &[Value]) -> Caused {
    let mut past = Caused::default();
    past.events.since = at(0);
    past.events.changes = changes.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect();
    past.events.notifies = notifies.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect();
    past
}

fn under(watchers: &[(&str, Value)], jobs: &[&str]) -> Under {
    let mut under = Under::default();
    for (edge, watcher) in watchers {
        under.edges.entry((*edge).to_owned()).or_default().push(serde_json::from_value(watcher.clone()).unwrap());
    }
    let time = clock::parse_rfc3339(&at(41)).unwrap();
    under.jobs = jobs.iter().map(|edge| WaitingJob { edge: (*edge).to_owned(), at: time, features: vec!["DoNotDisturb".into()] }).collect();
    under
}

fn now() -> std::time::SystemTime {
    clock::parse_rfc3339(&at(9_000)).unwrap()
}

/// `+5 worker edge-a→worker 33 ok` a step.
fn lines(trace: &Trace) -> Vec<String> {
    let line = |step: &Step| {
        let to = step.to.as_ref().map_or_else(String::new, |to| format!("→{to}"));
        let took = step.took_ms.map_or_else(|| "-".to_owned(), |took| took.to_string());
        format!("+{} {} {}{to} {took} {}", step.after_ms, step.kind.as_str(), step.who, step.outcome.as_str())
    };
    trace.steps.iter().map(line).collect()
}

#[test]
fn a_press_goes_from_its_phone_to_each_phones_answer() {
    let told = [notify("edge-a", "s1", (52, 10, 42), false), notify("edge-b", "s2", (71, 12, 19), true)];
    let phones = [("edge-a", watcher("s1", 7, false)), ("edge-b", watcher("s2", 7, false))];
    let trace = ladder::of("c", &past(&[press()], &told), &under(&phones, &[]), now());
    let want = [
        "+0 asked sip:desk@h→edge-a 5 ok",
        "+5 worker edge-a→worker 33 ok",
        "+5 read worker→store 0.4 ok",
        "+5.4 responder worker→dfks.responder.set.h.DoNotDisturb 30 ok",
        "+35.4 store worker→store 2.6 ok",
        "+40 change edge-a - ok",
        "+40 job mi→edge-b 19 ok",
        "+42 notify edge-a→sip:s1@h 10 ok",
        "+59 notify edge-b→sip:s2@h 12 ok",
    ];
    assert_eq!(lines(&trace), want);
    assert_eq!((trace.outcome, trace.took_ms, trace.is_under_way()), (Outcome::Ok, 71.0, false));
    assert_eq!(trace.steps[5].detail.as_deref(), Some("DoNotDisturb off → on, version 7"));
}

#[test]
fn what_is_still_on_its_way_is_said_and_what_a_later_notify_told() {
    let told = [notify("edge-a", "s1", (52, 10, 42), false)];
    let phones = [("edge-a", watcher("s1", 7, false)), ("edge-a", watcher("s3", 6, true)), ("edge-a", watcher("s4", 9, false))];
    let trace = ladder::of("c", &past(&[press()], &told), &under(&phones, &["edge-b"]), now());
    let waiting: Vec<_> = lines(&trace).into_iter().filter(|line| !line.ends_with(" ok")).collect();
    let want = ["+40 notify edge-a→sip:s3@h - waiting", "+40 notify edge-a→sip:s4@h - covered", "+41 job mi→edge-b - waiting"];
    assert_eq!(waiting, want);
    assert!(trace.is_under_way() && trace.outcome == Outcome::Waiting);

    // nobody has made a job of it
    let trace = ladder::of("c", &past(&[press()], &[]), &under(&[], &[]), now());
    assert_eq!(lines(&trace).last().unwrap(), "+40 job mi - waiting");
}

#[test]
fn where_it_stopped_is_the_outcome() {
    let mut denied = press();
    denied["outcome"] = json!("refused");
    denied["reason"] = json!("not abroad");
    denied["new"] = state(0, 6);
    denied["work"]["steps"] = json!([{"what": "script", "after_us": 10, "took_us": 20, "outcome": "denied"}]);
    let trace = ladder::of("c", &past(&[denied], &[]), &under(&[], &[]), now());
    assert_eq!(lines(&trace)[2..], ["+5.01 script worker 0.02 refused", "+40 change edge-a - refused"]);
    assert_eq!(trace.steps[3].detail.as_deref(), Some("DoNotDisturb stays off: not abroad"));
    assert_eq!(trace.outcome, Outcome::Refused);

    let mut silent = notify("edge-b", "s2", (32_071, 32_000, 19), true);
    silent["outcome"] = json!("expired");
    silent["status"] = Value::Null;
    let trace = ladder::of("c", &past(&[press()], &[silent]), &under(&[], &[]), now());
    assert_eq!(lines(&trace).last().unwrap(), "+71 notify edge-b→its phone 32000 expired");
    assert_eq!(trace.steps.last().unwrap().detail.as_deref(), Some("no answer"));
    assert_eq!(trace.outcome, Outcome::Expired);
}

#[test]
fn an_event_of_before_has_no_times_and_is_shown_all_the_same() {
    let mut old = press();
    for field in ["work", "asked_at", "edge_id"] {
        old.as_object_mut().unwrap().remove(field);
    }
    let trace = ladder::of("c", &past(&[old], &[]), &under(&[], &[]), now());
    assert_eq!(lines(&trace)[..2], ["+0 asked sip:desk@h→mi - ok", "+0 change mi - ok"]);
    let nothing = ladder::of("c", &past(&[], &[]), &under(&[], &[]), now());
    assert_eq!((nothing.steps.len(), nothing.presentity, nothing.took_ms), (0, None, 0.0));
}

#[test]
fn a_picture_is_one_document_that_runs_nothing_and_loads_nothing() {
    let mut told = notify("edge-b", "s2", (71, 12, 19), true);
    told["outcome"] = json!("failed");
    told["edge_id"] = json!("<script>\u{1}&");
    let trace = ladder::of("c", &past(&[press()], &[told]), &under(&[], &["edge-c"]), now());
    let svg = draw(&trace);
    let mut reader = quick_xml::Reader::from_str(&svg);
    let mut names = std::collections::BTreeSet::new();
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                names.insert(format!("{:?}", tag.name()));
            }
            _ => {}
        }
    }
    assert!(!names.iter().any(|name| name.contains("script") || name.contains("image") || name.contains("use")), "{names:?}");
    assert!(!svg.contains("href") && !svg.contains("url(") && !svg.contains('\u{1}'), "{svg}");
    assert!(svg.contains("class=\"stop\"") && svg.contains("class=\"wait\"") && svg.contains("prefers-color-scheme:dark"), "{svg}");
}

#[test]
fn a_trace_is_a_line_of_json_a_step() {
    let trace = ladder::of("c", &past(&[press()], &[]), &under(&[], &[]), now());
    let line = serde_json::to_value(&trace.steps[0]).unwrap();
    assert_eq!(
        (&line["at"], &line["step"], &line["who"], &line["outcome"]),
        (&json!(at(0)), &json!("asked"), &json!("sip:desk@h"), &json!("ok"))
    );
    assert_eq!(line["took_ms"], 5.0);
}
