//! The programs and scripts of `examples`, run as they are, against the product.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Nats, wait_for};
use crate::harness::{Dialog, Phone, Product, Program, Service, Setup, root, set_dnd, set_forwarding};
use crate::{ALICE, ALL_OFF};

/// `sip:alice@127.0.0.1`, forwarded by a command.
fn forward(service: &Service, feature: &str, target: &str) -> Value {
    let values = json!({ "forwardTo": target });
    service.ask("dfks.set", &json!({"presentity": ALICE, "feature": feature, "status": 1, "values": values}))
}

/// Waits until the phone shows both, in one NOTIFY or in two, in either order.
fn both(dialog: &mut Dialog, wanted: [&str; 2]) {
    let mut shown = Vec::new();
    while !wanted.iter().all(|line| shown.iter().any(|seen| seen == line)) {
        shown.extend(dialog.notify().shows());
    }
}

#[test]
fn none_is_longer_than_sixty_lines_and_none_needs_our_source() {
    let files = fs::read_dir(root("examples")).unwrap().chain(fs::read_dir(root("examples/routes")).unwrap());
    let files: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < 60, "{}", path.display());
        assert!(!text.contains("use dfks"), "{}", path.display());
    }
}

/// ```text
/// phone ──forward──▶ … ──▶ billing.py ──▶ SQLite      may deny: 403; a new billing process finds what was stored
/// ```
#[test]
fn billing_keeps_forwards_in_sqlite_and_denies_what_is_not_paid_for() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let file = nats.dir().join("billing.db");
    let billing = Program::python(&nats, "examples/billing.py", &[file.to_str().unwrap()]);
    let deny = "INSERT INTO denied_prefix VALUES ('127.0.0.1', '+882', 'satellite numbers are not in this tariff')";
    let python = format!("import sqlite3\nwith sqlite3.connect({:?}) as db: db.execute({deny:?})", file.to_str().unwrap());
    assert!(Command::new("python3").args(["-c", &python]).status().unwrap().success());

    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    dialog.press(set_forwarding("forwardImmediate", true, "<forwardDN>sip:bob@10.0.0.11</forwardDN>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways on forwardTo=sip:bob@10.0.0.11"]);
    dialog.press(set_forwarding("forwardImmediate", true, "<forwardDN>tel:+88216123</forwardDN>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways on forwardTo=sip:bob@10.0.0.11"], "as it was");
    let error = forward(&service, "CallForwardingAlways", "tel:+88216123")["error"].clone();
    assert_eq!((&error["code"], &error["description"]), (&json!(403), &json!("satellite numbers are not in this tariff")));

    drop(billing);
    let _billing = Program::python(&nats, "examples/billing.py", &[file.to_str().unwrap()]);
    let state =
        wait_for("billing answers", || Some(service.state(ALICE, "CallForwardingAlways")).filter(|state| state["source"] == "responder"));
    assert_eq!((&state["status"], &state["values"]["forwardTo"]), (&json!(1), &json!("sip:bob@10.0.0.11")));
}

/// ```text
/// stdin ──▶ crm.py ──dfks.set──▶ mi bridge ──▶ phone      no bridge: ──dfks.command.set──▶ stored, carried out later
///              ◀──dfks.event.feature.>── what phones and others do
/// ```
#[test]
fn a_crm_sets_features_follows_events_and_stores_what_no_bridge_takes() {
    let nats = Nats::start();
    let edge = Setup::on(&nats).role("edge").role("worker").start();
    let mut mi = Setup::on(&nats).role("mi").start();
    let mut crm = Program::python(&nats, "examples/crm.py", &[]);
    let phone = Phone::tcp(edge.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    crm.tell(&format!("{ALICE} start"));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    let mut said = [crm.line(), crm.line()];
    said.sort();
    assert_eq!(said, [format!("event {ALICE} DoNotDisturb 1 mi applied"), format!("set {ALICE} version 1 phones 1")]);
    dialog.press(set_dnd(false));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    assert_eq!(crm.line(), format!("event {ALICE} DoNotDisturb 0 phone applied"));
    crm.tell("garbage start");
    assert!(crm.line().starts_with("refused garbage 400 Invalid presentity"));

    mi.stop();
    crm.tell(&format!("{ALICE} start"));
    assert_eq!(crm.line(), format!("stored {ALICE}"));
    mi.restart();
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    assert_eq!(crm.line(), format!("event {ALICE} DoNotDisturb 1 mi applied"));
}

/// `examples/responder.mjs` in a folder of its own with the package `nats`; nothing where Node is not there, never in CI.
fn node(nats: &Nats, office: &str) -> Option<Program> {
    let packages = root(".tools/node/node_modules");
    if !Path::new(&packages).join("nats").is_dir() {
        assert!(std::env::var_os("CI").is_none(), "run `make tools`");
        eprintln!("skipped: the packages of tools/node are not there, run `make tools`");
        return None;
    }
    let folder = nats.dir().join("node");
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&packages, folder.join("node_modules")).unwrap();
        fs::copy(root("examples/responder.mjs"), folder.join("responder.mjs")).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(folder.join("responder.mjs")).env("OFFICE", office);
    Some(Program::start(nats, command))
}

