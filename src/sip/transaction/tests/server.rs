use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::runtime::clock;
use crate::sip::request::Request;
use crate::sip::transaction::TransactionKey;

const LATER: Duration = Duration::from_millis(16);

fn request(via: &str, to_tag: &str, from_tag: &str, more: &str) -> Request {
    let text = format!(
        "SUBSCRIBE sip:a@h SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@h>{from_tag}\r\nTo: <sip:a@h>{to_tag}\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\n{more}\r\n"
    );
    Request::from_message(crate::sip::parse(text.as_bytes()).unwrap()).unwrap()
}

fn table(now: Instant) -> (ServerTransactions, TransactionKey) {
    let table = ServerTransactions::new(3, Timers::default(), now);
    let key = table.key(&request("SIP/2.0/UDP h:5060;branch=z9hG4bKa", "", ";tag=f", ""));
    (table, key)
}

const RESPONSE: Bytes = Bytes::from_static(b"SIP/2.0 200 OK");

/// Every state with every input: request, response (UDP, TCP), timer before and after its time.
#[test]
fn every_state_takes_every_input() {
    let now = clock::now();
    let j = Duration::from_secs(32);
    // Trying
    let (mut table, key) = table(now);
    assert_eq!(table.begin(key, now), Begin::New);
    assert_eq!(table.begin(key, now), Begin::Retransmission(None));
    table.handle_timeout(now + Duration::from_millis(31_984));
    assert_eq!(table.begin(key, now), Begin::Retransmission(None));
    // Trying, response over UDP: Completed
    table.complete(key, &RESPONSE, false, now + Duration::from_secs(1));
    assert_eq!(table.begin(key, now), Begin::Retransmission(Some(&RESPONSE)));
    // Completed: a second response changes nothing
    table.complete(key, b"other", false, now + Duration::from_secs(2));
    assert_eq!(table.begin(key, now), Begin::Retransmission(Some(&RESPONSE)));
    // Completed: Timer J runs from the response, not from the request
    table.handle_timeout(now + j + LATER);
    assert_eq!(table.begin(key, now), Begin::Retransmission(Some(&RESPONSE)));
    table.handle_timeout(now + Duration::from_secs(1) + j + LATER);
    assert!(table.is_empty());
    assert_eq!(table.poll_timeout(), None);
    // gone: a response is of no use, a timer neither, a request is a new one
    table.complete(key, &RESPONSE, false, now);
    table.handle_timeout(now + j * 3);
    assert_eq!(table.begin(key, now + j * 3), Begin::New);
}

#[test]
fn trying_is_given_up_when_the_sender_has_given_up() {
    let now = clock::now();
    let (mut table, key) = table(now);
    assert_eq!(table.begin(key, now), Begin::New);
    table.handle_timeout(now + Duration::from_secs(32) + LATER);
    assert!(table.is_empty());
}

