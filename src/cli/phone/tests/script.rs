//! What the phone does after what.

use super::*;
use crate::cli::phone::notification::ShownFeature;
use crate::feature::Values;

fn press(feature: &str, is_on: bool) -> Press {
    Press { feature: feature.to_owned(), is_on, values: Values::new() }
}

fn accepted(asked: Asked) -> Event {
    Event::Accepted { asked, expires_seconds: 3600 }
}

fn notified(state: &str, features: &[(&str, bool)]) -> Event {
    let shown =
        |(feature, is_on): &(&str, bool)| ShownFeature { feature: (*feature).to_owned(), status: Status(*is_on), values: Values::new() };
    Event::Notified(Notification {
        cseq: 1,
        subscription_state: state.to_owned(),
        is_terminated: state.starts_with("terminated"),
        features: features.iter().map(shown).collect(),
        unreadable: Vec::new(),
    })
}

fn orders(script: &mut Script) -> Vec<Order> {
    std::iter::from_fn(|| script.poll_order()).collect()
}

fn told(input: Input) -> Vec<Order> {
    vec![Order::Tell(input)]
}

/// Has its full state, and nothing more to wait for.
fn settled(presses: Vec<Press>, leave: Leave) -> (Script, Instant) {
    let mut now = crate::runtime::clock::now();
    let mut script = Script::new(presses, leave, now);
    assert_eq!(orders(&mut script), told(Input::Subscribe));
    script.event(&accepted(Asked::Subscribe), now);
    script.event(&notified("active", &[("DoNotDisturb", false)]), now);
    now = script.poll_timeout().unwrap();
    assert!(orders(&mut script).is_empty());
    script.timeout(now);
    (script, now)
}

#[test]
fn presses_in_order_each_once_the_one_before_is_confirmed() {
    let keys = vec![press("DoNotDisturb", true), press("CallForwardingBusy", true)];
    let (mut script, now) = settled(keys.clone(), Leave::AfterPresses);
    let tell = |key: &Press| Order::Tell(Input::Press { feature: key.feature.clone(), status: Status(key.is_on), values: Values::new() });
    assert_eq!(orders(&mut script), [tell(&keys[0])]);
    // the NOTIFY may come first, and one about something else confirms nothing
    script.event(&notified("active", &[("CallForwardingAlways", true)]), now);
    script.event(&notified("active", &[("DoNotDisturb", true)]), now);
    assert!(orders(&mut script).is_empty());
    script.event(&accepted(Asked::Press("DoNotDisturb".to_owned())), now);
    let confirmed = |key: &Press, is_taken| Order::Confirmed { press: key.clone(), is_taken };
    assert_eq!(orders(&mut script), [confirmed(&keys[0], true), tell(&keys[1])]);
    // an empty NOTIFY confirms, and shows that it was not taken
    script.event(&accepted(Asked::Press("CallForwardingBusy".to_owned())), now);
    script.event(&notified("active", &[]), now);
    assert_eq!(orders(&mut script), [confirmed(&keys[1], false), Order::Tell(Input::Unsubscribe)]);
    script.event(&notified("terminated;reason=timeout", &[]), now);
    script.event(&accepted(Asked::Unsubscribe), now);
    assert_eq!(orders(&mut script), [Order::Finish(Ok(()))]);
    assert_eq!(script.poll_timeout(), None);
}

#[test]
fn stays_refreshes_and_leaves_when_told_to() {
    let (mut script, start) = settled(Vec::new(), Leave::WhenTold);
    assert!(orders(&mut script).is_empty());
    let refresh_at = script.poll_timeout().unwrap();
    assert!(refresh_at > start + Duration::from_secs(3500));
    script.timeout(refresh_at);
    assert_eq!(orders(&mut script), told(Input::Refresh));
    assert_eq!(script.poll_timeout(), None);
    script.stop(refresh_at);
    assert!(orders(&mut script).is_empty());
    script.event(&accepted(Asked::Refresh), refresh_at);
    assert_eq!(orders(&mut script), told(Input::Unsubscribe));
    script.event(&accepted(Asked::Unsubscribe), refresh_at);
    assert!(orders(&mut script).is_empty());
    // no NOTIFY ends it: it has waited long enough
    script.timeout(script.poll_timeout().unwrap());
    assert_eq!(orders(&mut script), [Order::Finish(Ok(()))]);
}

#[test]
fn stays_for_its_time() {
    let end = crate::runtime::clock::now() + Duration::from_secs(5);
    let (mut script, _) = settled(Vec::new(), Leave::At(end));
    assert_eq!(script.poll_timeout(), Some(end));
    script.timeout(end);
    assert_eq!(orders(&mut script), told(Input::Unsubscribe));
}

#[test]
fn a_fetch_ends_with_the_notify_that_says_so() {
    let now = crate::runtime::clock::now();
    let mut script = Script::new(Vec::new(), Leave::Fetched, now);
    script.event(&Event::Accepted { asked: Asked::Subscribe, expires_seconds: 0 }, now);
    script.event(&notified("terminated;reason=timeout", &[("DoNotDisturb", false)]), now);
    assert_eq!(orders(&mut script), [Order::Tell(Input::Subscribe), Order::Finish(Ok(()))]);
}

