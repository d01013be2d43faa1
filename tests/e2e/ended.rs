//! What has ended stays ended, whoever crashes and starts again.

use std::time::Duration;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Product, Setup, Subscribe, dfks_with};

/// The least that the marker of a key lives that was removed or has expired: over that, only what we wrote says that it has ended.
const MARKERS_ARE_OVER: Duration = Duration::from_secs(63);

/// The presentities that somebody watches, as `dfks watchers` says.
fn watched(nats: &Nats) -> Vec<String> {
    let lines = dfks_with(nats, &["watchers", "--json"]).ok();
    let mut watched: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["presentity"].as_str().unwrap().to_owned())
        .collect();
    watched.sort();
    watched
}

fn live(product: &Product) -> Option<f64> {
    let in_state = |state: &str| product.metric(&format!("dfks_edge_subscriptions{{state=\"{state}\"}}"));
    Some(in_state("active")? + in_state("grace")?)
}

/// NATS stops and starts, one phone more comes and goes, and then both NATS and dfks crash.
fn stop_then_crash(nats: &mut Nats, product: &mut Product, phone: &Phone) {
    nats.stop();
    nats.restart();
    wait_for("dfks is connected again", || (product.get("/readyz").0 == 200).then_some(()));
    let mut passer_by = phone.dialog("sip:passer-by@127.0.0.1");
    wait_for("one more phone", || (passer_by.send(&Subscribe::default()).status() == Some(200)).then_some(()));
    passer_by.notify();
    passer_by.unsubscribe();
    wait_for("its end", || (live(product) == Some(1.0)).then_some(()));
    product.kill();
    nats.kill();
    nats.restart();
    product.restart();
}

/// ```text
/// phones: unsubscribed · expired · refreshed for a shorter time, and expired          one stays
/// NATS:   stop, start, crash ── markers of a minute are over ── stop, start, crash
/// ```
#[test]
fn subscriptions_that_have_ended_do_not_come_back_with_a_store_that_crashed() {
    let mut nats = Nats::start();
    let mut product = Setup::on(&nats).with("subscription.min_expires_seconds", 1).with("subscription.grace_seconds", 1).start();
    let phone = Phone::udp(product.udp());
    let for_seconds = |seconds| Subscribe { expires: Some(seconds), ..Subscribe::default() };
    let mut ended: Vec<_> = (0..12).map(|at| phone.dialog(&format!("sip:user{at}@127.0.0.1"))).collect();
    for (at, dialog) in ended.iter_mut().enumerate() {
        let first = if (6..9).contains(&at) { 2 } else { 3600 };
        assert_eq!(dialog.send(&for_seconds(first)).status(), Some(200));
        dialog.notify();
        match at {
            0..6 => dialog.unsubscribe(),
            6..9 => {}
            _ => assert_eq!(dialog.send(&for_seconds(1)).status(), Some(200)),
        }
    }
    let mut living = phone.subscribe(ALICE);
    living.notify();
    wait_for("all others have ended", || (live(&product) == Some(1.0)).then_some(()));
    for wait in [MARKERS_ARE_OVER, Duration::ZERO] {
        stop_then_crash(&mut nats, &mut product, &phone);
        assert_eq!((watched(&nats), live(&product)), (vec![ALICE.to_owned()], Some(1.0)));
        assert_eq!(product.metric("dfks_bus_index_subscriptions"), Some(1.0));
        std::thread::sleep(wait);
    }
    for dialog in &mut ended {
        assert_eq!(dialog.send(&for_seconds(3600)).status(), Some(481));
    }
    living.refresh();
    assert_eq!(watched(&nats), [ALICE]);
}
