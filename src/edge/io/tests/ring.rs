//! Tests of the ring: what is kept of whom, and what goes first.

use super::*;

const AT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 5060));

fn id(number: u8) -> SubscriptionId {
    format!("{number:024x}").parse().unwrap()
}

fn pass(ring: &mut Ring, is_ours: bool, packet: &str) {
    ring.pass(is_ours, packet.as_bytes(), |packet| Passed {
        at: SystemTime::UNIX_EPOCH,
        is_ours,
        transport: Transport::Udp,
        local: AT,
        peer: AT,
        packet,
    });
}

fn message(start: &str, call: &str, (from, to): (&str, &str), cseq: &str) -> String {
    format!("{start}\r\nf: \"x;tag=no\" <sip:a@h;tag=no>{from}\r\nTo: <sip:a@h>{to}\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\n\r\n")
}

fn subscribe(call: &str) -> String {
    message("SUBSCRIBE sip:a@h SIP/2.0", call, (";tag=p", ""), "1 SUBSCRIBE")
}

fn answer(status: &str, call: &str, to: &str) -> String {
    message(&format!("SIP/2.0 {status}"), call, (";tag=p", &format!(";tag={to}")), "1 SUBSCRIBE")
}

fn notify(id: SubscriptionId, cseq: u32) -> String {
    message("NOTIFY sip:p@h SIP/2.0", "c1", (&format!(";tag={id}"), ";tag=p"), &format!("{cseq} NOTIFY"))
}

fn starts(ring: &Ring, of: SubscriptionId) -> Vec<String> {
    let first = |passed: Passed| String::from_utf8_lossy(&passed.packet).lines().next().unwrap().to_owned();
    ring.of(of).map(first).collect()
}

#[test]
fn a_subscription_has_its_messages_from_the_first_one_on() {
    let mut ring = Ring::new(16, 1 << 20).unwrap();
    pass(&mut ring, false, &subscribe("c1"));
    pass(&mut ring, true, &answer("401 Unauthorized", "c1", "stateless"));
    pass(&mut ring, false, &subscribe("c1"));
    pass(&mut ring, false, &subscribe("c2"));
    assert!(starts(&ring, id(1)).is_empty(), "nobody knows yet what comes of it");
    pass(&mut ring, true, &answer("200 OK", "c1", &id(1).to_string()));
    pass(&mut ring, true, &notify(id(1), 1));
    let told = message("SIP/2.0 200 OK", "c1", (&format!(";tag={}", id(1)), ";tag=p"), "1 NOTIFY");
    pass(&mut ring, false, &told);
    pass(&mut ring, false, &message("SUBSCRIBE sip:a@h SIP/2.0", "c1", (";tag=p", &format!(";TAG={}", id(1))), "2 SUBSCRIBE"));
    pass(&mut ring, false, "\r\n\r\n");
    let want = [
        "SUBSCRIBE sip:a@h SIP/2.0",
        "SUBSCRIBE sip:a@h SIP/2.0",
        "SIP/2.0 200 OK",
        "NOTIFY sip:p@h SIP/2.0",
        "SIP/2.0 200 OK",
        "SUBSCRIBE sip:a@h SIP/2.0",
    ];
    assert_eq!(starts(&ring, id(1)), want);
    assert_eq!(ring.waiting.len(), 1, "the one of c2");
}

#[test]
fn nothing_is_kept_of_whoever_has_no_subscription() {
    let mut ring = Ring::new(16, 1 << 20).unwrap();
    for status in ["401 Unauthorized", "403 Forbidden", "503 Service Unavailable"] {
        pass(&mut ring, false, &subscribe("c1"));
        pass(&mut ring, true, &answer(status, "c1", &id(1).to_string()));
    }
    let options = message("SIP/2.0 200 OK", "c1", (";tag=p", &format!(";tag={}", id(1))), "1 OPTIONS");
    pass(&mut ring, true, &options);
    pass(&mut ring, false, &message("SIP/2.0 200 OK", "c1", (&format!(";tag={}", id(1)), ""), "1 NOTIFY"));
    assert!(ring.kept.is_empty() && ring.of.is_empty() && ring.bytes == 0);
    for number in 0..2000 {
        pass(&mut ring, false, &subscribe(&format!("flood{number}")));
    }
    assert_eq!(ring.waiting.len(), MAX_WAITING);
    for _ in 0..64 {
        pass(&mut ring, false, &format!("{}{}", subscribe("big"), "x".repeat(60_000)));
    }
    assert!(ring.waiting_bytes <= MAX_WAITING_BYTES && ring.waiting.len() < 20);
}

#[test]
fn the_oldest_goes_first_of_its_own_and_of_all() {
    let mut ring = Ring::new(3, 4 * (ENTRY_BYTES + notify(id(1), 1).len()) + 10).unwrap();
    for cseq in 1..=5 {
        pass(&mut ring, true, &notify(id(1), cseq));
    }
    assert_eq!(ring.of(id(1)).count(), 3);
    assert!(ring.of(id(1)).next().is_some_and(|oldest| String::from_utf8_lossy(&oldest.packet).contains("CSeq: 3 ")));
    pass(&mut ring, true, &notify(id(2), 6));
    pass(&mut ring, true, &notify(id(2), 7));
    assert_eq!((ring.of(id(1)).count(), ring.of(id(2)).count()), (2, 2), "four in all");
    for cseq in 1..=9 {
        pass(&mut ring, true, &notify(id(3), cseq));
        assert!(ring.bytes <= ring.max_bytes, "{}", ring.bytes);
    }
    assert_eq!((ring.of(id(1)).count(), ring.of(id(3)).count()), (0, 3));
    assert!(ring.of.len() <= 2, "of whom nothing is kept nothing is known: {:?}", ring.of);
    pass(&mut ring, true, &format!("{}{}", notify(id(4), 1), "x".repeat(9000)));
    assert!(ring.kept.is_empty() && ring.of.is_empty() && ring.bytes == 0, "larger than all of it");
}

#[test]
fn a_subscription_that_talks_without_end_does_not_grow_what_is_kept() {
    let mut ring = Ring::new(2, 100_000).unwrap();
    pass(&mut ring, true, &notify(id(1), 1));
    for cseq in 1..10_000 {
        pass(&mut ring, true, &notify(id(2), cseq));
        assert!(ring.bytes <= 100_000 && ring.kept.len() * ENTRY_BYTES <= 100_000);
    }
    assert!(Ring::new(0, 1).is_none() && Ring::new(1, 0).is_none());
}

#[test]
fn what_is_shown_has_stars_where_it_would_prove_who_somebody_is() {
    let mut ring = Ring::new(16, 1 << 20).unwrap();
    let secret = |message: String, what: &str| message.replace("\r\nCSeq", &format!("\r\n{what}\r\nCSeq"));
    pass(&mut ring, false, &secret(subscribe("c1"), "Authorization: Digest response=\"d1\""));
    pass(&mut ring, true, &answer("200 OK", "c1", &id(1).to_string()));
    pass(&mut ring, true, &format!("{}<pin>4711</pin>", notify(id(1), 1)));
    let shown: Vec<_> = ring.of(id(1)).map(|passed| String::from_utf8(passed.packet.into()).unwrap()).collect();
    assert!(shown[0].contains("Authorization: ****** *************\r\n") && shown[2].ends_with("<pin>****</pin>"), "{shown:?}");
}
