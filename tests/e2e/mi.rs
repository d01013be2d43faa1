//! MI over HTTP as OpenSIPS speaks it: `opensips-cli` as it comes from its project, and requests by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup};

/// The presentity and the feature of the example in the manual of `presence_dfks`.
const ALICE: &str = "sip:alice@10.0.0.11";
const CFNA: &str = "CallForwardingNoAnswer";

fn start(nats: &Nats) -> Product {
    Setup::on(nats).with("mi.http", "127.0.0.1:0").start()
}

/// `opensips-cli -o communication_type=http -o url=… -x mi …`: its exit code, stdout and stderr.
fn opensips_cli(mi: SocketAddr, args: &[&str]) -> (i32, String, String) {
    let packages = format!("{}/.tools/python", env!("CARGO_MANIFEST_DIR"));
    let home = tempfile::TempDir::new().unwrap();
    let mut command = Command::new("python3");
    command.arg(format!("{packages}/bin/opensips-cli"));
    command.args(["-o", "communication_type=http", "-o", &format!("url=http://{mi}/mi"), "-x", "mi"]).args(args);
    command.env("PYTHONPATH", format!("{packages}:{}", std::env::var("PYTHONPATH").unwrap_or_default()));
    let done = command.env("HOME", home.path()).stdin(Stdio::null()).output().expect("python3");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(done.stdout), text(done.stderr));
    assert!(!err.contains("No such file") && !err.contains("ModuleNotFoundError"), "opensips-cli is not there: run `make tools`\n{err}");
    (done.status.code().unwrap(), out, err)
}

/// Sends a request by hand; status and body.
fn post(mi: SocketAddr, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(mi).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "POST /mi HTTP/1.1\r\nHost: dfks\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A JSON-RPC request and its answer, which comes with HTTP status 200.
pub(crate) fn call(mi: SocketAddr, request: &Value) -> Value {
    let (status, body) = post(mi, "Content-Type: application/json\r\n", &request.to_string());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn set(params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "dfks_set_feature", "params": params, "id": 1})
}

/// ```text
/// opensips-cli ──POST /mi──▶ mi bridge ──▶ worker: dfks_set, param 1      phone ◀──NOTIFY
/// ```
#[test]
fn the_manuals_line_reaches_a_phone_by_position_and_by_name() {
    let nats = Nats::start();
    let script = r"fn dfks_set(dfks) { log(`param ${dfks.param}`); }";
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").script(script).start();
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let line = ["dfks_set_feature", ALICE, CFNA, "1", "1", "ringCount/4", "forwardTo/sip:bob@10.0.0.11"];
    assert_eq!(opensips_cli(product.mi(), &line), (0, "\"OK\"\n".to_owned(), String::new()));
    assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=4"]);

    let (presentity, feature) = (format!("presentity={ALICE}"), format!("feature={CFNA}"));
    let named = [&presentity, &feature, "status=0", "route_param=night", "values=ringCount/7 forwardTo/sip:carol@10.0.0.11"];
    for method in ["dfks_set_feature", "presence_dfks:set_feature"] {
        assert_eq!(opensips_cli(product.mi(), &[&[method][..], &named].concat()), (0, "\"OK\"\n".to_owned(), String::new()));
        assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer off forwardTo=sip:carol@10.0.0.11 ringCount=7"]);
    }
    assert_eq!(opensips_cli(product.mi(), &["dfks_set_feature", &presentity, &feature, "status=1", "values=ringCount/2"]).0, 0);
    assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer on forwardTo=sip:carol@10.0.0.11 ringCount=2"]);
    let logged: Vec<_> =
        product.log_lines().into_iter().filter(|line| line["message"] == "route log").map(|line| line["text"].clone()).collect();
    assert_eq!(logged, ["param 1", "param night", "param night", "param "]);
    assert_eq!(product.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"applied\"}"), Some(4.0));
}

