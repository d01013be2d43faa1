//! `sip.trace_hep`: every message in and out reaches a collector, and what reaches it is what went over the wire.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::{Nats, wait_for};
use crate::harness::{Authority, Phone, Relay, Setup};
use crate::{ALICE, ALL_OFF};

/// A chunk of a packet.
fn chunk(packet: &[u8], wanted: u16) -> Vec<u8> {
    let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!((&packet[..4], usize::from(number(4))), (&b"HEP3"[..], packet.len()));
    let mut at = 6;
    while at < packet.len() {
        let length = usize::from(number(at + 4));
        if number(at + 2) == wanted {
            return packet[at + 6..at + length].to_vec();
        }
        at += length;
    }
    panic!("no chunk {wanted:#x}")
}

fn port(packet: &[u8], wanted: u16) -> u16 {
    u16::from_be_bytes(chunk(packet, wanted).try_into().unwrap())
}

#[test]
fn every_message_in_and_out_is_mirrored() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let (certificate, key) = authority.write(folder.path());
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let product = Setup::on(&nats)
        .with("sip.listen", vec!["tls:127.0.0.1:0", "wss:127.0.0.1:0"])
        .with("sip.tls.certificate", certificate.to_str().unwrap())
        .with("sip.tls.key", key.to_str().unwrap())
        .with("sip.trace_hep", collector.local_addr().unwrap().to_string())
        .start();
    let mut packets = Vec::new();
    for (transport, token) in [("tls", "TLS"), ("wss", "WSS")] {
        let relay = Relay::start(transport, product.at(transport), &authority);
        let phone = Phone::over(token, relay.address());
        let mut dialog = phone.subscribe(ALICE);
        let notify = dialog.notify();
        assert_eq!(notify.shows(), ALL_OFF);
        let ours = product.at(transport).port();
        for (start, is_ours) in [("SUBSCRIBE ", false), ("SIP/2.0 200 ", true), ("NOTIFY ", true), ("SIP/2.0 200 ", false)] {
            let mut buffer = vec![0; 65_535];
            let length = collector.recv(&mut buffer).unwrap();
            let packet = buffer[..length].to_vec();
            let payload = chunk(&packet, 0x0f);
            assert!(payload.starts_with(start.as_bytes()), "{}", payload.escape_ascii());
            assert_eq!(port(&packet, if is_ours { 0x07 } else { 0x08 }), ours);
            assert_eq!((chunk(&packet, 0x02), chunk(&packet, 0x0b)), (vec![6], vec![1]));
            assert_eq!((chunk(&packet, 0x03), chunk(&packet, 0x04)), (vec![127, 0, 0, 1], vec![127, 0, 0, 1]));
            assert_eq!(chunk(&packet, 0x11), dialog.call_id.as_bytes());
            assert_eq!(chunk(&packet, 0x13), b"edge-a");
            if start == "NOTIFY " {
                assert_eq!(payload, notify.raw);
            }
            packets.push(packet);
        }
        dialog.unsubscribe();
        for _ in 0..4 {
            collector.recv(&mut [0]).unwrap();
        }
    }
    wait_for("all are counted", || (product.metric("dfks_edge_hep_packets_total{outcome=\"sent\"}") == Some(16.0)).then_some(()));
    tshark_takes(&packets, folder.path());
}

/// A collector that is away costs no phone anything.
#[test]
fn without_a_collector_the_phone_is_served_and_the_loss_counted() {
    let nats = Nats::start();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let product = Setup::on(&nats).with("sip.trace_hep", nobody.to_string()).start();
    let phone = Phone::udp(product.udp());
    phone.subscribe(ALICE).shows(4);
    let lost = "dfks_edge_hep_packets_total{outcome=\"failed\"}";
    wait_for("lost packets", || (product.metric(lost) > Some(0.0)).then_some(()));
}

/// Where tshark is installed, what was mirrored is put back on a wire, and tshark finds nothing wrong with it. (It has no
/// dissector for HEP itself.)
fn tshark_takes(packets: &[Vec<u8>], folder: &Path) {
    let path = folder.join("mirrored.pcap");
    std::fs::write(&path, pcap(packets)).unwrap();
    let read = |more: &[&str]| Command::new("tshark").arg("-r").arg(&path).args(["-d", "udp.port==1-65535,sip"]).args(more).output();
    let Ok(seen) = read(&["-T", "fields", "-e", "sip.CSeq.method", "-e", "sip.Call-ID"]) else {
        return;
    };
    let text = String::from_utf8(seen.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), packets.len(), "{text}{}", String::from_utf8_lossy(&seen.stderr));
    for (line, packet) in lines.into_iter().zip(packets) {
        let (method, call_id) = line.split_once('\t').unwrap();
        assert!(matches!(method, "SUBSCRIBE" | "NOTIFY"), "{line}");
        assert_eq!(call_id.as_bytes(), chunk(packet, 0x11));
    }
    let wrong = read(&["-Y", "_ws.expert.severity == error || _ws.malformed"]).unwrap();
    assert_eq!(String::from_utf8(wrong.stdout).unwrap(), "");
}

/// A capture file of the mirrored messages, each in a UDP datagram over IPv4 without a link layer (`LINKTYPE_RAW`).
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65_535, 101].into_iter().flat_map(u32::to_be_bytes).collect();
    for packet in packets {
        let payload = chunk(packet, 0x0f);
        let udp_length = u16::try_from(8 + payload.len()).unwrap();
        let length = 20 + udp_length;
        let length_twice = [u32::from(length).to_be_bytes(); 2].concat();
        let header = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0, 0, 64, 17, 0, 0]].concat();
        for part in [chunk(packet, 0x09), chunk(packet, 0x0a), length_twice, header, chunk(packet, 0x03), chunk(packet, 0x04)] {
            out.extend(part);
        }
        for part in [chunk(packet, 0x07), chunk(packet, 0x08), udp_length.to_be_bytes().to_vec(), vec![0, 0], payload] {
            out.extend(part);
        }
    }
    out
}
