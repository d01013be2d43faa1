//! A phone for tests: one UDP socket or TCP connection, any number of dialogs, and NOTIFYs answered as the test wants.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::dialog::{Dialog, Subscribe};
use super::packet::Packet;

/// How long anything may take that is to happen at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a read blocks before the thread looks whether it is to end.
const TURN: Duration = Duration::from_millis(20);

/// How a NOTIFY is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With a status, and more header lines, each with its line end.
    Status(u16, &'static str),
    /// Not at all.
    Silence,
}

type Policy = Box<dyn FnMut(&Packet) -> Answer + Send>;

/// See the module.
pub struct Phone {
    wire: Wire,
    pub(super) local: SocketAddr,
    pub(super) shared: Arc<Shared>,
}

enum Wire {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp { stream: Mutex<TcpStream>, transport: &'static str },
}

pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

pub(super) struct State {
    /// By branch.
    responses: HashMap<String, Vec<Packet>>,
    /// By Call-ID; each once, however often it came.
    pub(super) notifies: HashMap<String, Vec<Packet>>,
    /// How often each NOTIFY came, by branch.
    copies: HashMap<String, u32>,
    policy: Policy,
}

impl Phone {
    /// A phone that speaks UDP with `server`.
    pub fn udp(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // a phone that has to wait for the processor loses no datagram: it sends nothing again
        SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
        socket.set_read_timeout(Some(TURN)).unwrap();
        let reading = socket.try_clone().unwrap();
        let phone = Self::new(socket.local_addr().unwrap(), Wire::Udp { socket, server });
        let shared = Arc::clone(&phone.shared);
        thread::spawn(move || {
            let mut buffer = vec![0; 65_535];
            while !shared.is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = reading.recv_from(&mut buffer) else { continue };
                if let Some(answer) = shared.take(Packet::read(&buffer[..length])) {
                    reading.send_to(answer.as_bytes(), from).unwrap();
                }
            }
        });
        phone
    }

    /// A phone that speaks TCP with `server`, over one connection.
    pub fn tcp(server: SocketAddr) -> Self {
        Self::over("TCP", server)
    }

