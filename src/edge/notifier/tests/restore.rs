//! What an edge takes up at its start.

use crate::edge::notifier::tests::fixture::{Bench, REFRESH, config, live, subscribe};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;

fn json(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap()
}

/// While the bucket is read, its keys go on changing: only what is there at the end counts.
#[test]
fn the_newest_record_of_a_key_is_taken_up() {
    let (_, tag, record) = live();
    let newer = Record { remote_cseq: 8, ..record.clone() };
    let (old, newer, taken) = (json(&record), json(&newer), json(&Record { edge_id: "edge-1".into(), remote_cseq: 2, ..record }));
    let cseq = |bench: &Bench| bench.notifier.live_by_id(tag.parse().unwrap()).map(|one| one.dialog.remote_cseq);
    let mut bench = Bench::new(config());
    let key = tag.as_str();
    for (revision, value, want) in [
        (7, Some(&old), Some(1)),
        (9, Some(&newer), Some(8)),
        (8, Some(&old), Some(8)),
        (8, None, Some(8)),
        (10, Some(&taken), None),
        (11, Some(&old), Some(1)),
        (12, None, None),
        (13, Some(&newer), Some(8)),
    ] {
        bench.input(Input::Record { key, revision, value: value.map(Vec::as_slice) });
        assert_eq!((cseq(&bench), bench.notifier.registry.len()), (want, usize::from(want.is_some())), "{revision}");
    }
    bench.input(Input::Restored);
    assert!(bench.events.is_empty(), "nobody was told of those that were let go of");
    bench.packet(&subscribe("a", 9, Some(&tag), REFRESH, ""));
    let Some((_, BusRequest::Store { expected_revision: 13, .. })) = bench.asked.front() else { panic!("{:?}", bench.asked) };
    bench.ack_store();
    bench.expect_response(200);
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.input(Input::Record { key, revision: 99, value: None });
    assert_eq!(cseq(&bench), Some(9), "one that was asked for anew is served");
}
