//! What a phone with a password does on the test bench.

use std::fmt::Write;

use crate::config::AuthMode;
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::users::Users;
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::*;
use crate::sip::digest::{Algorithm, Credentials, Ha1};
use crate::sip::name::Name;

pub(in crate::edge::notifier) const REALM: &str = "10.0.0.11";
pub(in crate::edge::notifier) const URI: &str = "sip:alice@10.0.0.11";

pub(in crate::edge::notifier) fn ha1(username: &str, algorithm: Algorithm) -> Ha1 {
    Ha1::of_password(algorithm, username, REALM, "secret")
}

pub(in crate::edge::notifier) fn users(algorithms: &[Algorithm]) -> Arc<Users> {
    let mut text = String::new();
    for username in ["alice", "alice@10.0.0.11", "mallory"] {
        for algorithm in algorithms {
            writeln!(text, "{username}:{REALM}:{}:{}", ha1(username, *algorithm).as_hex(), algorithm.as_str()).unwrap();
        }
    }
    Arc::new(Users::parse(&text).unwrap())
}

pub(in crate::edge::notifier) fn digest_config() -> EdgeConfig {
    EdgeConfig {
        auth: AuthPolicy { mode: AuthMode::Digest, trusted: vec!["198.51.100.0/24".parse().unwrap()], ..AuthPolicy::open() },
        ..config()
    }
}

/// An edge with a users file.
pub(in crate::edge::notifier) fn edge(config: EdgeConfig) -> Bench {
    let mut bench = Bench::new(config);
    bench.input(Input::Users(users(&[Algorithm::Md5])));
    bench
}

/// Lets the next packets come from a trusted proxy.
pub(in crate::edge::notifier) fn through_proxy(bench: &mut Bench) {
    bench.flow.peer = "198.51.100.7:5060".parse().unwrap();
}

/// A challenge, as a phone reads it.
#[derive(Debug)]
pub(in crate::edge::notifier) struct Asked {
    pub nonce: String,
    pub algorithms: Vec<String>,
    pub is_stale: bool,
}

/// The next message sent, which must be a 401.
pub(in crate::edge::notifier) fn expect_challenge(bench: &mut Bench) -> Asked {
    let response = bench.expect_response(401);
    let lines: Vec<_> = response.lines(Name::WwwAuthenticate).collect();
    assert!(!lines.is_empty(), "a 401 always has a challenge");
    let param = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}="))?.1;
        Some(rest.trim_start_matches('"').split(['"', ',']).next().unwrap_or_default().to_owned())
    };
    for line in &lines {
        assert!(line.starts_with("Digest ") && line.contains("qop=\"auth\""), "{line}");
        assert_eq!(param(line, "realm").as_deref(), Some(REALM));
    }
    Asked {
        nonce: param(lines[0], "nonce").unwrap(),
        algorithms: lines.iter().filter_map(|line| param(line, "algorithm")).collect(),
        is_stale: lines.iter().all(|line| param(line, "stale").as_deref() == Some("true")),
    }
}

pub(in crate::edge::notifier) fn challenge(bench: &mut Bench, call: &str) -> Asked {
    bench.packet(&subscribe(call, 1, None, "", ""));
    expect_challenge(bench)
}

pub(in crate::edge::notifier) fn authorization(username: &str, nonce: &str, uri: &str, ha1: &Ha1, count: u32) -> String {
    format!("Authorization: {}\n", Credentials::answer((username, REALM), nonce, "SUBSCRIBE", uri, ha1, Some((count, "c"))))
}

pub(in crate::edge::notifier) fn right(nonce: &str, count: u32) -> String {
    authorization("alice", nonce, URI, &ha1("alice", Algorithm::Md5), count)
}

pub(in crate::edge::notifier) fn is_kept(bench: &Bench) -> usize {
    bench.notifier.responses.len()
}
