//! Tests of the script: every row of the table of `dfks` fields, every bound of the sandbox.

use std::sync::Arc;

use super::*;
use crate::bus::message::Origin;
use crate::config::RouteData;
use crate::feature::{FeatureState, FeatureTable, Status, Values};
use crate::worker::change::Change;

const CFNA: &str = "CallForwardingNoAnswer";
const SEED: &str = r#"
fn dfks_set(dfks) {
    if dfks.feature == "CallForwardingAlways" { dfks.status = 0; }        // not allowed
    if dfks.param != () { log(`set by MI with ${dfks.param}`); }
}
fn dfks_get(dfks) {
    if dfks.feature == "CallForwardingNoAnswer" {
        dfks.status = 1; dfks.value.forwardTo = "sip:bob@10.0.0.11"; dfks.value.ringCount = "3";
    } else if dfks.feature == "CallForwardingAlways" { dfks.assigned = 0; }
}
"#;

fn compile(text: &str) -> Result<Script, ScriptError> {
    Script::compile(&RoutesConfig { script: "routes.rhai".into(), ..RoutesConfig::default() }, text)
}

fn call(route: Route, feature: &str, param: Option<&str>) -> Call {
    let table = Arc::new(FeatureTable::built_in());
    let mut state = table.require(feature).unwrap().default_state();
    if feature == CFNA {
        state.values.insert("ringCount".into(), "4".into());
    }
    Call::new(route, table, "sip:alice@10.0.0.11", param, state)
}

fn run(route: Route, feature: &str, text: &str) -> Result<Verdict, RouteError> {
    compile(text).unwrap().run(route, call(route, feature, Some("7")))
}

