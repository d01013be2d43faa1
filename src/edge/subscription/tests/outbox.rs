use super::*;

fn update(feature: &str, version: u64) -> Arc<Update> {
    let mut state = FeatureState::new(feature);
    state.version = version;
    Arc::new(Update {
        state,
        document: Bytes::from(vec![b'x'; 400]),
        cause: Cause("c".into()),
        since: crate::runtime::clock::now(),
        job: Some(JobKey(version)),
    })
}

fn says(parcel: &Parcel) -> Vec<(&str, u64)> {
    parcel.updates.iter().map(|c| (c.state.feature.as_str(), c.state.version)).collect()
}

#[test]
fn one_notify_in_flight_and_the_newest_state_goes_next() {
    let now = crate::runtime::clock::now();
    let mut outbox = Outbox::default();
    assert!(outbox.queue(update("DoNotDisturb", 1)).is_none());
    let first = outbox.take(Grouping::Whole, now).unwrap();
    assert_eq!(says(&first), [("DoNotDisturb", 1)]);
    assert!(outbox.queue(update("DoNotDisturb", 2)).is_none());
    assert!(outbox.take(Grouping::Whole, now).is_none(), "one in flight");
    assert_eq!(outbox.queue(update("DoNotDisturb", 3)).unwrap().state.version, 2, "the older one is replaced");
    assert_eq!(outbox.queue(update("DoNotDisturb", 2)).unwrap().state.version, 2, "an older one is not taken");
    outbox.settle();
    assert_eq!(says(&outbox.take(Grouping::Whole, now).unwrap()), [("DoNotDisturb", 3)]);
    outbox.settle();
    assert!(outbox.take(Grouping::Whole, now).is_none());
}

fn up_to(bytes: usize) -> Grouping {
    Grouping::UpTo { bytes, part_overhead: 80 }
}

#[test]
fn several_features_share_a_notify_only_where_the_grouping_allows() {
    let now = crate::runtime::clock::now();
    for (grouping, want) in [(Grouping::Whole, vec![2]), (Grouping::OneByOne, vec![1, 1]), (up_to(2000), vec![2]), (up_to(600), vec![1, 1])]
    {
        let mut outbox = Outbox::default();
        outbox.queue(update("DoNotDisturb", 1));
        outbox.queue(update("CallForwardingBusy", 1));
        let mut sizes = Vec::new();
        while let Some(parcel) = outbox.take(grouping, now) {
            sizes.push(parcel.updates.len());
            outbox.settle();
        }
        assert_eq!(sizes, want, "{grouping:?}");
    }
}

#[test]
fn the_end_tells_what_fits_at_once_and_all_of_it_for_a_fetch() {
    let now = crate::runtime::clock::now();
    for (ending, grouping, want) in [
        (Ending::AtOnce, Grouping::Whole, vec![(2, true)]),
        (Ending::AtOnce, Grouping::OneByOne, vec![(0, true)]),
        (Ending::AfterAll, Grouping::OneByOne, vec![(1, false), (1, true)]),
        (Ending::AfterAll, Grouping::Whole, vec![(2, true)]),
    ] {
        let mut outbox = Outbox::default();
        outbox.queue(update("DoNotDisturb", 1));
        outbox.queue(update("CallForwardingBusy", 1));
        outbox.end(ending);
        let mut sent = Vec::new();
        while let Some(parcel) = outbox.take(grouping, now) {
            sent.push((parcel.updates.len(), parcel.is_last));
            if parcel.is_last {
                break;
            }
            outbox.settle();
        }
        assert_eq!(sent, want, "{ending:?} {grouping:?}");
    }
}

#[test]
fn what_was_put_off_waits_and_gives_way_to_newer_states() {
    let now = crate::runtime::clock::now();
    let later = now + std::time::Duration::from_secs(5);
    let mut outbox = Outbox::default();
    outbox.queue(update("DoNotDisturb", 1));
    outbox.queue(update("CallForwardingBusy", 1));
    let parcel = outbox.take(Grouping::Whole, now).unwrap();
    outbox.queue(update("DoNotDisturb", 2));
    assert_eq!(outbox.postpone(parcel, later).len(), 1);
    assert!(outbox.take(Grouping::Whole, now).is_none());
    assert_eq!(says(&outbox.take(Grouping::Whole, later).unwrap()), [("CallForwardingBusy", 1), ("DoNotDisturb", 2)]);
}

#[test]
fn an_owed_notify_is_empty_only_when_nothing_else_is_said() {
    let now = crate::runtime::clock::now();
    let owed = || Owed { cause: Cause("c".into()), since: now, job: None };
    let mut outbox = Outbox::default();
    assert!(outbox.owe_empty(owed()).is_none());
    assert!(outbox.take(Grouping::Whole, now).unwrap().updates.is_empty());
    outbox.settle();
    assert!(outbox.owe_empty(owed()).is_none());
    outbox.queue(update("DoNotDisturb", 1));
    assert_eq!(outbox.take(Grouping::Whole, now).unwrap().updates.len(), 1);
    outbox.settle();
    assert!(outbox.take(Grouping::Whole, now).is_none());
}

/// Every job that goes in comes out again, once.
#[test]
fn no_job_is_lost() {
    let now = crate::runtime::clock::now();
    let owed = |job| Owed { cause: Cause("c".into()), since: now, job: Some(JobKey(job)) };

    let mut ending = Outbox::default();
    ending.queue(update("DoNotDisturb", 1));
    ending.queue(update("CallForwardingBusy", 2));
    assert!(ending.owe_empty(owed(3)).is_none());
    ending.end(Ending::AtOnce);
    let parcel = ending.take(Grouping::OneByOne, now).unwrap();
    let mut jobs: Vec<_> = parcel.jobs().collect();
    jobs.sort_by_key(|job| job.0);
    assert_eq!(jobs, [JobKey(1), JobKey(2), JobKey(3)], "what does not fit the last NOTIFY is done with it");
    assert_eq!(ending.postpone(parcel, now).as_slice(), [JobKey(1), JobKey(2)]);
    assert_eq!(ending.take(Grouping::OneByOne, now).unwrap().jobs().collect::<Vec<_>>(), [JobKey(3)]);

    let mut put_off = Outbox::default();
    assert!(put_off.owe_empty(owed(1)).is_none());
    let parcel = put_off.take(Grouping::Whole, now).unwrap();
    assert!(put_off.owe_empty(owed(2)).is_none());
    assert_eq!(put_off.postpone(parcel, now).as_slice(), [JobKey(1)], "one empty NOTIFY does for both");
    assert_eq!(put_off.drain().collect::<Vec<_>>(), [JobKey(2)]);
}
