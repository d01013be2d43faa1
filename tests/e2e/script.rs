//! Route scripts on the real parts: who asks, what time it is, data that is reloaded.

use serde_json::json;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, set_dnd};

/// ```text
/// phone ──key──▶ edge ──▶ worker: script, data          the data changes: the next set is decided by it, within 2 s
/// ```
#[test]
fn a_script_decides_by_data_that_is_reloaded() {
    let (nats, folder) = (Nats::start(), tempfile::tempdir().unwrap());
    let data = folder.path().join("refused.csv");
    std::fs::write(&data, "user,why\nalice,not today\n").unwrap();
    let script = r#"
fn dfks_set(dfks) {
    let row = data.find("user", dfks.user);
    if row != () { deny(`${row.why}: ${dfks.origin} ${dfks.watcher} ${dfks.old.status} ${now().year > 2000}`); }
}"#;
    let product =
        Setup::on(&nats).script(script).with("routes.data", data.to_str().unwrap()).with("routes.time_zone", "Europe/Berlin").start();
    let service = Service::on(&nats);
    let why = |answer: &serde_json::Value| answer["error"]["description"].as_str().unwrap_or_default().to_owned();
    assert_eq!(why(&service.set(ALICE, "DoNotDisturb", 1)), "not today: mi  0 true");
    assert_eq!(service.set("sip:bob@127.0.0.1", "DoNotDisturb", 1)["state"]["status"], 1);

    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    assert_eq!(dialog.until("DoNotDisturb off").shows(), ["DoNotDisturb off"], "the phone sees that it was refused");

    let set = |status: u8| service.ask("dfks.set", &json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": status}));
    std::fs::write(&data, "user,why\nalice,closed,odd\n").unwrap();
    wait_for("the bad file to be noticed", || product.log().contains("script not reloaded").then_some(()));
    assert!(product.log().contains("line 2: 3 values, the first line names 2"), "{}", product.log());
    assert!(why(&set(1)).starts_with("not today: "), "what was there before stays");
    assert_eq!(product.metric("dfks_worker_script_reloads_total{outcome=\"failed\"}"), Some(1.0));
    std::fs::write(&data, "user,why\nbob,closed\n").unwrap();
    wait_for("the new data", || (set(1)["state"]["status"] == 1).then_some(()));
    assert!(why(&service.set("sip:bob@127.0.0.1", "DoNotDisturb", 0)).starts_with("closed: mi  1 "), "and what was before");
}
