//! What is stored: by this version as the files of `schemas/records` say, by those before as those of `schemas/compat`. Both are read.
//!
//! Feature records, timers and responders are private to the crate: unit tests read theirs (`src/bus/kept.rs`). That roles go on with all
//! of it is in `tests/e2e/kept.rs`.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use dfks::bus::message::{EdgeAlive, NotifyJob, SetRequest};
use dfks::edge::subscription::record::Record;
use dfks::feature::FeatureTable;
use serde_json::Value;

use crate::compat::{assert_kept, releases};
use crate::{RoundTrip, directory, json_files, read_json, round_trip};

const KINDS: [(&str, Option<RoundTrip>); 8] = [
    ("subscription", Some(round_trip::<Record>)),
    ("job", Some(round_trip::<NotifyJob>)),
    ("command", Some(round_trip::<SetRequest>)),
    ("edge", Some(round_trip::<EdgeAlive>)),
    ("feature", None),
    ("responder", None),
    ("timer", None),
    ("dead", None),
];

/// Each stored message of a kind, and whether this version writes it so.
fn kept(kind: &str) -> Vec<(String, Value, bool)> {
    let folders = std::iter::once((directory(), true)).chain(releases().into_iter().map(|release| (release, false)));
    let folders = folders.map(|(folder, is_of_today)| (folder.join("records").join(kind), is_of_today));
    let there = folders.filter(|(folder, _)| folder.exists());
    there
        .flat_map(|(folder, is_of_today)| json_files(&folder).into_iter().map(move |path| (path, is_of_today)))
        .map(|(path, is_of_today)| (path.display().to_string(), read_json(&path), is_of_today))
        .collect()
}

#[test]
fn what_is_stored_is_read_and_written_again_as_it_was() {
    for (kind, round_trip) in KINDS {
        let all = kept(kind);
        assert!(all.iter().any(|(.., is_of_today)| *is_of_today), "no {kind} is kept");
        for (file, message, is_of_today) in all {
            assert!(message["subject"].is_string() && message["headers"].is_object(), "{file}");
            let Some(round_trip) = round_trip else { continue };
            let payload = &message["payload"];
            let written = round_trip(payload).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_kept(payload, &written, &file);
            // who sends a command writes it
            if is_of_today && kind != "command" {
                assert_eq!(written, *payload, "{file}");
            }
        }
    }
}

#[test]
fn a_stored_subscription_is_kept_for_as_long_as_it_says() {
    let table = FeatureTable::built_in();
    for (file, message, is_of_today) in kept("subscription") {
        let record: Record = serde_json::from_value(message["payload"].clone()).unwrap();
        assert!(record.covers(Duration::from_secs(30), UNIX_EPOCH) > Duration::from_secs(1_700_000_000), "{file}: {record:?}");
        assert_eq!(record.versions(&table).is_empty(), !is_of_today, "{file}: what the phone has confirmed");
    }
}

#[test]
fn every_kind_of_record_is_among_those_that_are_read() {
    let entries = fs::read_dir(directory().join("records")).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut kinds = KINDS.map(|(kind, _)| kind);
    found.sort();
    kinds.sort_unstable();
    assert_eq!(found, kinds);
}
