use super::*;
use crate::edge::limit::CAPACITIES;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::subscription::destination::Named;
use crate::runtime::clock;

fn names() -> Names {
    Names::new(Arc::new(config()), Arc::new(EdgeMetrics::new(&[Transport::Udp], &CAPACITIES)))
}

fn to(name: &str) -> Named {
    Named::of(&format!("sip:{name}"), Transport::Udp, &config())
}

fn at(servers: &[&str]) -> Location {
    Location::of(Transport::Udp, servers)
}

fn way(address: &str) -> Way {
    Way::To(Candidate { address: address.parse().unwrap(), transport: Transport::Udp })
}

fn candidate(address: &str) -> Candidate {
    Candidate { address: address.parse().unwrap(), transport: Transport::Udp }
}

#[test]
fn a_name_is_asked_for_once_and_whoever_waits_is_told() {
    let (mut names, now) = (names(), clock::now());
    let [one, other] = [SubscriptionId::random(), SubscriptionId::random()];
    let p = to("p.example.com");
    let Way::Asked(Some(host)) = names.find(&p, one, now) else { panic!("asked") };
    assert_eq!(names.find(&p, other, now), Way::Asked(None));
    assert_eq!(names.find(&p, one, now), Way::Asked(None), "again");
    assert_eq!(names.located(&host, Ok(at(&["192.0.2.1:5060"])), now), [one, other].into_iter().collect());
    assert!(names.located(&host, Ok(at(&["192.0.2.2:5060"])), now).is_empty(), "nobody has asked");
    assert_eq!(names.find(&p, one, now), way("192.0.2.1:5060"));
    // Its TTL is over.
    let later = now + Duration::from_mins(1);
    let Way::Asked(Some(host)) = names.find(&p, one, later) else { panic!("asked again") };
    names.located(&host, Ok(at(&["192.0.2.2:5060"])), later);
    assert_eq!(names.find(&p, one, later), way("192.0.2.2:5060"));
    assert_eq!(names.asked, 0);
}

#[test]
fn what_was_known_is_used_on_while_dns_has_no_answer_but_not_once_it_says_no() {
    let (mut names, mut now) = (names(), clock::now());
    let (id, p) = (SubscriptionId::random(), to("p.example.com"));
    let ask = |names: &mut Names, found, now| {
        let Way::Asked(Some(host)) = names.find(&p, id, now) else { panic!("asked") };
        names.located(&host, found, now);
        names.find(&p, id, now)
    };
    assert_eq!(ask(&mut names, Ok(at(&["192.0.2.1:5060"])), now), way("192.0.2.1:5060"));
    for _ in 0..3 {
        now += Duration::from_mins(1);
        assert_eq!(ask(&mut names, Err(NotLocated::NO_ANSWER), now), way("192.0.2.1:5060"));
    }
    now += STALE_FOR;
    assert_eq!(ask(&mut names, Err(NotLocated::NO_ANSWER), now), Way::Nowhere, "too old");
    now += FIRST_AGAIN_AFTER;
    assert_eq!(ask(&mut names, Ok(at(&["192.0.2.1:5060"])), now), way("192.0.2.1:5060"));
    now += Duration::from_mins(1);
    assert_eq!(ask(&mut names, Err(NotLocated { is_certain: true, ttl: None }), now), Way::Nowhere);
}

#[test]
fn a_name_that_leads_nowhere_is_asked_for_less_and_less() {
    let (mut names, mut now) = (names(), clock::now());
    let (id, p) = (SubscriptionId::random(), to("p.example.com"));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let Way::Asked(Some(host)) = names.find(&p, id, now) else { panic!("asked") };
        names.located(&host, Err(NotLocated::NO_ANSWER), now);
        assert_eq!(names.find(&p, id, now), Way::Nowhere);
        let again_at = names.again_at(&p, now);
        waits.push((again_at - now).as_secs());
        now = again_at;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    // What DNS says of its own answer is kept to, within the same bound.
    for (ttl, want) in [(2, 5), (60, 60), (86_400, 300)] {
        let p = to(&format!("p{ttl}.example.com"));
        let Way::Asked(Some(host)) = names.find(&p, id, now) else { panic!("asked") };
        names.located(&host, Err(NotLocated { is_certain: true, ttl: Some(Duration::from_secs(ttl)) }), now);
        assert_eq!((names.again_at(&p, now) - now).as_secs(), want);
    }
}

