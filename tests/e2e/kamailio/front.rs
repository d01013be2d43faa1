//! A proxy in front of a PBX that sends no SUBSCRIBE on: `examples/kamailio/front.cfg`.
//!
//! ```text
//! phone ──SUBSCRIBE──▶ Kamailio ──▶ edge          phone ──REGISTER, INVITE──▶ Kamailio ──▶ PBX ──INVITE──▶ Kamailio ──▶ phone
//! ```

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::House;
use super::callee::{Callee, Manner, answer};
use crate::harness::Packet;

/// The PBX: the next request that it gets, answered so.
fn answered(pbx: &UdpSocket, status: &'static str) -> thread::JoinHandle<(Packet, SocketAddr)> {
    let pbx = pbx.try_clone().unwrap();
    thread::spawn(move || {
        let (request, from) = received(&pbx);
        answer(&pbx, &request, from, status, "pbx");
        (request, from)
    })
}

fn received(pbx: &UdpSocket) -> (Packet, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = pbx.recv_from(&mut buffer).expect("something for the PBX");
    (Packet::read(&buffer[..length]), from)
}

#[test]
fn a_pbx_keeps_calls_and_registrations_while_keys_go_to_the_edge() {
    let pbx = UdpSocket::bind("127.0.0.1:0").unwrap();
    pbx.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let own = pbx.local_addr().unwrap();
    let defines = [format!("PBX=\"sip:{own}\""), format!("PBX_PORT={}", own.port())];
    let Some(house) = House::with("front.cfg", &defines.each_ref().map(String::as_str)) else { return };

    let registrar = answered(&pbx, "200 OK");
    let alice = Callee::register("alice", house.kamailio.address, Manner::Answers);
    let (register, proxy) = registrar.join().unwrap();
    assert!(register.start.starts_with("REGISTER "), "{}", register.start);
    let (path, contact) = (register.must("path"), register.must("contact").trim_matches(['<', '>']));

    // along the Path, to where the phone registered from
    let invite = format!(
        "INVITE {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKpbx\r\nRoute: {path}\r\nMax-Forwards: 70\r\nFrom: <sip:dave@{own}>;tag=d\r\n\
         To: <{contact}>\r\nCall-ID: pbx@{own}\r\nCSeq: 1 INVITE\r\nContact: <sip:{own}>\r\nContent-Length: 0\r\n\r\n"
    );
    pbx.send_to(invite.as_bytes(), proxy).unwrap();
    alice.called();
    let taken = std::iter::from_fn(|| Some(received(&pbx).0)).find(|packet| packet.status() == Some(200)).unwrap();
    assert!(taken.must("record-route").contains(&house.kamailio.address.to_string()));
    let to = taken.must("to");
    let bye = format!(
        "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKbye\r\nRoute: {}\r\nMax-Forwards: 70\r\nFrom: <sip:dave@{own}>;tag=d\r\n\
         To: {to}\r\nCall-ID: pbx@{own}\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
        taken.must("contact").trim_matches(['<', '>']),
        taken.must("record-route")
    );
    pbx.send_to(bye.as_bytes(), proxy).unwrap();
    let ended = std::iter::from_fn(|| Some(received(&pbx).0)).find(|packet| packet.must("cseq") == "2 BYE").unwrap();
    assert_eq!(ended.status(), Some(200));

    // the keys of phones on either transport; the PBX hears nothing of them
    let lamp = house.phone("udp", &[]);
    lamp.until("CallForwardingNoAnswer");
    let key = house.phone("tcp", &["--press", "DoNotDisturb=on"]);
    key.until("DoNotDisturb=on confirmed");
    lamp.until("DoNotDisturb            on");

    // a call of a phone is the PBX's to decide
    let call = house.calling("alice", 486);
    let (asked, _) = answered(&pbx, "486 Busy Here").join().unwrap();
    assert!(asked.start.starts_with("INVITE sip:alice@127.0.0.1 "), "{}", asked.start);
    call.ends();
}
