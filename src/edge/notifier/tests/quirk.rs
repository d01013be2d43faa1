//! What some phones want otherwise.

use std::time::Duration;

use crate::config::{InitialNotify, ProfileConfig};
use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::tests::fixture::body;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::four;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::tests::fixture::to_tag;
use crate::edge::notifier::*;
use crate::edge::profile::Profiles;
use crate::sip::message::Message;
use crate::sip::name::Name;

fn edge(profile: &ProfileConfig) -> Bench {
    let profiles = Profiles::new(&[ProfileConfig { user_agent: "^Quirky".into(), ..profile.clone() }]).unwrap();
    Bench::new(EdgeConfig { profiles, ..config() })
}

/// Subscribes for an hour, lets ten minutes pass, presses a key asking for an hour again, and gives the 200 to that.
fn pressed(bench: &mut Bench, user_agent: &str, expires: &str) -> Message {
    let user_agent = format!("User-Agent: {user_agent}\n");
    bench.packet(&subscribe("a", 1, None, &format!("{user_agent}Expires: 3600\n"), ""));
    bench.ack_store();
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_mins(10));
    bench.packet(&subscribe("a", 2, Some(&tag), &format!("{user_agent}Expires: {expires}\n"), &set_dnd(true)));
    bench.ack_store();
    bench.expect_response(200)
}

#[test]
fn the_200_to_a_change_has_a_body_for_who_wants_one() {
    for (user_agent, has_quirk, want) in [("Quirky/1", true, true), ("Quirky/1", false, false), ("Other", true, false)] {
        let mut bench = edge(&ProfileConfig { cisco_response_body: has_quirk, ..ProfileConfig::default() });
        let ok = pressed(&mut bench, user_agent, "3600");
        assert_eq!(body(&ok).contains("<SetDoNotDisturbResponse xmlns="), want, "{user_agent} {has_quirk}");
        assert_eq!(ok.header(Name::ContentType), want.then_some("application/x-as-feature-event+xml"));
    }
    let mut bench = edge(&ProfileConfig { cisco_response_body: true, ..ProfileConfig::default() });
    bench.packet(&subscribe("a", 1, None, "User-Agent: Quirky\n", ""));
    bench.ack_store();
    assert!(bench.expect_response(200).body().is_empty(), "only to a change");
}

#[test]
fn a_change_restarts_the_clock_unless_the_profile_says_otherwise() {
    for (user_agent, expires, want) in [("Other", "3600", "3600"), ("Quirky", "3600", "3000"), ("Quirky", "0", "0")] {
        let mut bench = edge(&ProfileConfig { remaining_expires: true, ..ProfileConfig::default() });
        let ok = pressed(&mut bench, user_agent, expires);
        assert_eq!(ok.header(Name::Expires), Some(want), "{user_agent} {expires}");
        if expires != "0" {
            bench.apply_change(|_| {});
            let state = format!("active;expires={want}");
            assert_eq!(bench.expect_notify().header(Name::SubscriptionState), Some(&*state));
        }
    }
}

#[test]
fn a_refresh_restarts_the_clock_and_so_does_a_change_in_grace() {
    let mut bench = edge(&ProfileConfig { remaining_expires: true, ..ProfileConfig::default() });
    let tag = to_tag(&pressed(&mut bench, "Quirky", "3600"));
    bench.apply_change(|_| {});
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.packet(&subscribe("a", 3, Some(&tag), "Expires: 3600\n", ""));
    bench.ack_store();
    assert_eq!(bench.expect_response(200).header(Name::Expires), Some("3600"), "no body");
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.pass(Duration::from_secs(3630));
    bench.packet(&subscribe("a", 4, Some(&tag), "Expires: 3600\n", &set_dnd(false)));
    bench.ack_store();
    assert_eq!(bench.expect_response(200).header(Name::Expires), Some("3600"), "nothing remained");
}

#[test]
fn a_store_that_fails_leaves_the_clock_as_it_was() {
    let mut bench = edge(&ProfileConfig { remaining_expires: true, ..ProfileConfig::default() });
    let tag = to_tag(&pressed(&mut bench, "Quirky", "3600"));
    bench.apply_change(|_| {});
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    bench.packet(&subscribe("a", 3, Some(&tag), "", &set_dnd(false)));
    bench.asked.clear();
    bench.pass(Duration::from_millis(1100));
    bench.expect_response(503);
    let left = bench.notifier.live().next().unwrap().expires_in(bench.now.at);
    assert!((2990..3000).contains(&left), "{left}");
}

#[test]
fn a_model_has_the_initial_notify_that_it_can_read() {
    for (user_agent, want) in [("Quirky", 4), ("Other", 1)] {
        let mut bench = edge(&ProfileConfig { initial_notify: Some(InitialNotify::Multipart), ..ProfileConfig::default() });
        bench.packet(&subscribe("a", 1, None, &format!("User-Agent: {user_agent}\n"), ""));
        bench.ack_store();
        bench.expect_response(200);
        bench.answer_get(four(1));
        assert_eq!(body(&bench.expect_notify()).matches("<?xml").count(), want, "{user_agent}");
    }
}

#[test]
fn a_subscription_taken_up_again_has_its_quirks() {
    let mut first = edge(&ProfileConfig::default());
    first.packet(&subscribe("a", 1, None, "User-Agent: Quirky\nExpires: 3600\n", ""));
    let Some((_, BusRequest::Store { id, record, .. })) = first.asked.pop_front() else { panic!("a store") };
    let mut again = edge(&ProfileConfig { remaining_expires: true, ..ProfileConfig::default() });
    assert!(again.restore(&id.to_string(), 7, &serde_json::to_vec(&record).unwrap()));
    again.pass(Duration::from_mins(10));
    again.packet(&subscribe("a", 2, Some(&id.to_string()), "Expires: 3600\n", &set_dnd(true)));
    again.ack_store();
    let left: u32 = again.expect_response(200).header(Name::Expires).unwrap().parse().unwrap();
    assert!((2990..=3001).contains(&left), "{left}");
}
