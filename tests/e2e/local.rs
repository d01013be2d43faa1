//! The worker of the own process is asked in memory, others over NATS: what follows is the same.

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{ALICE, Phone, Product, Service, Setup, set_dnd};

const LOCAL_GETS: &str = "dfks_worker_local_requests_total{kind=\"get\"}";
const LOCAL_SETS: &str = "dfks_worker_local_requests_total{kind=\"set\"}";

fn published(product: &Product, subject: &str) -> f64 {
    product.metric(&format!("dfks_bus_published_total{{subject=\"{subject}\"}}")).unwrap()
}

/// A phone subscribes and presses a key, a service sets and asks.
fn use_it(service: &Service, product: &Product) {
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    dialog.until("DoNotDisturb on");
    assert_eq!(service.set(ALICE, "DoNotDisturb", 0)["state"]["version"], 2);
    dialog.until("DoNotDisturb off");
    assert_eq!(service.state(ALICE, "DoNotDisturb")["version"], 2, "dfks.get is served over NATS all the same");
    dialog.unsubscribe();
}

/// ```text
/// phone ─▶ edge ─in memory─▶ worker ◀─in memory─ mi bridge ◀─dfks.set─ service
///                              ▲────────────────dfks.get───────────────┘
/// ```
#[test]
fn a_worker_of_the_same_process_is_asked_in_memory() {
    let nats = Nats::start();
    let (service, product) = (Service::on(&nats), Setup::on(&nats).with("run.local", "auto").start());
    use_it(&service, &product);
    assert!(product.metric(LOCAL_GETS).unwrap() >= 1.0 && product.metric(LOCAL_SETS) == Some(2.0));
    assert_eq!((published(&product, "dfks.get"), published(&product, "dfks.route.set")), (0.0, 0.0));
    let asked = product.metric("dfks_bus_request_duration_seconds_count{subject=\"dfks.route.set\",outcome=\"ok\"}");
    assert_eq!(asked, Some(2.0), "who asks counts the same");
    let worker = service.ask("$SRV.STATS.dfks-worker", &json!({}));
    let sets = worker["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == "route_set").unwrap();
    assert_eq!(sets["num_requests"], 2);
    // one connection for all roles
    let metrics = product.get("/metrics").1;
    assert!(metrics.lines().any(|line| line == "dfks_bus_connected 1"), "{metrics}");
}

#[test]
fn where_it_is_off_everything_goes_over_nats() {
    let nats = Nats::start();
    let (service, product) = (Service::on(&nats), Setup::on(&nats).with("run.local", "off").start());
    use_it(&service, &product);
    assert_eq!((product.metric(LOCAL_GETS), product.metric(LOCAL_SETS)), (Some(0.0), Some(0.0)));
    assert!(published(&product, "dfks.get") >= 1.0);
    assert!(published(&product, "dfks.route.set") >= 2.0);
}

/// ```text
/// edge + mi ── dfks.get, dfks.route.set ──▶ worker of another process
/// ```
#[test]
fn without_a_worker_in_the_process_others_are_asked() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let product = Setup::on(&nats).role("edge").role("mi").start();
    let worker = Setup::on(&nats).role("worker").start();
    use_it(&service, &product);
    assert!(published(&product, "dfks.get") >= 1.0);
    assert_eq!((worker.metric(LOCAL_GETS), worker.metric(LOCAL_SETS)), (Some(0.0), Some(0.0)));
}

/// ```text
/// service ─ dfks.set, traceparent …-00, tracestate ─▶ mi ─in memory─▶ worker ─▶ responder: the same trace, flags and state
/// ```
#[test]
fn a_request_in_memory_belongs_to_its_trace() {
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let nats = Nats::start();
    let service = Service::on(&nats);
    let wiretap = service.wiretap(&["dfks.responder.set.>"]);
    service.respond("dfks.responder.*.*.DoNotDisturb", |_| Some(json!({})));
    let product = Setup::on(&nats).with("run.local", "auto").start();
    let trace = [("traceparent", format!("00-{ID}-00f067aa0ba902b7-00")), ("tracestate", "vendor=opaque".to_owned())];
    service.ask_with("dfks.set", &trace, &json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1}));
    let asked = wiretap.find("the responder's request", |taken| taken.trace_id() == Some(ID));
    let header = |name: &str| asked.headers.get(name).unwrap().as_str();
    assert!(header("traceparent").ends_with("-00") && header("tracestate") == "vendor=opaque", "{:?}", asked.headers);
    assert_eq!(product.metric(LOCAL_SETS), Some(1.0));
}

/// ```text
/// edge + worker + mi ─(its worker has stopped with the process)      worker of another process answers who is left
/// ```
#[test]
fn a_process_that_stops_leaves_nothing_unanswered() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let mut product = Setup::on(&nats).with("run.local", "auto").start();
    let other = Setup::on(&nats).role("worker").start();
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dialog.press(set_dnd(true));
    product.stop();
    dialog.until("DoNotDisturb on");
    wait_for("the change", || (service.state(ALICE, "DoNotDisturb")["status"] == 1).then_some(()));
    assert_eq!(other.metric(LOCAL_GETS), Some(0.0));
}
