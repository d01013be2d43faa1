//! SIP messages as a capture file: each put back into IP with UDP or TCP, so that tools which draw SIP read it. Pure.
//!
//! Source: the format of libpcap's files, RFC 791, RFC 8200, RFC 768, RFC 9293, RFC 1071 for the sums.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// Packets begin with their IP header.
const LINKTYPE_RAW: u32 = 101;
const SNAPLEN: u32 = 65_535;
/// Most bytes of a message in one packet: below 64 KiB with the headers of IPv6 and TCP.
const MAX_SEGMENT: usize = 65_000;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The port that SIP is known by, in place of one that is known for its encryption.
const SIP_PORT: u16 = 5060;

/// One message, and how it went.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub(super) at: SystemTime,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) is_udp: bool,
    pub(super) payload: Vec<u8>,
}

impl Captured {
    /// What was inside TLS or a WebSocket is written as SIP over plain TCP: at `ours`, on the port that says so.
    pub(super) fn unwrapped(mut self, ours: SocketAddr) -> Self {
        for address in [&mut self.source, &mut self.destination] {
            if *address == ours {
                address.set_port(SIP_PORT);
            }
        }
        self
    }
}

/// The file.
pub(super) fn file(messages: &[Captured]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(4_u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(SNAPLEN.to_le_bytes());
    out.extend(LINKTYPE_RAW.to_le_bytes());
    let mut streams = Streams::default();
    for message in messages {
        for part in parts(message) {
            let segment = if message.is_udp { udp(message, part) } else { streams.tcp(message, part) };
            let packet = ip(message, if message.is_udp { UDP } else { TCP }, &segment);
            let since = message.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let length = u32::try_from(packet.len()).unwrap_or(u32::MAX).to_le_bytes();
            out.extend(u32::try_from(since.as_secs()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(since.subsec_micros().to_le_bytes());
            out.extend(length);
            out.extend(length);
            out.extend(packet);
        }
    }
    out
}

fn parts(message: &Captured) -> impl Iterator<Item = &[u8]> {
    message.payload.chunks(MAX_SEGMENT)
}

/// How far each direction of each connection has come.
#[derive(Default)]
struct Streams(std::collections::BTreeMap<(SocketAddr, SocketAddr), u32>);

impl Streams {
    fn tcp(&mut self, message: &Captured, part: &[u8]) -> Vec<u8> {
        const PSH_ACK: u8 = 0x18;
        let acknowledged = self.0.get(&(message.destination, message.source)).copied().unwrap_or(1);
        let sequence = self.0.entry((message.source, message.destination)).or_insert(1);
        let mut out = Vec::with_capacity(20 + part.len());
        out.extend(message.source.port().to_be_bytes());
        out.extend(message.destination.port().to_be_bytes());
        out.extend(sequence.to_be_bytes());
        out.extend(acknowledged.to_be_bytes());
        out.extend([0x50, PSH_ACK, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend(part);
        *sequence = sequence.wrapping_add(u32::try_from(part.len()).unwrap_or(0));
        summed(message, TCP, out, 16)
    }
}

fn udp(message: &Captured, part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + part.len());
    out.extend(message.source.port().to_be_bytes());
    out.extend(message.destination.port().to_be_bytes());
    out.extend(length(8 + part.len()));
    out.extend([0, 0]);
    out.extend(part);
    summed(message, UDP, out, 6)
}

/// With the sum at its place, over addresses, protocol and the segment itself.
fn summed(message: &Captured, protocol: u8, mut segment: Vec<u8>, at: usize) -> Vec<u8> {
    let mut over = octets(message.source.ip());
    over.extend(octets(message.destination.ip()));
    over.extend([0, protocol]);
    over.extend(length(segment.len()));
    over.extend(&segment);
    let sum = sum(&over);
    // 0 says that there is none
    let sum = if protocol == UDP && sum == 0 { u16::MAX } else { sum };
    if let Some(place) = segment.get_mut(at..at + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    segment
}

fn ip(message: &Captured, protocol: u8, segment: &[u8]) -> Vec<u8> {
    const HOPS: u8 = 64;
    let mut out = Vec::with_capacity(40 + segment.len());
    if let (IpAddr::V4(source), IpAddr::V4(destination)) = (message.source.ip(), message.destination.ip()) {
        out.extend([0x45, 0]);
        out.extend(length(20 + segment.len()));
        out.extend([0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
        out.extend(source.octets());
        out.extend(destination.octets());
        let sum = sum(&out).to_be_bytes();
        if let Some(place) = out.get_mut(10..12) {
            place.copy_from_slice(&sum);
        }
    } else {
        out.extend([0x60, 0, 0, 0]);
        out.extend(length(segment.len()));
        out.extend([protocol, HOPS]);
        out.extend(v6(message.source.ip()));
        out.extend(v6(message.destination.ip()));
    }
    out.extend(segment);
    out
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// The ones' complement sum.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(u16::from_be_bytes([high, 0])),
        _ => 0,
    });
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !u16::try_from(total).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(source: &str, destination: &str, is_udp: bool, payload: &[u8]) -> Captured {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        Captured { at, source: source.parse().unwrap(), destination: destination.parse().unwrap(), is_udp, payload: payload.to_vec() }
    }

    #[test]
    fn a_datagram_is_ip_and_udp_with_true_lengths_and_sums() {
        let written = file(&[captured("10.0.0.1:5060", "10.0.0.2:5062", true, b"abc")]);
        let (head, rest) = written.split_at(24);
        assert_eq!(head[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(rest[..16], [1, 0, 0, 0, 0x20, 0xa1, 7, 0, 31, 0, 0, 0, 31, 0, 0, 0]);
        let packet = &rest[16..];
        assert_eq!((packet.len(), packet[9], &packet[28..]), (31, UDP, &b"abc"[..]));
        assert_eq!(sum(&packet[..20]), 0, "the header's sum is right");
        let pseudo = [&packet[12..20], &[0, UDP, 0, 11], &packet[20..]].concat();
        assert_eq!(sum(&pseudo), 0, "the datagram's sum is right");
        let packet = &file(&[captured("[2001:db8::1]:5060", "[2001:db8::2]:5060", true, b"abcd")])[40..];
        assert_eq!((packet.len(), packet[0] >> 4, packet[6]), (52, 6, UDP));
    }

    #[test]
    fn a_stream_goes_on_where_it_was_and_what_is_long_is_two_packets() {
        let mut streams = Streams::default();
        let (out, back) =
            (captured("10.0.0.1:5060", "10.0.0.2:40000", false, b"abc"), captured("10.0.0.2:40000", "10.0.0.1:5060", false, b"x"));
        let numbers = |segment: &[u8]| (segment[4..8].to_vec(), segment[8..12].to_vec());
        assert_eq!(numbers(&streams.tcp(&out, b"abc")), (vec![0, 0, 0, 1], vec![0, 0, 0, 1]));
        assert_eq!(numbers(&streams.tcp(&back, b"x")), (vec![0, 0, 0, 1], vec![0, 0, 0, 4]));
        assert_eq!(numbers(&streams.tcp(&out, b"abc")), (vec![0, 0, 0, 4], vec![0, 0, 0, 2]));
        assert_eq!(parts(&captured("10.0.0.1:1", "10.0.0.2:1", false, &vec![0; 70_000])).count(), 2);
        let tls = captured("10.0.0.1:5061", "10.0.0.2:40000", false, b"x").unwrapped("10.0.0.1:5061".parse().unwrap());
        assert_eq!((tls.source.port(), tls.destination.port()), (5060, 40000));
    }
}
