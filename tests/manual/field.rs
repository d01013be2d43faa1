//! Chapter 1.6, Exported Pseudo-Variables: `$dfks(field)`, in a route script `dfks.field`.

use serde_json::json;

use crate::harness::{Subscribe, set_dnd, set_forwarding};
use crate::{ALICE, ALL_OFF, Scene};

/// "This pseudo-variable can be used in the routes triggered by the module to handle the feature information through the
/// following subnames"
#[test]
fn dfks_handles_the_feature_information_in_both_routes() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) { if dfks.feature == "DoNotDisturb" { dfks.status = 1; } }
        fn dfks_set(dfks) { dfks.value.forwardTo = "sip:desk@10.0.0.11"; }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on");
    dialog.press(set_forwarding("forwardBusy", true, ""));
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on forwardTo=sip:desk@10.0.0.11"]);
}

/// "assigned - inform the SIP phone that a feature is unassigned by setting this to 0 (the NOTIFY response will contain no XML
/// data for the corresponding feature) By default, features are assigned."
#[test]
fn assigned_0_leaves_no_xml_data_for_the_feature() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) {
            if dfks.feature == "CallForwardingAlways" { dfks.assigned = 0; }
            if dfks.presentity == "sip:nobody@10.0.0.11" { dfks.assigned = 0; }
            if dfks.presentity == "sip:one@10.0.0.11" && dfks.feature != "DoNotDisturb" { dfks.assigned = 0; }
        }"#,
    );
    let phone = scene.phone();
    let shown = ["DoNotDisturb off", "CallForwardingBusy off", "CallForwardingNoAnswer off"];
    assert_eq!(phone.subscribe(ALICE).notify().shows(), shown, "the others are assigned by default");
    let one = phone.subscribe("sip:one@10.0.0.11").notify();
    assert_eq!((one.must("content-type"), one.shows()), ("application/x-as-feature-event+xml", vec!["DoNotDisturb off".to_owned()]));
    let none = phone.subscribe("sip:nobody@10.0.0.11").notify();
    assert_eq!((none.header("content-type"), none.body.as_str()), (None, ""), "a NOTIFY nevertheless");
}

/// The same in the set route: "(the NOTIFY response will contain no XML data for the corresponding feature)"; after a command the
/// NOTIFY always has its body.
#[test]
fn assigned_0_in_the_set_route_empties_the_notify_of_a_phones_change() {
    let scene = Scene::with("fn dfks_set(dfks) { dfks.assigned = 0; }");
    let phone = scene.phone();
    let (mut dialog, mut other) = (phone.subscribe(ALICE), phone.subscribe(ALICE));
    dialog.notify();
    other.notify();
    dialog.press(set_dnd(true));
    for notify in [dialog.notify(), other.notify()] {
        assert_eq!((notify.header("content-type"), notify.body.as_str()), (None, ""), "every watcher");
    }
    scene.service.set(ALICE, "DoNotDisturb", 0);
    assert_eq!(
        (dialog.notify().shows(), other.notify().shows()),
        (vec!["DoNotDisturb off".to_owned()], vec!["DoNotDisturb off".to_owned()])
    );
}

/// "notify - suppress the sending of the NOTIFY message by setting this to 0. By default, the NOTIFY is sent."
#[test]
fn notify_0_suppresses_the_notify_message() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) { if dfks.feature == "CallForwardingNoAnswer" { dfks.notify = 0; } }
        fn dfks_set(dfks) { if dfks.feature == "DoNotDisturb" { dfks.notify = 0; } }"#,
    );
    let phone = scene.phone();
    let (mut dialog, mut other) = (phone.subscribe(ALICE), phone.subscribe(ALICE));
    for dialog in [&mut dialog, &mut other] {
        assert_eq!(dialog.notify().shows(), ALL_OFF[..3], "in the full state that feature is left out");
    }
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().body, "", "the phone that asked is owed a NOTIFY by RFC 6665");
    let reply = scene.service.set(ALICE, "DoNotDisturb", 0);
    assert_eq!((&reply["notify"], &reply["watchers"], &reply["state"]["status"]), (&json!(false), &json!(0), &json!(0)));
    scene.service.set(ALICE, "CallForwardingBusy", 1);
    for dialog in [&mut dialog, &mut other] {
        assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on"], "the next that either is sent");
    }
}

/// "presentity - read-only, returns the current presentity URI."
#[test]
fn presentity_is_read_only_and_returns_the_current_presentity_uri() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) { if dfks.presentity == "sip:alice@10.0.0.11" && dfks.feature == "DoNotDisturb" { dfks.status = 1; } }
        fn dfks_set(dfks) {
            dfks.presentity = "sip:bob@10.0.0.11";
        }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.dialog("sip:alice@10.0.0.11:5060;transport=tcp");
    assert_eq!(dialog.send(&Subscribe::default()).status(), Some(200));
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on", "in its canonical spelling");
    assert_eq!(phone.subscribe("sip:bob@10.0.0.11").notify().shows()[0], "DoNotDisturb off");
    let error = scene.service.set(ALICE, "DoNotDisturb", 1)["error"].clone();
    let said = error["description"].as_str().unwrap();
    assert!(error["code"] == 500 && said.contains("dfks_set, line 3") && said.contains("presentity is read-only"), "{said}");
}

