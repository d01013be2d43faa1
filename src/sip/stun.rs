//! STUN on a SIP port over UDP: the Binding request by which a phone keeps its way through a NAT open, and sees where it leads.
//!
//! The minimum that RFC 5626 §8 asks of a server: no authentication, no SOFTWARE, nothing kept. A response is at most 24 bytes longer
//! than its request, and a request is counted for the rate limit of its source like any other.
//! Source: RFC 5389 §6, §7.3, §15.2.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];
const ERROR_CODE: [u8; 2] = [0x00, 0x09];
const UNKNOWN_ATTRIBUTES: [u8; 2] = [0x00, 0x0a];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
/// Attributes from here on may be passed over.
const OPTIONAL_FROM: u16 = 0x8000;
/// Attributes that a 420 names at most: an even number, so that it needs no padding.
const MAX_NAMED: usize = 4;
/// Longest request taken in: none of a phone has more than a few attributes.
const MAX_BYTES: usize = 548;

/// Whether this is STUN and no SIP: no message of SIP begins with such a byte.
#[must_use]
pub(crate) fn is_stun(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| *first < 4) && packet.get(4..8) == Some(&MAGIC_COOKIE[..])
}

/// The response to a Binding request from `peer`; `None` for anything else, which is not answered.
#[must_use]
pub(crate) fn binding_response(packet: &[u8], peer: SocketAddr) -> Option<Bytes> {
    let (head, attributes) = packet.split_first_chunk::<20>()?;
    let [kind_high, kind_low, length_high, length_low, cookie @ .., _, _, _, _, _, _, _, _, _, _, _, _] = head;
    let is_whole = usize::from(u16::from_be_bytes([*length_high, *length_low])) == attributes.len();
    if [*kind_high, *kind_low] != BINDING_REQUEST || *cookie != MAGIC_COOKIE || !is_whole || packet.len() > MAX_BYTES {
        return None;
    }
    let id = head.last_chunk::<12>()?;
    let unknown = unknown_attributes(attributes)?;
    let mut body = Vec::with_capacity(24);
    let kind = if unknown.is_empty() {
        mapped_address(&mut body, peer, id);
        BINDING_SUCCESS
    } else {
        // 420 with an empty reason: class 4, number 20.
        attribute(&mut body, ERROR_CODE, &[0, 0, 4, 20]);
        let named: Vec<u8> = unknown.iter().take(MAX_NAMED).flat_map(|kind| kind.to_be_bytes()).collect();
        attribute(&mut body, UNKNOWN_ATTRIBUTES, &named);
        BINDING_ERROR
    };
    let length = u16::try_from(body.len()).ok()?.to_be_bytes();
    Some([&kind[..], &length, &MAGIC_COOKIE, &id[..], &*body].concat().into())
}

/// The attributes that have to be understood and are not: all there are. `None` where they do not fill the message to its end.
fn unknown_attributes(mut rest: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !rest.is_empty() {
        let ([kind_high, kind_low, length_high, length_low], value) = rest.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([*kind_high, *kind_low]);
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low])).next_multiple_of(4);
        rest = value.get(length..)?;
        if kind < OPTIONAL_FROM {
            unknown.push(kind);
        }
    }
    Some(unknown)
}

fn mapped_address(body: &mut Vec<u8>, peer: SocketAddr, id: &[u8; 12]) {
    let mask = [&MAGIC_COOKIE[..], id].concat();
    let masked = |bytes: &[u8]| bytes.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>();
    let (family, address) = match peer.ip().to_canonical() {
        IpAddr::V4(address) => (1, masked(&address.octets())),
        IpAddr::V6(address) => (2, masked(&address.octets())),
    };
    attribute(body, XOR_MAPPED_ADDRESS, &[&[0, family][..], &*masked(&peer.port().to_be_bytes()), &*address].concat());
}

/// Source: RFC 5389 §15. What is padded to four bytes is so with zeros.
fn attribute(body: &mut Vec<u8>, kind: [u8; 2], value: &[u8]) {
    body.extend_from_slice(&kind);
    body.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&BINDING_REQUEST[..], &length, &MAGIC_COOKIE, &ID, attributes].concat()
    }

    /// The addresses of the sample responses of RFC 5769 §2.2, §2.3.
    #[test]
    fn a_binding_request_is_told_where_it_came_from() {
        for (peer, want) in [
            ("192.0.2.1:32853", &b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"[..]),
            (
                "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
                b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9",
            ),
            ("[::ffff:192.0.2.1]:32853", b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"),
        ] {
            for attributes in [&b""[..], b"\x80\x22\x00\x03abc\x00"] {
                let length = u8::try_from(want.len()).unwrap();
                let whole = [&BINDING_SUCCESS[..], &[0, length], &MAGIC_COOKIE, &ID, want].concat();
                let response = binding_response(&request(attributes), peer.parse().unwrap());
                assert_eq!(response.as_deref(), Some(&*whole), "{peer}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let username = b"\x00\x06\x00\x05alice\x00\x00\x00\x80\x22\x00\x00\x00\x08\x00\x00";
        let response = binding_response(&request(username), "192.0.2.1:1".parse().unwrap()).unwrap();
        let want = [&BINDING_ERROR[..], &[0, 16], &MAGIC_COOKIE, &ID, b"\x00\x09\x00\x04\x00\x00\x04\x14\x00\x0a\x00\x04\x00\x06\x00\x08"];
        assert_eq!(&*response, want.concat());
    }

    #[test]
    fn anything_else_is_not_answered() {
        let good = request(b"");
        let with = |at: usize, byte: u8| good.iter().enumerate().map(|(i, b)| if i == at { byte } else { *b }).collect::<Vec<u8>>();
        for (name, packet) in [
            ("nothing", Vec::new()),
            ("a part", good[..19].to_vec()),
            ("more than it says", [&good[..], b"x"].concat()),
            ("less than it says", with(3, 4)),
            ("an indication", with(1, 0x11)),
            ("a response", with(0, 1)),
            ("the cookie of RFC 3489", with(4, 0)),
            ("an attribute without its end", request(b"\x80\x22\x00\x08abcd")),
            ("half an attribute", request(b"\x80\x22")),
            ("too much", request(&b"\x80\x22\x00\x00".repeat(140))),
        ] {
            assert_eq!(binding_response(&packet, "192.0.2.1:1".parse().unwrap()), None, "{name}");
        }
        assert!(is_stun(&good) && !is_stun(b"SUBSCRIBE sip:a@h SIP/2.0") && !is_stun(b"\r\n\r\n") && !is_stun(b""));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_answers_at_length(attributes in proptest::collection::vec(any::<u8>(), 0..80), is_v6: bool) {
            let peer = if is_v6 { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" };
            let packet = request(&attributes);
            if let Some(response) = binding_response(&packet, peer.parse().unwrap()) {
                prop_assert!(response.len() <= packet.len() + 24);
            }
            let _any = binding_response(&attributes, peer.parse().unwrap()).is_some();
        }
    }
}
