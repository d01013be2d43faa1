//! Metrics from the start, and a log that names nobody.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::common::Nats;
use crate::harness::{Phone, Product, Service, Setup, Subscribe, set_dnd};

/// The names that README documents.
const METRICS: [&str; 25] = [
    "dfks_edge_requests_total",
    "dfks_edge_request_duration_seconds",
    "dfks_edge_subscriptions",
    "dfks_edge_retransmissions_total",
    "dfks_edge_dropped_total",
    "dfks_edge_connections",
    "dfks_bus_published_total",
    "dfks_bus_request_duration_seconds",
    "dfks_bus_connected",
    "dfks_bus_reconnects_total",
    "dfks_worker_requests_total",
    "dfks_worker_request_duration_seconds",
    "dfks_worker_responder_requests_total",
    "dfks_worker_responder_duration_seconds",
    "dfks_worker_script_duration_seconds",
    "dfks_mi_commands_total",
    "dfks_mi_command_duration_seconds",
    "dfks_mi_jobs_total",
    "dfks_notify_jobs_total",
    "dfks_notify_sent_total",
    "dfks_notify_duration_seconds",
    "dfks_notify_delivery_seconds",
    "dfks_notify_in_flight",
    "dfks_build_info",
    "dfks_bus_request_duration_seconds",
];

/// The values of a metric's series; of a histogram its counts.
fn values(text: &str, name: &str) -> Vec<(String, f64)> {
    let is_series = |line: &&str| {
        let rest = line.strip_prefix(name).map(|rest| rest.strip_prefix("_count").unwrap_or(rest));
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    text.lines()
        .filter(is_series)
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Names in a text: `dfks_edge_requests_total`.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| ["edge", "bus", "worker", "mi", "notify", "build"].iter().any(|stage| word.starts_with(&format!("dfks_{stage}_"))))
        .collect()
}

#[test]
fn every_metric_is_there_from_the_start_with_0() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let text = product.get("/metrics").1;
    for name in METRICS {
        let found = values(&text, name);
        assert!(!found.is_empty(), "{name} in\n{text}");
        let is_quiet = !["dfks_build_info", "dfks_bus_connected"].contains(&name) && !name.starts_with("dfks_bus_");
        assert!(!is_quiet || found.iter().all(|(_, value)| *value == 0.0), "{found:?}");
    }
    assert_eq!(product.metric("dfks_bus_connected"), Some(1.0));
    for series in [
        "dfks_edge_requests_total{method=\"SUBSCRIBE\",transport=\"udp\",code=\"200\"}",
        "dfks_edge_requests_total{method=\"OPTIONS\",transport=\"tcp\",code=\"405\"}",
        "dfks_edge_subscriptions{state=\"grace\"}",
        "dfks_worker_requests_total{kind=\"set\",outcome=\"ok\"}",
        "dfks_bus_published_total{subject=\"dfks.responder.get.<domain>.<Feature>\"}",
        "dfks_notify_delivery_seconds_bucket{le=\"0.1\"}",
    ] {
        assert_eq!(product.metric(series), Some(0.0), "{series} in\n{text}");
    }
    assert!(!text.contains("quantile="), "histograms have buckets");
    for role in ["edge", "worker", "mi"] {
        let series = format!("dfks_build_info{{version=\"{}\",role=\"{role}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(product.metric(&series), Some(1.0), "{series}");
    }
    let ends = ["_bucket", "_sum", "_count"];
    let served: BTreeSet<_> =
        names(&text).into_iter().map(|name| ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)).collect();
    for document in ["README.md", "ARCHITECTURE.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let unknown: Vec<_> = names(&text).into_iter().filter(|name| !served.contains(name)).collect();
        assert!(unknown.is_empty(), "{document} names {unknown:?}");
    }
}

#[test]
fn nobody_is_named_in_a_metric_or_in_the_log_at_info() {
    const SECRETIVE: &str = "sip:secretive@vip.example";
    let nats = Nats::start();
    let script = r#"fn dfks_set(dfks) { if dfks.feature == "CallForwardingAlways" { throw "no"; } }"#;
    let product = Setup::on(&nats).script(script).start();
    let service = Service::on(&nats);
    service.respond("dfks.responder.set.*.CallForwardingBusy", |_| Some(json!("secretive")));
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(SECRETIVE);
    dialog.notify();
    dialog.press(set_dnd(true));
    dialog.notify();
    for feature in ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "secretive"] {
        service.set(SECRETIVE, feature, 1);
    }
    service.ask("dfks.get", &json!({"presentity": "secretive"}));
    service.ask_raw("dfks.set", "secretive");
    dialog.send(&Subscribe { body: "<secretive".to_owned(), ..Subscribe::default() });
    phone.dialog("mailto:secretive").send(&Subscribe::default());
    phone.send(b"SUBSCRIBE sip:secretive SIP/9\r\n\r\n");
    dialog.unsubscribe();
    for (what, text) in [("/metrics", product.get("/metrics").1), ("log", product.log())] {
        assert!(!text.contains("secretive") && !text.contains("vip.example"), "{what}: {text}");
    }
    assert!(product.metric("dfks_worker_requests_total{kind=\"set\",outcome=\"ok\"}") > Some(0.0));
}
