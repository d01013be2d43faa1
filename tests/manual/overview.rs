//! Chapter 1.1, Overview.

use serde_json::json;

use crate::harness::{Subscribe, set_dnd, set_forwarding};
use crate::{ALICE, ALL_OFF, Scene};

/// "The module enables the handling of the "as-feature-event" event package (as defined by Broadsoft's Device Feature Key
/// Synchronization protocol) by the presence module."
#[test]
fn enables_the_handling_of_the_as_feature_event_event_package() {
    let scene = Scene::with("");
    let phone = scene.phone();
    let mut dialog = phone.dialog(ALICE);
    let response = dialog.send(&Subscribe::default());
    assert_eq!((response.status(), response.must("expires")), (Some(200), "3600"));
    let notify = dialog.notify();
    assert_eq!(notify.must("event"), "as-feature-event");
    let state = notify.must("subscription-state").to_owned();
    let left: u32 = state.strip_prefix("active;expires=").unwrap_or_else(|| panic!("{state}")).parse().unwrap();
    assert!((3590..=3600).contains(&left), "{state}");
    assert_eq!(notify.cseq(), 1);
    assert_eq!(notify.must("from"), &format!("<{ALICE}>;tag={}", response.param("to", "tag").unwrap()));

    // and of no other
    let (request, branch) = phone.dialog(ALICE).request(&Subscribe::default());
    phone.send(request.replace("Event: as-feature-event", "Event: presence").as_bytes());
    let refused = phone.responses(&branch, 1).remove(0);
    assert_eq!((refused.status(), refused.must("allow-events")), (Some(489), "as-feature-event, x-broadworks-hoteling"));
}

/// "This can be used to synchronize the status of features such as Do Not Disturb and different forwarding types between a SIP
/// phone and a SIP server."
#[test]
fn synchronizes_the_status_of_features_between_a_sip_phone_and_a_sip_server() {
    let scene = Scene::with("");
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    assert_eq!(scene.service.state(ALICE, "DoNotDisturb")["status"], 1, "the server has what the phone set");
    scene.service.set(ALICE, "CallForwardingBusy", 1);
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on"], "the phone has what the server set");
    assert_eq!(
        scene.phone().subscribe(ALICE).notify().shows()[..3],
        ["DoNotDisturb on", "CallForwardingAlways off", "CallForwardingBusy on"]
    );
}

/// "The module supports synchronization for the following features: Do Not Disturb, Call Forwarding Always, Call Forwarding Busy
/// and Call Forwarding No Answer. Feature status can be changed either from the SIP phone or the OpenSIPS Server( by running an
/// MI command)."
#[test]
fn each_of_the_four_features_can_be_changed_from_the_phone_or_by_a_command() {
    const TARGET: &str = "<forwardDN>sip:bob@10.0.0.11</forwardDN>";
    let scene = Scene::with("");
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let keys = [
        ("DoNotDisturb", set_dnd(true), ""),
        ("CallForwardingAlways", set_forwarding("forwardImmediate", true, TARGET), " forwardTo=sip:bob@10.0.0.11"),
        ("CallForwardingBusy", set_forwarding("forwardBusy", true, TARGET), " forwardTo=sip:bob@10.0.0.11"),
        (
            "CallForwardingNoAnswer",
            set_forwarding("forwardNoAns", true, &format!("{TARGET}<ringCount>5</ringCount>")),
            " forwardTo=sip:bob@10.0.0.11 ringCount=5",
        ),
    ];
    for (feature, body, values) in keys {
        dialog.press(body);
        assert_eq!(dialog.notify().shows(), [format!("{feature} on{values}")]);
        let reply = scene.service.set(ALICE, feature, 0);
        assert_eq!((&reply["state"]["status"], &reply["state"]["version"], &reply["watchers"]), (&json!(0), &json!(2), &json!(1)));
        assert_eq!(dialog.notify().shows(), [format!("{feature} off{values}")]);
    }
}

/// "When handling a SUBSCRIBE message without a body, the module will run a script route for each feature, that will be used to
/// retrieve the current status of that feature."
#[test]
fn a_subscribe_without_a_body_runs_a_route_for_each_feature() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) {
            log(`get ${dfks.feature}`);
            if dfks.feature == "CallForwardingBusy" { dfks.status = 1; }
        }
        fn dfks_set(dfks) { log("set"); }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    let shown = ["DoNotDisturb off", "CallForwardingAlways off", "CallForwardingBusy on", "CallForwardingNoAnswer off"];
    assert_eq!(dialog.notify().shows(), shown);
    let each = ["get DoNotDisturb", "get CallForwardingAlways", "get CallForwardingBusy", "get CallForwardingNoAnswer"];
    assert_eq!(scene.logged()[..4], each);
    assert!(!scene.logged().contains(&"set".to_owned()));
    dialog.refresh();
    assert_eq!(dialog.notify().shows(), shown, "a refresh has no body either");
    assert_eq!(scene.logged().iter().filter(|line| line.starts_with("get C")).count(), 6);
}

/// "Conversely, a SUBSCRIBE with a body will trigger a script route where the updated status of a specific feature is available."
#[test]
fn a_subscribe_with_a_body_triggers_a_route_with_the_updated_status() {
    let scene = Scene::with(
        r#"fn dfks_get(dfks) { log("get"); }
        fn dfks_set(dfks) { log(`${dfks.feature} ${dfks.status} ${dfks.value.forwardTo}`); }"#,
    );
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let asked = scene.logged().len();
    dialog.press(set_forwarding("forwardBusy", true, "<forwardDN>1001</forwardDN>"));
    assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on forwardTo=1001"]);
    assert_eq!(scene.logged()[asked..], ["CallForwardingBusy 1 1001"], "the set route ran, once, and no get route");
}

/// "This route might also be run if the feature update was triggered from OpenSIPS via MI."
#[test]
fn the_set_route_is_also_run_when_the_update_was_triggered_by_a_command() {
    let scene = Scene::with(r"fn dfks_set(dfks) { log(`${dfks.feature} ${dfks.status}`); }");
    scene.service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!(scene.logged(), ["DoNotDisturb 1"]);
    assert_eq!(scene.metric("dfks_worker_script_duration_seconds_count{route=\"set\"}"), 1.0);
}

/// "Note that the module does not automatically cache or persist any feature information as this is left for the script writer
/// to implement in the routes triggered by the module."
///
/// Here a store stands behind the script; what the script says still counts, whatever is stored.
#[test]
fn what_the_get_route_says_counts_over_anything_that_was_stored() {
    let scene = Scene::with(r#"fn dfks_get(dfks) { if dfks.feature == "DoNotDisturb" { dfks.status = 0; } }"#);
    scene.service.set(ALICE, "DoNotDisturb", 1);
    scene.service.set(ALICE, "CallForwardingBusy", 1);
    let phone = scene.phone();
    assert_eq!(phone.subscribe(ALICE).notify().shows()[..3], ["DoNotDisturb off", "CallForwardingAlways off", "CallForwardingBusy on"]);
    assert_eq!(scene.service.state(ALICE, "DoNotDisturb")["source"], "script");
    assert_eq!(scene.service.state(ALICE, "CallForwardingBusy")["source"], "store");
}
