//! SUBSCRIBE and NOTIFY on real sockets, where the transport or the phone decides.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Phone, Product, Service, Setup, Subscribe, set_dnd};
use crate::{ALICE, ALL_OFF};

#[test]
fn over_udp_the_full_state_comes_one_feature_after_the_other_below_the_limit() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    for (at, feature) in ALL_OFF.into_iter().enumerate() {
        let notify = dialog.notify();
        assert_eq!((notify.shows(), notify.cseq()), (vec![feature.to_owned()], u32::try_from(at).unwrap() + 1));
        assert!(notify.raw.len() <= 1300, "{} bytes", notify.raw.len());
    }
}

#[test]
fn over_tcp_the_full_state_comes_as_one_flat_multipart() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let phone = Phone::tcp(product.tcp());
    let notify = phone.subscribe(ALICE).notify();
    assert!(notify.must("content-type").starts_with("multipart/mixed;"));
    assert_eq!(notify.shows(), ALL_OFF);
    assert_eq!(product.metric("dfks_edge_connections{transport=\"tcp\"}"), Some(1.0));
}

/// What a phone sends again has no second effect; what it does not answer is sent again.
#[test]
fn retransmissions_both_ways() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let phone = Phone::udp(product.udp());
    let mut seen = 0;
    phone.answers(move |_| {
        seen += 1;
        if seen == 1 { Answer::Silence } else { Answer::Status(200, "") }
    });
    let mut dialog = phone.dialog(ALICE);
    let (request, branch) = dialog.request(&Subscribe::default());
    phone.send(request.as_bytes());
    phone.responses(&branch, 1);
    phone.send(request.as_bytes());
    let responses = phone.responses(&branch, 2);
    assert_eq!(responses[0].status(), Some(200));
    assert_eq!(responses[0].raw, responses[1].raw);
    let first = dialog.notify();
    dialog.shows(3);
    assert_eq!((phone.copies(&first), dialog.notify_count()), (2, 4), "Timer E");
    assert_eq!(product.metric("dfks_edge_retransmissions_total{direction=\"in\"}"), Some(1.0));
    assert_eq!(product.metric("dfks_edge_retransmissions_total{direction=\"out\"}"), Some(1.0));
    assert_eq!(product.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(1.0));
}

#[test]
fn refresh_fetch_unsubscribe_and_what_is_refused() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let expires = |seconds| Subscribe { expires: Some(seconds), ..Subscribe::default() };
    let long = dialog.send(&expires(1_000_000));
    assert_eq!((long.status(), long.must("expires")), (Some(200), "7200"));
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    let brief = phone.dialog(ALICE).send(&expires(10));
    assert_eq!((brief.status(), brief.must("min-expires")), (Some(423), "60"));
    let bad = dialog.send(&Subscribe { body: "<SetDoNotDisturb>".to_owned(), ..Subscribe::default() });
    assert_eq!(bad.status(), Some(400));
    assert!(bad.header("warning").is_some());
    assert!(!dialog.notify().body.is_empty(), "the real state after a refusal in a dialog");

    let mut fetch = phone.dialog(ALICE);
    assert_eq!(fetch.send(&expires(0)).must("expires"), "0");
    let notify = fetch.notify();
    assert_eq!((notify.must("subscription-state"), notify.shows()), ("terminated;reason=timeout", ALL_OFF.map(str::to_owned).to_vec()));

    dialog.unsubscribe();
    assert_eq!(dialog.notify().must("subscription-state"), "terminated;reason=timeout");
    assert_eq!(dialog.send(&Subscribe::default()).status(), Some(481), "it is over");
    assert_eq!(product.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(0.0));
}

/// A phone that has no such dialog says 481: nothing more is sent, and its record goes.
#[test]
fn a_notify_that_is_answered_481_ends_the_subscription() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.subscription.>"]);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    phone.answers(|_| Answer::Status(481, ""));
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1);
    dialog.notify();
    let event = events.find("the end", |event| event.json["what"] == "terminated");
    assert_eq!(event.json["reason"], "rejected");
    wait_for("nobody watches", || (service.set(ALICE, "DoNotDisturb", 0)["watchers"] == 0).then_some(()));
    assert_eq!(dialog.notify_count(), 2);
}

