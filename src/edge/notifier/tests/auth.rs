//! Who may subscribe, in every mode, and what a refusal leaves behind.

use std::time::Duration;

use crate::config::AuthMode;
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::users::Users;
use crate::edge::notifier::tests::auth_fixture::authorization;
use crate::edge::notifier::tests::auth_fixture::challenge;
use crate::edge::notifier::tests::auth_fixture::digest_config;
use crate::edge::notifier::tests::auth_fixture::edge;
use crate::edge::notifier::tests::auth_fixture::expect_challenge;
use crate::edge::notifier::tests::auth_fixture::ha1;
use crate::edge::notifier::tests::auth_fixture::is_kept;
use crate::edge::notifier::tests::auth_fixture::right;
use crate::edge::notifier::tests::auth_fixture::through_proxy;
use crate::edge::notifier::tests::auth_fixture::users;
use crate::edge::notifier::tests::auth_fixture::{REALM, URI};
use crate::edge::notifier::tests::fixture;
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::*;
use crate::sip::digest::{Algorithm, Credentials, Ha1};
use crate::sip::name::Name;

/// ```text
/// phone ── SUBSCRIBE ──▶ edge
///       ◀── 401 ───────            nothing is kept
///       ── SUBSCRIBE, digest ──▶ edge ── store ──▶ bus
///       ◀── 200 ───────
/// ```
#[test]
fn a_phone_is_challenged_and_its_digest_makes_it_the_watcher() {
    let mut bench = edge(digest_config());
    let asked = challenge(&mut bench, "a");
    assert!(!asked.is_stale && bench.is_quiet() && is_kept(&bench) == 0 && bench.notifier.registry.is_empty());
    let request = subscribe("a", 2, None, &right(&asked.nonce, 1), "").replace("From: <sip:alice@", "From: <sip:president@");
    bench.packet(&request);
    let Some((_, BusRequest::Store { record, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    assert_eq!((&*record.watcher, &*record.presentity), ("sip:alice@10.0.0.11", URI));
    bench.packet(&request);
    assert!(bench.sent.is_empty(), "a retransmission waits; its digest is no replay");
    bench.ack_store();
    bench.expect_response(200);
    bench.packet(&request);
    bench.expect_response(200);
}

#[test]
fn a_challenge_is_fresh_each_time_and_its_answer_the_same_transaction() {
    let mut bench = edge(digest_config());
    let request = subscribe("a", 1, None, "", "");
    let mut tags = Vec::new();
    let mut nonces = Vec::new();
    for _ in 0..3 {
        bench.packet(&request);
        tags.push(fixture::to_tag(&bench.sent[0].1));
        nonces.push(expect_challenge(&mut bench).nonce);
    }
    assert!(tags.iter().all(|tag| *tag == tags[0]));
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2]);
    assert_eq!(is_kept(&bench), 0);
}

/// Every kind of digest in every mode and from both kinds of source, outside a dialog.
#[test]
fn every_mode_source_and_digest_has_its_answer() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Digest {
        None,
        Basic,
        Good,
        WithDomain,
        Wrong,
        UnknownUser,
        OtherUser,
        OtherRealm,
        OtherUri,
        MadeUpNonce,
        MadeUpNonceWrong,
        Old,
        Replayed,
        NotOffered,
    }
    const CASES: [(Digest, u16, bool); 14] = [
        (Digest::None, 401, false),
        (Digest::Basic, 401, false),
        (Digest::Good, 200, false),
        (Digest::WithDomain, 200, false),
        (Digest::Wrong, 401, false),
        (Digest::UnknownUser, 401, false),
        (Digest::OtherUser, 403, false),
        (Digest::OtherRealm, 401, false),
        (Digest::OtherUri, 400, false),
        (Digest::MadeUpNonce, 401, true),
        (Digest::MadeUpNonceWrong, 401, false),
        (Digest::Old, 401, true),
        (Digest::Replayed, 401, true),
        (Digest::NotOffered, 401, false),
    ];
    for mode in [AuthMode::None, AuthMode::Digest, AuthMode::Trusted] {
        for is_trusted in [false, true] {
            for (digest, of_digest, is_stale) in CASES {
                let name = format!("{mode:?}, trusted {is_trusted}, {digest:?}");
                let auth = AuthPolicy { mode, ..digest_config().auth };
                let mut bench = edge(EdgeConfig { auth, ..config() });
                let nonce = bench.notifier.gate.issue(bench.now.at);
                if digest == Digest::Old {
                    bench.pass(Duration::from_mins(61));
                }
                let alice = ha1("alice", Algorithm::Md5);
                let header = match digest {
                    Digest::None => String::new(),
                    Digest::Basic => "Authorization: Basic YWxpY2U6c2VjcmV0\n".to_owned(),
                    Digest::Good | Digest::Old | Digest::Replayed => right(&nonce, 1),
                    Digest::WithDomain => authorization("alice@10.0.0.11", &nonce, URI, &ha1("alice@10.0.0.11", Algorithm::Md5), 1),
                    Digest::Wrong => authorization("alice", &nonce, URI, &Ha1::of_password(Algorithm::Md5, "alice", REALM, "guess"), 1),
                    Digest::UnknownUser => authorization("nobody", &nonce, URI, &ha1("nobody", Algorithm::Md5), 1),
                    Digest::OtherUser => authorization("mallory", &nonce, URI, &ha1("mallory", Algorithm::Md5), 1),
                    Digest::OtherRealm => right(&nonce, 1).replace(REALM, "elsewhere"),
                    Digest::OtherUri => authorization("alice", &nonce, "sip:bob@10.0.0.11", &alice, 1),
                    Digest::MadeUpNonce => right("0123", 1),
                    Digest::MadeUpNonceWrong => right("0123", 1).replace("nonce=\"0123\"", "nonce=\"4567\""),
                    Digest::NotOffered => authorization("alice", &nonce, URI, &ha1("alice", Algorithm::Sha256), 1),
                };
                if digest == Digest::Replayed && mode == AuthMode::Digest && !is_trusted {
                    bench.packet(&subscribe("before", 1, None, &header, ""));
                    bench.ack_store();
                    bench.expect_response(200);
                    bench.asked.clear();
                }
                if is_trusted {
                    through_proxy(&mut bench);
                }
                let kept_before = is_kept(&bench);
                bench.packet(&subscribe("a", 1, None, &header, ""));
                let want = match (mode, is_trusted) {
                    (AuthMode::None, _) | (_, true) => 200,
                    (AuthMode::Trusted, false) => 403,
                    (AuthMode::Digest, false) => of_digest,
                };
                match want {
                    200 => {
                        bench.ack_store();
                        bench.expect_response(200);
                    }
                    401 => assert_eq!(expect_challenge(&mut bench).is_stale, is_stale, "{name}"),
                    _ => {
                        let refused = bench.expect_response(want);
                        assert_eq!(refused.header(Name::RetryAfter).is_some(), want == 403, "{name}");
                        assert!(refused.header(Name::Warning).is_some(), "{name}");
                    }
                }
                if want != 200 {
                    assert!(bench.is_quiet(), "{name}");
                    // A user who has shown who it is gets an answer that is kept.
                    let is_stateful = mode == AuthMode::Digest && digest == Digest::OtherUser;
                    assert_eq!(is_kept(&bench) - kept_before, usize::from(is_stateful), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_count_goes_on_and_one_that_was_overtaken_is_no_replay() {
    let mut bench = edge(EdgeConfig { max_subscriptions_per_presentity: 32, ..digest_config() });
    let nonce = challenge(&mut bench, "a").nonce;
    for (call, count, want) in [("b", 1, true), ("c", 5, true), ("d", 3, true), ("e", 3, false), ("f", 5, false), ("g", 6, true)] {
        bench.packet(&subscribe(call, 1, None, &right(&nonce, count), ""));
        if want {
            bench.ack_store();
            bench.expect_response(200);
            bench.asked.clear();
        } else {
            assert!(expect_challenge(&mut bench).is_stale && bench.is_quiet(), "{call}");
        }
    }
}

#[test]
fn a_phone_of_before_qop_uses_each_nonce_once() {
    let mut bench = edge(digest_config());
    let nonce = challenge(&mut bench, "a").nonce;
    let unproven = format!("Digest username=\"alice\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{URI}\", response=\"0\"");
    let proof = Credentials::parse(&unproven).unwrap().right_response("SUBSCRIBE", &ha1("alice", Algorithm::Md5));
    let header = format!("Authorization: {}\n", unproven.replace("\"0\"", &format!("\"{proof}\"")));
    bench.packet(&subscribe("b", 1, None, &header, ""));
    bench.ack_store();
    bench.expect_response(200);
    bench.asked.clear();
    bench.packet(&subscribe("c", 1, None, &header, ""));
    assert!(expect_challenge(&mut bench).is_stale);
}

#[test]
fn each_algorithm_in_use_is_offered_and_taken() {
    for (algorithms, want) in [
        (&[Algorithm::Md5][..], &["MD5"][..]),
        (&[Algorithm::Md5, Algorithm::Sha256], &["SHA-256", "MD5"]),
        (&Algorithm::STRONGEST_FIRST, &["SHA-512-256", "SHA-256", "MD5"]),
    ] {
        for algorithm in algorithms {
            let mut bench = Bench::new(digest_config());
            bench.input(Input::Users(users(algorithms)));
            let asked = challenge(&mut bench, "a");
            assert_eq!(asked.algorithms, want);
            bench.packet(&subscribe("a", 2, None, &authorization("alice", &asked.nonce, URI, &ha1("alice", *algorithm), 1), ""));
            bench.ack_store();
            bench.expect_response(200);
        }
    }
}

#[test]
fn the_users_of_a_changed_file_count_at_once() {
    let mut bench = edge(digest_config());
    let nonce = challenge(&mut bench, "a").nonce;
    bench.input(Input::Users(Arc::new(Users::default())));
    bench.packet(&subscribe("b", 1, None, &right(&nonce, 1), ""));
    assert!(!expect_challenge(&mut bench).is_stale);
    bench.input(Input::Users(users(&[Algorithm::Md5])));
    bench.packet(&subscribe("c", 1, None, &right(&nonce, 2), ""));
    bench.ack_store();
    bench.expect_response(200);
}

#[test]
fn another_users_presentity_is_had_where_the_configuration_says_so() {
    let mut bench = edge(EdgeConfig { auth: AuthPolicy { allow_other_presentities: true, ..digest_config().auth }, ..config() });
    let nonce = challenge(&mut bench, "a").nonce;
    bench.packet(&subscribe("b", 1, None, &authorization("mallory", &nonce, URI, &ha1("mallory", Algorithm::Md5), 1), ""));
    let Some((_, BusRequest::Store { record, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    assert_eq!((&*record.watcher, &*record.presentity), ("sip:mallory@10.0.0.11", URI));
}

/// Alice's dialog, held here, and a request in it with or without a digest.
#[test]
fn a_dialog_is_its_own_users() {
    for (name, user, count, want) in [
        ("no digest", None, 0, 401),
        ("its user", Some("alice"), 2, 200),
        ("its user, the count used", Some("alice"), 1, 401),
        ("another user", Some("mallory"), 2, 403),
    ] {
        let mut bench = edge(digest_config());
        let nonce = challenge(&mut bench, "a").nonce;
        bench.packet(&subscribe("a", 2, None, &right(&nonce, 1), ""));
        bench.ack_store();
        let tag = fixture::to_tag(&bench.expect_response(200));
        bench.answer_get(Vec::new());
        bench.sent.clear();
        let header = user.map(|user| authorization(user, &nonce, "sip:192.0.2.1:5060", &ha1(user, Algorithm::Md5), count));
        let request = subscribe("a", 3, Some(&tag), &header.unwrap_or_default(), &set_dnd(true));
        bench.packet(&request.replace("SUBSCRIBE sip:alice@10.0.0.11 SIP", "SUBSCRIBE sip:192.0.2.1:5060 SIP"));
        if want == 200 {
            bench.ack_store();
            bench.expect_response(200);
            assert!(matches!(bench.asked.front(), Some((_, BusRequest::RouteSet(_)))), "{name}");
            continue;
        }
        bench.expect_response(want);
        assert!(bench.is_quiet(), "{name}: nothing is changed");
        let request = subscribe("a", 3, Some(&tag), &right(&nonce, 9), "");
        bench.packet(&request.replace("bKa3", "bKanother"));
        bench.ack_store();
        bench.expect_response(200);
    }
}

#[test]
fn a_dialog_of_another_edge_is_its_own_users_too() {
    let mut first = edge(digest_config());
    let nonce = challenge(&mut first, "a").nonce;
    first.packet(&subscribe("a", 2, None, &right(&nonce, 1), ""));
    let Some((_, BusRequest::Store { id, record, .. })) = first.asked.pop_front() else { panic!("a store") };
    let value = serde_json::to_vec(&record).unwrap();
    for (user, want) in [("alice", 200), ("mallory", 403)] {
        let mut other = edge(EdgeConfig { edge_id: "edge-1".into(), ..digest_config() });
        other.packet(&subscribe("a", 3, Some(&id.to_string()), &right(&nonce, 2), ""));
        let asked = expect_challenge(&mut other);
        assert!(asked.is_stale && other.asked.is_empty(), "the nonce is the first edge's; nothing is looked up before");
        let header = authorization(user, &asked.nonce, URI, &ha1(user, Algorithm::Md5), 1);
        other.packet(&subscribe("a", 4, Some(&id.to_string()), &header, ""));
        let (token, request) = other.asked.pop_front().unwrap();
        assert!(matches!(request, BusRequest::Lookup { .. }));
        other.raw(
            token,
            ReplyMessage { status: None, sequence: Some(7), is_deleted: false, removed_over: None, payload: value.clone().into() },
        );
        if want == 200 {
            other.ack_store();
        }
        other.expect_response(want);
        assert_eq!(other.notifier.registry.len(), usize::from(want == 200));
    }
}

#[test]
fn what_changes_nothing_needs_no_digest_and_leaves_nothing_behind() {
    let mut bench = edge(digest_config());
    bench.packet(&subscribe("o", 1, None, "", "").replace("SUBSCRIBE", "OPTIONS"));
    bench.expect_response(200);
    bench.packet(&subscribe("p", 1, None, "", "").replace("SUBSCRIBE", "PUBLISH"));
    bench.expect_response(405);
    bench.packet(&subscribe("m", 1, None, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    bench.expect_response(483);
    bench.packet(&subscribe("u", 2, Some("nonsense"), "", ""));
    bench.expect_response(481);
    assert!(bench.is_quiet() && is_kept(&bench) == 0);
}
