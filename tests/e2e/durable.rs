//! `dfks.command.set`, from the stream to the phone, with roles that come, crash and go.

use std::collections::BTreeMap;

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup};
use crate::{ALICE, ALL_OFF};

/// ```text
/// service ──▶ DFKS_COMMANDS      no bridge … bridge starts ──▶ worker ──▶ NOTIFY ──▶ phone
/// ```
#[test]
fn a_command_waits_for_a_bridge_and_reaches_the_phone_once() {
    let nats = Nats::start();
    let edge = Setup::on(&nats).role("edge").role("worker").start();
    let service = Service::on(&nats);
    let phone = Phone::tcp(edge.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    for (id, status) in [("a", 1), ("a", 1), ("b", 0), ("c", 1)] {
        let command = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": status});
        service.store("dfks.command.set", &command, id);
    }
    let mut mi = Setup::on(&nats).role("mi").start();
    wait_for("all are carried out", || (service.state(ALICE, "DoNotDisturb")["version"] == 3).then_some(()));
    assert_eq!(dialog.until("DoNotDisturb on").shows(), ["DoNotDisturb on"]);
    service.store("dfks.command.set", &json!({"presentity": ALICE, "feature": "Foo", "status": 1}), "d");
    wait_for("the dead letter", || (mi.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"invalid\"}") == Some(1.0)).then_some(()));
    assert_eq!(mi.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"applied\"}"), Some(3.0));
    mi.stop();
}

/// ```text
/// 200 commands for 5 presentities ──▶ bridge A ✕ (killed) ──▶ bridge B      each once, the last one stands
/// ```
#[test]
fn a_bridge_that_is_killed_leaves_no_command_undone_and_none_done_twice() {
    const USERS: u32 = 5;
    const EACH: u32 = 40;
    let nats = Nats::start();
    let _worker = Setup::on(&nats).role("worker").start();
    let service = Service::on(&nats);
    let mut bridges: Vec<Product> = (0..2).map(|_| Setup::on(&nats).role("mi").start()).collect();
    let done = |bridges: &[Product]| -> f64 {
        bridges.iter().filter_map(|bridge| bridge.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"applied\"}")).sum()
    };
    for number in 0..EACH {
        for user in 0..USERS {
            let values = json!([format!("forwardTo/sip:{number}@h")]);
            let command =
                json!({"presentity": format!("sip:user{user}@h"), "feature": "CallForwardingBusy", "status": 1, "values": values});
            service.store("dfks.command.set", &command, &format!("{user}-{number}"));
        }
        if number == EACH / 2 {
            wait_for("one of them is at it", || (done(&bridges) > 20.0).then_some(()));
            let at_it = bridges.iter().position(|bridge| done(std::slice::from_ref(bridge)) > 0.0).unwrap();
            bridges[at_it].kill();
            bridges.remove(at_it);
        }
    }
    let states = || -> BTreeMap<u32, (u64, String)> {
        let of_user = |user| {
            let state = service.state(&format!("sip:user{user}@h"), "CallForwardingBusy");
            (user, (state["version"].as_u64().unwrap(), state["values"]["forwardTo"].as_str().unwrap_or_default().to_owned()))
        };
        (0..USERS).map(of_user).collect()
    };
    let last = format!("sip:{}@h", EACH - 1);
    wait_for("the last of each is carried out", || states().values().all(|(_, target)| *target == last).then_some(()));
    for (user, (version, _)) in states() {
        assert_eq!(version, u64::from(EACH), "user {user}: each command once");
    }
}