/// Any response with Retry-After is tried again then; what changed meanwhile goes in its place.
#[test]
fn a_notify_that_is_put_off_comes_again_with_the_newest_state() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let mut is_first = true;
    phone.answers(move |_| if std::mem::take(&mut is_first) { Answer::Status(503, "Retry-After: 1\r\n") } else { Answer::Status(200, "") });
    service.set(ALICE, "DoNotDisturb", 1);
    assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    let put_off_at = Instant::now();
    service.set(ALICE, "DoNotDisturb", 0);
    let notify = dialog.notify();
    assert_eq!(notify.shows(), ["DoNotDisturb off"]);
    assert!(put_off_at.elapsed() > Duration::from_millis(700), "{:?}", put_off_at.elapsed());
    dialog.press(set_dnd(true));
    assert_eq!(dialog.notify().cseq(), notify.cseq() + 1);
}

/// Expiry: it lives on for the grace period, then one last NOTIFY ends it.
#[test]
fn a_subscription_that_is_not_refreshed_ends_after_its_grace() {
    let nats = Nats::start();
    let setup = Setup::on(&nats).with("subscription.min_expires_seconds", 1).with("subscription.grace_seconds", 1);
    let product = setup.start();
    let service = Service::on(&nats);
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.dialog(ALICE);
    assert_eq!(dialog.send(&Subscribe { expires: Some(1), ..Subscribe::default() }).status(), Some(200));
    dialog.notify();
    wait_for("grace", || (product.metric("dfks_edge_subscriptions{state=\"grace\"}") == Some(1.0)).then_some(()));
    service.set(ALICE, "DoNotDisturb", 1);
    let notify = dialog.notify();
    assert_eq!((notify.must("subscription-state"), notify.shows()), ("active;expires=0", vec!["DoNotDisturb on".to_owned()]));
    let last = dialog.notify();
    assert_eq!((last.must("subscription-state"), last.body.as_str()), ("terminated;reason=timeout", ""));
    // its record is removed while the NOTIFY is on its way
    wait_for("nobody watches", || (service.set(ALICE, "DoNotDisturb", 0)["watchers"] == json!(0)).then_some(()));
}

/// ```text
/// phone ──TCP──▶ edge ✗ connection gone     dfks.set: waits     phone ──TCP, refresh in the dialog──▶ edge: told
/// ```
#[test]
fn what_a_phone_without_a_connection_missed_it_is_told_when_it_is_back() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let service = Service::on(&nats);
    let sent = |outcome: &str| product.metric(&format!("dfks_notify_sent_total{{transport=\"tcp\",outcome=\"{outcome}\"}}"));
    let gone = Phone::tcp(product.tcp());
    let mut dialog = gone.subscribe(ALICE);
    dialog.notify();
    wait_for("the 200 of the phone", || (sent("delivered") == Some(1.0)).then_some(()));
    let back = Phone::tcp(product.tcp());
    let (mut again, last_cseq) = (dialog.at(&back), dialog.last_cseq());
    drop(gone);
    let connections = || product.metric("dfks_edge_connections{transport=\"tcp\"}");
    wait_for("the connection to be gone", || (connections() == Some(1.0)).then_some(()));
    assert_eq!(service.set(ALICE, "DoNotDisturb", 1)["watchers"], 1, "the subscription lives on");
    wait_for("nobody listens at the Contact either", || (sent("no_connection") == Some(1.0)).then_some(()));
    assert_eq!(connections(), Some(1.0), "one that never stood is none that is gone");

    again.refresh();
    let notify = again.until("DoNotDisturb on");
    assert!(notify.cseq() > last_cseq, "{} after {last_cseq}", notify.cseq());
    again.press(set_dnd(false));
    again.until("DoNotDisturb off");
    assert_eq!(product.metric("dfks_edge_subscriptions{state=\"active\"}"), Some(1.0));
}

/// ```text
/// phone ◀──NOTIFY── edge ✗ connection gone before the 200     phone ──TCP, refresh in the dialog──▶ edge: told at once
/// ```
#[test]
fn a_notify_that_was_lost_with_its_connection_holds_up_nothing_on_the_next() {
    let nats = Nats::start();
    let product = Product::start(&nats);
    let gone = Phone::tcp(product.tcp());
    gone.answers(|_| Answer::Silence);
    let mut dialog = gone.subscribe(ALICE);
    dialog.notify();
    let back = Phone::tcp(product.tcp());
    let mut again = dialog.at(&back);
    drop(gone);
    let refreshed_at = Instant::now();
    again.refresh();
    assert_eq!(again.notify().shows(), ALL_OFF);
    again.press(set_dnd(true));
    // what was lost may have come by itself, before what the refresh asked for
    again.until("DoNotDisturb on");
    again.unsubscribe();
    assert_eq!(again.notify().must("subscription-state"), "terminated;reason=timeout");
    assert!(refreshed_at.elapsed() < Duration::from_secs(2), "not after Timer F: {:?}", refreshed_at.elapsed());
}