    /// A phone whose messages name another transport, and go there by a relay that speaks TCP with the phone.
    pub fn over(transport: &'static str, relay: SocketAddr) -> Self {
        let stream = TcpStream::connect(relay).unwrap();
        stream.set_read_timeout(Some(TURN)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reading = stream.try_clone().unwrap();
        let phone = Self::new(stream.local_addr().unwrap(), Wire::Tcp { stream: Mutex::new(stream), transport });
        let shared = Arc::clone(&phone.shared);
        thread::spawn(move || {
            let mut buffer = Vec::new();
            let mut part = vec![0; 65_535];
            while !shared.is_over.load(Ordering::Relaxed) {
                match reading.read(&mut part) {
                    Ok(0) => return,
                    Ok(length) => buffer.extend_from_slice(&part[..length]),
                    Err(_) => continue,
                }
                while let Some(length) = message_bytes(&buffer) {
                    let message: Vec<u8> = buffer.drain(..length).collect();
                    if let Some(answer) = shared.take(Packet::read(&message)) {
                        // the test may have let go of the connection
                        drop(reading.write_all(answer.as_bytes()));
                    }
                }
            }
        });
        phone
    }

    fn new(local: SocketAddr, wire: Wire) -> Self {
        let state = State {
            responses: HashMap::new(),
            notifies: HashMap::new(),
            copies: HashMap::new(),
            policy: Box::new(|_| Answer::Status(200, "")),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), is_over: AtomicBool::new(false) });
        Self { wire, local, shared }
    }

    /// How NOTIFYs are answered from now on; at first with 200.
    pub fn answers(&self, policy: impl FnMut(&Packet) -> Answer + Send + 'static) {
        self.shared.lock().policy = Box::new(policy);
    }

    /// A dialog that nothing was sent in yet, for a presentity's features.
    pub fn dialog(&self, presentity: &str) -> Dialog<'_> {
        Dialog::new(self, presentity)
    }

    /// The dialog of a stored subscription with this id: nothing was sent in it by this phone.
    pub fn dialog_of(&self, id: &str, record: &serde_json::Value) -> Dialog<'_> {
        Dialog::stored(self, id, record)
    }

    /// Subscribes, which has to succeed.
    pub fn subscribe(&self, presentity: &str) -> Dialog<'_> {
        let mut dialog = self.dialog(presentity);
        let response = dialog.send(&Subscribe::default());
        assert_eq!(response.status(), Some(200), "{}", response.start);
        dialog
    }

    /// A request outside any dialog, and its branch. `who` and `more` are header lines, each with its line end. Nothing is sent.
    pub fn request(&self, method: &str, who: &str, more: &str, body: &str) -> (String, String) {
        let branch = format!("z9hG4bK{:016x}", rand::random::<u64>());
        let (local, transport) = (self.local, self.transport());
        let text = format!(
            "{method} sip:alice@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch={branch};rport\r\nMax-Forwards: 70\r\n{who}\
             Call-ID: {:016x}\r\nCSeq: 1 {method}\r\nContact: <sip:phone@{local}>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            rand::random::<u64>(),
            body.len(),
        );
        (text, branch)
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        match &self.wire {
            Wire::Udp { socket, server } => assert_eq!(socket.send_to(bytes, server).unwrap(), bytes.len()),
            Wire::Tcp { stream, .. } => stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes).unwrap(),
        }
    }

    /// The responses to the request with this branch, once there are `count`.
    pub fn responses(&self, branch: &str, count: usize) -> Vec<Packet> {
        self.shared.wait(&format!("{count} responses to {branch}"), PATIENCE, |state| {
            state.responses.get(branch).filter(|responses| responses.len() >= count).cloned()
        })
    }

    /// How many responses to the request with this branch have come. Ask only after something that would have come later.
    pub fn response_count(&self, branch: &str) -> usize {
        self.shared.lock().responses.get(branch).map_or(0, Vec::len)
    }

    /// The address that it sends from.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// How often a NOTIFY came.
    pub fn copies(&self, notify: &Packet) -> u32 {
        self.shared.lock().copies.get(&branch_of(notify)).copied().unwrap_or(0)
    }

    pub(super) fn transport(&self) -> &'static str {
        match self.wire {
            Wire::Udp { .. } => "UDP",
            Wire::Tcp { transport, .. } => transport,
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Wire::Tcp { stream, .. } = &self.wire {
            drop(stream.lock().unwrap_or_else(PoisonError::into_inner).shutdown(std::net::Shutdown::Both));
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message in; gives back what it is answered.
    fn take(&self, packet: Packet) -> Option<String> {
        let branch = branch_of(&packet);
        let mut state = self.lock();
        if packet.status().is_some() {
            state.responses.entry(branch).or_default().push(packet);
            self.changed.notify_all();
            return None;
        }
        assert!(packet.start.starts_with("NOTIFY "), "a phone is sent nothing else: {}", packet.start);
        let answer = (state.policy)(&packet);
        let text = match answer {
            Answer::Status(status, more) => Some(answered(&packet, status, more)),
            Answer::Silence => None,
        };
        let copies = state.copies.entry(branch).or_default();
        *copies += 1;
        if *copies == 1 {
            state.notifies.entry(packet.must("call-id").to_owned()).or_default().push(packet);
        }
        self.changed.notify_all();
        text
    }

    /// Waits until there is a value.
    pub(super) fn wait<T>(&self, what: &str, patience: Duration, mut value: impl FnMut(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(value) = value(&state) {
                return value;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not within {patience:?}");
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn branch_of(packet: &Packet) -> String {
    packet.param("via", "branch").expect("a branch")
}

fn answered(notify: &Packet, status: u16, more: &str) -> String {
    let line = |name: &str| notify.must(&name.to_ascii_lowercase()).to_owned();
    let (via, from, to, call_id, cseq) = (line("Via"), line("From"), line("To"), line("Call-ID"), line("CSeq"));
    format!(
        "SIP/2.0 {status} Whatever\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// The length of the first message of a stream, once it is there as a whole.
fn message_bytes(stream: &[u8]) -> Option<usize> {
    let head = stream.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&stream[..head]);
    let length: usize = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("Content-Length").parse().unwrap();
    (stream.len() >= head + length).then_some(head + length)
}
