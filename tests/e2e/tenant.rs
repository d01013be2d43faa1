//! Tenants on one NATS, with the files of `deploy/nats`: what a tenant's services can do, and what they cannot.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::common::{Nats, wait_for};
use crate::harness::{Done, Phone, Service, Setup, dfks, set_dnd};

const OURS: &str = "sip:alice@example.com";
const THEIRS: &str = "sip:bob@other.example";
const FILTERS: [&str; 2] = ["dfks.event.*.example_com", "dfks.event.*.example_com.>"];

/// A server with a file of `deploy/nats`; the password of each user is its name.
fn server(file: &str, users: &[&str]) -> Nats {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats").join(file);
    // a variable, as one of the environment
    let passwords: String = users
        .iter()
        .map(|user| match *user {
            "dfks" => "DFKS_PASSWORD: \"dfks\"\n".to_owned(),
            user => format!("DFKS_{}_PASSWORD: \"{user}\"\n", user.to_uppercase()),
        })
        .collect();
    Nats::with_config(&format!("{passwords}{}", fs::read_to_string(path).unwrap()))
}

/// `[nats]` of a user whose password is its name.
fn run_as(nats: &Nats, user: &str) -> Setup {
    let password = nats.dir().join(format!("{user}.password"));
    fs::write(&password, user).unwrap();
    Setup::on(nats).with("nats.user", user).with("nats.password_file", password.to_str().unwrap())
}

/// A client command of the tenant.
fn command(nats: &Nats, user: &str, args: &[&str]) -> Done {
    let url = format!("nats://{user}:{user}@127.0.0.1:{}", nats.port());
    dfks(&[args, &["--nats", &url, "--inbox-prefix", &format!("_INBOX_{user}")]].concat())
}

fn dnd(presentity: &str, status: u8) -> Value {
    json!({"presentity": presentity, "feature": "DoNotDisturb", "status": status})
}

/// What a tenant does all day: sets, asks, answers, follows, catches up; and what it tries in vain.
fn lives_as_a_tenant(nats: &Nats, user: &str, operator: &Service, edge: SocketAddr) {
    let tenant = Service::of_user(nats, user);
    let events = tenant.wiretap(&FILTERS);
    let (phone, elsewhere) = (Phone::tcp(edge), Phone::tcp(edge));
    let mut dialog = phone.subscribe(OURS);
    dialog.notify();
    let mut other = elsewhere.subscribe(THEIRS);
    other.notify();

    // it sets and asks, on the bus and on the command line
    assert_eq!(tenant.ask("dfks.set.example_com", &dnd(OURS, 1))["state"]["status"], 1);
    dialog.until("DoNotDisturb on");
    let state = tenant.ask("dfks.get.example_com", &json!({"presentity": OURS, "features": ["DoNotDisturb"]}));
    assert_eq!(state["features"][0]["status"], 1, "{state}");
    command(nats, user, &["set", OURS, "DND", "off"]).ok();
    dialog.until("DoNotDisturb off");
    assert!(command(nats, user, &["get", OURS, "DND"]).ok().contains("off"));
    tenant.store("dfks.command.set.example_com", &dnd(OURS, 1), "order-1");
    dialog.until("DoNotDisturb on");
    assert!(command(nats, user, &["set", OURS, "DND", "off", "--durable"]).ok().contains("DFKS_COMMANDS"));
    dialog.until("DoNotDisturb off");
    command(nats, user, &["set", OURS, "DND", "on", "--durable"]).ok();
    dialog.until("DoNotDisturb on");

    // a presentity of another domain is nobody of theirs, whatever the subject
    for subject in ["dfks.set.example_com", "dfks.get.example_com"] {
        assert_eq!(tenant.ask(subject, &dnd(THEIRS, 1))["error"]["code"], 403, "{subject}");
    }
    for subject in ["dfks.set", "dfks.set.other_example", "dfks.get", "dfks.get.other_example", "dfks.command.set", "dfks.watchers"] {
        assert_eq!(tenant.try_ask(subject, &dnd(THEIRS, 1)), None, "{subject}");
    }
    for args in [&["set", THEIRS, "DND", "on"][..], &["set", THEIRS, "DND", "on", "--durable"], &["get", THEIRS], &["watchers"]] {
        let ended = command(nats, user, args);
        assert!(ended.code != 0 && ended.out.is_empty(), "{args:?}: {ended:?}");
    }
    let left_alone = operator.ask("dfks.get", &json!({"presentity": THEIRS, "features": ["DoNotDisturb"]}));
    assert_eq!(left_alone["features"][0]["version"], 0, "{left_alone}");

    // what happens elsewhere it neither hears nor reads
    operator.ask("dfks.set", &dnd(THEIRS, 1));
    other.until("DoNotDisturb on");
    operator.make_consumer("DFKS_EVENTS", "example_com", &FILTERS);
    operator.make_consumer("DFKS_EVENTS", "other_example", &["dfks.event.*.other_example.>"]);
    let read = wait_for("what happened", || {
        let read = tenant.pull("DFKS_EVENTS", "example_com", 100);
        (!read.is_empty()).then_some(read)
    });
    assert!(read.iter().all(|subject| subject.split('.').nth(3) == Some("example_com")), "{read:?}");
    assert!(read.iter().any(|subject| subject == "dfks.event.subscription.example_com"), "{read:?}");
    assert!(tenant.pull("DFKS_EVENTS", "example_com", 100).is_empty(), "they are acknowledged");
    assert!(tenant.pull("DFKS_EVENTS", "other_example", 100).is_empty());
    assert!(!operator.pull("DFKS_EVENTS", "other_example", 100).is_empty(), "there was something");
    for call in ["CONSUMER.CREATE.DFKS_EVENTS", "STREAM.INFO.DFKS_EVENTS", "STREAM.MSG.GET.DFKS_EVENTS", "STREAM.MSG.GET.KV_dfks-features"]
    {
        let answer = tenant.try_ask(&format!("$JS.API.{call}"), &json!({"seq": 1, "stream_name": "DFKS_EVENTS", "config": {}}));
        assert!(answer.as_ref().is_none_or(|answer| answer["error"].is_object()), "{call}: {answer:?}");
    }

    // whoever runs dfks may ask why, and have phones told anew: the roles may do what that takes
    wait_for("all is in step", || {
        let why = operator.ask("dfks.why", &json!({"presentity": OURS}));
        (why["in_step"] == true && why["events_since"].is_string()).then_some(())
    });
    assert_eq!(operator.ask("dfks.resync", &json!({"presentity": OURS}))["phones"], 1);
    dialog.notify();

    // it answers for its own features
    tenant.respond("dfks.responder.get.example_com.DoNotDisturb", |_| Some(json!({"status": 0})));
    tenant.respond("dfks.responder.set.example_com.DoNotDisturb", |_| {
        Some(json!({"error": {"code": 403, "description": "not on this tariff"}}))
    });
    let denied = wait_for("its responder is asked", || {
        let answer = operator.ask("dfks.set", &dnd(OURS, 1));
        (answer["error"]["code"] == 403).then_some(answer)
    });
    assert_eq!(denied["error"]["description"], "not on this tariff");
    dialog.press(set_dnd(false));
    events.find("the refusal", |taken| taken.json["outcome"] == "refused" && taken.json["origin"] == "phone");
    assert!(events.all().iter().all(|taken| taken.subject.split('.').nth(3) == Some("example_com")));
}

