//! HTTP for those who speak no NATS: `/v1` on `mi.http`, by requests as a PBX makes them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup};

const ALICE: &str = "sip:alice@10.0.0.11";
const FEATURES: &str = "/v1/features/sip%3Aalice%4010.0.0.11";

/// A connection that is kept.
struct Web(BufReader<TcpStream>);

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Web {
    fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: dfks\r\n{length}{headers}\r\n{body}");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut answer = Answer { status, headers: BTreeMap::new(), body: String::new() };
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            answer.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        if method != "HEAD" && status != 304 {
            let length = answer.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            answer.body = String::from_utf8(body).unwrap();
        }
        answer
    }

    fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, "Content-Type: application/json\r\n", &body.to_string())
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body in JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The `detail` of a problem, which says the same status as the response.
    fn problem(&self, status: u16) -> String {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")), "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

fn start(nats: &Nats) -> Product {
    Setup::on(nats).with("mi.http", "127.0.0.1:0").start()
}

/// ```text
/// PBX ──GET──▶ mi bridge ──▶ worker          PBX ──PUT──▶ mi bridge ──▶ worker    phone ◀──NOTIFY
/// ```
#[test]
fn a_pbx_reads_features_and_sets_them() {
    let nats = Nats::start();
    let product = start(&nats);
    let mut web = Web::to(product.mi());
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();

    let all = web.get(FEATURES);
    assert_eq!((all.status, all.header("content-type"), all.header("cache-control")), (200, "application/json", "no-cache"));
    let all = all.json();
    assert_eq!((&all["type"], &all["presentity"]), (&json!("io.dfks.api.v1.get_response"), &json!(ALICE)));
    assert_eq!(all, Service::on(&nats).ask("dfks.get", &json!({"presentity": ALICE})), "the answer of dfks.get");

    let set = web.put(
        &format!("{FEATURES}/CFNA"),
        &json!({"status": 1, "values": {"forwardTo": "sip:bob@10.0.0.11", "ringCount": "4"}, "actor": "portal"}),
    );
    assert_eq!(set.status, 200, "{set:?}");
    let json = set.json();
    assert_eq!(
        (&json["type"], &json["watchers"], &json["state"]["version"]),
        (&json!("io.dfks.api.v1.set_response"), &json!(1), &json!(1))
    );
    assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=4"]);
    assert_eq!(set.header("dfks-cause").len(), 32);

    // in any spelling of presentity and feature
    for path in ["/v1/features/sips:alice@10.0.0.11:5061/callforwardingnoanswer", "/v1/features/sip%3aalice%4010.0.0.11/cfna"] {
        let one = web.get(path).json();
        assert_eq!((one["features"].as_array().unwrap().len(), &one["features"][0]), (1, &json["state"]), "{path}");
    }
    // a state as it was read may be sent back, with other values as OpenSIPS writes them
    let mut state = json["state"].clone();
    state["status"] = json!(false);
    state["values"] = json!(["ringCount/7"]);
    assert_eq!(web.put(&format!("{FEATURES}/CallForwardingNoAnswer"), &state).status, 200);
    assert_eq!(dialog.notify().shows(), ["CallForwardingNoAnswer off forwardTo=sip:bob@10.0.0.11 ringCount=7"]);

    let head = web.ask("HEAD", FEATURES, "", "");
    assert_eq!((head.status, head.header("content-length")), (200, web.get(FEATURES).body.len().to_string().as_str()));
    assert_eq!(product.metric("dfks_mi_http_requests_total{endpoint=\"set\",outcome=\"answered\"}"), Some(2.0));
    assert_eq!(product.metric("dfks_mi_http_requests_total{endpoint=\"features\",outcome=\"answered\"}"), Some(5.0));
    assert_eq!(product.metric("dfks_mi_received_total{via=\"http\"}"), Some(2.0));
}

#[test]
fn what_is_known_already_is_not_sent_again() {
    let nats = Nats::start();
    let product = start(&nats);
    let mut web = Web::to(product.mi());
    let path = format!("{FEATURES}/DND");
    let first = web.get(&path);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("\"0-"), "{tag}");
    let known = |web: &mut Web, tag: &str| web.ask("GET", &path, &format!("If-None-Match: {tag}\r\n"), "");
    for text in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let again = known(&mut web, &text);
        assert_eq!((again.status, again.header("etag")), (304, tag.as_str()), "{text}");
    }
    assert_eq!(known(&mut web, "\"0-0\"").status, 200);
    assert_eq!(web.put(&path, &json!({"status": 1})).status, 200);
    let changed = known(&mut web, &tag);
    assert_eq!((changed.status, &changed.json()["features"][0]["status"]), (200, &json!(1)));
    let over = format!("Content-Type: application/json\r\nIf-Match: {}\r\n", changed.header("etag"));
    let body = json!({"status": 1}).to_string();
    assert_eq!(web.ask("PUT", &path, &over, &body).status, 200, "nobody else has changed it");
    web.ask("PUT", &path, &over, &body).problem(412);
    let newer = web.get(&path).header("etag").to_owned();
    assert!(newer.starts_with("\"2-"), "{newer}");
    // another bridge says the same of it
    let other = Setup::on(&nats).with("sip.edge_id", "edge-b").with("mi.http", "127.0.0.1:0").start();
    assert_eq!(known(&mut Web::to(other.mi()), &newer).status, 304);
    assert_eq!(product.metric("dfks_mi_http_requests_total{endpoint=\"features\",outcome=\"not_modified\"}"), Some(3.0));
}

