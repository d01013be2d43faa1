use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::edge::notifier::tests::fixture::config;

fn text() -> impl Strategy<Value = Box<str>> {
    prop_oneof!["[ -~]{0,12}", ".{0,8}"].prop_map(String::into_boxed_str)
}

fn time(seconds: u64) -> Box<str> {
    clock::rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)).into()
}

prop_compose! {
    fn record()(
        [watcher, call_id, remote_tag, local, remote, target, user_agent] in prop::array::uniform7(text()),
        user in "[a-z0-9]{1,8}",
        routes in prop::collection::vec(text(), 0..3),
        (event_id, is_odd) in (prop::option::of("[a-z0-9]{1,8}"), any::<bool>()),
        (remote_cseq, local_cseq) in any::<(u32, u32)>(),
        (is_tcp, is_direct, is_trusted, accepts_multipart) in any::<(bool, bool, bool, bool)>(),
        taken_from in prop::option::of(text()),
        (host, port) in any::<([u8; 4], u16)>(),
        (expires_at, told_before) in (0_u64..4_000_000_000, prop::option::of(1_u64..7200)),
        asked_at in prop::option::of(1_u64..4_000_000_000),
        is_untold in any::<bool>(),
        versions in prop::collection::btree_map(prop::sample::select(vec!["DoNotDisturb", "CallForwardingBusy"]), any::<u64>(), 0..3),
    ) -> Record {
        Record {
            edge_id: "edge-0".into(),
            package: package::first_name(),
            presentity: format!("sip:{user}@10.0.0.11").into(),
            watcher, call_id, remote_tag, local, remote, target, routes, remote_cseq, local_cseq,
            event: is_odd.then(|| event_id.as_ref().map_or("As-Feature-Event".into(), |id| format!("AS-feature-event ;ID={id}").into())),
            event_id: event_id.map(Into::into),
            transport: if is_tcp { "tcp" } else { "udp" }.into(),
            peer: SocketAddr::from((host, port)),
            listener: Some(SocketAddr::from(([192, 0, 2, 1], 5060))),
            is_direct, is_trusted, accepts_multipart, user_agent, taken_from, is_untold,
            asked_at: asked_at.map(time),
            told_until: None,
            kept_until: None,
            versions: versions.into_iter().map(|(feature, version)| (feature.into(), version)).collect(),
            expires_at: time(expires_at),
            told_expires_at: told_before.and_then(|before| expires_at.checked_sub(before)).map(time),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(record in record()) {
        let json = serde_json::to_vec(&record).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Record>(&json).unwrap(), record);
    }

    /// Stored, restored after a crash, stored again: nothing is lost, and `CSeq` only grows.
    #[test]
    fn a_restored_subscription_is_stored_the_same(record in record(), seconds in 1_000_000_000_u64..2_000_000_000) {
        let (now, utc) = (clock::now(), UNIX_EPOCH + Duration::from_secs(seconds));
        let id = SubscriptionId::random();
        let told = clock::parse_rfc3339(record.told_expires_at.as_ref().unwrap_or(&record.expires_at)).unwrap();
        // A monotonic clock cannot say what was before this machine started.
        prop_assume!(told >= utc);
        let subscription = record.clone().restore(id, 7, &config(), &FeatureTable::built_in(), Now { at: now, utc }).unwrap();
        let table = FeatureTable::built_in();
        let cover = Cover { cseq: subscription.cseq_to_reserve(), until: subscription.covered_until };
        let again = Record::of(&subscription, cover, &config(), now, utc).confirmed(&record.versions(&table), &table);
        prop_assert!(again.local_cseq >= record.local_cseq);
        prop_assert_eq!(again, Record { local_cseq: subscription.cseq_to_reserve(), ..record });
    }
}

#[test]
fn a_record_of_before_versions_travelled_is_read_and_one_of_another_table_too() {
    let table = FeatureTable::built_in();
    let old = r#"{"edge_id":"edge-0","presentity":"sip:alice@10.0.0.11","watcher":"w","call_id":"c","remote_tag":"t","local":"l",
        "remote":"r","target":"sip:x","remote_cseq":1,"local_cseq":1000,"transport":"udp","peer":"192.0.2.9:5062",
        "is_direct":true,"accepts_multipart":true,"expires_at":"2026-01-01T00:00:00Z","listener":null}"#;
    let record: Record = serde_json::from_str(old).unwrap();
    assert!(record.versions(&table).is_empty());
    let place = table.index_of("DoNotDisturb");
    let record = Record { versions: BTreeMap::from([("Unknown".into(), 3), ("DoNotDisturb".into(), 5)]), ..record };
    assert_eq!(record.versions(&table).as_slice(), [(place, 5)]);
    assert_eq!(record.clone().confirmed(&[(place, 6), (200, 1)], &table).versions, BTreeMap::from([("DoNotDisturb".into(), 6)]));
}
