//! A phone that is called: it registers at the proxy, and takes a call, is busy, or only rings.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::Packet;

/// What it does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes it.
    Answers,
    /// Says 486.
    IsBusy,
    /// Rings until the call is given up.
    Rings,
}

/// A registered phone. Its thread ends with it.
#[derive(Debug)]
pub(super) struct Callee {
    manner: Arc<Mutex<Manner>>,
    calls: mpsc::Receiver<Packet>,
    socket: Arc<UdpSocket>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Callee {
    /// Registers `user` of 127.0.0.1.
    pub(super) fn register(user: &str, proxy: SocketAddr, manner: Manner) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let own = socket.local_addr().unwrap();
        let register = format!(
            "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{user}r;rport\r\nMax-Forwards: 70\r\nFrom: <sip:{user}@127.0.0.1>;tag={user}\r\n\
             To: <sip:{user}@127.0.0.1>\r\nCall-ID: {user}@{own}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{user}@{own}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(register.as_bytes(), proxy).unwrap();
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).expect("an answer to REGISTER");
        assert_eq!(Packet::read(&buffer[..length]).status(), Some(200), "REGISTER of {user}");
        let manner = Arc::new(Mutex::new(manner));
        let (sender, calls) = mpsc::sync_channel(1000);
        let line = Line { user: user.to_owned(), socket: Arc::clone(&socket), manner: Arc::clone(&manner), invite: None };
        let thread = thread::spawn(move || line.serve(&sender));
        Self { manner, calls, socket, thread: Some(thread) }
    }

    /// Does something else with the next call.
    pub(super) fn now(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The next INVITE that it got.
    pub(super) fn called(&self) -> Packet {
        self.calls.recv_timeout(Duration::from_secs(20)).expect("a call within 20 s")
    }

    /// Whether nobody has called since the last call that was looked at.
    pub(super) fn is_quiet(&self) -> bool {
        self.calls.try_recv().is_err()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        let own = self.socket.local_addr().unwrap();
        drop(self.socket.send_to(b"end", own));
        let is_well = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(is_well || thread::panicking(), "the phone got what it could not read");
    }
}

struct Line {
    user: String,
    socket: Arc<UdpSocket>,
    manner: Arc<Mutex<Manner>>,
    /// The INVITE that rings.
    invite: Option<(Packet, SocketAddr)>,
}

impl Line {
    fn serve(mut self, calls: &mpsc::SyncSender<Packet>) {
        let mut buffer = vec![0; 65_536];
        let mut last = String::new();
        self.socket.set_read_timeout(None).unwrap();
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
            if &buffer[..length] == b"end" {
                return;
            }
            let packet = Packet::read(&buffer[..length]);
            match packet.start.split(' ').next().unwrap() {
                "INVITE" => {
                    let branch = packet.param("via", "branch").unwrap();
                    if branch != last {
                        last = branch;
                        // whoever looks on has gone when the test ends
                        drop(calls.send(packet.clone()));
                    }
                    self.invited(packet, from);
                }
                "CANCEL" => {
                    self.answer(&packet, from, "200 OK");
                    if let Some((invite, from)) = self.invite.take() {
                        self.answer(&invite, from, "487 Request Terminated");
                    }
                }
                "ACK" => {}
                _ => self.answer(&packet, from, "200 OK"),
            }
        }
    }

    fn invited(&mut self, packet: Packet, from: SocketAddr) {
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Answers => self.answer(&packet, from, "200 OK"),
            Manner::IsBusy => self.answer(&packet, from, "486 Busy Here"),
            Manner::Rings => {
                self.answer(&packet, from, "180 Ringing");
                self.invite = Some((packet, from));
            }
        }
    }

    fn answer(&self, request: &Packet, to: SocketAddr, status: &str) {
        answer(&self.socket, request, to, status, &self.user);
    }
}

/// Sends a response to a request.
pub(super) fn answer(socket: &UdpSocket, request: &Packet, to: SocketAddr, status: &str, user: &str) {
    use std::fmt::Write as _;
    let own = socket.local_addr().unwrap();
    let mut text = format!("SIP/2.0 {status}\r\n");
    for (name, value) in &request.headers {
        if matches!(name.as_str(), "via" | "record-route" | "from" | "call-id" | "cseq") {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
    }
    let wanted = request.must("to");
    let tag = if wanted.contains(";tag=") { String::new() } else { format!(";tag={user}") };
    write!(text, "To: {wanted}{tag}\r\nContact: <sip:{user}@{own}>\r\nContent-Length: 0\r\n\r\n").unwrap();
    socket.send_to(text.as_bytes(), to).unwrap();
}
