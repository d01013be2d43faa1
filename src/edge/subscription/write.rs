//! Writes NOTIFYs. Pure.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;

use crate::edge::config::EdgeConfig;
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::outbox::Parcel;
use crate::edge::subscription::{Dialog, Phase, Subscription};
use crate::feature::multipart;
use crate::sip::flow::{Flow, Transport};
use crate::sip::header::SubscriptionState;
use crate::sip::notify::Notify;
use crate::sip::request_writer::{Party, RequestHead};
use crate::sip::uri;

/// How a NOTIFY goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending<'a> {
    /// Its `CSeq`.
    pub cseq: u32,
    /// Branch of its transaction.
    pub branch: &'a str,
    pub to: &'a Destination,
    /// Whose listeners stand in Via and Contact.
    pub config: &'a EdgeConfig,
}

/// Writes a NOTIFY. `scratch` is reused from one to the next.
pub(crate) fn notify(subscription: &Subscription, parcel: &Parcel, sending: &Sending<'_>, now: Instant, scratch: &mut Vec<u8>) -> Bytes {
    let package = subscription.package;
    let state = if parcel.is_last {
        SubscriptionState::terminated(subscription.final_reason())
    } else if subscription.phase == Phase::Ending {
        SubscriptionState::active(0)
    } else {
        SubscriptionState::active(subscription.expires_in(now))
    };
    let documents: Vec<&[u8]> = parcel.updates.iter().map(|update| &*update.document).filter(|document| !document.is_empty()).collect();
    let mut multipart_body = Vec::new();
    let multipart_type;
    let body = match documents.as_slice() {
        [] => None,
        [document] => Some((package.content_type, *document)),
        several => {
            let boundary = multipart::boundary(u64::from(sending.cseq), several);
            multipart::write(&boundary, package.content_type, several, &mut multipart_body);
            multipart_type = multipart::content_type(&boundary);
            Some((&*multipart_type, &*multipart_body))
        }
    };
    write(subscription, sending, state, body, scratch);
    Bytes::copy_from_slice(scratch)
}

fn write(subscription: &Subscription, sending: &Sending<'_>, state: SubscriptionState, body: Option<(&str, &[u8])>, scratch: &mut Vec<u8>) {
    let (dialog, package) = (&subscription.dialog, subscription.package);
    let contact = own_contact(subscription, sending.config);
    let id = subscription.id.to_string();
    let (uri, routes) = request_uri_and_routes(dialog);
    let head = RequestHead {
        method: "NOTIFY",
        uri,
        routes: &routes,
        transport: sending.to.transport(),
        sent_by: sending.config.advertised(sending.to.listener()),
        branch: sending.branch,
        from: Party { uri: &dialog.local, tag: Some(&id) },
        to: Party { uri: &dialog.remote, tag: Some(&*dialog.remote_tag).filter(|tag| !tag.is_empty()) },
        call_id: &dialog.call_id,
        cseq: sending.cseq,
        contact: &contact,
    };
    let event = dialog.event.as_deref().unwrap_or(package.name);
    scratch.clear();
    Notify { head, event, subscription_state: state, extra: &[], body }.write(scratch);
}

/// The Request-URI and the Route headers. Where the first Route is a strict router (no `lr`), it gets the Request-URI, and
/// the phone's Contact goes last. Source: RFC 3261 §12.2.1.1.
fn request_uri_and_routes(dialog: &Dialog) -> (&str, Cow<'_, [Box<str>]>) {
    let is_strict = |route: &str| uri::parse(route).ok().and_then(|route| uri::target(&route)).is_some_and(|to| !to.is_loose_routing);
    match dialog.routes.split_first() {
        Some((first, rest)) if is_strict(uri::of_name_addr(first)) => {
            let target: Box<str> = format!("<{}>", dialog.target).into();
            (uri::of_name_addr(first), rest.iter().cloned().chain([target]).collect())
        }
        _ => (&dialog.target, Cow::Borrowed(&dialog.routes)),
    }
}

/// Bytes of a multipart NOTIFY beside its documents: head and closing boundary together, and the part headers of each document.
#[must_use]
pub(crate) fn overhead(subscription: &Subscription, to: &Destination, branch: &str, config: &EdgeConfig, now: Instant) -> (usize, usize) {
    /// Digits of a Content-Length that any limit on datagrams allows, less the one of an empty body.
    const LENGTH_DIGITS: usize = 4;
    let boundary = multipart::boundary(0, &[]);
    let content_type = multipart::content_type(&boundary);
    let state = match subscription.phase {
        Phase::Ending => SubscriptionState::terminated(subscription.final_reason()),
        _ => SubscriptionState::active(subscription.expires_in(now)),
    };
    let sending = Sending { cseq: subscription.dialog.local_cseq.saturating_add(1), branch, to, config };
    let mut head = Vec::with_capacity(1024);
    write(subscription, &sending, state, Some((&content_type, &[])), &mut head);
    let (mut none, mut one) = (Vec::new(), Vec::new());
    multipart::write(&boundary, subscription.package.content_type, &[], &mut none);
    multipart::write(&boundary, subscription.package.content_type, &[&[]], &mut one);
    (head.len() + LENGTH_DIGITS - 1 + none.len(), one.len() - none.len())
}

fn own_contact(subscription: &Subscription, config: &EdgeConfig) -> String {
    let Flow { transport, listener, .. } = subscription.flow;
    contact(transport, config.advertised(listener), subscription.dialog.is_sips())
}

/// Our Contact: `sip:10.0.0.1:5060`, with the transport where it is not UDP, `sips:` where the dialog is.
///
/// Source: RFC 3261 §12.1.1, §26.2.2 (`sips` needs no `transport=tls`); RFC 7118 §5.2.2 (`ws` is the word for both kinds).
#[must_use]
pub(crate) fn contact(transport: Transport, sent_by: &str, is_sips: bool) -> String {
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
