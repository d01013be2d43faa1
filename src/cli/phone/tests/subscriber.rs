//! The phone's side of the protocol.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::fixture::*;
use crate::cli::phone::input::{Asked, Event, Input, InputError, Output};
use crate::cli::phone::login::Login;
use crate::cli::phone::subscriber::refresh_after;
use crate::feature::package::AS_FEATURE_EVENT;
use crate::feature::{Status, Values, multipart};
use crate::sip::digest::{Algorithm, Credentials, Ha1};
use crate::sip::{Name, Request, Transport};

#[test]
fn the_first_subscribe_is_what_phones_send() {
    let (mut phone, now) = subscriber(Transport::Tcp);
    phone.handle(Input::Subscribe, now).unwrap();
    let request = sent(&mut phone);
    let header = |name| request.message().header(name).unwrap().to_owned();
    assert_eq!((request.method().as_str(), request.uri()), ("SUBSCRIBE", "sip:alice@example.com"));
    assert_eq!(header(Name::Event), "as-feature-event");
    assert_eq!(header(Name::Expires), "3600");
    assert_eq!(header(Name::Accept), "application/x-as-feature-event+xml, multipart/mixed");
    assert_eq!(header(Name::Contact), "<sip:desk@192.0.2.9:49152;transport=tcp>");
    assert_eq!(header(Name::To), "<sip:alice@example.com>");
    assert!(header(Name::Via).starts_with("SIP/2.0/TCP 192.0.2.9:49152;branch=z9hG4bK"));
    assert_eq!((request.cseq(), request.body()), (1, &b""[..]));
}

#[test]
fn requests_in_the_dialog_follow_the_route_set_to_the_remote_target() {
    let (mut phone, now) = subscriber(Transport::Udp);
    phone.handle(Input::Subscribe, now).unwrap();
    let request = sent(&mut phone);
    let headers = [("Record-Route", "<sip:p2;lr>, <sip:p1;lr>"), ("Expires", "600"), ("Contact", "<sip:edge@192.0.2.1:5070>")];
    packet(&mut phone, answer(&request, 200, &headers), now);
    assert_eq!(event(&mut phone), Event::Accepted { asked: Asked::Subscribe, expires_seconds: 600 });
    let values = Values::from([("forwardTo".to_owned(), "sip:bob@h".to_owned())]);
    phone.handle(Input::Press { feature: "CallForwardingAlways".to_owned(), status: Status::ON, values }, now).unwrap();
    let press = sent(&mut phone);
    assert_eq!(press.uri(), "sip:edge@192.0.2.1:5070");
    let routes: Vec<_> = press.message().values(Name::Route).collect();
    assert_eq!(routes, ["<sip:p1;lr>", "<sip:p2;lr>"]);
    assert_eq!((press.cseq(), press.to().tag(), press.call_id()), (2, Some("server"), request.call_id()));
    let body = String::from_utf8_lossy(press.body()).into_owned();
    assert!(body.contains("SetForwarding") && body.contains("sip:bob@h"), "{body}");
}

#[test]
fn a_notify_is_answered_and_shown_once() {
    let (mut phone, now, subscribe) = subscribed();
    let documents = [document("DoNotDisturb", true, &[]), document("CallForwardingNoAnswer", true, &[("ringCount", "4")])];
    let parts: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    let boundary = multipart::boundary(1, &parts);
    let mut body = Vec::new();
    multipart::write(&boundary, AS_FEATURE_EVENT.content_type, &parts, &mut body);
    let bytes = notify(&subscribe, &Notify { content_type: &multipart::content_type(&boundary), body: &body, ..NOTIFY });
    packet(&mut phone, bytes.clone(), now);
    assert_eq!(status(&answered(&mut phone)), 200);
    let Event::Notified(notification) = event(&mut phone) else { panic!("no NOTIFY") };
    let want = "NOTIFY active;expires=3600\n  DoNotDisturb            on\n  CallForwardingNoAnswer  on   ringCount=4\n";
    assert_eq!(notification.to_text(), want);
    assert!(notification.answers_for("DoNotDisturb") && !notification.answers_for("CallForwardingBusy"));

    packet(&mut phone, bytes, now);
    assert_eq!(status(&answered(&mut phone)), 200);
    assert_eq!(phone.poll_output(), None);
}

#[test]
fn a_notify_may_come_before_the_200() {
    let (mut phone, now) = subscriber(Transport::Udp);
    phone.handle(Input::Subscribe, now).unwrap();
    let subscribe = sent(&mut phone);
    packet(&mut phone, notify(&subscribe, &NOTIFY), now);
    assert_eq!(status(&answered(&mut phone)), 200);
    let Event::Notified(notification) = event(&mut phone) else { panic!("no NOTIFY") };
    assert!(notification.answers_for("DoNotDisturb"));
    assert_eq!(notification.to_text(), "NOTIFY active;expires=3600\n  no feature\n");
    packet(&mut phone, ok(&subscribe), now);
    assert!(matches!(event(&mut phone), Event::Accepted { .. }));
}

