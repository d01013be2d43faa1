//! Cuts, keep-alives and limits of streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::ALL_OFF;
use crate::common::Nats;
use crate::harness::{Dialog, Phone, Subscribe};
use crate::site::Site;

/// WebSocket has frames of its own: nothing is cut there, and the tests of the transport show its limits.
const STREAMS: [(&str, &str); 2] = [("tcp", "TCP"), ("tls", "TLS")];

fn is_served(dialog: &mut Dialog<'_>, branch: &str, what: &str) {
    assert_eq!(dialog.response(branch).status(), Some(200), "{what}");
    assert_eq!(dialog.shows(4), ALL_OFF, "{what}");
}

#[test]
fn messages_are_found_however_the_stream_is_cut() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    for transport in STREAMS {
        bytewise(&site.phone(transport), transport.0);
        for cut in (1..450).step_by(47) {
            in_two(&site.phone(transport), cut, transport.0);
        }
        for rest in 1..5 {
            in_two(&site.phone(transport), rest - 5, transport.0);
        }
        many_at_once(&site.phone(transport), transport.0);
    }
}

fn bytewise(phone: &Phone, transport: &str) {
    let mut dialog = phone.dialog(&format!("sip:bytes-{transport}@127.0.0.1"));
    let (text, branch) = dialog.request(&Subscribe::default());
    for byte in text.bytes() {
        phone.send(&[byte]);
    }
    is_served(&mut dialog, &branch, "byte by byte");
}

/// Cut after so many bytes; a negative number counts from the end. On a connection of its own: the answer to a NOTIFY of before
/// must not come between the two.
fn in_two(phone: &Phone, cut: isize, transport: &str) {
    let mut dialog = phone.dialog(&format!("sip:cut{cut}-{transport}@127.0.0.1"));
    let (text, branch) = dialog.request(&Subscribe::default());
    let at = usize::try_from(cut).unwrap_or_else(|_| text.len() - cut.unsigned_abs());
    let (first, second) = text.split_at(at);
    phone.send(first.as_bytes());
    std::thread::sleep(Duration::from_millis(2));
    phone.send(second.as_bytes());
    is_served(&mut dialog, &branch, "in two parts");
}

fn many_at_once(phone: &Phone, transport: &str) {
    let mut dialogs: Vec<_> = (0..20).map(|at| phone.dialog(&format!("sip:many{at}-{transport}@127.0.0.1"))).collect();
    let requests: Vec<_> = dialogs.iter_mut().map(|dialog| dialog.request(&Subscribe::default())).collect();
    let texts: Vec<_> = requests.iter().map(|(text, _)| text.as_str()).collect();
    // a keep-alive of one line end between them is none that is answered
    phone.send(texts.join("\r\n").as_bytes());
    for (dialog, (_, branch)) in dialogs.iter_mut().zip(&requests) {
        is_served(dialog, branch, "twenty in one write");
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn options(transport: &str, more: &str) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{} 127.0.0.1:9;branch=z9hG4bK{:x}\r\nFrom: <sip:a@127.0.0.1>;tag=f\r\nTo: <sip:127.0.0.1>\r\n\
         Call-ID: {:x}\r\nCSeq: 1 OPTIONS\r\n{more}Content-Length: 0\r\n\r\n",
        transport.to_ascii_uppercase(),
        rand::random::<u64>(),
        rand::random::<u64>(),
    )
}

/// What comes up to the end of this text.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(text.as_bytes()) {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&seen)));
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}

/// RFC 5626 §3.5.1: a double line end is answered with one, a single one is not.
#[test]
fn keep_alives_are_answered_and_hold_up_nothing() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    for (transport, _) in STREAMS {
        let mut stream = connect(site.address(transport));
        for ping in ["\r\n\r\n", "\r\n\r\n\r\n\r\n"] {
            stream.write_all(ping.as_bytes()).unwrap();
            for _ in 0..ping.len() / 4 {
                read_until(&mut stream, "\r\n");
            }
            stream.write_all(options(transport, "").as_bytes()).unwrap();
            let answer = read_until(&mut stream, "\r\n\r\n");
            assert!(answer.starts_with("SIP/2.0 200 "), "{transport}: {answer:?}");
        }
        for part in ["\r\n", &options(transport, "")] {
            stream.write_all(part.as_bytes()).unwrap();
        }
        let answer = read_until(&mut stream, "\r\n\r\n");
        assert!(answer.starts_with("SIP/2.0 200 "), "{transport}: no answer to a single line end: {answer:?}");
        for byte in "\r\n\r\n".bytes() {
            stream.write_all(&[byte]).unwrap();
        }
        read_until(&mut stream, "\r\n");
    }
}

/// Whether the edge ends the connection, whatever it says before.
fn is_ended(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted),
    }
}

#[test]
fn what_is_over_a_limit_ends_its_connection_and_no_other() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    for (transport, _) in STREAMS {
        let mut other = connect(site.address(transport));
        let long_line = format!("X: {}\r\n", "x".repeat(17 * 1024));
        let length = |length: &str| options(transport, "").replace("Content-Length: 0", &format!("Content-Length: {length}"));
        for (name, bytes) in [
            ("a head over 16 KiB", options(transport, &long_line)),
            ("a head that never ends", "A: b\r\n".repeat(4 * 1024)),
            ("a body over 16 KiB", length("16385")),
            ("a vast Content-Length", length("18446744073709551616")),
            ("an unreadable Content-Length", length("many")),
            ("two Content-Lengths", options(transport, "Content-Length: 3\r\n")),
        ] {
            let mut stream = connect(site.address(transport));
            // the edge may end it before it has all
            drop(stream.write_all(bytes.as_bytes()));
            assert!(is_ended(stream), "{name} over {transport}");
        }
        let mut stream = connect(site.address(transport));
        for (lines, status) in [(120, "SIP/2.0 200 "), (140, "SIP/2.0 400 "), (1, "SIP/2.0 200 ")] {
            stream.write_all(options(transport, &"X: 1\r\n".repeat(lines)).as_bytes()).unwrap();
            let answer = read_until(&mut stream, "\r\n\r\n");
            assert!(answer.starts_with(status), "{lines} lines over {transport}: {answer}");
        }
        other.write_all(options(transport, "").as_bytes()).unwrap();
        assert!(read_until(&mut other, "\r\n\r\n").starts_with("SIP/2.0 200 "), "another connection over {transport}");
    }
}

/// ```text
/// phone ──STUN Binding request──▶ edge ──▶ where it came from        unreadable: counted, and no answer
/// ```
#[test]
fn a_stun_keep_alive_is_answered_on_the_sip_port() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = *b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
    let unparsable = || site.product.metric("dfks_edge_dropped_total{reason=\"unparsable\"}");
    let before = unparsable();
    phone.send_to(&request[..request.len() - 1], site.product.udp()).unwrap();
    phone.send_to(&[&request[..], b"\x80\x22"].concat(), site.product.udp()).unwrap();
    phone.send_to(&request, site.product.udp()).unwrap();
    let mut buffer = [0; 512];
    let length = phone.recv(&mut buffer).unwrap();
    let port = (phone.local_addr().unwrap().port() ^ 0x2112).to_be_bytes();
    let address = [127 ^ 0x21, 0x12, 0xa4, 1 ^ 0x42];
    let want = [&b"\x01\x01\x00\x0c"[..], &request[4..], b"\x00\x20\x00\x08\x00\x01", &port, &address].concat();
    assert_eq!(&buffer[..length], want);
    assert_eq!(unparsable(), before.map(|count| count + 2.0), "the first to come is the answer to the last");
}
