//! What somebody does by hand.

use crate::bus::message::{Dismissal, SubscriptionChange};
use crate::edge::notifier::tests::fixture::*;
use crate::edge::notifier::*;
use crate::feature::{FeatureState, Status};
use crate::sip::name::Name;

fn dnd(version: u64) -> FeatureState {
    FeatureState { status: Status::ON, version, ..FeatureState::new("DoNotDisturb") }
}

fn by() -> Order {
    Order { cause: Cause::new(), actor: Some("helpdesk".into()) }
}

fn resync(bench: &mut Bench, ids: &[&str]) {
    let ids = ids.iter().map(|id| id.parse().unwrap()).collect();
    bench.input(Input::Resync { ids, by: Arc::new(by()), is_first: true });
}

fn told_by(bench: &Bench, what: SubscriptionChange) -> Vec<Option<String>> {
    let events = bench.events.iter().filter_map(|event| match event {
        Event::Subscription(_, event) if event.what == what => Some(event.actor.clone()),
        _ => None,
    });
    events.collect()
}

/// A domain is no storm: each phone has its turn, and nobody is asked for more often than that.
#[test]
fn phones_are_told_anew_one_after_another() {
    let mut bench = Bench::new(EdgeConfig { max_subscriptions_per_presentity: 20, ..config() });
    let tags: Vec<_> = (0..20).map(|at| bench.subscribe(&format!("call-{at}"))).collect();
    let all: Vec<_> = tags.iter().map(String::as_str).collect();
    resync(&mut bench, &all);
    resync(&mut bench, &all[3..9]);
    assert!(bench.asked.is_empty(), "their turn comes with the timer");
    let asked = [1, 16, 16, 100].map(|milliseconds| {
        bench.pass(Duration::from_millis(milliseconds));
        bench.asked.len()
    });
    assert_eq!(asked, [8, 16, 20, 20], "who waits already does not wait twice");
    for _ in 0..20 {
        bench.answer_get(vec![dnd(7)]);
        let told = bench.expect_notify();
        assert!(body(&told).contains("<doNotDisturbOn>true"));
        bench.respond(&told, 200, "");
    }
    assert_eq!(told_by(&bench, SubscriptionChange::Resynced), vec![Some("helpdesk".to_owned()); 20]);
    // Once more, although they have all of it.
    resync(&mut bench, &all[..1]);
    bench.pass(Duration::from_millis(20));
    bench.answer_get(vec![dnd(7)]);
    let told = bench.expect_notify();
    bench.respond(&told, 200, "");
    assert!(bench.is_quiet());
}

#[test]
fn who_waits_while_the_bus_is_away_is_told_when_it_is_back_and_after_a_stop_by_the_next() {
    let mut bench = Bench::new(config());
    let tag = bench.subscribe("a");
    bench.input(Input::Bus { is_up: false });
    resync(&mut bench, &[&tag]);
    bench.pass(Duration::from_secs(1));
    assert!(!bench.notifier.takes_orders() && bench.asked.is_empty());
    bench.input(Input::Bus { is_up: true });
    bench.pass(Duration::from_millis(120));
    bench.answer_get(vec![dnd(1)]);
    let told = bench.expect_notify();
    bench.respond(&told, 200, "");

    bench.input(Input::Bus { is_up: false });
    resync(&mut bench, &[&tag]);
    bench.pass(Duration::from_millis(50));
    bench.input(Input::Bus { is_up: true });
    bench.input(Input::Drain);
    assert!(!bench.is_put_down());
    let (_, BusRequest::Store { record, .. }) = bench.asked.pop_front().unwrap() else { panic!("a store") };
    assert!(record.is_untold, "whoever has it next tells it");
}

#[test]
fn a_subscription_is_ended_with_its_reason_and_nothing_comes_after() {
    for (how, reason) in [(Dismissal::Deactivated, "deactivated"), (Dismissal::Rejected, "rejected")] {
        let mut bench = Bench::new(config());
        let tag = bench.subscribe("a");
        bench.job(1, 1);
        let in_flight = bench.expect_notify();
        // A refresh is on its way to the bucket.
        bench.packet(&subscribe("a", 2, Some(&tag), "", ""));
        let (store, _) = bench.take_store();
        bench.input(Input::Dismiss { id: tag.parse().unwrap(), how, by: by() });
        bench.expect_response(481);
        bench.stored(store, 9);
        bench.ack_store();
        bench.respond(&in_flight, 200, "");
        let last = bench.expect_notify();
        assert_eq!(last.header(Name::SubscriptionState), Some(&*format!("terminated;reason={reason}")));
        bench.respond(&last, 200, "");
        assert_eq!(told_by(&bench, SubscriptionChange::Terminated), [Some("helpdesk".to_owned())]);
        assert_eq!(bench.reasons(), [how.end_reason()]);
        // What has ended is neither told anew nor ended again.
        resync(&mut bench, &[&tag]);
        bench.input(Input::Dismiss { id: tag.parse().unwrap(), how, by: by() });
        bench.pass(Duration::from_secs(1));
        assert!(bench.sent.is_empty() && bench.reasons().len() == 1, "{:?}", bench.asked);
    }
}
