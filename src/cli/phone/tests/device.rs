//! The phone on real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::fixture::*;
use crate::cli::phone::device::{Keys, Phone, Way};
use crate::cli::phone::input::{Event, Input};
use crate::feature::{Presentity, Status, Values};
use crate::sip::framing::{Frame, Framer};
use crate::sip::{Name, Request, Transport, parse};

/// A notifier that shows `DoNotDisturb` as the last SUBSCRIBE with a body left it.
#[derive(Default)]
struct Notifier {
    is_on: bool,
    cseq: u32,
}

impl Notifier {
    fn answers(&mut self, packet: &[u8]) -> Vec<Bytes> {
        let Ok(request) = Request::from_message(parse(packet).unwrap()) else { return Vec::new() };
        if request.body().windows(4).any(|bytes| bytes == b"true") {
            self.is_on = true;
        }
        self.cseq += 1;
        let state = if request.message().header(Name::Expires) == Some("0") { "terminated;reason=timeout" } else { "active;expires=3600" };
        let body = document("DoNotDisturb", self.is_on, &[]);
        vec![ok(&request), notify(&request, &Notify { cseq: self.cseq, state, body: &body, ..NOTIFY })]
    }
}

async fn press_and_leave(mut phone: Phone) -> Vec<bool> {
    let mut shown = Vec::new();
    for input in [
        Input::Subscribe,
        Input::Press { feature: "DoNotDisturb".to_owned(), status: Status::ON, values: Values::new() },
        Input::Unsubscribe,
    ] {
        phone.tell(input).unwrap();
        let (mut is_accepted, mut is_notified) = (false, false);
        while !(is_accepted && is_notified) {
            match tokio::time::timeout(Duration::from_secs(5), phone.next()).await.unwrap().unwrap() {
                Event::Accepted { .. } => is_accepted = true,
                Event::Notified(notification) => {
                    is_notified = true;
                    shown.push(notification.features[0].status.is_on());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    shown
}

async fn phone(server: SocketAddr, transport: Transport) -> Phone {
    let presentity = Presentity::parse("sip:alice@example.com").unwrap();
    let way = Way { server, transport, tls: None };
    Phone::open(way, None, Keys::default(), presentity, "sip:alice@example.com", 3600).await.unwrap()
}

#[tokio::test]
async fn presses_and_leaves_over_udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let (mut notifier, mut buffer) = (Notifier::default(), vec![0; 65_535]);
        loop {
            let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
            for packet in notifier.answers(&buffer[..length]) {
                socket.send_to(&packet, source).await.unwrap();
            }
        }
    });
    assert_eq!(press_and_leave(phone(server, Transport::Udp).await).await, [false, true, true]);
}

#[tokio::test]
async fn presses_and_leaves_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut notifier, mut framer) = (Notifier::default(), Framer::new());
        while stream.read_buf(framer.buffer()).await.unwrap() > 0 {
            while let Some(Frame::Message(message)) = framer.next_frame().unwrap() {
                for packet in notifier.answers(&message) {
                    stream.write_all(&packet).await.unwrap();
                }
            }
        }
    });
    assert_eq!(press_and_leave(phone(server, Transport::Tcp).await).await, [false, true, true]);
}

#[tokio::test]
async fn learns_at_once_that_nobody_listens() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let free = UdpSocket::bind(address).await.unwrap().local_addr().unwrap();
        let mut phone = phone(free, Transport::Udp).await;
        phone.tell(Input::Subscribe).unwrap();
        let error = tokio::time::timeout(Duration::from_secs(5), phone.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{address}");
    }
}