#[test]
fn each_fault_is_a_problem_that_says_what_is_allowed() {
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.feature == "CallForwardingAlways" { deny("not abroad"); } if dfks.feature == "CallForwardingBusy" { dfks.value.nothing = 1; } }"#;
    let product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").script(script).start();
    let mut web = Web::to(product.mi());
    let json_type = "Content-Type: application/json; charset=utf-8\r\n";
    let dnd = &format!("{FEATURES}/DND");
    for (method, path, headers, body, status, said) in [
        ("GET", "/v1/features", "", "", 404, "nothing is at '/v1/features': expected /v1/features/PRESENTITY"),
        ("GET", "/v1/feature/sip:a@h", "", "", 404, "nothing is at"),
        ("GET", "/v1/features/alice", "", "", 400, "Invalid presentity 'alice': a presentity is sip:user@host or tel:number"),
        ("GET", &format!("{FEATURES}/DoNotDistrub"), "", "", 404, "unknown feature 'DoNotDistrub': did you mean DoNotDisturb?"),
        ("PUT", &format!("{FEATURES}/Foo"), json_type, "{\"status\":1}", 404, "unknown feature 'Foo': expected DoNotDisturb"),
        ("PUT", dnd, json_type, "{}", 400, "status is missing: expected 0, 1, true, false"),
        ("PUT", dnd, json_type, "{\"status\":\"on\"}", 400, "invalid status 'on'"),
        ("PUT", dnd, json_type, "{\"status\":1,\"values\":{\"x\":\"y\"}}", 400, "unknown field 'x' of DoNotDisturb: it has no values"),
        ("PUT", dnd, json_type, "{\"status\":1,\"feature\":\"CFA\"}", 400, "invalid feature 'CFA': expected that of the path, or none"),
        (
            "PUT",
            dnd,
            json_type,
            "{\"status\":1,\"presentity\":\"sip:bob@h\"}",
            400,
            "invalid presentity 'sip:bob@h': expected that of the path",
        ),
        ("PUT", dnd, json_type, "[1]", 400, "invalid body '[1]': expected a JSON object"),
        ("PUT", dnd, json_type, "{", 400, "not JSON: "),
        ("PUT", dnd, json_type, &format!("{{\"status\":1,\"actor\":\"{}\"}}", "x".repeat(129)), 400, "129 characters"),
        ("PUT", dnd, "Content-Type: application/x-www-form-urlencoded\r\n", "status=1", 415, "expected a body in JSON"),
        ("PUT", dnd, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "x", 415, "no Content-Encoding"),
        (
            "PUT",
            dnd,
            "Content-Type: application/json\r\nIf-Match: \"1\"\r\n",
            "{\"status\":1}",
            412,
            "If-Match is no ETag of the feature: expected the one that a GET of it has",
        ),
        (
            "PUT",
            dnd,
            "Content-Type: application/json\r\nIf-Match: \"5-ab\"\r\n",
            "{\"status\":1}",
            412,
            "the feature has changed meanwhile",
        ),
        ("PUT", dnd, json_type, "{\"status\":1,\"for_seconds\":0}", 400, "invalid for_seconds '0': expected whole seconds from 1"),
        ("PUT", dnd, json_type, "{\"status\":1,\"until\":\"2020-01-01T00:00:00Z\"}", 400, "2020-01-01T00:00:00.000Z is in the past"),
        ("PUT", dnd, json_type, "{\"status\":0,\"for_seconds\":5}", 400, "for_seconds goes with status 1: what is off stays off"),
        ("PUT", &format!("{FEATURES}/CFA"), json_type, "{\"status\":1}", 403, "not abroad"),
        ("PUT", &format!("{FEATURES}/CFB"), json_type, "{\"status\":1}", 500, "dfks_set"),
        ("POST", "/v1/resync/sip:nobody@h", "", "", 404, "no phone has a live subscription to 'sip:nobody@h'"),
    ] {
        let answer = web.ask(method, path, headers, body);
        let detail = answer.problem(status);
        assert!(detail.contains(said), "{method} {path} {body}: {detail}");
    }
    for (method, path, allow) in [
        ("DELETE", dnd.as_str(), "GET, HEAD, PUT"),
        ("PUT", FEATURES, "GET, HEAD"),
        ("POST", "/v1/watchers", "GET, HEAD"),
        ("GET", "/v1/resync/sip:a@h", "POST"),
        ("PATCH", "/openapi.json", "GET, HEAD"),
    ] {
        let answer = web.ask(method, path, "", "");
        answer.problem(405);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    assert_eq!(Service::on(&nats).state(ALICE, "DoNotDisturb")["version"], 0, "nothing was changed");
    let large = format!("{{\"status\":1,\"x\":\"{}\"}}", "x".repeat(64 * 1024));
    Web::to(product.mi()).put(dnd, &serde_json::from_str(&large).unwrap()).problem(413);
    assert!(product.metric("dfks_mi_commands_total{origin=\"mi\",outcome=\"invalid\"}").unwrap() >= 11.0);
    assert!(product.metric("dfks_mi_http_requests_total{endpoint=\"set\",outcome=\"invalid\"}").unwrap() >= 11.0);
    assert!(product.metric("dfks_mi_http_requests_total{endpoint=\"other\",outcome=\"invalid\"}").unwrap() >= 9.0);
}

