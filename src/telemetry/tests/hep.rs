use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The chunks of a packet, by type, read as the specification has them.
fn decode(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let number = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    assert_eq!((&packet[..4], number(4)), (&b"HEP3"[..], packet.len()));
    let mut chunks = BTreeMap::new();
    let mut at = 6;
    while at < packet.len() {
        assert_eq!(number(at), 0, "a generic chunk");
        let length = number(at + 4);
        let earlier = chunks.insert(u16::try_from(number(at + 2)).unwrap(), packet[at + 6..at + length].to_vec());
        assert_eq!(earlier, None, "each chunk once");
        at += length;
    }
    assert_eq!(at, packet.len());
    chunks
}

fn captured<'a>(source: &str, destination: &str, payload: &'a [u8]) -> Captured<'a> {
    let at = UNIX_EPOCH + Duration::from_micros(1_795_402_120_120_456);
    Captured { source: source.parse().unwrap(), destination: destination.parse().unwrap(), is_udp: true, at, payload }
}

const MESSAGE: &[u8] = b"SUBSCRIBE sip:a@h SIP/2.0\r\nVia: x\r\nCALL-id :  a84b4c76e66710@h \r\n\r\ni: not this\r\n";

#[test]
fn every_chunk_says_what_was_captured() {
    let agent = Agent { id: 0x0102_0304, name: "edge-0".into() };
    let packet = encode(&captured("192.0.2.9:5062", "10.0.0.1:5060", MESSAGE), &agent);
    let want: BTreeMap<u16, Vec<u8>> = [
        (0x01, vec![2]),
        (0x02, vec![17]),
        (0x03, vec![192, 0, 2, 9]),
        (0x04, vec![10, 0, 0, 1]),
        (0x07, 5062_u16.to_be_bytes().to_vec()),
        (0x08, 5060_u16.to_be_bytes().to_vec()),
        (0x09, 1_795_402_120_u32.to_be_bytes().to_vec()),
        (0x0a, 120_456_u32.to_be_bytes().to_vec()),
        (0x0b, vec![1]),
        (0x0c, vec![1, 2, 3, 4]),
        (0x0f, MESSAGE.to_vec()),
        (0x11, b"a84b4c76e66710@h".to_vec()),
        (0x13, b"edge-0".to_vec()),
    ]
    .into();
    assert_eq!(decode(&packet), want);

    let over_tcp = Captured { is_udp: false, ..captured("[2001:db8::9]:1", "[2001:db8::1]:5061", MESSAGE) };
    let chunks = decode(&encode(&over_tcp, &agent));
    let address = |last| [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    assert_eq!((&chunks[&0x01], &chunks[&0x02]), (&vec![10], &vec![6]));
    assert_eq!((&chunks[&0x05], &chunks[&0x06]), (&address(9), &address(1)));
    assert!(!chunks.contains_key(&0x03) && !chunks.contains_key(&0x04));
}

#[test]
fn the_call_id_is_found_wherever_it_stands_in_the_head() {
    for (message, want) in [
        (&b"\r\n\r\nOPTIONS sip:h SIP/2.0\ni:x\n\n"[..], Some(&b"x"[..])),
        (b"SIP/2.0 200 OK\r\nCall-ID: y\r\n", Some(b"y")),
        (b"Call-ID: a start-line\r\nVia: x\r\n\r\n", None),
        (b"OPTIONS sip:h SIP/2.0\r\nVia: x\r\n\r\nCall-ID: in a body\r\n", None),
        (b"OPTIONS sip:h SIP/2.0\r\nCall-ID:\r\n\r\n", None),
        (b"", None),
        (b"\xff\xfe", None),
    ] {
        assert_eq!(call_id(message), want, "{}", message.escape_ascii());
    }
}

#[test]
fn a_packet_always_fits_a_datagram() {
    let long_id = [b"OPTIONS sip:h SIP/2.0\r\nCall-ID: ".as_slice(), &vec![b'x'; 70_000]].concat();
    let chunks = decode(&encode(&captured("[::1]:1", "[::1]:2", &long_id), &Agent::new(&"n".repeat(64))));
    assert_eq!((chunks[&0x0f].len(), chunks[&0x11].len()), (MAX_PAYLOAD_BYTES, MAX_CORRELATION_BYTES));
}

#[test]
fn an_agent_keeps_its_id() {
    // FNV-1a test vectors of its authors.
    assert_eq!((Agent::new("").id, Agent::new("a").id, Agent::new("foobar").id), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
}

proptest! {
    #[test]
    fn any_bytes_are_mirrored_as_they_are(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let chunks = decode(&encode(&captured("192.0.2.9:5062", "10.0.0.1:5060", &payload), &Agent::new("edge")));
        prop_assert_eq!(&chunks[&0x0f], &payload);
    }
}