#[test]
fn opensips_cli_lists_methods_subscriptions_and_shows_errors() {
    let nats = Nats::start();
    let product = start(&nats);
    let phone = Phone::udp(product.udp());
    let _dialog = phone.subscribe(ALICE);
    let answer = |args: &[&str]| {
        let (code, out, err) = opensips_cli(product.mi(), args);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let methods = [
        "dfks_dead_drop",
        "dfks_dead_list",
        "dfks_dead_replay",
        "dfks_end",
        "dfks_get_feature",
        "dfks_resync",
        "dfks_set_feature",
        "log_level",
        "presence_dfks:set_feature",
        "refresh_watchers",
        "subs_phtable_list",
        "uptime",
        "version",
        "which",
    ];
    assert_eq!(answer(&["which"]), json!(methods));
    assert_eq!(answer(&["which", "dfks_set_feature"])[0], json!(["presentity", "feature", "status"]));
    assert_eq!(answer(&["version"]), json!({ "Server": format!("dfks ({})", env!("CARGO_PKG_VERSION")) }));
    assert!(answer(&["uptime"])["Up time"].as_str().unwrap().ends_with(" [sec]"));
    let list = answer(&["subs_phtable_list"]);
    let first = &list[0];
    assert_eq!((list.as_array().unwrap().len(), &first["pres_uri"], &first["event"]), (1, &json!(ALICE), &json!("as-feature-event")));
    assert_eq!((&first["edge_id"], &first["transport"], &first["user_agent"]), (&json!("edge-a"), &json!("udp"), &json!("test-phone/1")));
    assert_eq!(answer(&["subs_phtable_list", "to=sips:alice@10.0.0.11:5061"]), list, "in any spelling");
    assert_eq!(answer(&["subs_phtable_list", "to=sip:bob@*"]), json!([]));
    assert_eq!(answer(&["subs_phtable_list", "to=sip:a*@10.0.0.11"]), list, "of that domain alone");
    assert_eq!(answer(&["subs_phtable_list", "to=sip:*@10.0.0.12"]), json!([]));

    for (args, said) in [
        (&["dfks_set_feature", ALICE, "Foo", "1"][..], "400: Unknown feature (unknown feature 'Foo': expected DoNotDisturb, "),
        (&["dfks_set_feature", ALICE, CFNA, "abc"], "-32602: Invalid params (Bad type for parameter 'status')"),
        (&["dfks_set_feature", ALICE, CFNA], "-32602: Invalid params (Too few or too many parameters)"),
        (&["dfks_set_feature", "alice", CFNA, "1"], "400: Invalid presentity ('alice': a presentity is"),
        (&["dfks_set_feature", ALICE, CFNA, "1", "1", "ringCount/x"], "400: invalid ringCount 'x': expected a whole number from 0 to 100"),
    ] {
        let (code, _, err) = opensips_cli(product.mi(), args);
        assert_ne!(code, 0);
        assert!(err.contains(said), "{args:?}: {err}");
    }
    assert_ne!(opensips_cli(product.mi(), &["ul_dump"]).0, 0);
}

#[test]
fn each_call_of_the_reference_gets_its_answer() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.feature == "CallForwardingAlways" { deny("not abroad"); } }"#;
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").script(script).start();
    let mi = product.mi();
    for status in [json!(1), json!("1"), json!(2), json!(-1), json!(true), json!(0), json!(false)] {
        let answer = post(mi, "", &set(&json!({"presentity": ALICE, "feature": CFNA, "status": status})).to_string());
        assert_eq!(answer, (200, r#"{"jsonrpc":"2.0","result":"OK","id":1}"#.to_owned()), "any Content-Type, and none");
    }
    let error = |request: &Value| {
        let error = call(mi, request)["error"].clone();
        (
            error["code"].as_i64().unwrap(),
            error["message"].as_str().unwrap().to_owned(),
            error["data"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let named = |name: &str, value: Value| {
        let mut params = json!({"presentity": ALICE, "feature": CFNA, "status": 1});
        params[name] = value;
        set(&params)
    };
    let too_many: Vec<_> = (0..9).map(|at| format!("ringCount/{at}")).collect();
    for (request, code, message, data) in [
        (named("feature", json!("callforwardingnoanswer")), 400, "Unknown feature", "unknown feature"),
        (named("status", json!("abc")), -32602, "Invalid params", "Bad type for parameter 'status'"),
        (set(&json!([ALICE, CFNA])), -32602, "Invalid params", "Too few or too many parameters"),
        (named("foo", json!(1)), -32602, "Invalid params", "Named parameters do not match"),
        (named("values", json!(["ringCount"])), 400, "invalid values 'ringCount': expected \"forwardTo/…\" or \"ringCount/…\"", ""),
        (named("values", json!(["until/5"])), 400, "unknown field 'until' of CallForwardingNoAnswer: expected forwardTo, ringCount", ""),
        (set(&json!([ALICE, "CallForwardingBusy", 1, ["ringCount/3"]])), 400, "unknown field 'ringCount' of CallForwardingBusy", ""),
        (set(&json!([ALICE, "DoNotDisturb", 1, ["x/y"]])), 400, "unknown field 'x' of DoNotDisturb: it has no values", ""),
        (named("values", json!([7])), 400, "invalid values '7'", ""),
        (named("values", json!(too_many)), 400, "values has 9 elements: expected at most 8", ""),
        (named("presentity", json!("garbage")), 400, "Invalid presentity", "'garbage'"),
        (set(&json!([ALICE, "CallForwardingAlways", 1])), 403, "not abroad", ""),
        (json!({"jsonrpc": "2.0", "method": "nothing", "id": 1}), -32601, "Method not found", ""),
        (json!({"method": "version", "id": 1}), -32600, "Invalid Request", ""),
    ] {
        let said = error(&request);
        assert!(said.0 == code && said.1.starts_with(message) && said.2.starts_with(data), "{request}: {said:?}");
    }
    assert_eq!(call(mi, &json!([]))["error"]["code"], -32600);
    let parse_error = r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#;
    assert_eq!(post(mi, "", "{\"jsonrpc\""), (200, parse_error.to_owned()));
    let values = json!(["forwardTo/sip:bob@10.0.0.11"]);
    assert_eq!(call(mi, &named("values", json!("ringCount/4")))["result"], "OK", "a string is one value");
    assert_eq!(call(mi, &set(&json!(["sips:alice@10.0.0.11:5061", CFNA, 1, values])))["result"], "OK", "in any spelling");
    let state = Service::on(&nats).state(ALICE, CFNA);
    assert_eq!((&state["values"]["ringCount"], &state["values"]["forwardTo"]), (&json!("4"), &json!("sip:bob@10.0.0.11")));
    assert_eq!(state["version"], 9);
    assert_eq!(product.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"denied\"}"), Some(1.0));
    assert_eq!(product.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"invalid\"}"), Some(11.0));
}

#[test]
fn notifications_are_carried_out_and_batches_answered_in_order() {
    let nats = Nats::start();
    let product = start(&nats);
    let (mi, service) = (product.mi(), Service::on(&nats));
    let notification = json!({"jsonrpc": "2.0", "method": "dfks_set_feature", "params": [ALICE, "DoNotDisturb", 1]});
    assert_eq!(post(mi, "", &notification.to_string()), (204, String::new()));
    wait_for("the notification is carried out", || (service.state(ALICE, "DoNotDisturb")["version"] == 1).then_some(()));
    let batch = json!([set(&json!([ALICE, "DoNotDisturb", 0])), notification, set(&json!([ALICE, "Foo", 0])), {"jsonrpc": "2.0", "method": "version", "id": "v"}]);
    let answers = call(mi, &batch);
    assert_eq!((&answers[0]["result"], &answers[1]["error"]["code"], &answers[2]["id"]), (&json!("OK"), &json!(400), &json!("v")));
    let state = service.state(ALICE, "DoNotDisturb");
    assert_eq!((answers.as_array().unwrap().len(), &state["status"], &state["version"]), (3, &json!(1), &json!(3)));
    assert_eq!(post(mi, "", &json!([notification]).to_string()), (204, String::new()), "a batch of notifications");
    wait_for("it is carried out", || (service.state(ALICE, "DoNotDisturb")["version"] == 4).then_some(()));
}

#[test]
fn who_has_no_token_is_not_let_in_and_neither_is_a_web_page() {
    let nats = Nats::start();
    let version = json!({"jsonrpc": "2.0", "method": "version", "id": 1}).to_string();
    let open = start(&nats);
    assert_eq!(post(open.mi(), "Origin: http://evil.example\r\nContent-Type: text/plain\r\n", &version).0, 403);
    assert_eq!(post(open.mi(), "", &" ".repeat(64 * 1024 + 1)).0, 413);
    assert_eq!(post(open.mi(), "", &format!("{version}{}", " ".repeat(60 * 1024))).0, 200);

    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "s3cret\n").unwrap();
    let product = Setup::on(&nats).with("sip.edge_id", "edge-b").with("mi.http", "127.0.0.1:0");
    let mut product = product.with("mi.token_file", token.path().to_str().unwrap()).start();
    for (headers, want) in [
        ("", 401),
        ("Authorization: Bearer wrong1\r\n", 401),
        ("Authorization: Basic s3cret\r\n", 401),
        ("Authorization: Bearer s3cret\r\n", 200),
        ("Authorization: Bearer s3cret\r\nOrigin: http://portal.example\r\n", 200),
    ] {
        assert_eq!(post(product.mi(), headers, &version).0, want, "{headers}");
    }
    assert_ne!(opensips_cli(product.mi(), &["version"]).0, 0);
    assert!(!product.log().contains("s3cret"));
    product.stop();
}

#[test]
fn without_a_worker_it_says_so_and_it_stops_in_good_time() {
    let nats = Nats::start();
    let mut product = Setup::on(&nats).role("mi").with("mi.http", "127.0.0.1:0").start();
    let error = call(product.mi(), &set(&json!([ALICE, "DoNotDisturb", 1])))["error"].clone();
    assert_eq!(error, json!({"code": 503, "message": "no worker answers: the change was not made"}));
    let idle = TcpStream::connect(product.mi()).unwrap();
    product.stop();
    drop(idle);
}