#[test]
fn a_responder_in_node_decides_denies_and_has_side_effects() {
    let nats = Nats::start();
    let Some(closed) = node(&nats, "closed") else { return };
    let (product, service) = (Product::start(&nats), Service::on(&nats));
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on", "the office is closed");
    dialog.press(set_dnd(false));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    assert_eq!(forward(&service, "CallForwardingBusy", "sip:bob@h")["state"]["status"], 1);
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on forwardTo=sip:bob@h"]);
    dialog.press(set_dnd(true));
    both(&mut dialog, ["CallForwardingBusy off forwardTo=sip:bob@h", "DoNotDisturb on"]);

    drop(closed);
    let _open = node(&nats, "open").unwrap();
    let desk = "sip:desk@127.0.0.1";
    let mut dialog = phone.subscribe(desk);
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb off");
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"], "denied");
    assert_eq!(service.set(desk, "DoNotDisturb", 1)["state"]["status"], 1, "a command may");
}

#[test]
fn a_responder_in_rust_owns_the_voicemail() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--example", "responder"]).current_dir(root(""));
    // What cargo tells a test about itself would have dependencies built anew that look at it.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().unwrap().success());
    // target/debug/deps/e2e-…
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/responder");
    let nats = Nats::start();
    let voicemail = Program::start(&nats, Command::new(program));
    let (product, service) = (Product::start(&nats), Service::on(&nats));
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[3], "CallForwardingNoAnswer on forwardTo=sip:voicemail@127.0.0.1 ringCount=4");
    let body = "<forwardDN>sip:bob@10.0.0.11</forwardDN><ringCount>7</ringCount>";
    dialog.press(set_forwarding("forwardNoAns", true, body));
    assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=7"]);
    dialog.refresh();
    assert_eq!(dialog.notify().shows()[3], "CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=7");
    assert_eq!(service.state("sip:carol@127.0.0.1", "CallForwardingNoAnswer")["source"], "responder");
    drop(voicemail);
    assert_eq!(service.state(ALICE, "CallForwardingNoAnswer")["values"]["ringCount"], "7", "the last known state");
}

fn with_script(nats: &Nats, name: &str) -> Product {
    Setup::on(nats).script(&fs::read_to_string(root(&format!("examples/routes/{name}"))).unwrap()).start()
}

#[test]
fn the_route_of_the_manual_shows_on_the_phone() {
    let nats = Nats::start();
    let product = with_script(&nats, "presence_dfks.rhai");
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    let shown = ["DoNotDisturb off", "CallForwardingBusy off", "CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=3"];
    assert_eq!(dialog.notify().shows(), shown, "CallForwardingAlways is not assigned");
    let state = &forward(&Service::on(&nats), "CallForwardingAlways", "sip:bob@h")["state"];
    assert_eq!(state["status"], 0, "not allowed: {state}");
}

