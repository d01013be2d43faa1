//! SIGTERM while there is work in hand.

use std::time::Duration;

use serde_json::Value;

use crate::common::Nats;
use crate::harness::{Answer, Phone, Product, Subscribe, dfks_with, set_dnd};
use crate::{ALICE, ALL_OFF};

const PHONES: usize = 60;

/// ```text
/// 60 phones ──SUBSCRIBE──▶ dfks ◀── SIGTERM      each is answered; what was granted is stored; exit 0
/// ```
#[test]
fn a_busy_process_finishes_what_is_in_hand_and_keeps_the_subscriptions() {
    let nats = Nats::start();
    let mut product = Product::start(&nats);
    let phone = Phone::udp(product.udp());
    // slow phones: NOTIFYs are in flight for a while
    phone.answers(|_| {
        std::thread::sleep(Duration::from_millis(2));
        Answer::Status(200, "")
    });
    let branches: Vec<_> = (0..PHONES)
        .map(|at| {
            let (request, branch) = phone.dialog(&format!("sip:user{at}@127.0.0.1")).request(&Subscribe::default());
            phone.send(request.as_bytes());
            branch
        })
        .collect();
    phone.responses(&branches[PHONES / 2], 1);
    product.terminate();
    let granted = branches.iter().filter(|branch| {
        let response = phone.responses(branch, 1).remove(0);
        match response.status() {
            Some(200) => true,
            Some(503) => response.header("retry-after").is_some_and(|_| false),
            other => panic!("{other:?}: {}", response.start),
        }
    });
    let granted = granted.count();
    assert!(granted > PHONES / 2, "{granted}");
    let ended = product.ended();
    assert_eq!(ended.code(), Some(0), "{}", product.log());
    let lines = product.log_lines();
    assert!(lines.iter().any(|line| line["message"] == "stopped"), "{}", product.log());
    assert!(lines.iter().all(|line: &Value| line["level"] == "INFO"), "{}", product.log());

    product.restart();
    let stored = dfks_with(&nats, &["watchers", "--json"]).ok().lines().count();
    assert_eq!(stored, granted, "each that got its 200, and no other");
    product.stop();
}

/// ```text
/// alice's phones ──SUBSCRIBE, a key──▶ dfks ──NOTIFY──▶ nobody answers      dfks ✗ kill -9, or SIGTERM
/// alice's phones ◀──NOTIFY── dfks, started again                           carol's phone had answered: it hears nothing
/// ```
#[test]
fn what_phones_were_not_told_when_the_process_ended_is_told_by_the_next() {
    for is_killed in [true, false] {
        let nats = Nats::start();
        let mut product = Product::start(&nats);
        let (well, silent) = (Phone::udp(product.udp()), Phone::udp(product.udp()));
        let mut carol = well.subscribe("sip:carol@127.0.0.1");
        assert_eq!(carol.shows(4), ALL_OFF);
        let mut second = silent.subscribe(ALICE);
        assert_eq!(second.shows(4), ALL_OFF);
        // what carol's phone has confirmed is stored
        std::thread::sleep(Duration::from_millis(500));
        silent.answers(|_| Answer::Silence);
        let mut first = silent.subscribe(ALICE);
        first.press(set_dnd(true));
        first.notify();
        second.until("DoNotDisturb on");
        let before = (first.last_cseq(), second.last_cseq());
        if is_killed {
            product.kill();
        } else {
            product.terminate();
            assert_eq!(product.ended().code(), Some(0), "{}", product.log());
        }
        silent.answers(|_| Answer::Status(200, ""));
        product.restart();
        for (dialog, cseq) in [(&mut first, before.0), (&mut second, before.1)] {
            let told = std::iter::repeat_with(|| dialog.notify_within(Duration::from_secs(10))).find(|notify| notify.cseq() > cseq + 100);
            assert_eq!(told.unwrap().shows(), ["DoNotDisturb on"], "killed: {is_killed}");
        }
        assert_eq!(carol.notify_count(), 4, "killed: {is_killed}");
        product.stop();
    }
}
