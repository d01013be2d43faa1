//! Every state of a subscription with every input: what comes out, and where it stands then. The table is `states.txt`.

use std::fmt::Write;
use std::time::Duration;

use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::sip::message::{Message, Start};
use crate::sip::name::Name;

/// What the phone of a scene has, and what it may still answer.
#[derive(Default)]
struct Scene {
    /// Its To tag; that of no subscription where it has none.
    tag: String,
    /// The newest record that was asked to be stored.
    record: Option<Record>,
    /// The newest NOTIFY.
    notify: Option<Message>,
}

type Arrange = fn(&mut Bench) -> Scene;
type Act = fn(&mut Bench, &Scene);

/// States, in the order of a subscription's life.
const STATES: [(&str, Arrange); 8] = [
    ("none", |_| Scene { tag: "0123456789abcdef01234567".into(), ..Scene::default() }),
    ("storing", storing),
    ("live, states are asked for", asking),
    ("live, a NOTIFY is in flight", telling),
    ("live, nothing is owed", live),
    ("live, in grace", |bench| {
        let scene = live(bench);
        bench.pass(Duration::from_secs(3605));
        scene
    }),
    ("ending, its last NOTIFY is in flight", ending),
    ("over, a change is still under way", over),
];

const INPUTS: [(&str, Act); 22] = [
    ("refresh", |bench, scene| bench.packet(&subscribe("a", 7, Some(&scene.tag), "Expires: 3600\n", ""))),
    ("key press", |bench, scene| bench.packet(&subscribe("a", 7, Some(&scene.tag), "Expires: 3600\n", &set_dnd(true)))),
    ("unsubscribe", |bench, scene| bench.packet(&subscribe("a", 7, Some(&scene.tag), "Expires: 0\n", ""))),
    ("old CSeq", |bench, scene| bench.packet(&subscribe("a", 0, Some(&scene.tag), "Expires: 3600\n", ""))),
    ("store acknowledged", |bench, _| reply(bench, is_store, |bench, token| bench.stored(token, 70))),
    ("store conflicts", |bench, _| reply(bench, is_store, Bench::conflict)),
    ("store not answered", |bench, _| reply(bench, is_store, late)),
    ("states", |bench, _| answer_get(bench)),
    ("no states", |bench, _| reply(bench, is_get, late)),
    ("change applied", |bench, _| answer_set(bench)),
    ("change not answered", |bench, _| reply(bench, is_set, late)),
    ("job", |bench, _| bench.job(9, 1)),
    ("200", |bench, scene| answer(bench, scene, 200, "")),
    ("481", |bench, scene| answer(bench, scene, 481, "")),
    ("500", |bench, scene| answer(bench, scene, 500, "")),
    ("503, Retry-After", |bench, scene| answer(bench, scene, 503, "Retry-After: 3\n")),
    ("Timer F", |bench, _| bench.pass(Duration::from_secs(33))),
    ("NOTIFY not sent", |bench, scene| {
        let notify = scene
            .notify
            .as_ref()
            .and_then(|notify| Some((notify.header(Name::CSeq)?.split(' ').next()?.parse().ok()?, scene.tag.parse().ok()?)));
        let Some((cseq, subscription)) = notify else { return };
        bench.input(Input::Undeliverable { notify: NotifyId { subscription, cseq }, why: Unsent::NoWay });
    }),
    ("moved to another edge", |bench, scene| {
        let moved = scene.record.as_ref().map(|record| Record { edge_id: "edge-1".into(), local_cseq: 2000, ..record.clone() });
        if let Some(moved) = moved {
            bench.changed(&scene.tag, 80, &moved);
        }
    }),
    ("key gone", |bench, scene| bench.input(Input::Change { key: &scene.tag, revision: 80, value: None, removed_over: None })),
    ("bus away", |bench, _| bench.input(Input::Bus { is_up: false })),
    ("drain", |bench, _| bench.input(Input::Drain)),
];

