use std::collections::BTreeMap;

use super::*;
use crate::sip::uri;

use Transport::{Tcp, Tls, Udp};

const SPOKEN: [Transport; 3] = [Udp, Tcp, Tls];

fn host(text: &str, known: Transport, spoken: &[Transport]) -> HostName {
    let target = uri::target(&uri::parse(text).unwrap()).unwrap();
    let uri::TargetHost::Name(name) = &target.host else { panic!("{text} is no name") };
    HostName::of(name, &target, known, spoken)
}

/// A zone in lines: `naptr example.com 10 20 s SIP+D2T _sip._tcp.example.com`, `srv _sip._tcp.example.com 0 1 5060 a.example.com`,
/// `a a.example.com 192.0.2.1`, `none NAME` for a name that is not there. A question that has no line gets no answer.
struct Zone(&'static str);

impl Zone {
    fn answer(&self, question: &Question) -> Option<Answer> {
        let (kind, name) = match question {
            Question::Naptr(name) => ("naptr", name),
            Question::Srv(name) => ("srv", name),
            Question::Addresses(name) => ("a", name),
        };
        let lines: Vec<Vec<&str>> = self.0.lines().map(|line| line.split_whitespace().collect()).collect();
        let of_name = |kind: &str| -> Vec<&Vec<&str>> {
            lines.iter().filter(|line| line.len() > 1 && line[0] == kind && line[1] == &**name).collect()
        };
        let found = of_name(kind);
        if found.is_empty() {
            let is_there = lines.iter().any(|line| line.len() > 1 && line[1] == &**name) || name.starts_with('_');
            return is_there.then(|| Answer {
                records: match question {
                    Question::Naptr(_) => Records::Naptr(Vec::new()),
                    Question::Srv(_) => Records::Srv(Vec::new()),
                    Question::Addresses(_) => Records::Addresses(Vec::new()),
                },
                ttl: Some(Duration::from_mins(5)),
            });
        }
        let number = |text: &str| text.parse().unwrap();
        let records = match question {
            Question::Naptr(_) => Records::Naptr(
                found
                    .iter()
                    .map(|line| NaptrRecord {
                        order: number(line[2]),
                        preference: number(line[3]),
                        flags: line[4].into(),
                        services: line[5].into(),
                        has_regexp: line[6].starts_with('!'),
                        replacement: line[6].into(),
                    })
                    .collect(),
            ),
            Question::Srv(_) => Records::Srv(
                found
                    .iter()
                    .map(|line| SrvRecord {
                        priority: number(line[2]),
                        weight: number(line[3]),
                        port: number(line[4]),
                        target: line[5].trim_end_matches('.').into(),
                    })
                    .collect(),
            ),
            Question::Addresses(_) => Records::Addresses(found.iter().map(|line| line[2].parse().unwrap()).collect()),
        };
        Some(Answer { records, ttl: Some(Duration::from_hours(1)) })
    }

    /// Locates a host, and gives what was asked, each step's questions together.
    fn locate(&self, host: HostName) -> (Result<Location, NotLocated>, Vec<Vec<Question>>) {
        let (mut search, mut asked) = (Search::new(host, false), Vec::new());
        loop {
            let questions = search.questions();
            if questions.is_empty() {
                return (search.end(), asked);
            }
            let answers: BTreeMap<_, _> =
                questions.iter().filter_map(|question| Some((question.clone(), self.answer(question)?))).collect();
            asked.push(questions);
            assert!(asked.len() <= 3, "{asked:?}");
            search.take(answers);
        }
    }
}

/// The ways to a URI, in words.
fn ways(zone: &'static str, uri: &str, known: Transport, spoken: &[Transport]) -> Vec<String> {
    let (found, _) = Zone(zone).locate(host(uri, known, spoken));
    let candidates = found.map(|location| location.candidates(7, true)).unwrap_or_default();
    candidates.iter().map(|Candidate { address, transport }| format!("{transport} {address}")).collect()
}

const FULL: &str = "
    naptr example.com 50 50 s SIPS+D2T _sips._tcp.example.com
    naptr example.com 90 50 s SIP+D2T _sip._tcp.example.com
    naptr example.com 90 60 s SIP+D2U _sip._udp.example.com
    srv _sips._tcp.example.com 0 1 5061 a.example.com
    srv _sip._tcp.example.com 0 1 5070 a.example.com
    srv _sip._tcp.example.com 1 1 5080 b.example.com
    srv _sip._udp.example.com 0 1 5090 b.example.com
    a example.com 192.0.2.99
    a a.example.com 192.0.2.1
    a b.example.com 192.0.2.2
    a b.example.com 2001:db8::2";

#[test]
fn naptr_chooses_the_transport_and_srv_the_server_unless_the_uri_does() {
    for (uri, known, spoken, want) in [
        // the lowest order that can be spoken, and all of it
        ("sip:example.com;lr", Udp, &SPOKEN[..], &["tls 192.0.2.1:5061"][..]),
        (
            "sip:example.com;lr",
            Udp,
            &[Udp, Tcp],
            &["tcp 192.0.2.1:5070", "tcp 192.0.2.2:5080", "tcp [2001:db8::2]:5080", "udp 192.0.2.2:5090", "udp [2001:db8::2]:5090"],
        ),
        ("sip:example.com;lr", Udp, &[Udp], &["udp 192.0.2.2:5090", "udp [2001:db8::2]:5090"]),
        // no less private than it came
        ("sip:example.com;lr", Tls, &SPOKEN, &["tls 192.0.2.1:5061"]),
        ("sips:example.com;lr", Udp, &SPOKEN, &["tls 192.0.2.1:5061"]),
        ("sips:example.com;transport=tcp", Tcp, &SPOKEN, &["tls 192.0.2.1:5061"]),
        // a transport: SRV alone
        ("sip:EXAMPLE.com;transport=tcp", Udp, &SPOKEN, &["tcp 192.0.2.1:5070", "tcp 192.0.2.2:5080", "tcp [2001:db8::2]:5080"]),
        ("sip:example.com;transport=udp", Tcp, &SPOKEN, &["udp 192.0.2.2:5090", "udp [2001:db8::2]:5090"]),
        ("sip:example.com;transport=tls", Udp, &SPOKEN, &["tls 192.0.2.1:5061"]),
        // a port: the address alone, over what it came
        ("sip:example.com:5062", Udp, &SPOKEN, &["udp 192.0.2.99:5062"]),
        ("sip:example.com:5062", Tcp, &SPOKEN, &["tcp 192.0.2.99:5062"]),
        ("sips:example.com:5062", Udp, &SPOKEN, &["tls 192.0.2.99:5062"]),
        // neither NAPTR nor SRV
        ("sip:a.example.com", Udp, &SPOKEN, &["udp 192.0.2.1:5060"]),
        ("sip:a.example.com", Tcp, &SPOKEN, &["tcp 192.0.2.1:5060"]),
        ("sips:a.example.com", Udp, &SPOKEN, &["tls 192.0.2.1:5061"]),
        ("sip:nobody.example.com", Udp, &SPOKEN, &[]),
    ] {
        assert_eq!(ways(FULL, uri, known, spoken), want, "{uri} after {known}, speaking {spoken:?}");
    }
}

const BOTH: &str = "
    a example.com 192.0.2.99
    srv _sip._udp.example.com 0 1 5090 a.example.com
    srv _sip._tcp.example.com 0 1 5070 a.example.com
    srv _sips._tcp.example.com 0 1 5061 a.example.com
    a a.example.com 192.0.2.1";

const TCP_ALONE: &str = "
    a example.com 192.0.2.99
    srv _sip._tcp.example.com 0 1 5070 a.example.com
    a a.example.com 192.0.2.1";

#[test]
fn without_naptr_the_transport_that_was_used_comes_first_and_only_what_has_srv_is_there() {
    assert_eq!(ways(BOTH, "sip:example.com", Udp, &SPOKEN), ["udp 192.0.2.1:5090", "tcp 192.0.2.1:5070"]);
    assert_eq!(ways(BOTH, "sip:example.com", Tcp, &SPOKEN), ["tcp 192.0.2.1:5070", "udp 192.0.2.1:5090"]);
    assert_eq!(ways(BOTH, "sip:example.com", Tcp, &[Tcp]), ["tcp 192.0.2.1:5070"]);
    assert_eq!(ways(BOTH, "sip:example.com", Tls, &SPOKEN), ["tls 192.0.2.1:5061"]);
    assert_eq!(ways(TCP_ALONE, "sip:example.com", Udp, &SPOKEN), ["tcp 192.0.2.1:5070"]);
    assert_eq!(ways(TCP_ALONE, "sip:example.com;transport=udp", Udp, &SPOKEN), ["udp 192.0.2.99:5060"]);
}

#[test]
fn records_that_lead_nowhere_are_passed_over() {
    for (name, zone, want) in [
        (
            "a service that is decidedly not there",
            "a example.com 192.0.2.99\n srv _sip._udp.example.com 0 0 0 .\n srv _sip._tcp.example.com 0 0 0 .",
            &[][..],
        ),
        (
            "one of two",
            "a example.com 192.0.2.99\n srv _sip._udp.example.com 0 0 0 .\n srv _sip._tcp.example.com 0 0 5070 example.com",
            &["tcp 192.0.2.99:5070"],
        ),
        (
            "a target without addresses",
            "a example.com 192.0.2.99\n none a.example.com\n srv _sip._udp.example.com 0 1 1 a.example.com\n srv _sip._udp.example.com 1 1 5070 example.com",
            &["udp 192.0.2.99:5070"],
        ),
        ("NAPTR for others", "naptr example.com 1 1 s E2U+sip _x.example.com\n a example.com 192.0.2.99", &["udp 192.0.2.99:5060"]),
        ("NAPTR with a rule", "naptr example.com 1 1 u SIP+D2U !^.*$!sip:x@y!\n a example.com 192.0.2.99", &["udp 192.0.2.99:5060"]),
        (
            "NAPTR to a host",
            "naptr example.com 1 1 A SIP+D2T a.example.com\n a a.example.com 192.0.2.1\n a example.com 192.0.2.99",
            &["tcp 192.0.2.1:5060"],
        ),
        ("NAPTR to no SRV", "naptr example.com 1 1 s SIP+D2T _sip._tcp.x.example.com\n a example.com 192.0.2.99", &["udp 192.0.2.99:5060"]),
    ] {
        assert_eq!(ways(zone, "sip:example.com", Udp, &SPOKEN), want, "{name}");
    }
}

#[test]
fn each_step_asks_all_at_once_and_only_what_it_needs() {
    let asked = |uri: &str| Zone(FULL).locate(host(uri, Udp, &[Udp, Tcp])).1;
    let (naptr, srv, a) =
        (|name: &str| Question::Naptr(name.into()), |name: &str| Question::Srv(name.into()), |name: &str| Question::Addresses(name.into()));
    assert_eq!(asked("sip:example.com:5060"), [vec![a("example.com")]]);
    let tcp = [vec![srv("_sip._tcp.example.com")], vec![a("a.example.com"), a("b.example.com")]];
    assert_eq!(asked("sip:example.com;transport=tcp"), tcp);
    let all = [
        vec![naptr("example.com")],
        vec![srv("_sip._tcp.example.com"), srv("_sip._udp.example.com")],
        vec![a("a.example.com"), a("b.example.com")],
    ];
    assert_eq!(asked("sip:example.com"), all);
    let mut search = Search::new(host("sip:example.com", Tcp, &SPOKEN), true);
    assert_eq!(search.questions(), [a("example.com")], "one of /etc/hosts has addresses alone");
    let records = Records::Addresses(vec!["192.0.2.5".parse().unwrap()]);
    search.take([(a("example.com"), Answer { records, ttl: Some(Duration::from_secs(30)) })].into());
    assert_eq!(search.end().unwrap().candidates(0, true)[..], [Candidate { address: "192.0.2.5:5060".parse().unwrap(), transport: Tcp }]);
}

#[test]
fn what_is_known_lasts_for_the_shortest_ttl_and_not_long_where_a_part_had_no_answer() {
    let (found, _) = Zone(FULL).locate(host("sip:example.com", Udp, &SPOKEN));
    assert_eq!(found.unwrap().ttl, Duration::from_hours(1));
    let (found, _) = Zone(FULL).locate(host("sip:a.example.com", Udp, &SPOKEN));
    assert_eq!(found.unwrap().ttl, Duration::from_mins(5), "there may be an SRV record by then");
    // NAPTR and SRV are not answered, but the address is.
    let mut search = Search::new(host("sip:example.com", Udp, &[Udp]), false);
    search.take(BTreeMap::new());
    assert_eq!(search.questions(), [Question::Srv("_sip._udp.example.com".into())]);
    search.take(BTreeMap::new());
    let records = Records::Addresses(vec!["192.0.2.5".parse().unwrap()]);
    search.take([(Question::Addresses("example.com".into()), Answer { records, ttl: Some(Duration::ZERO) })].into());
    assert_eq!(search.end().unwrap().ttl, Duration::from_secs(1), "a TTL of 0 is one question a second");
    let (found, _) = Zone("").locate(host("sip:example.com", Udp, &SPOKEN));
    assert_eq!(found, Err(NotLocated::NO_ANSWER));
    let (found, _) = Zone("none example.com").locate(host("sip:example.com", Udp, &SPOKEN));
    assert_eq!(found, Err(NotLocated { is_certain: true, ttl: Some(Duration::from_mins(5)) }));
}

#[test]
fn however_many_records_there_are_only_some_are_followed() {
    let mut search = Search::new(host("sip:example.com;transport=udp", Udp, &SPOKEN), false);
    let record =
        |number: u16| SrvRecord { priority: 1000 - number, weight: 1, port: 5060, target: format!("h{number}.example.com").into() };
    let answer = Answer { records: Records::Srv((0..1000).map(record).collect()), ttl: None };
    search.take([(Question::Srv("_sip._udp.example.com".into()), answer)].into());
    let questions = search.questions();
    assert_eq!(questions.len(), 16);
    assert!(questions.contains(&Question::Addresses("h999.example.com".into())), "those of the lowest priority");
    let addresses = |host: u8| (0..200).map(|last| IpAddr::from([10, 0, host, last])).collect();
    let answers =
        (0..).zip(questions).map(|(host, question)| (question, Answer { records: Records::Addresses(addresses(host)), ttl: None }));
    search.take(answers.collect());
    assert_eq!(search.end().unwrap().candidates(3, true).len(), MAX_CANDIDATES);
}

#[test]
fn the_addresses_of_one_server_share_the_load_and_those_of_the_own_family_come_first() {
    const ZONE: &str = "
        a example.com 192.0.2.1
        a example.com 2001:db8::1
        a example.com 192.0.2.2";
    let location = Zone(ZONE).locate(host("sip:example.com:5060", Udp, &SPOKEN)).0.unwrap();
    let firsts: Vec<_> = (0..100).map(|seed| location.candidates(seed, true)[0].address.ip().to_string()).collect();
    let of_first = firsts.iter().filter(|first| *first == "192.0.2.1").count();
    assert!((25..75).contains(&of_first) && firsts.iter().all(|first| first.starts_with("192")), "{firsts:?}");
    assert!((0..100).all(|seed| location.candidates(seed, false)[0].address.is_ipv6()));
    let mut of_ipv6 = location.clone();
    assert!(of_ipv6.retain(|_, address| address.is_ipv6()) && of_ipv6.candidates(1, true).len() == 1);
    assert!(!of_ipv6.retain(|_, _| false));
}
