//! The README's first minute.

use crate::ALICE;
use crate::harness::{Setup, dfks_at, started};

/// ```text
/// dfks phone ──SUBSCRIBE──▶ dfks run ◀──dfks.set── dfks set
///            ◀──NOTIFY────           ──NOTIFY──▶ second phone
/// ```
#[test]
fn the_first_minute_of_the_readme() {
    let mut product = Setup::embedded().start();
    let nats = product.nats().to_owned();
    let server = product.udp().to_string();
    let first = started(&["phone", ALICE, "--server", &server]);
    let shown = first.until("CallForwardingNoAnswer").join("\n");
    for feature in ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy"] {
        assert!(shown.contains(feature), "{shown}");
    }
    assert!(!shown.contains("AgentState"), "a phone without ACD sees four features: {shown}");

    let args = ["set", ALICE, "CallForwardingNoAnswer", "on", "--value", "ringCount=4", "--value", "forwardTo=sip:bob@10.0.0.11"];
    let said = dfks_at(&nats, &args).ok();
    let state = "CallForwardingNoAnswer  on   forwardTo=sip:bob@10.0.0.11 ringCount=4";
    assert!(said.contains(state) && said.contains("1 phone is notified"), "{said}");
    first.until(state);

    let second = started(&["phone", ALICE, "--server", &server, "--press", "DoNotDisturb=on"]);
    second.until("DoNotDisturb=on confirmed");
    first.until("DoNotDisturb            on");
    assert_eq!(second.ended().0, 0);
    let said = dfks_at(&nats, &["get", ALICE, "DoNotDisturb"]).ok();
    assert_eq!(said, format!("{ALICE}\n  DoNotDisturb            on  (version 1, store)\n"));

    let said = dfks_at(&nats, &["watchers", ALICE]).ok();
    assert!(said.starts_with("edge-a: 1 watcher\n") && said.contains("over udp"), "{said}");
    let (code, lines) = first.stop();
    assert_eq!(code, 0);
    assert!(lines.iter().any(|line| line.contains("unsubscribed")), "{lines:?}");
    product.stop();
}
