//! `dfks route`: a route run dry, and the example scripts that know the time and have data.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Done, dfks, dfks_at_folder, dfks_in};

/// A run of `dfks route`, in the folder of the checkout.
fn route(args: &[&str]) -> Done {
    dfks_at_folder(Path::new(env!("CARGO_MANIFEST_DIR")), &[&["route"], args].concat())
}

/// The one line of JSON that it prints.
fn seen(args: &[&str]) -> Value {
    let done = route(&[args, &["--json"]].concat());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&done.out).unwrap()
}

fn script(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("routes.rhai");
    std::fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

const AFTER_HOURS: &str = "examples/routes/after-hours.rhai";

#[test]
fn after_hours_and_on_sundays_calls_go_to_voicemail() {
    for (at, old, want) in [
        ("2026-12-24 18:30", None, Some("sip:voicemail@example.com")),
        ("2026-12-24 17:59", None, None),
        ("2026-12-24 07:59", None, Some("sip:voicemail@example.com")),
        ("2026-12-27 12:00", None, Some("sip:voicemail@example.com")),
        // in Berlin it is after six
        ("2026-12-24T17:30:00Z", None, Some("sip:voicemail@example.com")),
        ("2026-12-24 18:30", Some("CFA=on,forwardTo=sip:bob@h"), Some("sip:bob@h")),
    ] {
        let mut args = vec!["get", "sip:alice@example.com", "CFA", "--script", AFTER_HOURS, "--time-zone", "Europe/Berlin", "--at", at];
        args.extend(old.iter().flat_map(|old| ["--old", old]));
        let after = &seen(&args)["after"];
        assert_eq!((after["status"] == 1, after["values"]["forwardTo"].as_str()), (want.is_some(), want), "{at} {old:?}");
    }
}

#[test]
fn a_tenant_may_not_forward_abroad() {
    for (presentity, target, is_denied) in [
        ("sip:alice@clinic.example", "+4930123", true),
        ("sip:alice@clinic.example", "sip:+4930123@gw", true),
        ("sip:alice@clinic.example", "004930123", true),
        ("sip:alice@clinic.example", "+31201234", false),
        ("sip:alice@clinic.example", "sip:bob@clinic.example", false),
        ("sip:alice@hotel.example", "+31201234", true),
        ("sip:alice@hotel.example", "tel:+4930123", false),
        ("sip:alice@trade.example", "+4930123", false),
        ("sip:alice@elsewhere.example", "+4930123", false),
    ] {
        let target_value = format!("forwardTo={target}");
        let args = ["set", presentity, "CFB", "on", "--value", &target_value, "--script", "examples/routes/no-abroad.rhai"];
        let seen = seen(&[&args[..], &["--data", "examples/routes/tenants.csv"]].concat());
        let why = seen["denied"].as_str().unwrap_or_default();
        assert_eq!(why.starts_with("forwarding abroad is not part of this subscription: +"), is_denied, "{presentity} {target}: {seen}");
        assert_eq!(seen["after"]["status"] == 0, is_denied, "{seen}");
    }
}

#[test]
fn on_a_holiday_of_its_country_a_tenant_is_not_disturbed() {
    let files = ["--script", "examples/routes/holidays.rhai", "--data", "examples/routes/holidays.toml"];
    for (presentity, at, holiday) in [
        ("sip:a@clinic.example", "2027-04-27T12:00:00Z", Some("Koningsdag")),
        ("sip:a@hotel.example", "2027-04-27T12:00:00Z", None),
        ("sip:a@hotel.example", "2026-10-03T12:00:00Z", Some("Tag der Deutschen Einheit")),
        // there it is the 25th already
        ("sip:a@clinic.example", "2026-12-24T23:30:00Z", Some("Eerste Kerstdag")),
        ("sip:a@clinic.example", "2026-12-24T22:30:00Z", None),
        ("sip:a@elsewhere.example", "2026-12-25T12:00:00Z", None),
    ] {
        let got = seen(&[&["get", presentity, "dnd", "--at", at][..], &files].concat());
        assert_eq!(got["after"]["status"] == 1, holiday.is_some(), "{presentity} {at}: {got}");
        let set = seen(&[&["set", presentity, "dnd", "off", "--old", "DND=on", "--at", at][..], &files].concat());
        let why = holiday.map(|holiday| format!("today is {holiday}"));
        assert_eq!(set["denied"].as_str(), why.as_deref(), "{presentity} {at}");
    }
}

#[test]
fn what_a_run_did_is_shown_for_people() {
    let (_dir, file) = script(
        r#"
fn dfks_set(dfks) {
    log(`${dfks.origin} ${dfks.watcher} ${dfks.user} ${dfks.domain} ${dfks.param} ${dfks.old.status} ${dfks.old.value.forwardTo} ${now()}`);
    print("printed");
    dfks.value.forwardTo = "sip:desk@example.com";
    dfks.notify = 0;
    also("DoNotDisturb", #{status: 0});
}"#,
    );
    let args = ["set", "SIP:alice@Example.com", "cfa", "on", "--param", "night", "--script", &file, "--at", "2026-12-24T18:30:00Z"];
    let old = ["--old", "CFA=off,forwardTo=sip:bob@h", "--old", "DND=on"];
    let done = route(&[&args[..], &old].concat());
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let want = "\
sip:alice@example.com at 2026-12-24T18:30:00+00:00[UTC]
  before   CallForwardingAlways    off  forwardTo=sip:bob@h  (version 1, store)
  asked    CallForwardingAlways    on   forwardTo=sip:bob@h  (version 1, store)
  after    CallForwardingAlways    on   forwardTo=sip:desk@example.com  (version 2, script)
  notify   suppressed
  also     DoNotDisturb            off  (version 2, store)
  log      mi  alice example.com night 0 sip:bob@h 2026-12-24T18:30:00+00:00[UTC]
  log      printed
";
    assert_eq!(done.out, want);
    let done = route(&["set", "sip:alice@example.com", "cfa", "on", "--script", &file, "--watcher", "sip:x@h"]);
    assert!(done.out.contains("  log      phone sip:x@h alice example.com  0  2"), "{}", done.out);
}

#[test]
fn a_route_that_fails_is_1_with_its_line_and_what_cannot_be_run_says_why() {
    let (dir, file) = script("fn dfks_get(dfks) {\n  log(\"so far\");\n  dfks.colour = 1;\n}");
    let done = route(&["get", "sip:alice@h", "dnd", "--script", &file]);
    assert_eq!((done.code, done.out.as_str()), (1, "  log      so far\n"));
    assert!(done.err.starts_with("dfks: script error in dfks_get, line 3: dfks.colour is unknown"), "{}", done.err);
    let done = route(&["get", "sip:alice@h", "dnd", "--script", &file, "--json"]);
    assert_eq!(done.code, 1);
    assert!(serde_json::from_str::<Value>(&done.err).unwrap()["error"]["description"].as_str().unwrap().contains("line 3"), "{}", done.err);

    std::fs::write(dir.path().join("bad.json"), "{\"a\": }").unwrap();
    let bad = dir.path().join("bad.json").to_str().unwrap().to_owned();
    let broken = dir.path().join("broken.rhai").to_str().unwrap().to_owned();
    std::fs::write(&broken, "fn dfks_set(dfks) {\n let x = ;\n}").unwrap();
    for (args, code, want) in [
        (&["get", "sip:alice@h", "Foo", "--script", &file][..], 1, "unknown feature 'Foo'"),
        (&["get", "alice", "dnd", "--script", &file], 1, "a presentity is sip:user@host or tel:number"),
        (&["get", "sip:alice@h", "dnd"], 64, "no script: expected --script FILE"),
        (&["get", "sip:alice@h", "dnd", "--script", "nowhere.rhai"], 1, "nowhere.rhai: No such file"),
        (&["get", "sip:alice@h", "dnd", "--script", &broken], 1, "broken.rhai, line 2: "),
        (&["get", "sip:alice@h", "dnd", "--script", &file, "--at", "soon"], 64, "no time 'soon'"),
        (&["get", "sip:alice@h", "dnd", "--script", &file, "--time-zone", "Europe/Entenhausen"], 64, "no time zone 'Europe/Entenhausen'"),
        (&["get", "sip:alice@h", "dnd", "--script", &file, "--data", &bad], 1, "bad.json: expected value at line 1 column 7"),
        (&["set", "sip:alice@h", "CFNA", "on", "--value", "ringCount=101", "--script", &file], 1, "ringCount"),
        (&["set", "sip:alice@h", "dnd", "on", "--param", "x", "--origin", "phone", "--script", &file], 64, "--param is of commands"),
        (&["set", "sip:alice@h", "dnd", "on", "--origin", "responder", "--script", &file], 64, "expected phone, mi or timer"),
    ] {
        let done = route(args);
        assert_eq!((done.code, done.out.as_str()), (code, ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(want), "{args:?}: {}", done.err);
    }
    let done = route(&["set", "sip:alice@h", "dnd", "on", "--script", &file]);
    assert_eq!((done.code, done.err.as_str()), (0, "dfks: warning: the script has no set route: nothing runs\n"));
}

#[test]
fn script_data_and_zone_come_from_the_configuration_where_no_option_names_them() {
    let (dir, _) = script("fn dfks_get(dfks) { log(`${now().hour} ${data.word} ${data.list.len()} ${data[\"Night Desk\"].at}`); }");
    std::fs::write(
        dir.path().join("dfks.toml"),
        "[routes]\nscript = \"routes.rhai\"\ntime_zone = \"Asia/Tokyo\"\n[routes.data]\nword = \"yes\"\nlist = [1, 2]\n\"Night Desk\" = { at = 22 }\n",
    )
    .unwrap();
    let config = dir.path().join("dfks.toml");
    let config = config.to_str().unwrap();
    let args = ["route", "get", "sip:alice@h", "dnd", "--config", config, "--at", "2026-12-24T00:30:00Z", "--json"];
    let done = dfks(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap()["log"], serde_json::json!(["9 yes 2 22"]));
    let done = dfks_in(&args, &[("DFKS__ROUTES__TIME_ZONE", "UTC")]);
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap()["log"], serde_json::json!(["0 yes 2 22"]));

    let checked = dfks(&["check", "--config", config]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    std::fs::write(dir.path().join("printed.toml"), &checked.out).unwrap();
    let printed = dir.path().join("printed.toml");
    let again = dfks(&["check", "--config", printed.to_str().unwrap()]);
    assert_eq!((again.code, &again.out), (0, &checked.out), "what check prints is the same configuration");
}

#[test]
fn a_bad_time_zone_or_data_is_78() {
    let (dir, _) = script("fn dfks_get(dfks) {}");
    std::fs::write(dir.path().join("rows.csv"), "a,b\n1,2\n3\n").unwrap();
    std::fs::write(dir.path().join("rows.yaml"), "a: 1\n").unwrap();
    for (text, want) in [
        ("time_zone = \"Europe/Entenhausen\"", "routes.time_zone = \"Europe/Entenhausen\": expected an IANA time zone"),
        ("data = \"nowhere.csv\"", "routes.data = "),
        ("script = \"routes.rhai\"\ndata = \"rows.csv\"", "rows.csv: line 3: 1 values, the first line names 2"),
        ("script = \"routes.rhai\"\ndata = \"rows.yaml\"", "rows.yaml: expected a name that ends in .toml, .json or .csv"),
        ("data = 7", "routes.data = 7: expected a file or a table"),
    ] {
        std::fs::write(dir.path().join("dfks.toml"), format!("[routes]\n{text}\n")).unwrap();
        let done = dfks_at_folder(dir.path(), &["check", "--config", "dfks.toml"]);
        assert_eq!((done.code, done.err.lines().count()), (78, 1), "{text}: {}", done.err);
        assert!(done.err.contains(want), "{text}: {}", done.err);
    }
}