#[test]
fn what_is_no_notify_of_the_dialog_is_refused() {
    let (mut phone, now, subscribe) = subscribed();
    packet(&mut phone, notify(&subscribe, &Notify { cseq: 5, ..NOTIFY }), now);
    assert_eq!(status(&answered(&mut phone)), 200);
    assert!(matches!(event(&mut phone), Event::Notified(_)));
    let foreign = String::from_utf8(notify(&subscribe, &Notify { cseq: 6, ..NOTIFY }).to_vec()).unwrap();
    for (name, bytes, want) in [
        ("a lower CSeq", notify(&subscribe, &Notify { cseq: 4, ..NOTIFY }), 500),
        ("another package", notify(&subscribe, &Notify { cseq: 6, event: "presence", ..NOTIFY }), 489),
        ("another method", notify(&subscribe, &Notify { cseq: 6, method: "MESSAGE", ..NOTIFY }), 405),
        ("another Call-ID", foreign.replace("Call-ID: ", "Call-ID: x").into(), 481),
        ("another tag of ours", foreign.replace("To: <sip:desk@example.com>;tag=", "To: <sip:desk@example.com>;tag=x").into(), 481),
        ("another tag of theirs", foreign.replace("tag=server", "tag=other").into(), 481),
    ] {
        packet(&mut phone, bytes, now);
        assert_eq!(status(&answered(&mut phone)), want, "{name}");
        assert_eq!(phone.poll_output(), None, "{name}");
    }
    for lost in ["", "NOTIFY", "SIP/2.0 200 OK\r\n\r\n"] {
        packet(&mut phone, Bytes::from_static(lost.as_bytes()), now);
        assert_eq!(phone.poll_output(), None, "{lost}");
    }
}

#[test]
fn an_unreadable_body_is_told() {
    let (mut phone, now, subscribe) = subscribed();
    for (cseq, content_type, body, want) in [
        (1, "text/plain", &b"hello"[..], "Content-Type text/plain"),
        (2, AS_FEATURE_EVENT.content_type, b"<NoSuchEvent/>", "unknown root element 'NoSuchEvent'"),
    ] {
        packet(&mut phone, notify(&subscribe, &Notify { cseq, content_type, body, ..NOTIFY }), now);
        assert_eq!(status(&answered(&mut phone)), 200);
        let Event::Notified(notification) = event(&mut phone) else { panic!("no NOTIFY") };
        assert_eq!(notification.unreadable, [want]);
    }
}

#[test]
fn an_unanswered_request_is_sent_again_until_timer_f() {
    let (mut phone, start) = subscriber(Transport::Udp);
    phone.handle(Input::Subscribe, start).unwrap();
    let first = sent(&mut phone);
    let (mut again, mut ended) = (Vec::new(), VecDeque::new());
    while let Some(due) = phone.poll_timeout() {
        phone.handle(Input::Timeout, due).unwrap();
        while let Some(output) = phone.poll_output() {
            match output {
                Output::Send(packet) => {
                    assert_eq!(read(&packet).top_via().branch(), first.top_via().branch());
                    again.push((due - start).as_millis() / 100);
                }
                other => ended.push_back(other),
            }
        }
        if !ended.is_empty() {
            break;
        }
    }
    assert_eq!(again, [5, 15, 35, 75, 115, 155, 195, 235, 275, 315]);
    assert_eq!(ended.pop_front(), Some(Output::Event(Event::NoAnswer(Asked::Subscribe))));
    assert!(!phone.is_subscribed());
}

#[test]
fn a_refusal_says_why_and_ends_the_dialog_only_where_it_must() {
    let (mut phone, now) = subscriber(Transport::Udp);
    phone.handle(Input::Subscribe, now).unwrap();
    let request = sent(&mut phone);
    packet(&mut phone, answer(&request, 403, &[("Warning", "399 edge \"too many\"")]), now);
    let reason = "Forbidden (Warning: 399 edge \"too many\")".to_owned();
    assert_eq!(event(&mut phone), Event::Refused { asked: Asked::Subscribe, status: 403, reason });
    assert!(!phone.is_subscribed());

    for (refusal, want) in [(400, true), (415, true), (423, true), (500, true), (503, true), (481, false), (489, false), (404, false)] {
        let (mut phone, now, _) = subscribed();
        phone.handle(Input::Refresh, now).unwrap();
        let refresh = sent(&mut phone);
        packet(&mut phone, answer(&refresh, refusal, &[]), now);
        assert!(matches!(event(&mut phone), Event::Refused { asked: Asked::Refresh, .. }), "{refusal}");
        assert_eq!(phone.is_subscribed(), want, "{refusal}");
    }
}

