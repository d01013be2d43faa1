//! Chapter 1.5, Exported MI Functions: `dfks_set_feature`, on the bus `dfks.set`.

use serde_json::{Value, json};

use crate::harness::{Phone, dfks_with, set_dnd};
use crate::{ALICE, Scene};

/// The set route of these tests: says all that it was told.
const LOGS: &str = r#"fn dfks_set(dfks) {
    log(`${dfks.presentity} ${dfks.feature} ${dfks.status} ${if dfks.param == () { "no param" } else { "param " + dfks.param }}`);
}"#;

fn command(more: &Value) -> Value {
    let mut command = json!({"presentity": ALICE, "feature": "CallForwardingNoAnswer", "status": 1});
    command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    command
}

/// "1.5.1. dfks_set_feature Triggers the sending of NOTIFY messages containing a feature status update to all watchers."
#[test]
fn triggers_the_sending_of_notify_messages_with_the_update_to_all_watchers() {
    let scene = Scene::with("");
    let phones = [Phone::udp(scene.product.udp()), Phone::udp(scene.product.udp()), scene.phone()];
    let mut watchers: Vec<_> = phones.iter().map(|phone| phone.subscribe(ALICE)).collect();
    let mut other = phones[0].subscribe("sip:carol@10.0.0.11");
    for dialog in watchers.iter_mut().chain([&mut other]) {
        dialog.shows(4);
    }
    let reply = scene.service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!((&reply["watchers"], &reply["notify"]), (&json!(3), &json!(true)));
    for dialog in &mut watchers {
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    }
    scene.service.set("sip:carol@10.0.0.11", "DoNotDisturb", 1);
    assert_eq!(other.notify().shows(), ["DoNotDisturb on"], "carol's phone is told of carol's change alone");
    assert_eq!(other.notify_count(), 5);
}

/// "Note: calling this MI function also triggers the set_route run. One can determine if the route is triggered by an MI function
/// by checking the existence of the $dfks(param) variable."
#[test]
fn triggers_the_set_route_which_can_tell_a_command_by_the_existence_of_param() {
    let scene = Scene::with(LOGS);
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    dialog.notify();
    scene.service.ask("dfks.set", &command(&json!({"route_param": "night"})));
    let told = [format!("{ALICE} DoNotDisturb 1 no param"), format!("{ALICE} CallForwardingNoAnswer 1 param night")];
    assert_eq!(scene.logged(), told);
}

/// "presentity: the URI of the user whose feature status should be updated"
#[test]
fn presentity_is_the_uri_of_the_user_whose_feature_status_is_updated() {
    let scene = Scene::with(LOGS);
    let reply = scene.service.ask("dfks.set", &command(&json!({"presentity": "sips:alice@10.0.0.11:5061;x=y"})));
    assert_eq!(reply["presentity"], ALICE, "in any spelling");
    assert_eq!(scene.service.state(ALICE, "CallForwardingNoAnswer")["status"], 1);
    assert_eq!(scene.service.state("sip:bob@10.0.0.11", "CallForwardingNoAnswer")["status"], 0);
    let error = scene.service.ask("dfks.set", &command(&json!({"presentity": "alice"})))["error"].clone();
    assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("presentity")));
    assert_eq!(scene.logged().len(), 1);
}

/// "feature: The name of the feature to update. Takes one of the following values: DoNotDisturb, CallForwardingAlways,
/// CallForwardingBusy, CallForwardingNoAnswer"
#[test]
fn feature_takes_one_of_four_values() {
    let scene = Scene::with(LOGS);
    for feature in ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer"] {
        let reply = scene.service.set(ALICE, feature, 1);
        assert_eq!((&reply["state"]["feature"], &reply["state"]["status"]), (&json!(feature), &json!(1)), "{reply}");
    }
    for feature in ["donotdisturb", "CallForwarding", ""] {
        let error = scene.service.set(ALICE, feature, 1)["error"].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("feature")));
        let expected = "expected DoNotDisturb, CallForwardingAlways, CallForwardingBusy, CallForwardingNoAnswer";
        assert!(error["description"].as_str().unwrap().contains(expected), "{error}");
    }
    assert_eq!(scene.logged().len(), 4);
}