#[test]
fn names_without_an_answer_leave_room_for_others() {
    let (mut names, now) = (names(), clock::now());
    let id = SubscriptionId::random();
    let all: Vec<_> = (0..MAX_NAMES_ASKED).map(|number| to(&format!("slow{number}.example.com"))).collect();
    let ask = |names: &mut Names, now| -> Vec<Arc<HostName>> {
        let asked = all.iter().filter_map(|named| match names.find(named, id, now) {
            Way::Asked(host) => host,
            _ => None,
        });
        asked.collect()
    };
    let first = ask(&mut names, now);
    assert_eq!(first.len(), MAX_NAMES_ASKED);
    assert_eq!(names.find(&to("other.example.com"), id, now), Way::NoRoom);
    for host in first {
        names.located(&host, Err(NotLocated::NO_ANSWER), now);
    }
    let later = now + FIRST_AGAIN_AFTER;
    let second = ask(&mut names, later);
    assert_eq!(second.len(), MAX_DOUBTFUL, "of those that had no answer");
    assert!(matches!(names.find(&to("other.example.com"), id, later), Way::Asked(Some(_))));
    for host in second {
        names.located(&host, Ok(at(&["192.0.2.1:5060"])), later);
    }
    assert_eq!((names.asked, names.doubtful), (1, 0));
}

#[test]
fn a_dead_way_comes_last_for_a_while_and_each_notify_tries_a_way_once() {
    let (mut names, now) = (names(), clock::now());
    let [one, other] = [SubscriptionId::random(), SubscriptionId::random()];
    let p = to("p.example.com");
    let Way::Asked(Some(host)) = names.find(&p, one, now) else { panic!("asked") };
    names.located(&host, Ok(Location::of(Transport::Udp, &["192.0.2.1:5060", "192.0.2.2:5060"]).lasting(Duration::from_hours(1))), now);
    let [first, second] = ["192.0.2.1:5060", "192.0.2.2:5060"];
    assert!(names.failed(&p, one, candidate(first), DEAD_FOR, now));
    assert_eq!(names.find(&p, one, now), way(second));
    assert_eq!(names.find(&p, other, now), way(second), "it is dead for the others too");
    assert!(!names.failed(&p, one, candidate(second), DEAD_FOR, now + Duration::from_secs(1)));
    assert_eq!(names.find(&p, one, now), Way::Nowhere, "each was tried");
    let soon = now + Duration::from_secs(2);
    assert_eq!(names.find(&p, other, soon), way(first), "all are dead: the one that is dead for longest");
    names.forget(one);
    assert_eq!(names.find(&p, one, soon), way(first));
    names.answered(other, candidate(second));
    assert_eq!(names.find(&p, other, soon), way(second), "it lives");
    assert_eq!(names.find(&p, other, now + DEAD_FOR), way(first), "long enough");
}

#[test]
fn names_and_dead_ways_are_bounded() {
    let (mut names, now) = (names(), clock::now());
    let id = SubscriptionId::random();
    for number in 0..MAX_NAMES + 50 {
        let Way::Asked(Some(host)) = names.find(&to(&format!("p{number}.example.com")), id, now) else { panic!("asked") };
        names.located(&host, Ok(at(&["192.0.2.1:5060"])), now);
    }
    assert_eq!(names.known.len(), MAX_NAMES);
    for number in 0..u16::try_from(MAX_DEAD).unwrap() + 50 {
        names.failed(&to("p1.example.com"), id, candidate(&format!("192.0.2.1:{}", 1000 + number)), DEAD_FOR, now);
    }
    assert_eq!(names.dead.len(), MAX_DEAD);
    names.forget(id);
    assert!(names.tried.is_empty());
}

#[test]
fn what_no_listener_reaches_is_no_way() {
    let (mut names, now) = (names(), clock::now());
    let (id, p) = (SubscriptionId::random(), to("p.example.com"));
    let without_ipv6 = EdgeConfig { listeners: config().listeners.into_iter().filter(|at| at.address.is_ipv4()).collect(), ..config() };
    names.config = Arc::new(without_ipv6);
    let Way::Asked(Some(host)) = names.find(&p, id, now) else { panic!("asked") };
    names.located(&host, Ok(at(&["[2001:db8::1]:5060"])), now);
    assert_eq!(names.find(&p, id, now), Way::Nowhere);
}
