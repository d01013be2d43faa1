//! The notifier under anything that phones, bus and time may do, in any order. What must hold stands in `model.rs`.

use proptest::prelude::*;

use crate::edge::notifier::tests::model::{How, Step, Way, World};

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![3 => Just(Way::Udp), 2 => (1..4_u64).prop_map(Way::Tcp), 1 => Just(Way::Proxy)]
}

fn step() -> impl Strategy<Value = Step> {
    let expires = prop_oneof![2 => Just(None), 2 => Just(Some(0)), 2 => Just(Some(60)), 1 => Just(Some(3600)), 1 => Just(Some(5))];
    let body = prop_oneof![3 => Just(""), 2 => Just("on"), 2 => Just("off"), 1 => Just("bad")];
    let how = prop_oneof![
        12 => Just(How::Good),
        1 => Just(How::Unheard),
        1 => Just(How::NoResponders),
        1 => Just(How::Garbage),
        1 => Just(How::Refused),
        1 => Just(How::Hidden),
        1 => Just(How::Unassigned),
    ];
    let response = prop_oneof![
        8 => Just((200, "")),
        1 => Just((481, "")),
        1 => Just((500, "")),
        1 => Just((503, "Retry-After: 3\n")),
        1 => Just((503, "Retry-After: 600\n")),
        1 => Just((100, "")),
    ];
    let one = 0..64_usize;
    let pass = prop_oneof![4 => 0..400_u64, 3 => 400..3000_u64, 2 => 3000..40_000_u64, 1 => 40_000..200_000_u64];
    prop_oneof![
        12 => (0..3_usize, prop::bool::weighted(0.75), expires, body, -1..3_i64, way())
            .prop_map(|(phone, is_in_dialog, expires, body, cseq_step, way)| Step::Subscribe { phone, is_in_dialog, expires, body, cseq_step, way }),
        3 => one.clone().prop_map(Step::Resend),
        20 => (one.clone(), how).prop_map(|(at, how)| Step::Bus(at, how)),
        2 => one.clone().prop_map(Step::ReplyAgain),
        14 => (one.clone(), response).prop_map(|(at, (status, more))| Step::Respond(at, status, more)),
        4 => prop::bool::weighted(0.8).prop_map(Step::Job),
        2 => one.clone().prop_map(Step::TakeElsewhere),
        1 => one.clone().prop_map(Step::Purge),
        8 => Just(Step::HearOfChange),
        6 => pass.prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::BusIsUp),
        2 => (1..4_u64).prop_map(Step::Close),
        2 => (one, any::<bool>()).prop_map(|(at, has_way)| Step::Unsent(at, has_way)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_and_in_the_end_nothing_is_left(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.finish();
    }
}
