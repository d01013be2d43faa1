//! `dfks events`: what was, then what comes.

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, dfks_with, started};

fn versions(lines: &[String]) -> Vec<u64> {
    let read = |line: &String| serde_json::from_str::<Value>(line).unwrap()["version"].as_u64().unwrap();
    lines.iter().map(read).collect()
}

/// ```text
/// 60 changes ──▶ DFKS_EVENTS ──▶ dfks events --since, --last ◀── 60 more while it reads      each once, in order
/// ```
#[test]
fn what_was_and_what_comes_is_shown_once_and_in_order() {
    const BEFORE: u64 = 60;
    const ALL: u64 = 120;
    let nats = Nats::start();
    let _product = Setup::on(&nats).start();
    let service = Service::on(&nats);
    let set = |number: u64| {
        let target = json!({"forwardTo": format!("sip:{number}@h")});
        let command = json!({"presentity": ALICE, "feature": "CallForwardingBusy", "status": 1, "values": target, "actor": "crm"});
        assert!(service.ask("dfks.set", &command)["state"].is_object());
    };
    (0..BEFORE).for_each(set);
    // somebody else's, in between
    service.set("sip:bob@other.example", "CallForwardingBusy", 1);
    let count = ALL.to_string();
    let url = nats.url();
    let only = ["--presentity", ALICE, "--kind", "feature", "--nats", &url];
    let since = started(&[&["events", "--since", "1h", "--json", "--count", &count], &only[..]].concat());
    let last = started(&[&["events", "--last", "5", "--json", "--timeout", "3"], &only[..]].concat());
    (BEFORE..ALL).for_each(set);
    let (code, lines) = since.ended();
    assert_eq!((code, versions(&lines)), (0, (1..=ALL).collect::<Vec<_>>()));
    let (code, lines) = last.ended();
    let seen = versions(&lines);
    // where it began depends on when it was opened; from there on none is missing and none comes twice
    assert!(code == 0 && seen.windows(2).all(|pair| pair[1] == pair[0] + 1) && seen[0] > BEFORE - 5, "{seen:?}");

    let three = dfks_with(&nats, &["events", "--last", "3", "--timeout", "1", "--presentity", ALICE, "--feature", "cfb"]).ok();
    assert_eq!(three.lines().count(), 3, "{three}");
    assert!(three.contains("by mi crm, asked on forwardTo=sip:119@h: applied"), "{three}");
    let one = dfks_with(&nats, &["events", "--last", "3", "--timeout", "1", "--domain", "other.example"]).ok();
    assert!(one.lines().count() == 1 && one.contains("sip:bob@other.example"), "{one}");
}

#[test]
fn a_line_says_which_edge_which_feature_and_who() {
    let nats = Nats::start();
    let product = Setup::on(&nats).start();
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    dfks_with(&nats, &["end", &dialog.subscription(), "--actor", "helpdesk"]).ok();
    let lines = wait_for("the events", || {
        let shown = dfks_with(&nats, &["events", "--last", "20", "--timeout", "1"]).ok();
        shown.contains("terminated").then_some(shown)
    });
    assert!(lines.contains("active at edge-a") && lines.contains("terminated (deactivated) for helpdesk at edge-a"), "{lines}");
    assert!(lines.lines().any(|line| line.contains(" DoNotDisturb CallForwardingAlways ") && line.contains("ms at edge-a")), "{lines}");
}

#[test]
fn an_unknown_feature_is_refused_and_silence_ends_when_it_is_said_how_long() {
    let nats = Nats::start();
    let nobody = dfks_with(&nats, &["events", "--timeout", "1"]);
    assert_eq!((nobody.code, nobody.err.as_str()), (69, "dfks: no event came within 1s\n"));
    let gone = dfks_with(&nats, &["events", "--last", "3", "--timeout", "1"]);
    assert_eq!(gone.code, 1, "there is no stream: {gone:?}");
    let worker = Setup::on(&nats).role("worker").start();
    for more in [&[][..], &["--since", "1h"], &["--presentity", ALICE], &["--domain", "example.com"]] {
        let refused = dfks_with(&nats, &[&["events", "--feature", "Foo"], more].concat());
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.starts_with("dfks: unknown feature 'Foo'"), "{refused:?}");
    }
    let short = dfks_with(&nats, &["events", "--feature", "dnd", "--count", "2", "--timeout", "1"]);
    assert_eq!((short.code, short.err.as_str()), (69, "dfks: 0 of 2 events came, and no more within 1s\n"));
    let usage = dfks_with(&nats, &["events", "--since", "1h", "--last", "3"]);
    assert_eq!(usage.code, 64, "{usage:?}");
    drop(worker);
}