#[test]
fn watchers_are_listed_and_told_again() {
    let nats = Nats::start();
    let product = start(&nats);
    let mut web = Web::to(product.mi());
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    // between the two the edge may still take in the phone's last response
    let list = wait_for("the same list of all and of one", || {
        let list = web.get("/v1/watchers").json();
        (list == web.get("/v1/watchers/sips:alice@10.0.0.11:5061").json()).then_some(list)
    });
    assert_eq!((&list["type"], &list["more"]), (&json!("io.dfks.api.v1.watcher_list"), &json!(false)));
    let first = &list["watchers"][0];
    assert_eq!((list["watchers"].as_array().unwrap().len(), &first["presentity"], &first["edge_id"]), (1, &json!(ALICE), &json!("edge-a")));
    assert_eq!(web.get("/v1/watchers/sip:bob@h").json()["watchers"], json!([]));

    let told = web.ask("POST", "/v1/resync/sip:alice@10.0.0.11", "", "");
    assert_eq!((told.status, &told.json()["phones"]), (200, &json!(1)), "{told:?}");
    assert_eq!(dialog.shows(4).len(), 4, "the full state");
    let of_another = json!({"subscription": "nothing"}).to_string();
    web.ask("POST", "/v1/resync/sip:alice@10.0.0.11", "Content-Type: application/json\r\n", &of_another).problem(404);
}

#[test]
fn the_document_is_served_and_is_the_one_of_the_repository() {
    let nats = Nats::start();
    let product = start(&nats);
    let document = Web::to(product.mi()).get("/openapi.json").json();
    assert_eq!(document, serde_json::to_value(dfks::mi::openapi::document()).unwrap());
}

#[test]
fn who_has_no_token_is_not_let_in_and_neither_is_a_web_page() {
    let nats = Nats::start();
    let open = start(&nats);
    Web::to(open.mi()).ask("GET", FEATURES, "Origin: http://evil.example\r\n", "").problem(403);
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "s3cret\n").unwrap();
    let product = Setup::on(&nats).with("sip.edge_id", "edge-b").with("mi.http", "127.0.0.1:0");
    let product = product.with("mi.token_file", token.path().to_str().unwrap()).start();
    let mut web = Web::to(product.mi());
    for headers in ["", "Authorization: Bearer wrong1\r\n", "Authorization: Basic s3cret\r\n"] {
        for path in [FEATURES, "/openapi.json", "/v1/nothing"] {
            let answer = web.ask("GET", path, headers, "");
            answer.problem(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    for headers in ["Authorization: Bearer s3cret\r\n", "Authorization: Bearer s3cret\r\nOrigin: http://portal.example\r\n"] {
        assert_eq!(web.ask("GET", FEATURES, headers, "").status, 200);
    }
    assert_eq!(product.metric("dfks_mi_http_requests_total{endpoint=\"other\",outcome=\"denied\"}"), Some(9.0));
}

#[test]
fn without_a_worker_or_nats_it_says_so_at_once_and_goes_on_by_itself() {
    let mut nats = Nats::start();
    let bridge = Setup::on(&nats).role("mi").with("mi.http", "127.0.0.1:0").start();
    let mut web = Web::to(bridge.mi());
    let away = web.get(FEATURES);
    assert_eq!((away.problem(503).contains("no worker answers"), away.header("retry-after")), (true, "1"));
    let not_made = web.put(&format!("{FEATURES}/DND"), &json!({"status": 1})).problem(503);
    assert_eq!(not_made, "no worker answers: the change was not made");
    assert_eq!(web.get("/v1/watchers").problem(503), "no edge answers");

    let _rest = Setup::on(&nats).role("worker").role("edge").start();
    wait_for("a worker answers", || (web.get(FEATURES).status == 200).then_some(()));
    nats.stop();
    let began_at = Instant::now();
    wait_for("the bus is away", || (web.get(FEATURES).status == 503).then_some(()));
    web.put(&format!("{FEATURES}/DND"), &json!({"status": 1})).problem(503);
    assert!(began_at.elapsed() < Duration::from_secs(8));
    nats.restart();
    wait_for("the bus is back", || (web.get(FEATURES).status == 200).then_some(()));
}
