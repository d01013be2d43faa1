//! Any body: read as a request and as an event; what is understood and written again is understood as the same.
#![no_main]

use std::hint::black_box;

use dfks::feature::FeatureState;
use dfks::feature::csta::{read_event, read_request};
use dfks::feature::csta_write::{write_event, write_request};
use dfks::feature::multipart;
use dfks::feature::table::FeatureTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let table = FeatureTable::built_in();
    if let Ok(change) = read_request(&table, body) {
        let mut written = Vec::new();
        write_request(&table, "alice", &change.feature, change.status, &change.values, &mut written).expect("a feature of the table");
        assert_eq!(read_request(&table, &written).ok().as_ref(), Some(&change), "{}", String::from_utf8_lossy(&written));
        let state = FeatureState { status: change.status, values: change.values, version: 1, ..FeatureState::new(&change.feature) };
        let mut written = Vec::new();
        write_event(&table, "alice", &state, &mut written).expect("a feature of the table");
        let event = read_event(&table, &written).expect("an event of ours");
        assert_eq!((event.feature, event.status), (state.feature, state.status));
    }
    if let Ok(event) = read_event(&table, body) {
        let state = FeatureState { status: event.status, values: event.values, version: 1, ..FeatureState::new(&event.feature) };
        black_box(write_event(&table, &event.device, &state, &mut Vec::new()).is_ok());
    }
    black_box(multipart::split("multipart/mixed;boundary=b", body));
});
