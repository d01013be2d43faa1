//! NOTIFYs that could not be sent, and are sent later.

use std::time::Duration;

use crate::edge::notifier::tests::fixture::{REFRESH, live, subscribe};
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::sip::name::Name;

/// What is put off for a phone that another edge has taken waits for the store under way without a timer that is due again and again.
#[test]
fn a_notify_that_was_put_off_does_not_spin_while_another_edge_has_its_phone() {
    let (mut bench, tag, record) = live();
    bench.job(5, 1);
    let cseq = bench.expect_notify().header(Name::CSeq).unwrap().split(' ').next().unwrap().parse().unwrap();
    bench.input(Input::Undeliverable { notify: NotifyId { subscription: tag.parse().unwrap(), cseq }, why: Unsent::NoRoom });
    bench.pass(Duration::from_millis(500));
    bench.packet(&subscribe("a", 2, Some(&tag), REFRESH, ""));
    let (_, BusRequest::Store { .. }) = bench.take_store() else { panic!("a store") };
    bench.changed(&tag, 9, &Record { edge_id: "edge-1".into(), ..record });
    let end = bench.now.at + Duration::from_millis(1200);
    let mut turns = 0;
    while let Some(due) = bench.notifier.poll_timeout().filter(|due| *due <= end) {
        let step = due.saturating_duration_since(bench.now.at);
        bench.now = Now { at: bench.now.at + step, utc: bench.now.utc + step };
        bench.input(Input::Timeout);
        turns += 1;
        assert!(turns < 1000, "timers without end");
    }
}
