//! Any payload as any message that we take in; what is understood and written again is understood as the same.
#![no_main]

use dfks::bus::message::{
    AuthResponse, ErrorReply, FeatureEvent, GetRequest, GetResponse, NotifyEvent, NotifyJob, ResponderState, RouteSetRequest,
    RouteSetResponse, SetRequest, SetResponse, SubscriptionEvent, WatchersRequest, WatchersResponse, read_reply,
};
use dfks::edge::subscription::record::Record;
use dfks::feature::Presentity;
use dfks::feature::table::FeatureTable;
use dfks::mi::command;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn again<M: DeserializeOwned + Serialize>(payload: &[u8]) {
    let Ok(message) = serde_json::from_slice::<M>(payload) else { return };
    let written = serde_json::to_value(&message).expect("a message of ours");
    let read: M = serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(serde_json::to_value(&read).expect("a message of ours"), written);
}

fuzz_target!(|payload: &[u8]| {
    again::<SetRequest>(payload);
    again::<SetResponse>(payload);
    again::<GetRequest>(payload);
    again::<GetResponse>(payload);
    again::<RouteSetRequest>(payload);
    again::<RouteSetResponse>(payload);
    again::<ResponderState>(payload);
    again::<NotifyJob>(payload);
    again::<WatchersRequest>(payload);
    again::<WatchersResponse>(payload);
    again::<AuthResponse>(payload);
    again::<SubscriptionEvent>(payload);
    again::<FeatureEvent>(payload);
    again::<NotifyEvent>(payload);
    again::<ErrorReply>(payload);
    again::<Record>(payload);
    std::hint::black_box(read_reply::<GetResponse>(payload).is_ok());
    std::hint::black_box(command::read(&FeatureTable::built_in(), payload).is_ok());
    if let Ok(text) = std::str::from_utf8(payload)
        && let Ok(presentity) = Presentity::parse(text)
    {
        assert_eq!(Presentity::parse(presentity.as_str()).as_ref(), Ok(&presentity), "canonical is canonical");
    }
});
