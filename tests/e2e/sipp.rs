//! Another implementation of SIP on the other end: sipp.

use std::process::{Command, Stdio};

use crate::common::Nats;
use crate::harness::Product;

const CALLS: &str = "200";

/// ```text
/// sipp ──SUBSCRIBE──▶ 200, 4 × NOTIFY ──SUBSCRIBE, Expires: 0──▶ 200, NOTIFY terminated      200 calls, 50 a second
/// ```
#[test]
fn sipp_subscribes_is_notified_and_unsubscribes_without_a_failed_call() {
    if Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: sipp is not there (Debian: sip-tester)");
        return;
    }
    let nats = Nats::start();
    let mut product = Product::start(&nats);
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/sipp/phone.xml");
    let server = product.udp().to_string();
    let mut command = Command::new("sipp");
    command.args([server.as_str(), "-sf", scenario, "-i", "127.0.0.1", "-t", "u1", "-m", CALLS, "-r", "50"]);
    // its own default loses datagrams as soon as it has to wait for the processor, and takes a lost one for a failed call
    command.args(["-buff_size", "4000000"]);
    command.args(["-timeout", "60", "-timeout_error", "-nostdin", "-trace_err", "-error_file", "errors.log"]);
    let done = command.current_dir(product.dir()).env("TERM", "dumb").stdin(Stdio::null()).output().unwrap();
    let errors = std::fs::read_to_string(product.dir().join("errors.log")).unwrap_or_default();
    assert_eq!(done.status.code(), Some(0), "{}\n{errors}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(product.metric("dfks_edge_requests_total{method=\"SUBSCRIBE\",transport=\"udp\",code=\"200\"}"), Some(400.0));
    assert_eq!(product.metric("dfks_notify_sent_total{transport=\"udp\",outcome=\"delivered\"}"), Some(1000.0));
    assert_eq!(product.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(0.0));
    product.stop();
}