/// Runs `body` as the set route of the feature.
fn set(feature: &str, body: &str) -> Result<Verdict, RouteError> {
    run(Route::Set, feature, &format!("fn dfks_set(dfks) {{\n{body}\n}}"))
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_seeds_example_does_what_it_says() {
    let no_answer =
        Change { status: Some(Status::ON), values: values(&[("forwardTo", "sip:bob@10.0.0.11"), ("ringCount", "3")]), ..Change::default() };
    for (route, feature, want) in [
        (Route::Get, CFNA, no_answer),
        (Route::Get, "CallForwardingAlways", Change { assigned: Some(false), ..Change::default() }),
        (Route::Get, "DoNotDisturb", Change::default()),
        (Route::Set, "CallForwardingAlways", Change { status: Some(Status::OFF), ..Change::default() }),
        (Route::Set, "DoNotDisturb", Change::default()),
    ] {
        let verdict = compile(SEED).unwrap().run(route, call(route, feature, Some("1"))).unwrap();
        assert_eq!(verdict, Verdict { change: want, denied: None }, "{route:?} {feature}");
    }
}

#[test]
fn every_field_reads_and_writes_as_the_table_says() {
    let changed = |change: Change| Ok(change);
    let status = |on| changed(Change { status: Some(Status(on)), ..Change::default() });
    let value = |pairs: &[(&str, &str)]| changed(Change { values: values(pairs), ..Change::default() });
    for (body, want) in [
        (r#"if dfks.presentity == "sip:alice@10.0.0.11" { dfks.status = 1 }"#, status(true)),
        (r#"if dfks.feature == "CallForwardingNoAnswer" { dfks.status = 1 }"#, status(true)),
        ("if dfks.status == 0 { dfks.status = true; }", status(true)),
        ("dfks.status = 1; dfks.status = false;", status(false)),
        ("dfks.status = 1; if dfks.status == 1 { dfks.status = 0; }", status(false)),
        ("dfks.assigned = 0;", changed(Change { assigned: Some(false), ..Change::default() })),
        ("dfks.assigned = true;", changed(Change { assigned: Some(true), ..Change::default() })),
        ("dfks.notify = 0;", changed(Change { notify: Some(false), ..Change::default() })),
        (r#"if dfks.param == "7" { dfks.notify = 1; }"#, changed(Change { notify: Some(true), ..Change::default() })),
        (r#"dfks.value.forwardTo = "sip:bob@h";"#, value(&[("forwardTo", "sip:bob@h")])),
        (r#"let v = dfks.value; v.forwardTo = "sip:bob@h";"#, value(&[("forwardTo", "sip:bob@h")])),
        (r#"dfks.value["forwardTo"] = "sip:bob@h";"#, value(&[("forwardTo", "sip:bob@h")])),
        (r#"dfks.value.forwardTo = "";"#, value(&[("forwardTo", "")])),
        ("dfks.value.ringCount = 5;", value(&[("ringCount", "5")])),
        (r#"if dfks.value.forwardTo == () { dfks.value.ringCount = dfks.value.ringCount + "0"; }"#, value(&[("ringCount", "40")])),
        (r#"dfks.value.ringCount = "9"; dfks.value.forwardTo = dfks.value.ringCount;"#, value(&[("ringCount", "9"), ("forwardTo", "9")])),
        (r#"try { dfks.value.colour = "red"; } catch (e) { if `${e}`.contains("colour") { dfks.status = 1; } }"#, status(true)),
        ("dfks.status = 2;", Err("status")),
        (r#"dfks.status = "on";"#, Err("status")),
        ("dfks.assigned = ();", Err("assigned")),
        ("dfks.notify = 7;", Err("notify")),
        ("let x = dfks.assigned;", Err("assigned")),
        ("if dfks.notify { }", Err("notify")),
        (r#"dfks.presentity = "sip:bob@h";"#, Err("presentity")),
        (r#"dfks.feature = "DoNotDisturb";"#, Err("feature")),
        (r#"dfks.param = "x";"#, Err("param")),
        ("dfks.value = 1;", Err("value")),
        ("dfks.state = 1;", Err("state")),
        ("let x = dfks.state;", Err("state")),
        (r#"dfks.value.colour = "red";"#, Err("value.colour")),
        ("let x = dfks.value.colour;", Err("value.colour")),
        (r#"dfks.value.ringCount = "101";"#, Err("value.ringCount")),
        ("dfks.value.ringCount = ();", Err("value.ringCount")),
        ("dfks.value.forwardTo = \"a\\nb\";", Err("value.forwardTo")),
    ] {
        let got = set(CFNA, &format!("  let unused = 0;\n  {body}"));
        match (got, want) {
            (Ok(verdict), Ok(change)) => assert_eq!(verdict, Verdict { change, denied: None }, "{body}"),
            (Err(error), Err(field)) => {
                assert_eq!((error.function.as_str(), error.line, error.field.as_deref()), ("dfks_set", 3, Some(field)), "{body}: {error}");
                assert!(error.message.contains(&format!("dfks.{field} ")), "{body}: {error}");
            }
            (got, want) => panic!("{body}: got {got:?}, want {want:?}"),
        }
    }
}

#[test]
fn param_is_unit_when_none_was_given() {
    let script = compile("fn dfks_set(dfks) { if dfks.param == () { dfks.status = 1; } }").unwrap();
    let verdict = script.run(Route::Set, call(Route::Set, "DoNotDisturb", None)).unwrap();
    assert_eq!(verdict.change.status, Some(Status::ON));
}

#[test]
fn the_agent_state_decides_the_status_in_a_script_too() {
    let read_back = r#"dfks.value.state = "notReady"; dfks.value.reason = `${dfks.status}`;"#;
    let verdict = set("AgentState", read_back).unwrap();
    assert_eq!(verdict.change.values, values(&[("state", "notReady"), ("reason", "1")]));
    let error = set("AgentState", "dfks.status = 0;\ndfks.value.state = \"ready\";").unwrap_err();
    assert_eq!((error.line, error.field.as_deref()), (3, Some("value.state")), "{error}");
}

#[test]
fn deny_and_also_are_for_the_set_route() {
    let denied = set("DoNotDisturb", r#"deny("not\r\nnow"); deny("later"); dfks.status = 1;"#).unwrap();
    assert_eq!(denied.denied.as_deref(), Some("not  now"));
    let body = r#"also("CallForwardingAlways", #{status: 0, values: #{forwardTo: ""}}); also("AgentState", #{assigned: false});"#;
    let also = set("DoNotDisturb", body).unwrap().change.also;
    let seen: Vec<_> = also.iter().map(|a| (a.feature.as_str(), a.status, a.values.len(), a.assigned)).collect();
    assert_eq!(seen, [("CallForwardingAlways", Some(Status::OFF), 1, None), ("AgentState", None, 0, Some(false))]);
    for (body, want) in [
        (r#"also("DoNotDisturb", #{status: 0});"#, "other features than DoNotDisturb"),
        (r#"also("Foo", #{status: 0});"#, "unknown feature 'Foo'"),
        (r#"also("CallForwardingBusy", #{colour: 0});"#, "'colour'"),
        (r#"also("CallForwardingBusy", #{status: 3});"#, "takes 0, 1, false or true"),
        (r#"also("CallForwardingBusy", #{values: #{ringCount: "3"}});"#, "ringCount"),
        (r#"also("CallForwardingBusy", #{values: 1});"#, "takes values as"),
        (r#"for i in 0..7 { also("CallForwardingBusy", #{status: 0}); }"#, "more often"),
    ] {
        let error = set("DoNotDisturb", body).unwrap_err();
        assert!(error.message.contains(want) && error.line == 2, "{body}: {error}");
    }
    for body in [r#"deny("no")"#, r#"also("CallForwardingBusy", #{status: 0})"#] {
        let error = run(Route::Get, "DoNotDisturb", &format!("fn dfks_get(dfks) {{ {body} }}")).unwrap_err();
        assert_eq!((error.function.as_str(), error.line), ("dfks_get", 1), "{error}");
    }
}

#[test]
fn the_sandbox_has_bounds() {
    for (body, want) in [
        ("loop { let x = 1; }", "operations"),
        ("while true { let x = 1; }", "operations"),
        (r#"let s = "x"; loop { s += s; }"#, "Length of string"),
        ("let a = []; loop { a.push(1); }", "Size of array"),
        (r"let m = #{}; let n = #{a: 1}; for i in 0..1100 { n[`${i}`] = i; } m.mixin(n); m + n", "Size of object map"),
        ("sleep(1);", "sleep"),
        ("sleep(0.5);", "sleep"),
        ("throw `no ${dfks.feature}`;", "thrown: no DoNotDisturb"),
        ("unknown(1);", "unknown"),
        ("let x = 1 / 0;", "Division by zero"),
    ] {
        let error = set("DoNotDisturb", body).unwrap_err();
        assert!(error.message.contains(want), "{body}: {error}");
        // The operation at which a limit is hit may have no position.
        assert!(
            error.line == 2 || matches!(want, "operations" | "Length of string" | "Size of array" | "Size of object map"),
            "{body}: {error}"
        );
    }
    for text in [r#"fn dfks_set(dfks) { eval("1"); }"#, r#"import "x" as y;"#] {
        assert!(matches!(compile(text), Err(ScriptError::Compile { line: 1, .. })), "{text}");
    }
}

#[test]
fn no_nesting_overflows_the_stack_of_a_worker_thread() {
    for (open, close) in [("1 + (", ")"), ("if true {", "}"), ("g(", ")"), ("[0, ", "]"), ("", "")] {
        for depth in [4, 20, 10_000] {
            let recursive = format!("fn f(n) {{ {}f(n + 1){} }}", open.repeat(depth), close.repeat(depth));
            let text = format!("fn g(x) {{ x }} {recursive} fn dfks_set(dfks) {{ f(0); }}");
            let run = move || compile(&text).map(|script| script.run(Route::Set, call(Route::Set, "DoNotDisturb", None)));
            // Three quarters of tokio's default: the rest is for what runs below a route.
            let thread = std::thread::Builder::new().stack_size(3 << 19).spawn(run).unwrap();
            match thread.join().unwrap() {
                Ok(outcome) => assert!(outcome.unwrap_err().message.contains("nested too deeply"), "{open} {depth}"),
                Err(error) => assert!(error.to_string().contains("exceeds maximum"), "{open} {depth}: {error}"),
            }
        }
    }
}

#[test]
fn a_run_ends_at_the_deadline() {
    // Each operation is slow, so that the limit on operations does not come first.
    let body = "let a = []; for i in 0..1000 { a.push(i); } loop { a.sort(); a.reverse(); }";
    let started_at = clock::thread_cpu();
    let error = set("DoNotDisturb", body).unwrap_err();
    let took = clock::thread_cpu().saturating_sub(started_at);
    assert!(error.message.contains("longer than 50 ms"), "{error}");
    assert!(took < DEADLINE * 20, "{took:?}");
}

#[test]
fn a_run_leaves_nothing_for_the_next() {
    let script = compile("const STEP = 1; fn dfks_set(dfks) { dfks.status = global::STEP; }").unwrap();
    for _ in 0..2 {
        let verdict = script.run(Route::Set, call(Route::Set, "DoNotDisturb", None)).unwrap();
        assert_eq!(verdict.change.status, Some(Status::ON));
    }
}

#[test]
fn errors_of_a_file_name_the_file_and_the_line() {
    for (text, want) in [
        ("fn dfks_set(dfks) {\n  if { }\n}", "routes.script routes.rhai, line 2: "),
        ("fn dfks_set() { }", "routes.script routes.rhai: dfks_set must take one parameter: fn dfks_set(dfks)"),
        ("fn dfks_get(a, b) { }", "routes.script routes.rhai: dfks_get must take one parameter: fn dfks_get(dfks)"),
    ] {
        let message = compile(text).unwrap_err().to_string();
        assert!(message.starts_with(want), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let config = RoutesConfig { script: "no/such/file.rhai".into(), ..RoutesConfig::default() };
    assert!(Script::load(&config).unwrap_err().to_string().starts_with("routes.script no/such/file.rhai: "));
}

#[test]
fn routes_are_found_by_their_configured_names() {
    let config = RoutesConfig { set_route: "on_set".into(), ..RoutesConfig::default() };
    let script = Script::compile(&config, "fn on_set(d) { d.status = 1; } fn on_get(d) { }").unwrap();
    assert!(script.has(Route::Set) && !script.has(Route::Get));
    assert_eq!(script.run(Route::Get, call(Route::Get, "DoNotDisturb", None)).unwrap(), Verdict::default());
    let state = FeatureState::new("DoNotDisturb");
    let call = Call::new(Route::Set, Arc::new(FeatureTable::built_in()), "sip:a@h", None, state);
    assert_eq!(script.run(Route::Set, call).unwrap().change.status, Some(Status::ON));
}

#[test]
fn every_shipped_route_script_compiles_and_runs() {
    let table = FeatureTable::built_in();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/routes")).unwrap();
    let mut count = 0;
    for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|kind| kind == "rhai")) {
        let script = shipped(path.file_name().unwrap().to_str().unwrap());
        for (route, feature) in Route::ALL.into_iter().flat_map(|route| table.names().map(move |feature| (route, feature))) {
            let outcome = script.run(route, call(route, feature, Some("1")));
            assert!(outcome.is_ok(), "{route:?} {feature}: {outcome:?}");
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

fn shipped(file: &str) -> Script {
    let path = |file: &str| format!("{}/examples/routes/{file}", env!("CARGO_MANIFEST_DIR")).into();
    let data = match file {
        "holidays.rhai" => RouteData::File(path("holidays.toml")),
        "no-abroad.rhai" => RouteData::File(path("tenants.csv")),
        _ => RouteData::default(),
    };
    Script::load(&RoutesConfig { script: path(file), data, ..RoutesConfig::default() }).unwrap()
}

#[test]
fn the_shipped_tenant_policy_denies_what_its_table_says() {
    let script = shipped("tenant-policy.rhai");
    let table = Arc::new(FeatureTable::built_in());
    for (presentity, feature, target, want) in [
        ("sip:a@clinic.example", CFNA, "sip:b@clinic.example", None),
        ("sip:a@clinic.example", CFNA, "sip:b@elsewhere.example", Some("forwarding is for numbers of the house only")),
        ("sip:a@clinic.example", "CallForwardingBusy", "", Some("CallForwardingBusy is not part of this subscription")),
        ("sip:a@hotel.example", "CallForwardingBusy", "", Some("a forward needs a target")),
        ("sip:a@hotel.example", "CallForwardingBusy", "tel:0900123", Some("no forwarding to premium numbers")),
        ("sip:a@hotel.example", "CallForwardingBusy", "sip:b@elsewhere.example", None),
        ("sip:a@other.example", "CallForwardingBusy", "tel:0900123", None),
    ] {
        let mut state = table.require(feature).unwrap().default_state();
        state.status = Status::ON;
        state.values = values(&[("forwardTo", target)]);
        let call = Call::new(Route::Set, Arc::clone(&table), presentity, None, state);
        assert_eq!(script.run(Route::Set, call).unwrap().denied.as_deref(), want, "{presentity} {feature} {target}");
    }
}

#[test]
fn a_script_knows_the_time_of_its_run() {
    let at = clock::parse_rfc3339("2026-12-27T23:05:00Z").unwrap();
    let run = |zone: &str, expression: &str| {
        let config = RoutesConfig { time_zone: zone.into(), ..RoutesConfig::default() };
        let text = format!("fn dfks_set(dfks) {{\n log(`${{{expression}}}`); }}");
        let script = Script::compile(&config, &text).unwrap();
        let (outcome, said) = script.rehearse(Route::Set, call(Route::Set, "DoNotDisturb", None).at(at));
        outcome.map(|_| said.concat())
    };
    let all = "[now().year, now().month, now().day, now().hour, now().minute, now().weekday, now().date]";
    for (zone, expression, want) in [
        ("UTC", all, "[2026, 12, 27, 23, 5, 7, \"2026-12-27\"]"),
        ("Europe/Berlin", all, "[2026, 12, 28, 0, 5, 1, \"2026-12-28\"]"),
        ("UTC", "now(\"America/New_York\").hour", "18"),
        ("Europe/Berlin", "now()", "2026-12-28T00:05:00+01:00[Europe/Berlin]"),
    ] {
        assert_eq!(run(zone, expression).unwrap(), want, "{zone} {expression}");
    }
    for (expression, want) in [
        ("now(\"Europe/Entenhausen\").hour", "now() takes an IANA time zone"),
        ("now().hours", "now() has no hours: expected year, "),
        ("{ let clock = now(); clock.hour = 3; }", "now() is read-only: hour"),
    ] {
        let error = run("UTC", expression).unwrap_err();
        assert_eq!((error.line, error.field.as_deref()), (2, Some("now")), "{error}");
        assert!(error.message.starts_with(want), "{error}");
    }
    let now = compile("fn dfks_set(dfks) { if now().year >= 2026 { dfks.status = 1; } }").unwrap();
    let verdict = now.run(Route::Set, call(Route::Set, "DoNotDisturb", None)).unwrap();
    assert_eq!(verdict.change.status, Some(Status::ON), "without a moment it is now");
    let unknown = RoutesConfig { time_zone: "Nowhere".into(), ..RoutesConfig::default() };
    assert!(matches!(Script::compile(&unknown, ""), Err(ScriptError::Zone { .. })));
}

#[test]
fn a_script_is_told_who_asks_and_what_was_before() {
    let table = Arc::new(FeatureTable::built_in());
    let old = FeatureState { status: Status::ON, values: values(&[("forwardTo", "sip:bob@h")]), ..FeatureState::new(CFNA) };
    let asked = |expression: &str| {
        let script = compile(&format!("fn dfks_set(dfks) {{ log(`${{{expression}}}`); }}")).unwrap();
        let base = FeatureState { status: Status::OFF, ..old.clone() };
        let call = Call::new(Route::Set, Arc::clone(&table), "sip:alice@example.com", None, base);
        let call = call.asked_by(Origin::Phone, Some("sip:desk@example.com")).instead_of(old.clone());
        let (outcome, said) = script.rehearse(Route::Set, call);
        outcome.map(|_| said.concat()).map_err(|error| error.field)
    };
    for (expression, want) in [
        ("dfks.origin + ` ` + dfks.watcher", Ok("phone sip:desk@example.com")),
        ("dfks.user + ` ` + dfks.domain", Ok("alice example.com")),
        ("[dfks.status, dfks.old.status, dfks.old.value.forwardTo]", Ok("[0, 1, \"sip:bob@h\"]")),
        ("dfks.old.value.ringCount == ()", Ok("true")),
        ("dfks.old.value.colour", Err("value.colour")),
        ("dfks.old.colour", Err("old.colour")),
        ("{ dfks.old.status = 1; }", Err("old.status")),
        ("{ dfks.old.value.forwardTo = `x`; }", Err("old.value.forwardTo")),
        ("{ dfks.old = 1; }", Err("old")),
        ("{ dfks.origin = `mi`; }", Err("origin")),
        ("{ dfks.domain = `x`; }", Err("domain")),
        ("{ dfks.user = `x`; }", Err("user")),
        ("{ dfks.watcher = `x`; }", Err("watcher")),
    ] {
        assert_eq!(asked(expression), want.map(str::to_owned).map_err(|field| Some(field.to_owned())), "{expression}");
    }
    let got = compile("fn dfks_get(dfks) { log(`${dfks.origin == () && dfks.watcher == () && dfks.old.status == 1}`); }").unwrap();
    let (_, said) = got.rehearse(Route::Get, Call::new(Route::Get, Arc::clone(&table), "tel:+31201", None, old.clone()));
    assert_eq!(said, ["true"]);
}