#[test]
fn the_route_with_a_policy_for_each_tenant() {
    let nats = Nats::start();
    let _product = with_script(&nats, "tenant-policy.rhai");
    let service = Service::on(&nats);
    for (presentity, feature, target, want) in [
        ("sip:a@clinic.example", "CallForwardingNoAnswer", "sip:b@clinic.example", Ok(1)),
        ("sip:a@clinic.example", "CallForwardingNoAnswer", "sip:b@elsewhere.example", Err("forwarding is for numbers of the house only")),
        (
            "sip:a@clinic.example",
            "CallForwardingAlways",
            "sip:b@clinic.example",
            Err("CallForwardingAlways is not part of this subscription"),
        ),
        ("sip:a@hotel.example", "CallForwardingAlways", "sip:0900123@h", Err("no forwarding to premium numbers")),
        ("sip:a@hotel.example", "CallForwardingAlways", "", Err("a forward needs a target")),
        ("sip:a@hotel.example", "CallForwardingAlways", "sip:020123@h", Ok(1)),
        ("sip:a@other.example", "CallForwardingAlways", "sip:0900123@h", Ok(1)),
    ] {
        let request = json!({"presentity": presentity, "feature": feature, "status": 1, "values": {"forwardTo": target}});
        let reply = service.ask("dfks.set", &request);
        match want {
            Ok(status) => assert_eq!(reply["state"]["status"], status, "{request}: {reply}"),
            Err(why) => assert_eq!((&reply["error"]["code"], &reply["error"]["description"]), (&json!(403), &json!(why)), "{request}"),
        }
    }
    assert_eq!(service.state("sip:a@clinic.example", "CallForwardingAlways")["assigned"], false);
    assert_eq!(service.state("sip:a@other.example", "CallForwardingAlways")["assigned"], true);
}

#[test]
fn the_route_with_side_effects_lights_every_lamp_that_changed() {
    let nats = Nats::start();
    let product = with_script(&nats, "side-effects.rhai");
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    dialog.press(set_dnd(true));
    assert_eq!(dialog.until("DoNotDisturb on").shows(), ["DoNotDisturb on"]);
    assert_eq!(forward(&service, "CallForwardingAlways", "sip:bob@h")["state"]["status"], 1);
    both(&mut dialog, ["CallForwardingAlways on forwardTo=sip:bob@h", "DoNotDisturb off"]);
    assert_eq!(service.state(ALICE, "DoNotDisturb")["status"], 0);
    let state = &forward(&service, "CallForwardingNoAnswer", "sip:bob@h")["state"];
    assert_eq!(state["values"]["ringCount"], "4", "{state}");
}

/// The code between ```` ```python ```` and the end of its block, in order.
fn python_of_the_readme() -> Vec<String> {
    let readme = fs::read_to_string(root("README.md")).unwrap();
    let blocks = readme.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// ```text
/// README ──▶ responder.py, set.py in a fresh folder ──▶ the product
/// ```
#[test]
fn the_python_of_the_readme_works_as_it_is_printed() {
    let code = python_of_the_readme();
    assert_eq!(code.len(), 2, "a responder, and dfks.set");
    assert_eq!(code[0], fs::read_to_string(root("examples/responder.py")).unwrap(), "the README shows the file");
    assert_eq!(code[0].lines().filter(|line| !line.is_empty()).count(), 20);
    let nats = Nats::start();
    let responder = nats.dir().join("responder.py");
    fs::write(&responder, &code[0]).unwrap();
    let responder = Program::python(&nats, responder.to_str().unwrap(), &[]);
    let _product = Product::start(&nats);
    let service = Service::on(&nats);
    // Python takes its time to begin
    let state = wait_for("the responder", || {
        let state = service.state("sip:carol@127.0.0.1", "DoNotDisturb");
        (state["source"] == "responder").then_some(state)
    });
    assert_eq!(state["status"], 1);
    assert_eq!(service.set("sip:carol@127.0.0.1", "DoNotDisturb", 0)["state"]["status"], 0);
    assert_eq!(responder.line(), "sip:carol@127.0.0.1 DoNotDisturb 0 from mi");
    assert_eq!(service.state("sip:carol@127.0.0.1", "DoNotDisturb")["status"], 0);

    let url = "nats://127.0.0.1:4222";
    assert!(code[1].contains(url));
    let mut set = Command::new("python3");
    set.args(["-c", &code[1].replace(url, &nats.url())]).env("PYTHONPATH", root(".tools/python"));
    let said = String::from_utf8(set.output().unwrap().stdout).unwrap();
    assert_eq!(said, "version 1, 0 phones\n");
    assert_eq!(service.state(ALICE, "CallForwardingBusy")["values"]["forwardTo"], "sip:bob@10.0.0.11");
}
