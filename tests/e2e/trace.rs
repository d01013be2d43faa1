//! One change's whole way, as `dfks trace` shows it: who asked, who answered, each NOTIFY, where it stopped, what is on its way.

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Phone, Service, Setup, dfks_with, set_dnd};

/// The steps that `dfks trace` prints as JSON.
fn steps(nats: &Nats, args: &[&str]) -> Vec<Value> {
    let done = dfks_with(nats, &[&["trace", "--json"], args].concat());
    done.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `step who→to outcome` of each.
fn short(steps: &[Value]) -> Vec<String> {
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let line = |step: &Value| {
        let to = step["to"].as_str().map(|to| format!("→{to}")).unwrap_or_default();
        format!("{} {}{to} {}", text(step, "step"), text(step, "who"), text(step, "outcome"))
    };
    steps.iter().map(line).collect()
}

/// The steps of Alice's last change, once they are so many.
fn last(nats: &Nats, count: usize) -> Vec<Value> {
    wait_for("all steps", || Some(steps(nats, &["--last", ALICE])).filter(|steps| steps.len() >= count))
}

/// ```text
/// desk ──press──▶ edge-a ──▶ worker ──▶ responder, store ──▶ mi ──job──▶ edge-b ──NOTIFY──▶ far
/// ```
#[test]
fn a_press_is_followed_to_every_phone_and_drawn() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    service.respond("dfks.responder.*.*.DoNotDisturb", |_| Some(json!({})));
    let all = Setup::on(&nats).start();
    let other = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").start();
    let (phone, elsewhere) = (Phone::tcp(all.tcp()), Phone::tcp(other.tcp()));
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let mut far = elsewhere.subscribe(ALICE);
    far.notify();
    dialog.press(set_dnd(true));
    far.until("DoNotDisturb on");
    let steps = last(&nats, 9);
    let line = short(&steps);
    let want = [
        format!("asked {ALICE}→edge-a ok"),
        "worker edge-a→worker ok".to_owned(),
        "read worker→store ok".to_owned(),
        "responder worker→dfks.responder.set.127_0_0_1.DoNotDisturb ok".to_owned(),
        "store worker→store ok".to_owned(),
        "change edge-a ok".to_owned(),
        "job mi→edge-b ok".to_owned(),
        format!("notify edge-a→{ALICE} ok"),
        format!("notify edge-b→{ALICE} ok"),
    ];
    for step in &want {
        assert!(line.contains(step), "{step}: {line:#?}");
    }
    // the phone's own SUBSCRIBE is of it
    assert_eq!(line.iter().filter(|line| !want.contains(line)).collect::<Vec<_>>(), [&format!("subscription {ALICE}→edge-a ok")]);
    let after: Vec<_> = steps.iter().map(|step| step["after_ms"].as_f64().unwrap()).collect();
    assert!(after.is_sorted() && after[0] == 0.0, "{after:?}");
    let delivered = steps.iter().filter(|step| step["step"] == "notify");
    assert!(delivered.into_iter().all(|step| step["status"] == 200 && step["took_ms"].is_number()), "{steps:#?}");

    // by its cause, which whoever asks why is told, with a picture
    let why = dfks_with(&nats, &["why", ALICE, "DND", "--json"]).ok();
    let why: Value = serde_json::from_str(&why).unwrap();
    let cause = why["watchers"][0]["told"][0]["cause"].as_str().unwrap();
    let svg = nats.dir().join("way.svg");
    let said = dfks_with(&nats, &["trace", cause, "--svg", svg.to_str().unwrap()]).ok();
    assert!(said.starts_with(&format!("{ALICE}  ")) && said.contains(&format!("cause {cause}\n")), "{said}");
    assert!(said.contains("DoNotDisturb off → on, version 1") && !said.contains('\u{1b}'), "{said}");
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("edge-b") && svg.contains(cause), "{svg}");
}

#[test]
fn a_trace_ends_where_its_change_stopped() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.param == "deny" { deny("not now"); } }"#;
    let product = Setup::on(&nats).script(script).with("subscription.grace_seconds", 1).start();
    let denied = dfks_with(&nats, &["set", ALICE, "DND", "on", "--param", "deny"]);
    assert_eq!(denied.code, 1);
    let steps = last(&nats, 3);
    assert!(short(&steps).contains(&"script worker refused".to_owned()), "{steps:#?}");
    let change = steps.iter().find(|step| step["step"] == "change").unwrap();
    assert_eq!((&change["outcome"], &change["detail"]), (&json!("refused"), &json!("DoNotDisturb stays off: not now")));

    // the phone refuses its NOTIFY: what `dfks set` gives as the cause shows it
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    phone.answers(|_| Answer::Status(500, ""));
    let set = dfks_with(&nats, &["set", ALICE, "DND", "on", "--json"]).ok();
    let set: Value = serde_json::from_str(&set).unwrap();
    let cause = set["cause"].as_str().unwrap();
    let failed = wait_for("the NOTIFY's end", || {
        steps_of(&nats, cause).into_iter().find(|step| step["step"] == "notify" && step["outcome"] == "failed")
    });
    assert_eq!((&failed["status"], &failed["who"]), (&json!(500), &json!("edge-a")));
    let text = dfks_with(&nats, &["trace", cause]).ok();
    assert!(text.contains("  failed in ") && text.contains("failed 500"), "{text}");

    // who asks for what never was
    let never = dfks_with(&nats, &["trace", "4bf92f3577b34da6a3ce929d0e0e4736"]);
    assert_eq!(never.code, 1);
    assert!(never.err.starts_with("dfks: no event of cause '4bf92f3577b34da6a3ce929d0e0e4736'"), "{}", never.err);
    let nobody = dfks_with(&nats, &["trace", "--last", "sip:nobody@127.0.0.1"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.starts_with("dfks: no change of sip:nobody@127.0.0.1 within 24 h"), "{}", nobody.err);
    assert_eq!(dfks_with(&nats, &["trace"]).code, 64);
}

fn steps_of(nats: &Nats, cause: &str) -> Vec<Value> {
    steps(nats, &[cause])
}

/// ```text
/// dfks set ──▶ mi ──job──▶ edge-b, which is gone
/// ```
#[test]
fn a_job_that_nobody_takes_is_still_on_its_way() {
    let nats = Nats::start();
    // nobody takes over what the dead edge had
    let all = Setup::on(&nats).with("sip.takeover_seconds", 3600).start();
    let mut other = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").with("sip.takeover_seconds", 3600).start();
    let elsewhere = Phone::tcp(other.tcp());
    elsewhere.subscribe(ALICE).notify();
    other.kill();
    let set = dfks_with(&nats, &["set", ALICE, "DND", "on"]).ok();
    let cause = set.lines().last().unwrap().trim().strip_prefix("cause ").unwrap().to_owned();
    let waiting =
        wait_for("the job", || steps_of(&nats, &cause).into_iter().find(|step| step["outcome"] == "waiting" && step["to"] == "edge-b"));
    assert_eq!((&waiting["step"], &waiting["detail"]), (&json!("job"), &json!("its edge does not answer")));
    let text = dfks_with(&nats, &["trace", &cause]).ok();
    assert!(text.ends_with("still under way: ask again in a moment\n"), "{text}");
    drop(all);
}
