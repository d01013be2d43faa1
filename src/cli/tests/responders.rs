use super::*;

fn report(subject: &str) -> ResponderReport {
    let tokens: Vec<&str> = subject.split('.').collect();
    ResponderReport::unknown(subject, [2, 3, 4].map(|at| tokens[at].to_owned()))
}

const SET: &str = "dfks.responder.set.a_example.DoNotDisturb";
const GET: &str = "dfks.responder.get.a_example.DoNotDisturb";

fn instance(name: &str, subjects: &[&str]) -> Instance {
    let endpoints: Vec<_> = subjects.iter().map(|subject| json!({ "subject": subject })).collect();
    serde_json::from_value(json!({ "name": name, "version": "1.4.0", "endpoints": endpoints })).unwrap()
}

#[test]
fn what_workers_know_is_one_line_a_subject() {
    let at = |second: u8| Some(format!("2026-11-27T18:00:{second:02}.000Z"));
    let one = ResponderReport {
        listening: Some(false),
        last_heard: at(1),
        latency_ms: Some(3),
        breaker: "half_open".into(),
        last_error: Some("old".into()),
        last_error_at: at(1),
        ..report(SET)
    };
    let two = ResponderReport {
        listening: Some(true),
        observer: true,
        last_heard: at(2),
        latency_ms: Some(12),
        breaker: "open".into(),
        last_error: Some("new".into()),
        last_error_at: at(2),
        ..report(SET)
    };
    let subjects = Subjects::new("dfks");
    for reports in [[one.clone(), two.clone(), report(SET)], [report(SET), two, one]] {
        let lines = lines(&subjects, reports.into_iter(), &[]);
        let want = Line { listening: Some(true), last_heard: at(2), latency_ms: Some(12), ..Line::of(report(SET)) };
        let want = Line { breaker: "open".into(), last_error: Some("new".into()), last_error_at: at(2), ..want };
        assert_eq!(lines, [want]);
    }
}

#[test]
fn services_have_names_and_are_listed_where_no_worker_has_asked_yet() {
    let subjects = Subjects::new("dfks");
    let billing = instance("billing", &["dfks.responder.*.a_example.>"]);
    let crm = instance("crm", &["dfks.responder.set.b_example.CallForwardingBusy", "crm.echo", "dfks.responder.auth.b_example"]);
    let lines = lines(&subjects, [report(SET), report(GET)].into_iter(), &[billing.clone(), billing, crm]);
    let seen: Vec<_> = lines.iter().map(|line| (&*line.subject, line.services.join("+"), line.listening)).collect();
    let want = [
        (GET, "billing 1.4.0", Some(true)),
        (SET, "billing 1.4.0", Some(true)),
        ("dfks.responder.set.b_example.CallForwardingBusy", "crm 1.4.0", Some(true)),
    ];
    assert_eq!(seen, want.map(|(subject, services, listening)| (subject, services.to_owned(), listening)));
}

#[test]
fn a_line_says_who_when_and_what_was_wrong() {
    let now = clock::parse_rfc3339("2026-11-27T18:10:00.000Z").unwrap();
    let heard = Some("2026-11-27T18:07:00.000Z".to_owned());
    let line = Line::of(ResponderReport {
        listening: Some(false),
        last_heard: heard.clone(),
        latency_ms: Some(12),
        breaker: "open".into(),
        last_error: Some("answered with error 500: database\u{1b} is down".into()),
        last_error_at: heard,
        ..report(SET)
    });
    assert_eq!(
        line.text(now),
        format!(
            "{SET}\n  nobody listens, heard 3 min ago, 12 ms, breaker open: it is not asked for a while\n  last bad reply 3 min ago: answered \
             with error 500: database\u{fffd} is down\n  if it is gone for good: dfks responders forget {SET}\n"
        )
    );
    let unheard = Line::of(ResponderReport { observer: true, listening: Some(true), ..report(GET) });
    assert_eq!(unheard.text(now), format!("{GET}\n  somebody who only looks on, never heard\n"));
    for (seconds, want) in [(5, "5 s ago"), (3600, "60 min ago"), (7200, "2 h ago"), (200_000, "2 days ago")] {
        let at = clock::rfc3339(now - Duration::from_secs(seconds));
        assert_eq!(ago(&at, now), want);
    }
}

#[test]
fn a_test_names_one_subject_and_a_presentity_of_its_domain() {
    let subjects = Subjects::new("dfks");
    assert_eq!(read_subject(&subjects, SET).unwrap(), (true, "a_example".into(), "DoNotDisturb".into()));
    for wrong in
        ["", "dfks.responder.set.a_example", "dfks.responder.*.a_example.DoNotDisturb", "x.responder.get.a.b", "dfks.responder.auth.a.b"]
    {
        assert!(matches!(read_subject(&subjects, wrong), Err(Failure::Usage(text)) if text.contains("dfks.responder.get.")), "{wrong}");
    }
    for (domain, want) in [
        ("a_example", "sip:dfks-test@a.example"),
        ("10_0_0_11", "sip:dfks-test@10.0.0.11"),
        ("tel", "tel:+10000000000"),
        ("2001-db8--1", "sip:dfks-test@[2001:db8::1]"),
    ] {
        assert_eq!(presentity(None, domain).unwrap().as_str(), want);
    }
    assert_eq!(presentity(Some("sip:bob@A.example"), "a_example").unwrap().as_str(), "sip:bob@a.example");
    for wrong in ["sip:bob@b.example", "bob"] {
        assert!(matches!(presentity(Some(wrong), "a_example"), Err(Failure::Usage(_))), "{wrong}");
    }
}

#[test]
fn an_answer_is_told_in_words() {
    let change = |text: &str| Change::from(serde_json::from_str::<crate::bus::message::ResponderState>(text).unwrap());
    for (answer, want) in [
        ("{}", "DoNotDisturb stays as it is"),
        (r#"{"status":1}"#, "DoNotDisturb            on"),
        (r#"{"status":0,"assigned":false,"notify":false}"#, "DoNotDisturb            off, not assigned, no NOTIFY"),
        (r#"{"values":{"forwardTo":"x"}}"#, "forwardTo=x"),
        (r#"{"also":[{"feature":"CallForwardingBusy","status":0}]}"#, "DoNotDisturb stays as it is, also CallForwardingBusy"),
    ] {
        assert_eq!(meaning(&change(answer), "DoNotDisturb"), want, "{answer}");
    }
}
