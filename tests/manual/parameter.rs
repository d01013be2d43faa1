//! Chapter 1.3, Exported Parameters.

use crate::harness::set_dnd;
use crate::{ALICE, Scene};

/// Two pairs of routes that tell themselves apart.
const ROUTES: &str = r#"
    fn dfks_get(dfks) { log("dfks_get"); }
    fn dfks_set(dfks) { log("dfks_set"); }
    fn my_get(dfks) { log("my_get"); if dfks.feature == "DoNotDisturb" { dfks.status = 1; } }
    fn my_set(dfks) { log("my_set"); }
"#;

/// The same without a get route, which is run at each subscription too.
const SET_ROUTES: &str = r#"
    fn dfks_set(dfks) { log("dfks_set"); }
    fn my_set(dfks) { log("my_set"); }
"#;

/// "1.3.1. get_route (string) The name of the script route to be run in order to retrieve the status of a feature." Example 1.1:
/// `modparam("presence_dfks", "get_route", "dfks_get")`.
#[test]
fn get_route_names_the_route_that_retrieves_the_status_of_a_feature() {
    let scene = Scene::of(ROUTES, |setup| setup.with("routes.get_route", "my_get"));
    let phone = scene.phone();
    assert_eq!(phone.subscribe(ALICE).notify().shows()[0], "DoNotDisturb on");
    assert!(scene.logged().iter().all(|name| name == "my_get"), "{:?}", scene.logged());
}

/// "Default value is dfks_get."
#[test]
fn get_route_is_dfks_get_by_default() {
    let scene = Scene::with(ROUTES);
    let phone = scene.phone();
    assert_eq!(phone.subscribe(ALICE).notify().shows()[0], "DoNotDisturb off");
    assert!(!scene.logged().is_empty() && scene.logged().iter().all(|name| name == "dfks_get"), "{:?}", scene.logged());
}

/// "1.3.2. set_route (string) The name of the script route to be run when a feature status update from a SIP phone is received."
/// Example 1.2: `modparam("presence_dfks", "set_route", "dfks_set")`.
#[test]
fn set_route_names_the_route_that_is_run_when_an_update_from_a_phone_is_received() {
    let scene = Scene::of(SET_ROUTES, |setup| setup.with("routes.set_route", "my_set"));
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    assert_eq!(scene.logged(), ["my_set"]);
}

/// "Default value is dfks_get." This is a slip of the manual: its example, and the module, have dfks_set.
#[test]
fn set_route_is_dfks_set_by_default() {
    let scene = Scene::with(SET_ROUTES);
    let phone = scene.phone();
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    dialog.notify();
    assert_eq!(scene.logged(), ["dfks_set"]);
}
