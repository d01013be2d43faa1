//! A SIP message as a `HEPv3` packet, for a capture server such as Homer. Pure.
//!
//! ```text
//! "HEP3" total_length:u16 { vendor:u16=0 type:u16 length:u16 value }*      all in network order, lengths with their header
//! ```
//! Source: HEP3 specification (sipcapture), generic chunk types.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest part of a message that is mirrored, in bytes: a packet is one UDP datagram.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64_000;
/// Longest Call-ID mirrored as correlation id, in bytes; the payload has it in full.
const MAX_CORRELATION_BYTES: usize = 512;

const MAGIC: &[u8; 4] = b"HEP3";
const GENERIC: u16 = 0;
const PROTOCOL_TYPE_SIP: u8 = 1;

/// A message as it was seen on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Captured<'a> {
    pub(crate) source: SocketAddr,
    /// Who was to get it.
    pub(crate) destination: SocketAddr,
    /// Whether it went over UDP; else over TCP or a transport on top of it.
    pub(crate) is_udp: bool,
    pub(crate) at: SystemTime,
    pub(crate) payload: &'a [u8],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) id: u32,
    pub(crate) name: Box<str>,
}

impl Agent {
    /// An agent of this name. Its id is the FNV-1a hash of the name, so that it is the same after each start.
    #[must_use]
    pub(crate) fn new(name: &str) -> Self {
        let id = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { id, name: name.into() }
    }
}

/// Chunk types. Source: HEP3 §"Generic chunk types".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Chunk {
    IpFamily = 0x0001,
    IpProtocol = 0x0002,
    SourceIpv4 = 0x0003,
    DestinationIpv4 = 0x0004,
    SourceIpv6 = 0x0005,
    DestinationIpv6 = 0x0006,
    SourcePort = 0x0007,
    DestinationPort = 0x0008,
    Seconds = 0x0009,
    Microseconds = 0x000a,
    ProtocolType = 0x000b,
    CaptureId = 0x000c,
    Payload = 0x000f,
    CorrelationId = 0x0011,
    NodeName = 0x0013,
}

/// Writes a message as one packet.
#[must_use]
pub(crate) fn encode(captured: &Captured<'_>, agent: &Agent) -> Vec<u8> {
    let payload = captured.payload.get(..MAX_PAYLOAD_BYTES).unwrap_or(captured.payload);
    let mut out = Vec::with_capacity(payload.len() + 256);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[0; 2]);
    let since_1970 = captured.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // AF_INET and AF_INET6 as Linux numbers them, on every system.
    let (family, [source_type, destination_type]) = match captured.source.ip() {
        IpAddr::V4(_) => (2, [Chunk::SourceIpv4, Chunk::DestinationIpv4]),
        IpAddr::V6(_) => (10, [Chunk::SourceIpv6, Chunk::DestinationIpv6]),
    };
    chunk(&mut out, Chunk::IpFamily, &[family]);
    chunk(&mut out, Chunk::IpProtocol, &[if captured.is_udp { 17 } else { 6 }]);
    address(&mut out, source_type, captured.source.ip());
    address(&mut out, destination_type, captured.destination.ip());
    chunk(&mut out, Chunk::SourcePort, &captured.source.port().to_be_bytes());
    chunk(&mut out, Chunk::DestinationPort, &captured.destination.port().to_be_bytes());
    // Seconds have 32 bits in this protocol: until 2106.
    chunk(&mut out, Chunk::Seconds, &u32::try_from(since_1970.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
    chunk(&mut out, Chunk::Microseconds, &since_1970.subsec_micros().to_be_bytes());
    chunk(&mut out, Chunk::ProtocolType, &[PROTOCOL_TYPE_SIP]);
    chunk(&mut out, Chunk::CaptureId, &agent.id.to_be_bytes());
    chunk(&mut out, Chunk::NodeName, agent.name.as_bytes());
    if let Some(call_id) = call_id(payload).and_then(|call_id| call_id.get(..call_id.len().min(MAX_CORRELATION_BYTES))) {
        chunk(&mut out, Chunk::CorrelationId, call_id);
    }
    chunk(&mut out, Chunk::Payload, payload);
    let total = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(length) = out.get_mut(MAGIC.len()..MAGIC.len() + total.len()) {
        length.copy_from_slice(&total);
    }
    out
}

fn address(out: &mut Vec<u8>, chunk_type: Chunk, address: IpAddr) {
    match address {
        IpAddr::V4(address) => chunk(out, chunk_type, &address.octets()),
        IpAddr::V6(address) => chunk(out, chunk_type, &address.octets()),
    }
}

fn chunk(out: &mut Vec<u8>, chunk_type: Chunk, value: &[u8]) {
    const HEADER_BYTES: usize = 6;
    let length = u16::try_from(HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&GENERIC.to_be_bytes());
    out.extend_from_slice(&(chunk_type as u16).to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// The Call-ID of a message, found without parsing the rest: unparsable messages are mirrored too.
fn call_id(message: &[u8]) -> Option<&[u8]> {
    let lines = message.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    // Blank lines before the start-line are no end of the head.
    let head = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    head.skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..colon)?.trim_ascii_end(), line.get(colon + 1..)?.trim_ascii());
        let is_call_id = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
        (is_call_id && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
#[path = "tests/hep.rs"]
mod tests;
