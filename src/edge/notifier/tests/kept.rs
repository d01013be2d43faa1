//! How long records and the markers of removed ones are kept.

use std::time::Duration;

use crate::edge::notifier::BusRequest;
use crate::edge::notifier::tests::fixture::{Bench, config, subscribe, to_tag};
use crate::runtime::clock;

/// A server that starts again after a crash may bring back what a record or marker has covered up, where that is gone by then.
#[test]
fn no_record_and_no_marker_is_gone_before_what_it_covers() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, "Expires: 3600\n", ""));
    let Some((_, BusRequest::Store { ttl, record, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    assert_eq!((*ttl, &record.kept_until), (minutes(121), &None));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(Vec::new());
    let first = bench.expect_notify();
    bench.respond(&first, 200, "");
    bench.pass(minutes(1));
    bench.packet(&subscribe("a", 2, Some(&tag), "Expires: 60\n", ""));
    let Some((_, BusRequest::Store { ttl, record, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    assert_eq!(*ttl, minutes(120), "shorter than before, but what is stored lives no shorter");
    let kept_until = clock::parse_rfc3339(record.kept_until.as_deref().unwrap()).unwrap();
    assert!(kept_until.duration_since(bench.now.utc).unwrap().abs_diff(minutes(120)) < Duration::from_millis(2));
    let record = record.clone();
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    let second = bench.expect_notify();
    bench.respond(&second, 200, "");
    bench.packet(&subscribe("a", 3, Some(&tag), "Expires: 0\n", ""));
    let Some((_, BusRequest::Remove { covers, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    assert_eq!(*covers, minutes(120));

    // An edge that starts knows it from the record.
    let mut restarted = Bench::new(config());
    let value = serde_json::to_vec(&record).unwrap();
    assert!(restarted.restore(&tag, 7, &value));
    restarted.pass(minutes(4));
    let Some((_, BusRequest::Remove { covers, .. })) = restarted.asked.front() else { panic!("{:?}", restarted.asked) };
    assert!(covers.abs_diff(minutes(116)) < minutes(2), "{covers:?}");
}
