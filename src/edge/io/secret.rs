//! Takes out of a message what proves who somebody is, and what was asked to prove it. Pure.
//!
//! Stars stand in its place, one for each byte, so that every length in the message stays true.

/// Headers whose whole value goes: passwords' digests, and the nonces that they are made with.
const HEADERS: [&[u8]; 6] = [
    b"authorization",
    b"proxy-authorization",
    b"www-authenticate",
    b"proxy-authenticate",
    b"authentication-info",
    b"proxy-authentication-info",
];
/// Elements of a body whose text goes, by their local name, in any case.
const ELEMENTS: [&[u8]; 3] = [b"response", b"pin", b"secret"];
/// And those that have this in it.
const PARTS: [&[u8]; 3] = [b"nonce", b"password", b"passwd"];

/// The packet without them.
pub(super) fn without(mut packet: Box<[u8]>) -> Box<[u8]> {
    let body_at = hide_headers(&mut packet);
    hide_elements(packet.get_mut(body_at..).unwrap_or_default());
    packet
}

/// The lines of the head after the start line, without their ends.
pub(super) fn head_lines(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet;
    let lines = std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest.get(..end)?;
        rest = rest.get(end + 1..)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    });
    lines.skip(1).take_while(|line| !line.is_empty())
}

/// Name and value of a header line.
pub(super) fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b':', line)?;
    Some((line.get(..at)?.trim_ascii(), line.get(at + 1..)?))
}

/// Hides what stands in the head; where the body begins.
fn hide_headers(packet: &mut [u8]) -> usize {
    let mut at = packet.len() - packet.trim_ascii_start().len();
    let mut is_hidden = false;
    while at < packet.len() {
        // a last line may have no end
        let end = packet.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)).map_or(packet.len(), |end| at + end + 1);
        let Some(line) = packet.get_mut(at..end) else { return end };
        at = end;
        match line.first() {
            Some(b' ' | b'\t') if is_hidden => hide(line),
            Some(b' ' | b'\t') => {}
            Some(b'\r' | b'\n') => return end,
            _ => {
                let colon = memchr::memchr(b':', line).unwrap_or(line.len());
                let name = line.get(..colon).unwrap_or_default().trim_ascii();
                is_hidden = HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
                if is_hidden && let Some(value) = line.get_mut(colon + 1..) {
                    hide(value);
                }
            }
        }
    }
    packet.len()
}

/// What stands in elements of such a name, and in their attributes. Each byte is looked at a few times at most, whatever it says.
fn hide_elements(body: &mut [u8]) {
    let mut at = 0;
    while let Some(name_at) = find(body, at, b"<") {
        let name_end = end_of_name(body, name_at);
        at = name_end;
        let local = local_name(body.get(name_at..name_end).unwrap_or_default());
        let is_secret = ELEMENTS.contains(&local.as_slice()) || PARTS.iter().any(|part| memchr::memmem::find(&local, part).is_some());
        if !is_secret {
            continue;
        }
        let closed = find(body, name_end, b">");
        let tag_end = closed.unwrap_or(body.len());
        let is_empty = body.get(name_end..tag_end).is_some_and(|tag| tag.ends_with(b"/>"));
        let end = if is_empty { tag_end } else { end_of_element(body, tag_end, &local) };
        let mark = if is_empty { 2 } else { usize::from(closed.is_some()) };
        for (from, to) in [(name_end, tag_end.saturating_sub(mark)), (tag_end, end)] {
            if let Some(text) = body.get_mut(from..to) {
                hide(text);
            }
        }
        at = end;
    }
}

/// Behind the next place of `what`.
fn find(body: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    body.get(from..).and_then(|rest| memchr::memmem::find(rest, what)).map(|at| from + at + what.len())
}

fn end_of_name(body: &[u8], from: usize) -> usize {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'<');
    body.get(from..).and_then(|rest| rest.iter().position(is_end)).map_or(body.len(), |at| from + at)
}