#[test]
fn timer_j_is_zero_on_a_reliable_transport() {
    let now = clock::now();
    let (mut table, key) = table(now);
    assert_eq!(table.begin(key, now), Begin::New);
    table.complete(key, &RESPONSE, true, now);
    assert!(table.is_empty());
    // The deadline that the first one left behind does not end the second.
    assert_eq!(table.begin(key, now + Duration::from_secs(20)), Begin::New);
    table.handle_timeout(now + Duration::from_secs(32) + LATER);
    assert_eq!(table.begin(key, now), Begin::Retransmission(None));
    table.handle_timeout(now + Duration::from_secs(52) + LATER);
    assert!(table.is_empty() && table.merges.is_empty());
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn is_bounded() {
    let now = clock::now();
    let (mut table, _) = table(now);
    let mut begin = |branch: u32| {
        let key = table.key(&request(&format!("SIP/2.0/UDP h;branch=z9hG4bK{branch}"), ";tag=t", ";tag=f", ""));
        table.begin(key, now) == Begin::New
    };
    assert_eq!([begin(1), begin(2), begin(3), begin(4), begin(1)], [true, true, true, false, false]);
}

#[test]
fn a_copy_by_another_path_is_merged() {
    let now = clock::now();
    let (mut table, key) = table(now);
    assert_eq!(table.begin(key, now), Begin::New);
    for (name, copy, want) in [
        ("another path", request("SIP/2.0/UDP p;branch=z9hG4bKb, SIP/2.0/UDP h", "", ";tag=f", ""), Begin::Merged),
        ("in a dialog", request("SIP/2.0/UDP h;branch=z9hG4bKc", ";tag=t", ";tag=f", ""), Begin::New),
        ("another sender", request("SIP/2.0/UDP h;branch=z9hG4bKd", "", ";tag=g", ""), Begin::New),
    ] {
        let key = table.key(&copy);
        assert_eq!(table.begin(key, now), want, "{name}");
    }
    // Answered or not, as long as the first is remembered; and not longer.
    table.complete(key, &RESPONSE, false, now);
    let copy = table.key(&request("SIP/2.0/UDP p;branch=z9hG4bKe", "", ";tag=f", ""));
    assert_eq!(table.begin(copy, now), Begin::Merged);
    table.handle_timeout(now + Duration::from_secs(33));
    assert_eq!(table.begin(copy, now), Begin::New);
}

#[test]
fn the_answer_to_a_challenge_is_no_copy_even_with_the_same_cseq() {
    let now = clock::now();
    let (mut table, key) = table(now);
    assert_eq!(table.begin(key, now), Begin::New);
    let again = table.key(&request("SIP/2.0/UDP h;branch=z9hG4bKb", "", ";tag=f", "Authorization: Digest x\r\n"));
    assert_eq!(table.begin(again, now), Begin::New);
}

#[test]
fn the_key_is_branch_sent_by_and_method() {
    let (table, key) = table(clock::now());
    let of = |via: &str| table.key(&request(via, "", ";tag=f", ""));
    assert_eq!(of("SIP/2.0/UDP H:5060;branch=Z9HG4BKA;rport").transaction, key.transaction);
    assert_ne!(of("SIP/2.0/UDP h;branch=z9hG4bKa").transaction, key.transaction);
    assert_ne!(of("SIP/2.0/UDP g:5060;branch=z9hG4bKa").transaction, key.transaction);
    assert_ne!(of("SIP/2.0/UDP h:5060;branch=z9hG4bKb").transaction, key.transaction);
    let other = ServerTransactions::new(1, Timers::default(), clock::now());
    let same = request("SIP/2.0/UDP h:5060;branch=z9hG4bKa", "", ";tag=f", "");
    assert_ne!(other.key(&same).transaction, key.transaction, "each table has its own hash");
}

#[test]
fn without_the_cookie_all_that_a_retransmission_repeats_counts() {
    let (table, _) = table(clock::now());
    let of = |via: &str, from_tag: &str| table.key(&request(via, "", from_tag, "")).transaction;
    for branch in ["", ";branch=1", ";branch=z9hG4bK"] {
        let via = format!("SIP/2.0/UDP h{branch}");
        assert_eq!(of(&via, ";tag=f"), of(&via, ";tag=f"));
        assert_ne!(of(&via, ";tag=f"), of(&via, ";tag=g"));
    }
}

#[test]
fn looking_begins_nothing_and_forgetting_leaves_nothing() {
    let now = clock::now();
    let (mut table, key) = table(now);
    assert_eq!((table.look(key), table.look(key), table.len()), (Begin::New, Begin::New, 0));
    table.begin(key, now);
    assert_eq!(table.look(key), Begin::Retransmission(None));
    let copy = table.key(&request("SIP/2.0/UDP h:5060;branch=z9hG4bKb", "", ";tag=f", ""));
    assert_eq!(table.look(copy), Begin::Merged);
    table.forget(key);
    assert_eq!((table.look(key), table.look(copy), table.len()), (Begin::New, Begin::New, 0));
    table.begin(key, now + Duration::from_secs(20));
    table.handle_timeout(now + Duration::from_secs(33));
    assert_eq!(table.look(key), Begin::Retransmission(None), "the timer of the one that was forgotten is not its own");
}
