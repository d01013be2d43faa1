//! Requests as a phone writes them.

pub(in crate::edge::notifier) fn subscribe(call_id: &str, cseq: u32, tag: Option<&str>, more: &str, body: &str) -> String {
    let to_tag = tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
    let length = body.len();
    let content_type = if body.is_empty() { "" } else { "Content-Type: application/x-as-feature-event+xml\n" };
    format!(
        "SUBSCRIBE sip:alice@10.0.0.11 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK{call_id}{cseq};rport\nMax-Forwards: 70\n\
         From: <sip:alice@10.0.0.11>;tag=f{call_id}\nTo: <sip:alice@10.0.0.11>{to_tag}\nCall-ID: {call_id}\nCSeq: {cseq} SUBSCRIBE\n\
         Contact: <sip:alice@192.0.2.9:5062>\nEvent: as-feature-event\n{more}{content_type}Content-Length: {length}\n\n{body}"
    )
}

pub(in crate::edge::notifier) fn set_dnd(is_on: bool) -> String {
    format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1"?><SetDoNotDisturb xmlns="http://www.ecma-international.org/standards/ecma-323/csta/ed3"><device/><doNotDisturbOn>{is_on}</doNotDisturbOn></SetDoNotDisturb>"#
    )
}
