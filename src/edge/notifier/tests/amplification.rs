//! No amplification: who has not proven who it is makes us send to itself alone, whatever address it names.

use crate::config::AuthMode;
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::rate_limit::RateLimitConfig;
use crate::edge::notifier::tests::auth_fixture::digest_config;
use crate::edge::notifier::tests::auth_fixture::edge;
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::*;
use crate::edge::subscription::destination::Destination;

/// Every place of a request where an address stands, with a third one in it.
fn requests() -> Vec<String> {
    let plain = subscribe("third", 1, None, "", "");
    let via = plain.lines().find(|line| line.starts_with("Via: ")).unwrap();
    let mut requests = vec![plain.clone()];
    for (old, new) in [
        (via, "Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bKt1"),
        (via, "Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bKt2;rport"),
        (via, "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKt3;maddr=203.0.113.5"),
        (via, "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKt4;received=203.0.113.5;rport=5060"),
        (via, "Via: SIP/2.0/TCP 203.0.113.5;branch=z9hG4bKt5"),
        (via, "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKt6, SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKx"),
        ("Event:", "Record-Route: <sip:203.0.113.5;lr>\nEvent:"),
        ("Event:", "Route: <sip:203.0.113.5;lr>\nEvent:"),
        ("Contact: ", "Contact: <sip:x@203.0.113.5>\nX-Old: "),
        ("SUBSCRIBE sip:alice@10.0.0.11 ", "SUBSCRIBE sip:alice@203.0.113.5 "),
        ("Event:", "Expires: soon\nEvent:"),
        ("Max-Forwards: 70", "Max-Forwards: 0"),
    ] {
        assert!(plain.contains(old) || old.starts_with("Max"), "{old} in {plain}");
        requests.push(plain.replace(old, new));
    }
    let others: Vec<_> = ["OPTIONS", "INVITE", "NOTIFY", "REGISTER"]
        .iter()
        .flat_map(|method| requests.iter().map(|text| text.replace("SUBSCRIBE", method)).collect::<Vec<_>>())
        .collect();
    requests.extend(others);
    requests
}

fn check(mode: &str, mut bench: Bench) {
    let source = bench.flow.peer.ip();
    let mut answers = 0;
    for text in requests() {
        bench.packet(&text);
        // A responder that is asked for a password knows nobody; time goes by.
        bench.pass(Duration::from_secs(40));
        for (to, message) in bench.sent.drain(..) {
            let Destination::Flow(flow) = &to else { panic!("{mode}: {message:?} to {to:?} for\n{text}") };
            assert_eq!(flow.peer.ip(), source, "{mode}: {message:?} for\n{text}");
            answers += 1;
        }
    }
    assert!(answers > 20, "{mode}: {answers} answers");
    assert!(bench.notifier.registry.is_empty(), "{mode}");
}

#[test]
fn who_has_no_password_makes_us_send_to_nobody_else() {
    check("digest", edge(digest_config()));
    let trusted = AuthPolicy { mode: AuthMode::Trusted, ..AuthPolicy::open() };
    check("trusted", Bench::new(EdgeConfig { auth: trusted, ..config() }));
    let limited = RateLimitConfig { per_second: 1, ..RateLimitConfig::off() };
    check("digest, over the rate limit", edge(EdgeConfig { rate_limit: limited, ..digest_config() }));
}