/// "feature - read-only, returns the current feature name. Possible values are: DoNotDisturb, CallForwardingAlways,
/// CallForwardingBusy, CallForwardingNoAnswer"
#[test]
fn feature_is_read_only_and_returns_the_current_feature_name() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) { log(dfks.feature); }
        fn dfks_set(dfks) { log(dfks.feature); dfks.feature = "CallForwardingBusy"; }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    assert_eq!(scene.logged()[..4], ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer"]);
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"], "refused: the phone is told how it is");
    let error = scene.service.set(ALICE, "DoNotDisturb", 1)["error"].clone();
    assert!(error["description"].as_str().unwrap().contains("feature is read-only"), "{error}");
    assert_eq!(scene.service.state(ALICE, "CallForwardingBusy")["version"], 0);
}

/// "status - read or write the feature status. A value of 1 means enabled and 0 disabled."
#[test]
fn status_reads_or_writes_the_feature_status() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) { if dfks.feature == "DoNotDisturb" { dfks.status = 1 - dfks.status; } }
        fn dfks_set(dfks) { log(dfks.status); if dfks.feature == "CallForwardingBusy" { dfks.status = 0; } }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows()[0], "DoNotDisturb on", "written in the get route, where 0 was read");
    scene.service.set(ALICE, "CallForwardingBusy", 1);
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy off"], "written in the set route, where 1 was read");
    dialog.press(set_forwarding("forwardImmediate", false, ""));
    dialog.notify();
    assert_eq!(scene.logged(), ["1", "0"]);
}

/// "param - returns the parameter passed by the mi_dfks_set_feature MI function. This field will be NULL if the parameter was not
/// specified, or if the set_route is not triggered by an MI command, but by SIP signalling."
#[test]
fn param_returns_the_parameter_of_the_command_else_null() {
    let scene = Scene::with("fn dfks_set(dfks) { log(if dfks.param == () { \"NULL\" } else { dfks.param }); }");
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let command = json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1, "route_param": "from the portal"});
    scene.service.ask("dfks.set", &command);
    assert_eq!(scene.logged(), ["from the portal"]);
    scene.service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!(scene.logged()[1..], ["NULL"], "not specified");
    dialog.press(set_dnd(false));
    dialog.until("DoNotDisturb off");
    assert_eq!(scene.logged()[2..], ["NULL"], "by SIP signalling");
}

/// "value/field - read or write extra feature values. field can be one of: forwardTo - for all forwarding types; ringCount - for
/// CallForwardingNoAnswer"
#[test]
fn value_reads_or_writes_the_extra_values_of_a_feature() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) {
            if dfks.feature != "DoNotDisturb" && dfks.feature.starts_with("Call") { dfks.value.forwardTo = "sip:vm@10.0.0.11"; }
            if dfks.feature == "CallForwardingNoAnswer" { dfks.value.ringCount = "3"; }
        }
        fn dfks_set(dfks) {
            if dfks.feature == "CallForwardingNoAnswer" {
                log(`${dfks.value.forwardTo} ${dfks.value.ringCount}`);
                dfks.value.forwardTo = "sip:" + dfks.value.forwardTo + "@10.0.0.11";
            } else {
                dfks.value.ringCount = "3";
            }
        }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    let shown = [
        "DoNotDisturb off",
        "CallForwardingAlways off forwardTo=sip:vm@10.0.0.11",
        "CallForwardingBusy off forwardTo=sip:vm@10.0.0.11",
        "CallForwardingNoAnswer off forwardTo=sip:vm@10.0.0.11 ringCount=3",
    ];
    assert_eq!(dialog.notify().shows(), shown);
    dialog.press(set_forwarding("forwardNoAns", true, "<forwardDN>1001</forwardDN><ringCount>6</ringCount>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer on forwardTo=sip:1001@10.0.0.11 ringCount=6"]);
    assert_eq!(scene.logged(), ["1001 6"]);
    for feature in ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy"] {
        let error = scene.service.set(ALICE, feature, 1)["error"].clone();
        assert_eq!(error["code"], 500, "{error}");
        assert!(error["description"].as_str().unwrap().contains("ringCount"), "a field that it does not have is an error: {error}");
    }
}

/// "Example 1.3. dfks usage", as the shipped script `examples/routes/presence_dfks.rhai`.
#[test]
fn the_routes_of_the_manuals_example_do_what_they_say() {
    let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/routes/presence_dfks.rhai")).unwrap();
    let scene = Scene::with(&script);
    let phone = scene.phone();
    let (mut dialog, mut other) = (phone.subscribe(ALICE), phone.subscribe(ALICE));
    let shown = ["DoNotDisturb off", "CallForwardingBusy off", "CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=3"];
    assert_eq!((dialog.notify().shows(), other.notify().shows()), (shown.map(str::to_owned).to_vec(), shown.map(str::to_owned).to_vec()));

    // # CallForwardingAlways is not allowed
    dialog.press(set_forwarding("forwardImmediate", true, "<forwardDN>sip:bob@10.0.0.11</forwardDN>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingAlways off forwardTo=sip:bob@10.0.0.11"]);
    // xlog("New status: $dfks(status) for feature '$dfks(feature)' …
    assert_eq!(scene.logged(), ["new status 0 for feature 'CallForwardingAlways'"]);

    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    other.until("DoNotDisturb on");
}