#[test]
fn with_one_account_a_tenant_has_its_domain_and_no_other() {
    let users = ["edge", "worker", "mi", "responder", "portal", "observer", "operator", "tenant"];
    let nats = server("permissions.conf", &users);
    let _worker = run_as(&nats, "worker").role("worker").start();
    let _mi = run_as(&nats, "mi").role("mi").start();
    let edge = run_as(&nats, "edge").role("edge").start();
    let operator = Service::of_user(&nats, "operator");
    lives_as_a_tenant(&nats, "tenant", &operator, edge.tcp());
}

#[test]
fn with_an_account_of_its_own_a_tenant_has_its_domain_and_no_other() {
    let nats = server("accounts.conf", &["dfks", "example_com"]);
    let all = run_as(&nats, "dfks").start();
    lives_as_a_tenant(&nats, "example_com", &Service::of_user(&nats, "dfks"), all.tcp());
}

/// In its account nobody listens on `dfks.set`, which NATS does not say while somebody listens to everything.
#[test]
fn a_tenant_that_looks_on_in_an_account_of_its_own_has_its_commands() {
    let nats = server("accounts.conf", &["dfks", "example_com"]);
    let all = run_as(&nats, "dfks").start();
    let _look = Service::of_user(&nats, "example_com").wiretap(&["dfks.>", "$SRV.>"]);
    let phone = Phone::tcp(all.tcp());
    let mut dialog = phone.subscribe(OURS);
    dialog.notify();
    for (args, status) in [(&["set", OURS, "DND", "on"][..], "on"), (&["set", OURS, "DND", "off", "--durable"], "off")] {
        command(&nats, "example_com", args).ok();
        dialog.until(&format!("DoNotDisturb {status}"));
    }
    assert!(command(&nats, "example_com", &["get", OURS, "DND"]).ok().contains("off"));
    for args in [&["set", THEIRS, "DND", "on"][..], &["set", THEIRS, "DND", "on", "--durable"], &["get", THEIRS]] {
        let ended = command(&nats, "example_com", args);
        assert!(ended.code == 69 && ended.err.contains(" listens on dfks."), "{args:?}: {ended:?}");
    }
}
