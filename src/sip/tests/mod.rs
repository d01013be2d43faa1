//! Odd but valid, and invalid messages of our own writing, in the spirit of RFC 4475: what each is taken for.

mod address;
mod digest;
mod hop;
mod invalid;
mod line;
mod number;
mod stream;
mod valid;

use std::hint::black_box;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::request::Request;
use super::response::to_message;
use super::{Response, parse};

/// Odd but valid: name, message, what is asked of it, and the answer.
type Case = (&'static str, Vec<u8>, fn(&Request) -> String, &'static str);
/// Invalid: name, message, and `dropped` or the status line of the answer.
type Invalid = (&'static str, Vec<u8>, &'static str);
/// Valid, but for one field that is refused where it is used: name, message, what is asked of it, and how it is refused.
type Unusable = Case;

fn odd_but_valid() -> Vec<Case> {
    [valid::cases(), line::valid(), hop::valid(), address::valid(), number::valid(), digest::valid()].concat()
}

fn invalid() -> Vec<Invalid> {
    [invalid::cases(), line::invalid(), hop::invalid(), address::invalid(), number::invalid()].concat()
}

fn unusable() -> Vec<Unusable> {
    [address::unusable(), number::unusable(), digest::unusable()].concat()
}

#[test]
fn every_odd_but_valid_message_is_understood_and_answered_strictly() {
    for (name, packet, ask, want) in odd_but_valid() {
        let message = parse(&packet).unwrap_or_else(|error| panic!("{name}: {error}"));
        let request = Request::from_message(message).unwrap_or_else(|bad| panic!("{name}: {}", bad.reason));
        assert_eq!(ask(&request), want, "{name}");
        let response = super::response::response(&request, 200, source()).finish();
        assert!(is_strict(&response), "{name}: {}", String::from_utf8_lossy(&response));
    }
}

#[test]
fn every_invalid_message_gets_its_answer_or_none() {
    for (name, packet, want) in invalid() {
        assert_eq!(verdict(&packet), want, "{name}");
        let Err(error) = parse(&packet) else { continue };
        let answer = error.answerable().and_then(|message| to_message(message, error.status(), error.reason(), source()));
        assert!(answer.is_none_or(|answer| is_strict(&answer.finish())), "{name}");
    }
}

#[test]
fn every_field_that_cannot_be_used_says_so() {
    for (name, packet, ask, want) in unusable() {
        let request = Request::from_message(parse(&packet).unwrap()).unwrap_or_else(|bad| panic!("{name}: {}", bad.reason));
        assert_eq!(ask(&request), want, "{name}");
    }
}

/// The corpora are as large as they are said to be, and no message stands in them twice.
#[test]
fn there_are_a_hundred_of_each() {
    let distinct = |packets: Vec<Vec<u8>>| packets.into_iter().collect::<std::collections::BTreeSet<_>>().len();
    let valid: Vec<_> = odd_but_valid().into_iter().map(|case| case.1).collect();
    let invalid: Vec<_> = invalid().into_iter().map(|case| case.1).chain(unusable().into_iter().map(|case| case.1)).collect();
    assert_eq!(distinct(valid.clone()), valid.len(), "a valid message twice");
    assert_eq!(distinct(invalid.clone()), invalid.len(), "an invalid message twice");
    assert!(valid.len() >= 100 && invalid.len() >= 100, "{} valid, {} invalid", valid.len(), invalid.len());
}

const MANDATORY: &str = "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKnashds7;rport\r\nFrom: <sip:alice@example.com>;tag=f\r\nTo: <sip:alice@example.com>\r\nCall-ID: c1@10.0.0.1\r\nCSeq: 1 SUBSCRIBE\r\n";

/// A SUBSCRIBE with these lines after the mandatory ones, and what follows them.
fn with(lines: &str) -> Vec<u8> {
    format!("SUBSCRIBE sip:alice@example.com SIP/2.0\r\n{MANDATORY}{lines}").into_bytes()
}

/// A SUBSCRIBE with one mandatory line in another form.
fn instead(name: &str, line: &str) -> Vec<u8> {
    let lines = MANDATORY.split_inclusive("\r\n").map(|old| if old.starts_with(name) { format!("{line}\r\n") } else { old.to_owned() });
    format!("SUBSCRIBE sip:alice@example.com SIP/2.0\r\n{}\r\n", lines.collect::<String>()).into_bytes()
}

/// A message with this start-line.
fn started(line: &str) -> Vec<u8> {
    format!("{line}\r\n{MANDATORY}\r\n").into_bytes()
}

fn source() -> SocketAddr {
    "10.0.0.1:5060".parse().unwrap()
}

/// `ok`, the answer's status line, or `dropped`.
fn verdict(packet: &[u8]) -> String {
    let answer = |message: &_, status, reason| {
        let answer = to_message(message, status, reason, source()).map(super::ResponseWriter::finish);
        answer.map_or_else(|| "dropped".to_owned(), |bytes| first_line(&bytes))
    };
    match parse(packet) {
        Err(error) => error.answerable().map_or_else(|| "dropped".to_owned(), |message| answer(message, error.status(), error.reason())),
        Ok(message) => match Request::from_message(message) {
            Err(bad) => answer(&bad.message, bad.status, bad.reason),
            Ok(_) => "ok".to_owned(),
        },
    }
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap().trim_start_matches("SIP/2.0 ").to_owned()
}

/// Whether what we write is in the form that our own strict eye allows: one line a field, no control character, right length.
fn is_strict(packet: &[u8]) -> bool {
    let Some(head_end) = packet.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&packet[..head_end]);
    let mut lengths = head.split("\r\n").filter_map(|line| line.strip_prefix("Content-Length: "));
    let has_length = lengths.next() == Some((packet.len() - head_end - 4).to_string().as_str()) && lengths.next().is_none();
    has_length && head.split("\r\n").all(|line| !line.is_empty() && !line.contains(['\r', '\n', '\0']) && !line.starts_with(' '))
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused_without_harm(packet in prop::collection::vec(any::<u8>(), 0..400)) {
        verdict(&packet);
    }

    /// Bytes of a real message changed, cut and doubled: still no panic, and every answer is strict.
    #[test]
    fn any_damage_is_taken_or_refused_without_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        doubled in any::<prop::sample::Index>(),
    ) {
        let mut packet = with("Contact: \"A\" <sip:a@10.0.0.1;ob>;q=1\r\nEvent: as-feature-event;id=1\r\nExpires: 60\r\nAccept: a/b, c/*;q=0\r\nContent-Length: 3\r\n\r\nabc");
        let at = doubled.index(packet.len());
        let tail = packet[at..].to_vec();
        packet.extend(tail);
        for (index, byte) in changes {
            let at = index.index(packet.len());
            packet[at] = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        verdict(&packet);
        if let Ok(message) = parse(&packet) {
            let _read = black_box(Response::from_message(message.clone()));
            if let Ok(request) = Request::from_message(message) {
                let _read = black_box((request.event(), request.expires(), request.contact(), request.record_route(), request.max_forwards()));
                let _read = black_box((request.accept().allows("a", "b"), request.content_type(), request.content_encoding().count(), request.require().count()));
                let response = super::response::response(&request, 200, source()).finish();
                prop_assert!(is_strict(&response));
                let message = parse(&response).unwrap();
                prop_assert!(Response::from_message(message).is_some());
            }
        }
    }
}