#[test]
fn what_does_not_fit_the_state_is_refused() {
    let press = || Input::Press { feature: "DoNotDisturb".to_owned(), status: Status::ON, values: Values::new() };
    let (mut idle, now) = subscriber(Transport::Udp);
    for input in [Input::Refresh, press(), Input::Unsubscribe] {
        assert_eq!(idle.handle(input, now), Err(InputError::NotSubscribed));
    }
    let (mut asking, now) = subscriber(Transport::Udp);
    asking.handle(Input::Subscribe, now).unwrap();
    assert_eq!(asking.handle(Input::Subscribe, now), Err(InputError::Busy));
    let (mut phone, now, subscribe) = subscribed();
    assert_eq!(phone.handle(Input::Subscribe, now), Err(InputError::Subscribed));
    let unknown = phone.handle(Input::Press { feature: "Foo".to_owned(), status: Status::ON, values: Values::new() }, now);
    assert!(unknown.unwrap_err().to_string().starts_with("unknown feature 'Foo': expected DoNotDisturb, "));
    phone.handle(press(), now).unwrap();
    for input in [Input::Refresh, press(), Input::Unsubscribe] {
        assert_eq!(phone.handle(input, now), Err(InputError::Busy));
    }
    packet(&mut phone, notify(&subscribe, &Notify { state: "terminated;reason=timeout", ..NOTIFY }), now);
    for input in [Input::Refresh, press(), Input::Unsubscribe] {
        assert_eq!(phone.handle(input, now), Err(InputError::NotSubscribed));
    }
}

#[test]
fn refreshes_well_before_the_end() {
    for (expires_seconds, want) in [(0, 1), (1, 1), (2, 1), (10, 8), (60, 48), (3600, 3570)] {
        assert_eq!(refresh_after(expires_seconds), Duration::from_secs(want), "{expires_seconds}");
    }
}

/// ```text
/// phone ──SUBSCRIBE──▶  ◀──401──  ──SUBSCRIBE, nc=1──▶  ◀──200──  ──press, nc=2──▶  ◀──401, stale──  ──press, new nonce──▶
/// ```
#[test]
fn a_challenge_is_answered_once_and_then_asked_for_before() {
    let (phone, now) = subscriber(Transport::Udp);
    let mut phone = phone.with_login(Login::new("desk".to_owned(), "secret".to_owned()));
    let challenge = |nonce: &str, stale: &str| format!("Digest realm=\"r\", qop=\"auth\", nonce=\"{nonce}\", algorithm=MD5{stale}");
    let proof = |request: &Request| {
        let line = request.message().header(Name::Authorization).expect("an answer").to_owned();
        let credentials = Credentials::parse(&line).unwrap();
        let ha1 = Ha1::of_password(Algorithm::Md5, "desk", "r", "secret");
        assert!(credentials.prove("SUBSCRIBE", &ha1), "{line}");
        (credentials.nonce.to_string(), credentials.count())
    };
    phone.handle(Input::Subscribe, now).unwrap();
    let first = sent(&mut phone);
    assert_eq!(first.message().header(Name::Authorization), None);
    let offers = [("WWW-Authenticate", &*challenge("n1", "")), ("WWW-Authenticate", "Digest realm=\"r\", nonce=\"x\", algorithm=ODD")];
    packet(&mut phone, answer(&first, 401, &offers), now);
    let second = sent(&mut phone);
    assert_eq!((proof(&second), second.cseq()), (("n1".to_owned(), Some(1)), first.cseq() + 1));
    packet(&mut phone, ok(&second), now);
    assert!(matches!(event(&mut phone), Event::Accepted { .. }));

    phone.handle(Input::Press { feature: "DoNotDisturb".to_owned(), status: Status::ON, values: Values::new() }, now).unwrap();
    let press = sent(&mut phone);
    assert_eq!(proof(&press), ("n1".to_owned(), Some(2)));
    packet(&mut phone, answer(&press, 401, &[("WWW-Authenticate", &*challenge("n2", ", stale=true"))]), now);
    let again = sent(&mut phone);
    assert_eq!(proof(&again), ("n2".to_owned(), Some(1)));
    assert_eq!(again.message().body(), press.message().body());
    packet(&mut phone, ok(&again), now);
    assert_eq!(event(&mut phone), Event::Accepted { asked: Asked::Press("DoNotDisturb".to_owned()), expires_seconds: 3600 });
}

#[test]
fn a_wrong_password_is_a_refusal() {
    let (phone, now) = subscriber(Transport::Udp);
    let mut phone = phone.with_login(Login::new("desk".to_owned(), "guess".to_owned()));
    phone.handle(Input::Subscribe, now).unwrap();
    for nonce in ["n1", "n2"] {
        let request = sent(&mut phone);
        let challenge = format!("Digest realm=\"r\", qop=\"auth\", nonce=\"{nonce}\"");
        packet(&mut phone, answer(&request, 401, &[("WWW-Authenticate", &challenge)]), now);
    }
    assert!(matches!(event(&mut phone), Event::Refused { asked: Asked::Subscribe, status: 401, .. }));
    assert_eq!(phone.poll_output(), None);
}
