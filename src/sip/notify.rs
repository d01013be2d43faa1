//! The strict writer of NOTIFY.

use super::header::SubscriptionState;
use super::request_writer::{RequestHead, RequestWriter};

/// A NOTIFY. Source: RFC 6665 §4.1.3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notify<'a> {
    /// The head; its method is NOTIFY.
    pub head: RequestHead<'a>,
    /// The Event of the SUBSCRIBE, as it was written.
    pub event: &'a str,
    /// The state of the subscription.
    pub subscription_state: SubscriptionState<'a>,
    /// Further header lines: name and value.
    pub extra: &'a [(&'a str, &'a str)],
    /// Content type and body; `None` for an empty NOTIFY.
    pub body: Option<(&'a str, &'a [u8])>,
}

impl Notify<'_> {
    /// Appends the whole request to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut writer = RequestWriter::new(out, &RequestHead { method: "NOTIFY", ..self.head });
        writer.header("Event", self.event).header("Subscription-State", self.subscription_state);
        for (name, value) in self.extra {
            writer.header(name, value);
        }
        match self.body {
            Some((content_type, body)) => writer.body(content_type, body),
            None => writer.no_body(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::Transport;
    use crate::sip::header::Event;
    use crate::sip::parse;
    use crate::sip::request::Request;
    use crate::sip::request_writer::Party;

    fn notify<'a>(routes: &'a [Box<str>], body: Option<(&'a str, &'a [u8])>) -> Notify<'a> {
        let head = RequestHead {
            method: "NOTIFY",
            uri: "sip:alice@192.168.0.9:5062;ob",
            routes,
            transport: Transport::Udp,
            sent_by: "10.0.0.1:5060",
            branch: "z9hG4bKx",
            from: Party { uri: "sip:alice@example.com", tag: Some("ours") },
            to: Party { uri: "sip:alice@example.com", tag: Some("theirs") },
            call_id: "c1",
            cseq: 3,
            contact: "sip:10.0.0.1:5060",
        };
        Notify {
            head,
            event: "as-feature-event;id=7",
            subscription_state: SubscriptionState::active(59),
            extra: &[("Allow-Events", "as-feature-event")],
            body,
        }
    }

    #[test]
    fn writes_the_whole_request() {
        let routes = ["<sip:p1;lr>".into(), "<sip:p2;lr>".into()];
        let mut out = b"kept".to_vec();
        notify(&routes, Some(("application/x-as-feature-event+xml", b"<a/>"))).write(&mut out);
        let want = "keptNOTIFY sip:alice@192.168.0.9:5062;ob SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport\r\n\
            Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=ours\r\n\
            To: <sip:alice@example.com>;tag=theirs\r\nCall-ID: c1\r\nCSeq: 3 NOTIFY\r\nContact: <sip:10.0.0.1:5060>\r\n\
            Event: as-feature-event;id=7\r\nSubscription-State: active;expires=59\r\nAllow-Events: as-feature-event\r\n\
            Content-Type: application/x-as-feature-event+xml\r\nContent-Length: 4\r\n\r\n<a/>";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn an_empty_one_has_no_content_type_and_is_read_again() {
        let mut out = Vec::new();
        notify(&[], None).write(&mut out);
        let request = Request::from_message(parse(&out).unwrap()).unwrap();
        assert!(request.method().is_notify() && request.body().is_empty() && request.content_type().is_none());
        assert_eq!((request.from().tag(), request.to().tag(), request.cseq()), (Some("ours"), Some("theirs"), 3));
        assert_eq!(request.event(), Some(Event { package: "as-feature-event", id: Some("7") }));
    }

    #[test]
    fn nothing_that_is_put_in_can_end_a_line() {
        let mut notify = notify(&[], None);
        notify.head.uri = "sip:a@h SIP/2.0\r\nEvil: 1";
        notify.head.to.uri = "sip:a@h>\r\nEvil: 2";
        notify.extra = &[("X", "1\r\n\r\nEvil: 3")];
        let mut out = Vec::new();
        notify.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("Evil")), "{text}");
    }
}
