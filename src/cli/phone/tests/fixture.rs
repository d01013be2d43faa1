//! A phone without a socket, and the server that it speaks with, written out message by message.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::cli::phone::input::{Asked, Event, Input, Output, Settings};
use crate::cli::phone::subscriber::Subscriber;
use crate::feature::csta_write::write_event;
use crate::feature::package::AS_FEATURE_EVENT;
use crate::feature::{FeatureState, FeatureTable, Presentity, Status};
use crate::runtime::clock;
use crate::sip::request_writer::{Party, RequestHead, RequestWriter};
use crate::sip::response::response;
use crate::sip::transaction::Timers;
use crate::sip::{Message, Name, Request, Transport, parse};

pub(super) const SERVER: &str = "192.0.2.1:5060";
pub(super) const LOCAL: &str = "192.0.2.9:49152";

pub(super) fn source() -> SocketAddr {
    SERVER.parse().unwrap()
}

pub(super) fn subscriber(transport: Transport) -> (Subscriber, Instant) {
    let settings = Settings {
        package: &AS_FEATURE_EVENT,
        presentity: Presentity::parse("sip:alice@example.com").unwrap(),
        watcher: "sip:desk@example.com".to_owned(),
        transport,
        local: LOCAL.parse().unwrap(),
        expires_seconds: 3600,
        user_agent: "test".to_owned(),
        seed: 7,
        timers: Timers::default(),
        login: None,
    };
    let now = clock::now();
    (Subscriber::new(settings, FeatureTable::built_in(), now), now)
}

pub(super) fn sent(subscriber: &mut Subscriber) -> Request {
    match subscriber.poll_output() {
        Some(Output::Send(packet)) => read(&packet),
        other => panic!("nothing sent: {other:?}"),
    }
}

pub(super) fn read(packet: &[u8]) -> Request {
    Request::from_message(parse(packet).unwrap()).unwrap()
}

pub(super) fn event(subscriber: &mut Subscriber) -> Event {
    match subscriber.poll_output() {
        Some(Output::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

pub(super) fn answered(subscriber: &mut Subscriber) -> Message {
    match subscriber.poll_output() {
        Some(Output::Answer(packet, to)) => {
            assert_eq!(to, source());
            parse(&packet).unwrap()
        }
        other => panic!("no answer: {other:?}"),
    }
}

pub(super) fn status(message: &Message) -> u16 {
    match message.start() {
        crate::sip::Start::Response { status, .. } => status,
        crate::sip::Start::Request { .. } => panic!("a request"),
    }
}

/// The server's answer; a 2xx has what a notifier puts into it.
pub(super) fn answer(request: &Request, status: u16, headers: &[(&str, &str)]) -> Bytes {
    let mut writer = response(request, status, LOCAL.parse().unwrap());
    writer.to_tag("server");
    for (name, value) in headers {
        writer.header(name, value);
    }
    writer.finish()
}

pub(super) fn ok(request: &Request) -> Bytes {
    let expires = request.message().header(Name::Expires).unwrap().to_owned();
    answer(request, 200, &[("Expires", &expires), ("Contact", "<sip:edge@192.0.2.1:5060>")])
}

pub(super) struct Notify<'a> {
    pub(super) cseq: u32,
    pub(super) state: &'a str,
    pub(super) event: &'a str,
    pub(super) method: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
}

pub(super) const NOTIFY: Notify<'static> = Notify {
    cseq: 1,
    state: "active;expires=3600",
    event: AS_FEATURE_EVENT.name,
    method: "NOTIFY",
    content_type: AS_FEATURE_EVENT.content_type,
    body: b"",
};

/// A NOTIFY in the dialog of `subscribe`.
pub(super) fn notify(subscribe: &Request, notify: &Notify<'_>) -> Bytes {
    let mut out = Vec::new();
    let head = RequestHead {
        method: notify.method,
        uri: "sip:desk@192.0.2.9:49152",
        routes: &[],
        transport: Transport::Udp,
        sent_by: SERVER,
        branch: &format!("z9hG4bKn{}", notify.cseq),
        from: Party { uri: "sip:alice@example.com", tag: Some("server") },
        to: Party { uri: "sip:desk@example.com", tag: subscribe.from().tag() },
        call_id: subscribe.call_id(),
        cseq: notify.cseq,
        contact: "sip:edge@192.0.2.1:5060",
    };
    let mut writer = RequestWriter::new(&mut out, &head);
    writer.header("Event", notify.event).header("Subscription-State", notify.state);
    if notify.body.is_empty() {
        writer.no_body();
    } else {
        writer.body(notify.content_type, notify.body);
    }
    out.into()
}

pub(super) fn document(feature: &str, is_on: bool, values: &[(&str, &str)]) -> Vec<u8> {
    let mut state = FeatureState::new(feature);
    state.status = Status(is_on);
    state.values = values.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
    let mut out = Vec::new();
    write_event(&FeatureTable::built_in(), "alice", &state, &mut out).unwrap();
    out
}

pub(super) fn packet(subscriber: &mut Subscriber, bytes: Bytes, now: Instant) {
    subscriber.handle(Input::Packet { bytes, source: source() }, now).unwrap();
}

/// A phone that has its 200; `now` and the SUBSCRIBE.
pub(super) fn subscribed() -> (Subscriber, Instant, Request) {
    let (mut phone, now) = subscriber(Transport::Udp);
    phone.handle(Input::Subscribe, now).unwrap();
    let request = sent(&mut phone);
    packet(&mut phone, ok(&request), now);
    assert_eq!(event(&mut phone), Event::Accepted { asked: Asked::Subscribe, expires_seconds: 3600 });
    (phone, now, request)
}