#[test]
fn says_why_it_ends_early() {
    let refused = |text: &str| Order::Finish(Err(Failure::Refused(text.to_owned())));
    let silent = |text: &str| Order::Finish(Err(Failure::NobodyAnswered(text.to_owned())));
    let now = crate::runtime::clock::now();
    let start = || {
        let mut script = Script::new(Vec::new(), Leave::At(now + Duration::from_secs(1)), now);
        orders(&mut script);
        script
    };
    let mut script = start();
    script.event(&Event::Refused { asked: Asked::Subscribe, status: 404, reason: "Not Found".to_owned() }, now);
    assert_eq!(orders(&mut script), [refused("SUBSCRIBE refused: 404 Not Found")]);

    let mut script = start();
    script.event(&Event::NoAnswer(Asked::Subscribe), now);
    assert_eq!(orders(&mut script), [silent("no answer to SUBSCRIBE")]);

    let mut script = start();
    script.timeout(script.poll_timeout().unwrap());
    assert_eq!(orders(&mut script), [silent("no answer to SUBSCRIBE")]);

    let mut script = start();
    script.event(&notified("terminated;reason=deactivated", &[]), now);
    assert_eq!(orders(&mut script), [refused("the subscription was ended: terminated;reason=deactivated")]);

    let mut script = start();
    script.event(&accepted(Asked::Subscribe), now);
    let silence = script.poll_timeout().unwrap();
    assert_eq!(silence, now + NOTIFY_TIMEOUT);
    script.timeout(silence);
    assert_eq!(orders(&mut script), told(Input::Unsubscribe));
    script.event(&notified("terminated;reason=timeout", &[]), silence);
    script.event(&accepted(Asked::Unsubscribe), silence);
    assert_eq!(orders(&mut script), [silent("no NOTIFY followed the SUBSCRIBE")]);
}

#[test]
fn a_refused_key_ends_it_after_unsubscribing() {
    let (mut script, now) = settled(vec![press("DoNotDisturb", true), press("Foo", true)], Leave::WhenTold);
    orders(&mut script);
    script.event(&Event::Refused { asked: Asked::Press("DoNotDisturb".to_owned()), status: 400, reason: "Bad Request".to_owned() }, now);
    assert_eq!(orders(&mut script), told(Input::Unsubscribe));
    // the refusal had ended the dialog
    script.not_taken("the phone is not subscribed".to_owned(), now);
    let failure = Failure::Refused("the change of DoNotDisturb refused: 400 Bad Request".to_owned());
    assert_eq!(orders(&mut script), [Order::Finish(Err(failure))]);

    let (mut script, now) = settled(vec![press("Foo", true)], Leave::AfterPresses);
    orders(&mut script);
    script.not_taken("unknown feature 'Foo'".to_owned(), now);
    assert_eq!(orders(&mut script), told(Input::Unsubscribe));
}

#[test]
fn a_key_that_is_shown_as_not_taken_is_a_refusal() {
    let with = |target: &str| [("forwardTo".to_owned(), target.to_owned())].into();
    let shown = |is_on, target| {
        let shown = ShownFeature { feature: "CallForwardingBusy".to_owned(), status: Status(is_on), values: with(target) };
        let Event::Notified(notification) = notified("active", &[]) else { panic!("a NOTIFY") };
        Event::Notified(Notification { features: vec![shown], ..notification })
    };
    for (name, before, after, refusal) in [
        ("as asked for", (false, "1"), (true, "2"), None),
        ("asked for what it is already", (true, "2"), (true, "2"), None),
        ("a route has made something else of it", (false, "1"), (true, "sip:2@h"), None),
        ("still off", (false, "1"), (false, "1"), Some("CallForwardingBusy=on was not taken: it is off forwardTo=1")),
        ("still on, to the old target", (true, "1"), (true, "1"), Some("CallForwardingBusy=on was not taken: it is on forwardTo=1")),
    ] {
        let key = Press { values: with("2"), ..press("CallForwardingBusy", true) };
        let mut now = crate::runtime::clock::now();
        let mut script = Script::new(vec![key.clone(), press("DoNotDisturb", true)], Leave::AfterPresses, now);
        script.event(&accepted(Asked::Subscribe), now);
        script.event(&shown(before.0, before.1), now);
        now = script.poll_timeout().unwrap();
        script.timeout(now);
        orders(&mut script);
        script.event(&accepted(Asked::Press("CallForwardingBusy".to_owned())), now);
        script.event(&shown(after.0, after.1), now);
        let orders_now = orders(&mut script);
        assert_eq!(orders_now[0], Order::Confirmed { press: key, is_taken: refusal.is_none() }, "{name}");
        let Some(refusal) = refusal else {
            assert!(matches!(&orders_now[1], Order::Tell(Input::Press { feature, .. }) if feature == "DoNotDisturb"), "{name}");
            continue;
        };
        assert_eq!(orders_now[1], Order::Tell(Input::Unsubscribe), "{name}");
        script.event(&accepted(Asked::Unsubscribe), now);
        script.event(&notified("terminated;reason=timeout", &[]), now);
        assert_eq!(orders(&mut script), [Order::Finish(Err(Failure::Refused(refusal.to_owned())))], "{name}");
    }
}

#[test]
fn a_key_that_nothing_confirms_is_given_up() {
    let (mut script, now) = settled(vec![press("DoNotDisturb", true)], Leave::AfterPresses);
    orders(&mut script);
    script.event(&accepted(Asked::Press("DoNotDisturb".to_owned())), now);
    script.timeout(script.poll_timeout().unwrap());
    assert_eq!(orders(&mut script), told(Input::Unsubscribe));
    script.event(&accepted(Asked::Unsubscribe), now);
    script.event(&notified("terminated;reason=timeout", &[]), now);
    let failure = Failure::NobodyAnswered("no NOTIFY confirmed DoNotDisturb".to_owned());
    assert_eq!(orders(&mut script), [Order::Finish(Err(failure))]);
}
