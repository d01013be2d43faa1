//! Parser, writer, codecs and the route script, each by itself.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use dfks::config::RoutesConfig;
use dfks::edge::subscription::record::Record;
use dfks::feature::{FeatureState, FeatureTable, Status, csta, csta_write};
use dfks::sip::{Request, message, response};
use dfks::worker::{Call, Route, Script};

use crate::notifier;

/// A SUBSCRIBE of a phone, read and checked.
pub(crate) fn sip_parse() -> Box<dyn FnMut(u32)> {
    let packet = notifier::first_subscribe("u1", "c1");
    Box::new(move |_| {
        let message = message::parse(black_box(packet.as_bytes())).unwrap();
        black_box(Request::from_message(message).unwrap());
    })
}

/// The 200 to it.
pub(crate) fn sip_write() -> Box<dyn FnMut(u32)> {
    let packet = notifier::first_subscribe("u1", "c1");
    let request = Request::from_message(message::parse(packet.as_bytes()).unwrap()).unwrap();
    let source = notifier::flow().peer;
    Box::new(move |_| {
        let mut written = response::response(black_box(&request), 200, source);
        written.to_tag("0123456789abcdef").header("Expires", 3600).header("Contact", "<sip:192.0.2.1:5060>");
        black_box(written.finish());
    })
}

/// A key press.
pub(crate) fn csta_read() -> Box<dyn FnMut(u32)> {
    let (table, body) = (FeatureTable::built_in(), notifier::forwarding_body());
    Box::new(move |_| {
        black_box(csta::read_request(&table, black_box(body.as_bytes())).unwrap());
    })
}

/// What a phone is told of it.
pub(crate) fn csta_write() -> Box<dyn FnMut(u32)> {
    let (table, state) = (FeatureTable::built_in(), forwarding());
    Box::new(move |_| {
        let mut body = Vec::with_capacity(512);
        csta_write::write_event(&table, "alice", black_box(&state), &mut body).unwrap();
        black_box(body);
    })
}

fn forwarding() -> FeatureState {
    let values = [("forwardTo", "sip:bob@10.0.0.11"), ("ringCount", "4")];
    FeatureState {
        status: Status::ON,
        values: values.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        version: 7,
        ..FeatureState::new("CallForwardingNoAnswer")
    }
}

/// One run of a route of `bench/routes.rhai`.
pub(crate) fn script(is_set: bool) -> Box<dyn FnMut(u32)> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/bench/routes.rhai"));
    let script = Script::load(&RoutesConfig { script: path, ..RoutesConfig::default() }).unwrap();
    let (table, route) = (Arc::new(FeatureTable::built_in()), if is_set { Route::Set } else { Route::Get });
    Box::new(move |_| {
        let call = Call::new(route, Arc::clone(&table), "sip:alice@10.0.0.11", None, forwarding());
        black_box(script.run(route, call).unwrap());
    })
}

/// What a subscription's record costs on its way into the bucket.
pub(crate) fn record_encode() -> Box<dyn FnMut(u32)> {
    let record = record();
    Box::new(move |_| {
        black_box(serde_json::to_vec(black_box(&record)).unwrap());
    })
}

/// And on its way back.
pub(crate) fn record_decode() -> Box<dyn FnMut(u32)> {
    let bytes = serde_json::to_vec(&record()).unwrap();
    Box::new(move |_| {
        black_box(serde_json::from_slice::<Record>(black_box(&bytes)).unwrap());
    })
}

/// As the notifier stores it.
fn record() -> Record {
    let mut world = notifier::World::new();
    world.subscribe("u1", "c1");
    world.record.take().unwrap()
}
