//! Any datagram: parsed, every header of it read, answered; what we write is read again by ourselves.
#![no_main]

use std::hint::black_box;
use std::net::SocketAddr;

use dfks::sip::header::{Accept, CSeq, Event, MediaType, NameAddr, SubscriptionState, Via};
use dfks::sip::message::{self, Message};
use dfks::sip::request::Request;
use dfks::sip::response::{self, Response, to_message};
use dfks::sip::uri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let source = SocketAddr::from(([127, 0, 0, 1], 5060));
    let answered = |message: &Message, status, reason| {
        if let Some(writer) = to_message(message, status, reason, source) {
            assert!(message::parse(&writer.finish()).is_ok(), "an answer of ours");
        }
    };
    let message = match message::parse(packet) {
        Ok(message) => message,
        Err(error) => {
            if let Some(message) = error.answerable() {
                answered(message, error.status(), error.reason());
            }
            return;
        }
    };
    for (_, value) in message.all_lines() {
        read_as_anything(value);
    }
    black_box(
        Response::from_message(message.clone())
            .map(|response| (response.status(), response.retry_after_seconds(), response.cseq().is_some())),
    );
    match Request::from_message(message) {
        Err(bad) => answered(&bad.message, bad.status, bad.reason),
        Ok(request) => {
            let _read = black_box((request.event(), request.expires(), request.contact(), request.record_route(), request.max_forwards()));
            let _read =
                black_box((request.accept().allows("application", "x-as-feature-event+xml"), request.content_type(), request.user_agent()));
            let _read =
                black_box((request.content_encoding().count(), request.require().count(), request.authorization().count(), request.body()));
            let mut writer = response::response(&request, 200, source);
            writer.to_tag("0123456789abcdef01234567").copy_record_route().header("Warning", "399 dfks \"x\"");
            let written = writer.finish();
            let again = message::parse(&written).expect("a response of ours");
            assert!(Response::from_message(again).is_some_and(|response| response.status() == 200));
        }
    }
});

/// Each header's reader has to bear each header's value. What prints is read again as the same.
fn read_as_anything(value: &str) {
    black_box((
        CSeq::parse(value),
        Event::parse(value),
        MediaType::parse(value),
        SubscriptionState::parse(value),
        Accept::parse(true, [value].into_iter()),
    ));
    if let Some(via) = Via::parse(value) {
        black_box((via.branch(), via.rport(), via.received(), via.host_ip(), via.wants_rport()));
        assert_eq!(Via::parse(&via.to_string()).as_ref(), Some(&via), "{via}");
    }
    if let Some(address) = NameAddr::parse(value) {
        assert_eq!(NameAddr::parse(&address.to_string()).as_ref(), Some(&address), "{address}");
    }
    black_box((uri::is_sips(value), uri::of_name_addr(value)));
    if let Ok(parsed) = uri::parse(value) {
        black_box(uri::target(&parsed));
        let printed = uri::to_string(&parsed);
        let again = uri::parse(&printed).expect("a URI of ours");
        assert_eq!(uri::to_string(&again), printed);
    }
}
