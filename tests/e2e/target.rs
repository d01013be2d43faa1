//! `features.target`: where a forward may lead, from everywhere.

use serde_json::json;

use crate::ALICE;
use crate::common::Nats;
use crate::harness::{Phone, Service, Setup, Subscribe, set_forwarding};

/// ```text
/// phone, dfks.set, script, responder: a target that is none, or the presentity's own ──▶ refused, nothing changes
/// ```
#[test]
fn a_forward_leads_to_a_number_or_a_uri_and_where_strict_not_to_itself_and_not_nowhere() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.param == "loop" { dfks.value.forwardTo = "sip:alice@127.0.0.1"; } }"#;
    let product = Setup::on(&nats).with("features.target", "strict").script(script).start();
    let service = Service::on(&nats);
    let set = |feature: &str, status: u8, target: Option<&str>, param: Option<&str>| {
        let values = target.map_or_else(|| json!({}), |target| json!({"forwardTo": target}));
        service.ask("dfks.set", &json!({"presentity": ALICE, "feature": feature, "status": status, "values": values, "route_param": param}))
    };
    for (target, text) in [
        (Some("the desk"), "invalid forwardTo 'the desk': expected digits with + * #, or a sip:, sips: or tel: URI"),
        (Some("sips:%61lice@127.0.0.1:5061"), "it is the presentity itself (features.target is strict)"),
        (None, "forwardTo is missing: CallForwardingBusy is switched on with"),
    ] {
        let error = set("CallForwardingBusy", 1, target, None)["error"].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("values.forwardTo")), "{error}");
        assert!(error["description"].as_str().unwrap().contains(text), "{error}");
    }
    let error = set("CallForwardingBusy", 1, Some("2001"), Some("loop"))["error"].clone();
    assert!(error["code"] == 500 && error["description"].as_str().unwrap().contains("the presentity itself"), "{error}");
    assert_eq!(service.state(ALICE, "CallForwardingBusy")["version"], 0, "nothing has changed");
    assert_eq!(set("CallForwardingBusy", 1, Some("*21#"), None)["state"]["values"]["forwardTo"], "*21#");
    assert_eq!(set("CallForwardingBusy", 0, None, None)["state"]["status"], 0);
    assert_eq!(set("DoNotDisturb", 1, None, None)["state"]["status"], 1, "no forward needs no target");

    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    for (target, warning) in [("the desk", "expected digits with"), (ALICE, "it is the presentity itself")] {
        let body = set_forwarding("forwardImmediate", true, &format!("<forwardDN>{target}</forwardDN>"));
        let response = dialog.send(&Subscribe { body, ..Subscribe::default() });
        assert_eq!(response.status(), Some(400));
        assert!(response.must("warning").contains(warning), "{response:?}");
        assert_eq!(dialog.notify().shows(), ["CallForwardingAlways off"]);
    }
    dialog.press(set_forwarding("forwardImmediate", true, ""));
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways off"], "only a worker knows that there is no target");
    dialog.press(set_forwarding("forwardImmediate", true, "<forwardDN>+31201234567</forwardDN>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways on forwardTo=+31201234567"]);
}

#[test]
fn any_text_is_a_target_unless_the_configuration_says_otherwise() {
    let nats = Nats::start();
    let _product = Setup::on(&nats).start();
    let command = json!({"presentity": ALICE, "feature": "CallForwardingBusy", "status": 1, "values": {"forwardTo": "the desk"}});
    assert_eq!(Service::on(&nats).ask("dfks.set", &command)["state"]["values"]["forwardTo"], "the desk");
}
