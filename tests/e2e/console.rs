//! The console: what a browser is served, who may ask for what, and what is done for whoever may.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Service, Setup};

const TOKEN: &str = "s3cret-of-the-console";

/// What was answered.
#[derive(Debug)]
struct Answered {
    status: u16,
    head: String,
    body: String,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.split(':').next().unwrap().eq_ignore_ascii_case(name))?;
        line.split_once(": ").map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"]["description"].as_str().unwrap_or_default().to_owned())
    }
}

fn send(product: &Product, request: &str, headers: &[&str], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(product.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let headers = headers.iter().fold(String::new(), |all, header| format!("{all}{header}\r\n"));
    write!(stream, "{request} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream
}

fn exchange(product: &Product, request: &str, headers: &[&str], body: &str) -> Answered {
    let mut answer = String::new();
    send(product, request, headers, body).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answered { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
}

/// As a page asks.
fn ask(product: &Product, errand: &str, token: Option<&str>, body: &Value) -> Answered {
    let shown = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut headers = vec!["Host: localhost", "Content-Type: application/json", "Origin: http://localhost", "Sec-Fetch-Site: same-origin"];
    headers.extend(shown.as_deref());
    exchange(product, &format!("POST /api/{errand}"), &headers, &body.to_string())
}

fn start(nats: &Nats) -> Product {
    let token = nats.dir().join("console.token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    Setup::on(nats).with("http.token_file", token.to_str().unwrap()).start()
}

#[test]
fn the_pages_are_built_in_and_a_browser_is_told_to_fetch_nothing_else() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let first = exchange(&product, "GET /", &["Host: 127.0.0.1"], "");
    assert_eq!((first.status, first.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = first.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, want) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")] {
        assert_eq!(first.header(name), Some(want));
    }
    let files: Vec<_> = first.body.split('"').filter(|text| text.starts_with("/console/")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let served = exchange(&product, &format!("GET {file}"), &["Host: localhost"], "");
        assert_eq!(served.status, 200, "{file}");
        let tag = format!("If-None-Match: {}", served.header("etag").unwrap());
        assert_eq!(exchange(&product, &format!("GET {file}"), &["Host: localhost", &tag], "").status, 304, "{file}");
    }
    assert_eq!(exchange(&product, "GET /console/..%2f..%2fetc%2fpasswd", &["Host: localhost"], "").status, 404);
    // a name of somebody else that leads to this machine
    let rebound = exchange(&product, "GET /", &["Host: rebind.example"], "");
    assert_eq!(rebound.status, 403, "{rebound:?}");
    assert_eq!(exchange(&product, "GET /metrics", &["Host: rebind.example"], "").status, 200);
}

#[test]
fn who_may_ask_for_what() {
    let nats = Nats::start();
    let (open, locked) = (Product::start(&nats), start(&nats));
    let why = json!({"presentity": ALICE});
    assert_eq!(ask(&open, "about", None, &json!({})).json()["actions"], false);
    assert_eq!(ask(&locked, "about", None, &json!({})).json()["actions"], true);
    assert_eq!(ask(&open, "why", None, &why).json()["presentity"], ALICE);
    assert_eq!(ask(&locked, "why", None, &why).json()["presentity"], ALICE);
    for errand in ["resync", "end", "set", "unlock"] {
        let (code, text) = ask(&open, errand, Some(TOKEN), &why).refusal();
        assert_eq!((code, text.contains("http.token_file")), (403, true), "{errand}: {text}");
        let none = ask(&locked, errand, None, &why);
        assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")), "{errand}");
        assert_eq!(ask(&locked, errand, Some("s3cret"), &why).status, 401, "{errand}");
    }
    assert_eq!(ask(&locked, "unlock", Some(TOKEN), &json!({})).status, 200);

    let token = format!("Authorization: Bearer {TOKEN}");
    let (host, kind) = ("Host: localhost", "Content-Type: application/json");
    let body = why.to_string();
    for (name, headers, body, want) in [
        ("a page of another origin", vec![host, kind, &token, "Origin: https://evil.example"], &body, 403),
        ("a page of another port", vec![host, kind, &token, "Origin: http://localhost:8080"], &body, 403),
        ("a page of another site", vec![host, kind, &token, "Sec-Fetch-Site: cross-site"], &body, 403),
        ("a name that leads here", vec!["Host: rebind.example", kind, &token], &body, 403),
        ("a form", vec![host, "Content-Type: text/plain", &token], &body, 415),
        ("no type", vec![host, &token], &body, 415),
        ("too much", vec![host, kind, &token], &format!("\"{}\"", "x".repeat(40_000)), 413),
        ("no JSON", vec![host, kind, &token], &"{".to_owned(), 400),
        ("no object", vec![host, kind, &token], &"[]".to_owned(), 400),
    ] {
        assert_eq!(exchange(&locked, "POST /api/resync", &headers, body).status, want, "{name}");
    }
    assert_eq!(ask(&locked, "shutdown", Some(TOKEN), &json!({})).status, 404);
    assert_eq!(exchange(&locked, "GET /api/why", &[host], "").status, 405);
    let (code, text) = ask(&open, "why", None, &json!({"presentity": "alice"})).refusal();
    assert_eq!((code, text.starts_with("Invalid presentity 'alice'")), (400, true), "{text}");
    let denied = locked.metric("dfks_console_requests_total{kind=\"action\",outcome=\"denied\"}").unwrap();
    assert!(denied >= 12.0, "{denied}");
}

/// ```text
/// browser ─ POST /api/set, resync, end ─▶ dfks.set, dfks.resync, dfks.end ─▶ mi ─▶ edge ─▶ phone, event: who
/// ```
#[test]
fn whoever_has_the_token_sets_has_told_anew_and_ends_and_the_event_says_so() {
    let nats = Nats::start();
    let product = start(&nats);
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.shows(4);
    let token = Some(TOKEN);

    let set = ask(&product, "set", token, &json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1, "actor": "mia"})).json();
    assert_eq!((&set["state"]["status"], &set["watchers"]), (&json!(1), &json!(1)));
    dialog.until("DoNotDisturb on");
    let is_ours = |event: &Value| event["actor"].as_str().is_some_and(|actor| actor.starts_with("console mia 127.0.0.1:"));
    let event = events.find("who set it", |event| event.json["feature"] == "DoNotDisturb" && is_ours(&event.json));
    assert_eq!(event.json["cause"], set["cause"], "what is told of it carries its cause");

    let told = ask(&product, "resync", token, &json!({"presentity": ALICE})).json();
    assert_eq!(told["phones"], 1);
    assert_eq!(dialog.shows(4).len(), 4);
    let nameless = |event: &Value| event["actor"].as_str().is_some_and(|actor| actor.starts_with("console 127.0.0.1:"));
    events.find("who asked", |event| event.json["what"] == "resynced" && nameless(&event.json));

    let past = wait_for("what happened", || {
        let past = ask(&product, "past", None, &json!({"presentity": ALICE})).json();
        (past["events"].as_array().unwrap().len() >= 5).then_some(past)
    });
    let times: Vec<_> = past["events"].as_array().unwrap().iter().map(|event| event["time"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted_by(|one, other| one >= other), "{times:?}");

    let ended = ask(&product, "end", token, &json!({"subscription": dialog.subscription(), "reason": "rejected"})).json();
    assert_eq!(ended["presentity"], ALICE);
    wait_for("its end", || (dialog.notify().must("subscription-state") == "terminated;reason=rejected").then_some(()));
    let (code, text) = ask(&product, "end", token, &json!({"subscription": dialog.subscription()})).refusal();
    assert_eq!(code, 404, "{text}");
    assert_eq!(ask(&product, "set", token, &json!({"presentity": ALICE, "feature": "Foo", "status": 1})).refusal().0, 400);
    assert_eq!(ask(&product, "set", token, &json!({"presentity": ALICE, "actor": "x".repeat(65)})).refusal().0, 400);
}

/// The next event of a stream, past its beats.
fn next(lines: &mut impl BufRead) -> Value {
    let mut is_beat = false;
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the stream ended");
        match line.trim_end().split_once(": ") {
            Some(("event", "beat")) => is_beat = true,
            Some(("data", data)) if !is_beat => return serde_json::from_str(data).unwrap(),
            Some(("data", _)) => is_beat = false,
            _ => {}
        }
    }
}

#[test]
fn events_are_followed_by_so_many_pages_and_end_with_the_process() {
    let nats = Nats::start();
    let mut product = Product::start(&nats);
    let service = Service::on(&nats);
    let headers = ["Host: localhost", "Content-Type: application/json"];
    let wanted = json!({"presentity": ALICE, "kinds": ["feature"]}).to_string();
    let mut lines = BufReader::new(send(&product, "POST /api/tail", &headers, &wanted));
    let mut head = String::new();
    while lines.read_line(&mut head).unwrap() > 2 {}
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    wait_for("one page", || (product.metric("dfks_console_tails") == Some(1.0)).then_some(()));
    // the subscription is made once somebody follows
    let event = wait_for("an event", || {
        service.set("sip:bob@127.0.0.1", "DoNotDisturb", 1);
        service.set(ALICE, "DoNotDisturb", 1);
        Some(next(&mut lines))
    });
    assert_eq!((&event["presentity"], &event["type"]), (&json!(ALICE), &json!("io.dfks.event.v1.feature")));

    let all = "{}";
    let mut others: Vec<_> = (0..31).map(|_| send(&product, "POST /api/tail", &headers, all)).collect();
    wait_for("as many as may", || (product.metric("dfks_console_tails") == Some(32.0)).then_some(()));
    assert_eq!(exchange(&product, "POST /api/tail", &headers, all).status, 429);
    assert_eq!(exchange(&product, "POST /api/tail", &headers, r#"{"presentity":"alice"}"#).status, 400);
    others.truncate(3);
    wait_for("those that left", || (product.metric("dfks_console_tails")? < 10.0).then_some(()));
    assert_eq!(product.get("/healthz").0, 200);
    product.stop();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
}
