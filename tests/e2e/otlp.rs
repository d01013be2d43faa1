//! Traces that leave the house: what a collector gets of one change, and what it does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Program, Service, Setup, set_dnd};

const SPAN: &str = "00f067aa0ba902b7";

/// A span as it came, each field checked against the protocol's JSON encoding.
#[derive(Debug, Clone)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    state: String,
    name: String,
    kind: u64,
    began: u64,
    ended: u64,
    is_error: bool,
    service: String,
}

/// An OTLP receiver over HTTP.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), spans: Arc::default() };
        let spans = Arc::clone(&collector.spans);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let spans = Arc::clone(&spans);
                std::thread::spawn(move || while receive(&stream, &spans).is_some() {});
            }
        });
        collector
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn of(&self, trace: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect()
    }

    fn find(&self, what: &str, fits: impl Fn(&Span) -> bool) -> Span {
        wait_for(what, || self.spans.lock().unwrap().iter().find(|span| fits(span)).cloned())
    }
}

/// One request; `None`: the connection is closed.
fn receive(mut stream: &TcpStream, spans: &Mutex<Vec<Span>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut is_json) = (String::new(), 0, false);
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    assert!(line.starts_with("POST /v1/traces HTTP/1.1"), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let (name, value) = line.split_once(':').map_or((line.trim(), ""), |(name, value)| (name, value.trim()));
        match name.to_ascii_lowercase().as_str() {
            "" => break,
            "content-length" => length = value.parse().unwrap(),
            "content-type" => is_json = value == "application/json",
            _ => {}
        }
    }
    assert!(is_json);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    for resource in body["resourceSpans"].as_array().unwrap() {
        let attributes = resource["resource"]["attributes"].as_array().cloned().unwrap_or_default();
        let service = attributes.iter().find(|attribute| attribute["key"] == "service.name");
        let service = service.map(|of| of["value"]["stringValue"].as_str().unwrap().to_owned()).unwrap_or_default();
        for scope in resource["scopeSpans"].as_array().unwrap() {
            spans.lock().unwrap().extend(scope["spans"].as_array().unwrap().iter().map(|span| read(span, &service)));
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").ok()
}

fn read(span: &Value, service: &str) -> Span {
    let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| span[key].as_str().unwrap().parse().unwrap();
    let read = Span {
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        state: text("traceState"),
        name: text("name"),
        kind: span["kind"].as_u64().unwrap(),
        began: number("startTimeUnixNano"),
        ended: number("endTimeUnixNano"),
        is_error: span["status"]["code"] == 2,
        service: service.to_owned(),
    };
    assert!(read.trace.len() == 32 && read.id.len() == 16 && matches!(read.parent.len(), 0 | 16), "{span}");
    assert!(read.began <= read.ended && !read.name.is_empty(), "{span}");
    read
}

/// ```text
/// SUBSCRIBE (edge-a) ─┬─ dfks.route.set ─ set (worker) ─┬─ dfks.responder.set ─ billing (Python) ─ get (worker)
///                     │                                 └─ store ─ tell (mi) ─ job ─ NOTIFY (edge-b)
///                     └─ NOTIFY (edge-a)
/// ```
#[test]
fn one_change_through_a_python_responder_is_one_trace() {
    let (nats, collector) = (Nats::start(), Collector::start());
    let python = Program::python(&nats, "tests/e2e/traced.py", &[&collector.url()]);
    // each role in a process of its own, so that every hop is over the bus
    let start = |role, edge: &str| Setup::on(&nats).role(role).with("sip.edge_id", edge).with("trace.otlp", collector.url()).start();
    let (_worker, _mi, near, other) = (start("worker", "w"), start("mi", "m"), start("edge", "edge-a"), start("edge", "edge-b"));
    let (phone, elsewhere) = (Phone::tcp(near.tcp()), Phone::tcp(other.tcp()));
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let mut far = elsewhere.subscribe(ALICE);
    far.notify();
    dialog.press(set_dnd(true));
    far.until("DoNotDisturb on");
    dialog.until("DoNotDisturb on");

    let own = collector.find("the responder's span", |span| span.name == "billing");
    let all = wait_for("all spans", || {
        let spans = collector.of(&own.trace);
        let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
        (count("NOTIFY") == 2 && count("SUBSCRIBE") == 1 && count("tell") == 1 && count("dfks.route.set") == 1).then_some(spans)
    });
    let named = |name: &str| -> Vec<&Span> { all.iter().filter(|span| span.name == name).collect() };
    let one = |name: &str| -> &Span {
        let found = named(name);
        assert_eq!(found.len(), 1, "{name}: {all:#?}");
        found[0]
    };
    let responder = "dfks.responder.set.<domain>.<Feature>";
    let chain = ["SUBSCRIBE", "dfks.route.set", "set", responder, "billing", "get"];
    assert_eq!(one("SUBSCRIBE").parent, "", "a phone begins the trace");
    for pair in chain.windows(2) {
        assert_eq!(one(pair[1]).parent, one(pair[0]).id, "{} is part of {}: {all:#?}", pair[1], pair[0]);
        assert!(one(pair[0]).began <= one(pair[1]).began, "{} begins before {}", pair[0], pair[1]);
    }
    assert_eq!(one("store").parent, one("set").id);
    assert_eq!(one("tell").parent, one("store").id);
    assert_eq!(one("job").parent, one("tell").id, "edge-a has nobody else to tell");
    let notified = |parent: &Span| {
        let notify = named("NOTIFY").into_iter().find(|span| span.parent == parent.id).unwrap_or_else(|| panic!("{all:#?}"));
        assert_eq!((notify.service.as_str(), notify.is_error, notify.kind), ("dfks-edge", false, 3));
        notify.began
    };
    let (near_at, far_at) = (notified(one("SUBSCRIBE")), notified(one("job")));
    assert!(one("store").began <= near_at && one("tell").began <= far_at + 1_000_000, "{all:#?}");
    // every span has its parent in the trace, and nobody calls a failure what is none
    for span in &all {
        assert!(span.parent.is_empty() || all.iter().any(|other| other.id == span.parent), "{span:?} is part of nothing");
    }
    let kinds = [("SUBSCRIBE", 2), ("dfks.route.set", 3), ("set", 2), ("store", 4), ("tell", 5), (responder, 3)];
    for (name, kind) in kinds {
        assert_eq!((one(name).kind, one(name).is_error), (kind, false), "{name}");
    }
    for (name, service) in [("SUBSCRIBE", "dfks-edge"), ("set", "dfks-worker"), ("tell", "dfks-mi")] {
        assert_eq!(one(name).service, service);
    }
    drop(python);
}

/// ```text
/// dfks.set, traceparent …-00 ─▶ nothing      …-01, tracestate ─▶ spans below the caller's
/// ```
#[test]
fn a_caller_that_is_not_sampled_is_not_recorded() {
    let (nats, collector) = (Nats::start(), Collector::start());
    let service = Service::on(&nats);
    let product = Setup::on(&nats).with("trace.otlp", collector.url()).start();
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let wiretap = service.wiretap(&["dfks.event.notify.>"]);
    for (at, flags) in ["00", "01"].into_iter().enumerate() {
        let id = format!("4bf92f3577b34da6a3ce929d0e0e473{at}");
        let trace = [("traceparent", format!("00-{id}-{SPAN}-{flags}")), ("tracestate", "vendor=opaque".to_owned())];
        let reply = service.ask_with("dfks.set", &trace, &json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1 - at}));
        assert!(reply.get("traceparent").unwrap().as_str().starts_with(&format!("00-{id}-{SPAN}-{flags}")), "{reply:?}");
        wiretap.find("the NOTIFY's event", |taken| taken.trace_id() == Some(&id));
    }
    let told = collector.find("the NOTIFY", |span| span.name == "NOTIFY" && span.trace.ends_with('1') && span.state == "vendor=opaque");
    let command = collector.find("the command", |span| span.name == "command" && span.trace == told.trace);
    assert_eq!((command.parent.as_str(), command.state.as_str(), command.kind), (SPAN, "vendor=opaque", 2));
    assert_eq!(collector.of("4bf92f3577b34da6a3ce929d0e0e4730").len(), 0, "what its caller does not record is not recorded");
}