fn storing(bench: &mut Bench) -> Scene {
    bench.packet(&subscribe("a", 1, None, "Expires: 3600\n", ""));
    let Some((_, BusRequest::Store { id, record, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    Scene { tag: id.to_string(), record: Some((**record).clone()), notify: None }
}

fn asking(bench: &mut Bench) -> Scene {
    let scene = storing(bench);
    bench.ack_store();
    assert_eq!(to_tag(&bench.expect_response(200)), scene.tag);
    scene
}

fn telling(bench: &mut Bench) -> Scene {
    let scene = asking(bench);
    bench.answer_get(four(1));
    Scene { notify: Some(bench.expect_notify()), ..scene }
}

fn live(bench: &mut Bench) -> Scene {
    let scene = telling(bench);
    answer(bench, &scene, 200, "");
    scene
}

fn ending(bench: &mut Bench) -> Scene {
    let scene = live(bench);
    bench.packet(&subscribe("a", 2, Some(&scene.tag), "Expires: 0\n", ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(four(1));
    Scene { notify: Some(bench.expect_notify()), ..scene }
}

/// The phone has a 200 for a change, and has forgotten its subscription before it was made.
fn over(bench: &mut Bench) -> Scene {
    let scene = live(bench);
    bench.packet(&subscribe("a", 2, Some(&scene.tag), "Expires: 3600\n", &set_dnd(true)));
    bench.ack_store();
    bench.expect_response(200);
    bench.job(3, 3);
    let notify = bench.expect_notify();
    bench.respond(&notify, 481, "");
    // the removal of its key is under way as well
    let removal = bench.asked.iter().position(|(_, request)| is_store(request)).expect("a removal");
    let (token, _) = bench.asked.remove(removal).unwrap();
    bench.stored(token, 60);
    Scene { notify: Some(notify), ..scene }
}

fn is_store(request: &BusRequest) -> bool {
    matches!(request, BusRequest::Store { .. } | BusRequest::Remove { .. })
}

fn is_get(request: &BusRequest) -> bool {
    matches!(request, BusRequest::Get(_))
}

fn is_set(request: &BusRequest) -> bool {
    matches!(request, BusRequest::RouteSet(_))
}

/// Brings such a request to the front; where there is none its answer is one to a request that nobody made.
fn reply(bench: &mut Bench, is_it: fn(&BusRequest) -> bool, with: impl FnOnce(&mut Bench, Token)) {
    let found = bench.asked.iter().position(|(_, request)| is_it(request));
    let token = found.and_then(|at| bench.asked.remove(at)).map_or(Token(99_999), |(token, _)| token);
    with(bench, token);
}

fn late(bench: &mut Bench, token: Token) {
    bench.input(Input::Reply { token, reply: BusReply::Unavailable(Unavailable::Timeout) });
}

fn answer_get(bench: &mut Bench) {
    match bench.asked.iter().position(|(_, request)| is_get(request)) {
        Some(at) => {
            bench.asked.rotate_left(at);
            bench.answer_get(four(1));
        }
        None => bench.message(Token(99_999), &serde_json::json!({"presentity": "sip:alice@10.0.0.11", "features": []})),
    }
}

fn answer_set(bench: &mut Bench) {
    match bench.asked.iter().position(|(_, request)| is_set(request)) {
        Some(at) => {
            bench.asked.rotate_left(at);
            bench.apply_change(|_| {});
        }
        None => bench.message(Token(99_999), &serde_json::json!({})),
    }
}

/// The phone answers its newest NOTIFY; without one, some NOTIFY.
fn answer(bench: &mut Bench, scene: &Scene, status: u16, more: &str) {
    match &scene.notify {
        Some(notify) => bench.respond(notify, status, more),
        None => bench.packet(&format!(
            "SIP/2.0 {status} Whatever\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnone\nFrom: <sip:a@b>;tag=1\nTo: <sip:a@b>;tag=2\n\
             Call-ID: none\nCSeq: 1 NOTIFY\n{more}Content-Length: 0\n\n"
        )),
    }
}

/// What an input led to, in words.
fn outcome(bench: &mut Bench, tag: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    while let Some((_, message)) = bench.sent.pop_front() {
        words.push(match message.start() {
            Start::Response { status, .. } => status.to_string(),
            Start::Request { .. } => {
                let state = message.header(Name::SubscriptionState).unwrap_or_default();
                let size = if message.body().is_empty() { "empty " } else { "" };
                let reason = state.split_once("reason=").map(|(_, reason)| format!(", {reason}")).unwrap_or_default();
                format!("{size}NOTIFY ({}{reason})", state.split(';').next().unwrap_or_default())
            }
        });
    }
    words.extend(bench.asked.drain(..).map(|(_, request)| {
        match request {
            BusRequest::Store { .. } => "store",
            BusRequest::Remove { .. } => "remove",
            BusRequest::Lookup { .. } => "look up",
            BusRequest::Auth { .. } => "auth",
            BusRequest::Get(_) => "get",
            BusRequest::RouteSet(_) => "set",
        }
        .to_owned()
    }));
    words.extend(bench.reasons().iter().map(|reason| format!("ended: {reason:?}")));
    words.extend(bench.fan_outs.drain(..).map(|_| "fan-out".to_owned()));
    words.extend(bench.done.drain(..).map(|_| "job done".to_owned()));
    words.extend(bench.moved.drain(..).map(|_| "job moved".to_owned()));
    // as often as it was sent or asked
    words.dedup();
    let registry = &bench.notifier.registry;
    let phase = tag.parse().ok().and_then(|id| registry.get(id)).map_or("gone".to_owned(), |one| format!("{:?}", one.phase));
    let words = if words.is_empty() { "–".to_owned() } else { words.join(", ") };
    format!("{words} → {phase}")
}

/// Whatever happened: without further news nothing is left in the end.
fn wait_for_the_end(bench: &mut Bench) {
    bench.input(Input::Bus { is_up: true });
    for _ in 0..100 {
        bench.pass(Duration::from_mins(2));
        bench.sent.clear();
        while let Some((token, request)) = bench.asked.pop_front() {
            if is_store(&request) {
                bench.stored(token, 1_000);
            } else {
                late(bench, token);
            }
        }
    }
}

#[test]
fn every_state_takes_every_input() {
    let mut table = String::from("# what → where the subscription stands then; checked by tests_states.rs\n");
    for (state, arrange) in STATES {
        writeln!(table, "\n{state}").unwrap();
        for (name, input) in INPUTS {
            // one NOTIFY holds the full state
            let mut bench = Bench::new(EdgeConfig { udp_notify_limit_bytes: 9000, ..config() });
            let scene = arrange(&mut bench);
            // what is asked already is no outcome of the input
            let asked_before: Vec<_> = bench.asked.iter().map(|(token, _)| *token).collect();
            bench.events.clear();
            bench.fan_outs.clear();
            bench.done.clear();
            bench.moved.clear();
            input(&mut bench, &scene);
            let pending: Vec<_> = bench.asked.iter().filter(|(token, _)| asked_before.contains(token)).map(|(token, _)| *token).collect();
            bench.asked.retain(|(token, _)| !asked_before.contains(token));
            writeln!(table, "  {name:<22} {}", outcome(&mut bench, &scene.tag)).unwrap();
            for token in pending {
                late(&mut bench, token);
            }
            wait_for_the_end(&mut bench);
            assert!(bench.is_empty(), "{state}, {name}: something is left");
        }
    }
    let want = include_str!("states.txt");
    for (got, want) in table.lines().zip(want.lines()) {
        assert_eq!(got, want, "the whole table:\n{table}");
    }
    assert_eq!(table.lines().count(), want.lines().count(), "the whole table:\n{table}");
}