/// Without its prefix, in lower case.
fn local_name(name: &[u8]) -> Vec<u8> {
    name.rsplit(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase()
}

/// Where the end tag of this name begins. One that is not there: nothing of what follows is known to be harmless.
fn end_of_element(body: &[u8], from: usize, local: &[u8]) -> usize {
    let mut at = from;
    while let Some(name_at) = find(body, at, b"</") {
        let name_end = end_of_name(body, name_at);
        if local_name(body.get(name_at..name_end).unwrap_or_default()) == local {
            return name_at - 2;
        }
        at = name_end;
    }
    body.len()
}

fn hide(text: &mut [u8]) {
    text.iter_mut().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    fn hidden(text: &str) -> String {
        String::from_utf8(without(text.as_bytes().into()).into()).unwrap()
    }

    #[test]
    fn what_proves_who_somebody_is_is_stars_of_the_same_length() {
        let text = "SUBSCRIBE sip:a@h SIP/2.0\r\nAuthorization: Digest username=\"a\",\r\n nonce=\"n1\"\r\nproxy-authorization : Basic YTpi\r\n\
                    Event: x\r\n\r\nAuthorization: body";
        let want = "SUBSCRIBE sip:a@h SIP/2.0\r\nAuthorization: ****** *************\r\n **********\r\nproxy-authorization : ***** ****\r\n\
                    Event: x\r\n\r\nAuthorization: body";
        assert_eq!(hidden(text), want);
        let cut = "SUBSCRIBE sip:a@h SIP/2.0\r\nAuthorization: Digest x";
        assert_eq!(hidden(cut), "SUBSCRIBE sip:a@h SIP/2.0\r\nAuthorization: ****** *");
        let challenge = "\r\nSIP/2.0 401 Unauthorized\nWWW-Authenticate: Digest nonce=\"x\"\nTo: <sip:a@h>;tag=1\n\n";
        assert_eq!(hidden(challenge), "\r\nSIP/2.0 401 Unauthorized\nWWW-Authenticate: ****** *********\nTo: <sip:a@h>;tag=1\n\n");
    }

    #[test]
    fn odd_bodies_take_no_longer_than_others() {
        let start = clock::now();
        for odd in ["<nonce>", "<nonce></x>", "<![CDATA[", "<", "<nonce/>", "</nonce>", "<response><pin>"] {
            without(format!("SUBSCRIBE sip:a@h SIP/2.0\r\n\r\n{}", odd.repeat(65_000 / odd.len())).as_bytes().into());
        }
        assert!(clock::now() - start < std::time::Duration::from_secs(2), "{:?}", clock::now() - start);
    }

    #[test]
    fn a_pin_and_its_nonce_are_not_in_a_body() {
        for (body, want) in [
            (
                "<a><h:nonce>abc</h:nonce><response>d e</response><b>f</b></a>",
                "<a><h:nonce>***</h:nonce><response>* *</response><b>f</b></a>",
            ),
            ("<Response><![CDATA[abc]]></Response><b>f</b>", "<Response>***************</Response><b>f</b>"),
            ("<x:Password kind='a'><y>1</y></x:Password>", "<x:Password ********>********</x:Password>"),
            (
                "<SetDoNotDisturbResponse><doNotDisturbOn>1</doNotDisturbOn></SetDoNotDisturbResponse>",
                "<SetDoNotDisturbResponse><doNotDisturbOn>1</doNotDisturbOn></SetDoNotDisturbResponse>",
            ),
            ("<nonce/><b>f</b><nonce>a</nonce>", "<nonce/><b>f</b><nonce>*</nonce>"),
            ("<a>plain</a> < b", "<a>plain</a> < b"),
            ("<nonce>abc", "<nonce>***"),
            ("<nonce", "<nonce"),
            ("<nonce a=b", "<nonce ***"),
            ("<a><![CDATA[<nonce>x</nonce>]]></a>", "<a><![CDATA[<nonce>*</nonce>]]></a>"),
        ] {
            let message = |body: &str| format!("NOTIFY sip:a@h SIP/2.0\r\nEvent: x\r\n\r\n{body}");
            assert_eq!(hidden(&message(body)), message(want), "{body}");
        }
    }
}