/// "status: the new status of the feature: 0 - disabled, 1 - enabled"
#[test]
fn status_is_0_for_disabled_and_1_for_enabled() {
    let scene = Scene::with(LOGS);
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    for (status, shown) in [(1, "DoNotDisturb on"), (0, "DoNotDisturb off")] {
        scene.service.set(ALICE, "DoNotDisturb", status);
        assert_eq!(dialog.notify().shows(), [shown]);
    }
    assert_eq!(scene.service.set(ALICE, "DoNotDisturb", 2)["error"]["field"], "status");
    assert_eq!(scene.logged(), [1, 0].map(|status| format!("{ALICE} DoNotDisturb {status} no param")));
}

/// "route_param: optional string parameter passed to the $dfks(param) variable in set_route."
#[test]
fn route_param_is_an_optional_string_passed_to_param_in_the_set_route() {
    let scene = Scene::with(LOGS);
    scene.service.ask("dfks.set", &command(&json!({})));
    scene.service.ask("dfks.set", &command(&json!({"route_param": ""})));
    scene.service.ask("dfks.set", &command(&json!({"route_param": "a b"})));
    let told: Vec<_> = scene.logged().into_iter().map(|line| line.rsplit_once(" 1 ").unwrap().1.to_owned()).collect();
    assert_eq!(told, ["no param", "param ", "param a b"], "an empty one was given too");
}

/// "values: an array of extra values that can be updated for a feature. The format of an array element is: field/value.
/// Supported fields are: forwardTo - for all forwarding types; ringCount - for CallForwardingNoAnswer"
#[test]
fn values_is_an_array_of_field_and_value_for_the_supported_fields() {
    let scene = Scene::with("");
    let set = |feature: &str, values: Value| {
        let reply = scene.service.ask("dfks.set", &json!({"presentity": ALICE, "feature": feature, "status": 1, "values": values}));
        reply.get("error").map_or_else(|| reply["state"]["values"].clone(), |error| error["field"].clone())
    };
    for feature in ["CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer"] {
        assert_eq!(set(feature, json!(["forwardTo/sip:a/b@10.0.0.11"])), json!({"forwardTo": "sip:a/b@10.0.0.11"}), "{feature}");
    }
    assert_eq!(set("CallForwardingNoAnswer", json!(["ringCount/7"])), json!({"forwardTo": "sip:a/b@10.0.0.11", "ringCount": "7"}));
    for (feature, value, field) in [
        ("CallForwardingBusy", "ringCount/7", "values.ringCount"),
        ("CallForwardingAlways", "ringCount/7", "values.ringCount"),
        ("DoNotDisturb", "forwardTo/sip:bob@10.0.0.11", "values.forwardTo"),
        ("CallForwardingNoAnswer", "forwardTo", "values"),
    ] {
        assert_eq!(set(feature, json!([value])), json!(field), "{feature} {value}");
    }
    assert_eq!(set("CallForwardingAlways", json!([])), json!({"forwardTo": "sip:a/b@10.0.0.11"}), "what is not updated stays");
}

/// "MI FIFO Command Format: opensips-cli -x mi dfks_set_feature sip:alice@10.0.0.11 CallForwardingNoAnswer 1 1 ringCount/4
/// forwardTo/sip:bob@10.0.0.11", with the parameters' names on the bus and in our command.
#[test]
fn the_command_of_the_manual_does_what_it_says() {
    const SHOWN: &str = "CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=4";
    let scene = Scene::with(LOGS);
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let values = json!(["ringCount/4", "forwardTo/sip:bob@10.0.0.11"]);
    let reply = scene.service.ask("dfks.set", &command(&json!({"route_param": "1", "values": values})));
    let state = json!({"feature": "CallForwardingNoAnswer", "assigned": true, "status": 1, "version": 1, "source": "store",
                       "values": {"forwardTo": "sip:bob@10.0.0.11", "ringCount": "4"}});
    let mut said = reply["state"].clone();
    said.as_object_mut().unwrap().remove("notify");
    assert_eq!(said, state);
    assert_eq!(dialog.notify().shows(), [SHOWN]);

    let args =
        ["set", ALICE, "CallForwardingNoAnswer", "on", "--param", "1", "--value", "ringCount=4", "--value", "forwardTo=sip:bob@10.0.0.11"];
    dfks_with(&scene.nats, &args).ok();
    assert_eq!(dialog.notify().shows(), [SHOWN], "told again, though it was so already");
    let told = format!("{ALICE} CallForwardingNoAnswer 1 param 1");
    assert_eq!(scene.logged(), [told.clone(), told]);
}