#[test]
fn a_share_is_recorded_and_nothing_by_default() {
    let (nats, collector) = (Nats::start(), Collector::start());
    let service = Service::on(&nats);
    let silent = Setup::on(&nats).with("trace.otlp", collector.url()).with("trace.sample", 0.0).start();
    let wiretap = service.wiretap(&["dfks.event.notify.>"]);
    let phone = Phone::tcp(silent.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let subscription = dialog.subscription();
    let told = wiretap.find("the NOTIFY's event", |taken| taken.json["subscription"] == subscription.as_str());
    assert!(told.headers.get("traceparent").unwrap().as_str().ends_with("-00"), "{:?}", told.headers);
    // what others record is recorded all the same
    let id = "4bf92f3577b34da6a3ce929d0e0e4739";
    let trace = [("traceparent", format!("00-{id}-{SPAN}-01"))];
    service.ask_with("dfks.set", &trace, &json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1}));
    collector.find("the command", |span| span.trace == id);
    assert!(collector.spans.lock().unwrap().iter().all(|span| span.trace == id));
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let nats = Nats::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut product: Product = Setup::on(&nats).with("trace.otlp", format!("http://{nobody}")).start();
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    dialog.until("DoNotDisturb on");
    let dropped = "dfks_trace_spans_dropped_total{reason=\"not_taken\"}";
    wait_for("spans that are dropped", || product.metric(dropped).filter(|count| *count > 0.0));
    assert_eq!(product.metric("dfks_trace_spans_dropped_total{reason=\"queue_full\"}"), Some(0.0));
    let asked_at = Instant::now();
    product.stop();
    assert!(asked_at.elapsed() < Duration::from_secs(8), "{:?}", asked_at.elapsed());
    assert_eq!(product.log().matches("traces are not exported").count(), 1, "{}", product.log());
}
