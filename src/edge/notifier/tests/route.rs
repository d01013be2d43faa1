//! Digests that are checked against what a responder says.

use std::time::Duration;

use crate::bus::message::{AuthResponse, ErrorBody, ErrorReply, Kind};
use crate::edge::notifier::tests::auth_fixture::authorization;
use crate::edge::notifier::tests::auth_fixture::challenge;
use crate::edge::notifier::tests::auth_fixture::digest_config;
use crate::edge::notifier::tests::auth_fixture::expect_challenge;
use crate::edge::notifier::tests::auth_fixture::ha1;
use crate::edge::notifier::tests::auth_fixture::is_kept;
use crate::edge::notifier::tests::auth_fixture::right;
use crate::edge::notifier::tests::auth_fixture::{REALM, URI};
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::*;
use crate::sip::digest::{Algorithm, Ha1};
use crate::sip::name::Name;

/// The next bus request, which must be for an HA1.
fn asked_for(bench: &mut Bench) -> (Token, String) {
    let (token, request) = bench.asked.pop_front().expect("a question");
    let BusRequest::Auth { presentity, request } = request else { panic!("{request:?}") };
    assert_eq!((presentity.as_str(), &*request.username, &*request.realm), (URI, "alice", REALM));
    (token, request.algorithm)
}

fn answer(bench: &mut Bench, password: &str) {
    let (token, algorithm) = asked_for(bench);
    let ha1 = Ha1::of_password(Algorithm::parse(&algorithm).unwrap(), "alice", REALM, password).as_hex().to_owned();
    bench.message(token, &AuthResponse { kind: Kind::default(), ha1 });
}

fn answer_error(bench: &mut Bench, code: u16) {
    let (token, _) = asked_for(bench);
    bench.message(token, &ErrorReply { error: ErrorBody { code, description: "no".into(), field: None } });
}

