//! A NOTIFY from what it says to its bytes. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::edge::config::Listener;
use crate::edge::outbox::Parcel;
use crate::edge::subscription::{Phase, Subscription};
use crate::feature::media::{CONTENT_TYPE, EVENT_PACKAGE};
use crate::feature::multipart;
use crate::sip::flow::Transport;
use crate::sip::header::{Event, SubscriptionState};
use crate::sip::notify::Notify;
use crate::sip::request_writer::{Party, RequestHead};

/// Writes a NOTIFY. `scratch` is reused from one to the next.
pub fn notify(
    subscription: &Subscription,
    parcel: &Parcel,
    cseq: u32,
    branch: &str,
    listener: Option<&Listener>,
    now: Instant,
    scratch: &mut Vec<u8>,
) -> Bytes {
    let dialog = &subscription.dialog;
    let (transport, sent_by) = listener.map_or((Transport::Udp, "invalid"), |listener| (listener.transport, &*listener.advertised));
    let contact = contact(transport, sent_by, dialog.is_sips());
    let state = if parcel.is_last {
        SubscriptionState::terminated("timeout")
    } else if subscription.phase == Phase::Ending {
        SubscriptionState::active(0)
    } else {
        SubscriptionState::active(subscription.expires_in(now))
    };
    let documents: Vec<&[u8]> = parcel.changes.iter().map(|change| &*change.document).collect();
    let mut multipart_body = Vec::new();
    let multipart_type;
    let body = match documents.as_slice() {
        [] => None,
        [document] => Some((CONTENT_TYPE, *document)),
        several => {
            let boundary = multipart::boundary(u64::from(cseq), several);
            multipart::write(&boundary, several, &mut multipart_body);
            multipart_type = multipart::content_type(&boundary);
            Some((&*multipart_type, &*multipart_body))
        }
    };
    let id = subscription.id.to_string();
    let head = RequestHead {
        method: "NOTIFY",
        uri: &dialog.target,
        routes: &dialog.routes,
        transport,
        sent_by,
        branch,
        from: Party { uri: &dialog.local, tag: Some(&id) },
        to: Party { uri: &dialog.remote, tag: Some(&dialog.remote_tag) },
        call_id: &dialog.call_id,
        cseq,
        contact: &contact,
    };
    let event = Event { package: EVENT_PACKAGE, id: dialog.event_id.as_deref() };
    scratch.clear();
    Notify { head, event, subscription_state: state, extra: &[], body }.write(scratch);
    Bytes::copy_from_slice(scratch)
}

/// Our Contact: `sip:10.0.0.1:5060`, with the transport where it is not UDP, `sips:` where the dialog is.
///
/// Source: RFC 3261 §12.1.1, §26.2.2 (`sips` needs no `transport=tls`); RFC 7118 §5.2.2 (`ws` is the word for both kinds).
#[must_use]
pub fn contact(transport: Transport, sent_by: &str, is_sips: bool) -> String {
    let scheme = if is_sips { "sips" } else { "sip" };
    match transport {
        Transport::Udp => format!("{scheme}:{sent_by}"),
        Transport::Tls if is_sips => format!("{scheme}:{sent_by}"),
        Transport::Ws | Transport::Wss => format!("{scheme}:{sent_by};transport=ws"),
        Transport::Tcp | Transport::Tls => format!("{scheme}:{sent_by};transport={}", transport.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_names_its_transport_as_the_grammar_has_it() {
        for (transport, is_sips, want) in [
            (Transport::Udp, false, "sip:h:1"),
            (Transport::Tcp, false, "sip:h:1;transport=tcp"),
            (Transport::Tls, false, "sip:h:1;transport=tls"),
            (Transport::Tls, true, "sips:h:1"),
            (Transport::Ws, false, "sip:h:1;transport=ws"),
            (Transport::Wss, false, "sip:h:1;transport=ws"),
            (Transport::Wss, true, "sips:h:1;transport=ws"),
        ] {
            assert_eq!(contact(transport, "h:1", is_sips), want);
        }
    }
}