/// ```text
/// phone ── SUBSCRIBE, digest ──▶ edge ── dfks.responder.auth.<domain> ──▶ responder
///                                     ◀───────────── ha1 ────────────────
///       ◀── 200 ──────────────        (for a minute it is not asked again)
/// ```
#[test]
fn without_a_users_file_a_responder_is_asked_and_what_it_says_is_kept_for_a_while() {
    let mut bench = Bench::new(digest_config());
    let asked = challenge(&mut bench, "a");
    assert_eq!(asked.algorithms, ["SHA-256", "MD5"]);
    let header = |count| authorization("alice", &asked.nonce, URI, &ha1("alice", Algorithm::Sha256), count);
    let request = subscribe("a", 2, None, &header(1), "");
    bench.packet(&request);
    bench.packet(&request);
    assert_eq!((bench.asked.len(), bench.sent.len()), (1, 0), "a retransmission waits for the same answer");
    answer(&mut bench, "secret");
    bench.ack_store();
    bench.expect_response(200);
    bench.asked.clear();

    bench.packet(&subscribe("b", 1, None, &header(2), ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.asked.clear();

    bench.sent.clear();
    bench.pass(Duration::from_secs(61));
    bench.asked.clear();
    bench.sent.clear();
    bench.packet(&subscribe("c", 1, None, &header(3), ""));
    answer(&mut bench, "secret");
}

#[test]
fn a_responder_decides_as_the_users_file_does() {
    let good = |nonce: &str| right(nonce, 1);
    let wrong = |nonce: &str| authorization("alice", nonce, URI, &Ha1::of_password(Algorithm::Md5, "alice", REALM, "guess"), 1);
    let cases: [(&str, Option<u16>, bool, u16); 6] = [
        ("right", None, true, 200),
        ("wrong", None, false, 401),
        ("unknown", Some(404), true, 401),
        ("broken", Some(500), true, 503),
        ("nobody", Some(0), true, 503),
        ("late", Some(1), true, 503),
    ];
    for (name, error, is_right, want) in cases {
        let mut bench = Bench::new(digest_config());
        let nonce = challenge(&mut bench, "a").nonce;
        let request = subscribe("a", 2, None, &if is_right { good(&nonce) } else { wrong(&nonce) }, "");
        bench.packet(&request);
        match error {
            None => answer(&mut bench, "secret"),
            Some(0) => {
                let (token, _) = asked_for(&mut bench);
                bench.raw(
                    token,
                    ReplyMessage { status: Some(503), sequence: None, is_deleted: false, removed_over: None, payload: bytes::Bytes::new() },
                );
            }
            Some(1) => {
                bench.asked.clear();
                bench.pass(Duration::from_millis(1100));
            }
            Some(code) => answer_error(&mut bench, code),
        }
        match want {
            200 => {
                bench.ack_store();
                bench.expect_response(200);
            }
            401 => {
                assert!(!expect_challenge(&mut bench).is_stale, "{name}");
                assert_eq!(is_kept(&bench), 0, "{name}");
                bench.packet(&request);
                expect_challenge(&mut bench);
                assert!(bench.is_quiet(), "{name}: not asked a second time");
            }
            _ => {
                assert!(bench.expect_response(want).header(Name::RetryAfter).is_some(), "{name}");
                bench.packet(&request);
                bench.expect_response(want);
                assert!(bench.is_quiet(), "{name}: a retransmission gets the same");
            }
        }
        assert_eq!(*bench.notifier.requests.auth_waits_mut(), 0, "{name}");
    }
}

#[test]
fn an_answer_that_is_no_hash_is_no_answer() {
    for ha1 in ["", "secret", &"0".repeat(64)] {
        let mut bench = Bench::new(digest_config());
        let nonce = challenge(&mut bench, "a").nonce;
        bench.packet(&subscribe("a", 2, None, &right(&nonce, 1), ""));
        let (token, _) = asked_for(&mut bench);
        bench.message(token, &AuthResponse { kind: Kind::default(), ha1: ha1.into() });
        bench.expect_response(503);
    }
}

#[test]
fn a_changed_password_is_learnt_and_guessing_is_not_passed_on_at_once() {
    let mut bench = Bench::new(digest_config());
    let nonce = challenge(&mut bench, "a").nonce;
    bench.packet(&subscribe("a", 2, None, &right(&nonce, 1), ""));
    answer(&mut bench, "secret");
    bench.ack_store();
    bench.expect_response(200);
    bench.asked.clear();
    let new = Ha1::of_password(Algorithm::Md5, "alice", REALM, "new");
    bench.packet(&subscribe("b", 1, None, &authorization("alice", &nonce, URI, &new, 2), ""));
    expect_challenge(&mut bench);
    assert!(bench.asked.is_empty(), "known a moment ago");
    bench.pass(Duration::from_secs(6));
    bench.asked.clear();
    bench.sent.clear();
    bench.packet(&subscribe("c", 1, None, &authorization("alice", &nonce, URI, &new, 3), ""));
    answer(&mut bench, "new");
    bench.ack_store();
    bench.expect_response(200);
}

#[test]
fn nothing_is_asked_while_the_bus_is_away_or_too_much_is_asked_already() {
    let mut bench = Bench::new(digest_config());
    let nonce = challenge(&mut bench, "a").nonce;
    *bench.notifier.requests.auth_waits_mut() = usize::MAX;
    bench.packet(&subscribe("b", 1, None, &right(&nonce, 1), ""));
    bench.expect_response(503);
    *bench.notifier.requests.auth_waits_mut() = 0;
    bench.input(Input::Bus { is_up: false });
    bench.packet(&subscribe("c", 1, None, &right(&nonce, 1), ""));
    assert!(bench.expect_response(503).header(Name::RetryAfter).is_some());
    bench.packet(&subscribe("d", 1, None, "", ""));
    expect_challenge(&mut bench);
    assert!(bench.is_quiet() && is_kept(&bench) == 0);
}
