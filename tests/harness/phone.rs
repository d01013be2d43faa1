//! A phone for tests: one UDP socket or TCP connection, any number of dialogs, and NOTIFYs answered as the test wants.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::packet::Packet;

/// How long anything may take that is to happen at once.
const PATIENCE: Duration = Duration::from_secs(10);
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
    local: SocketAddr,
    shared: Arc<Shared>,
}

enum Wire {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp(Mutex<TcpStream>),
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

struct State {
    /// By branch.
    responses: HashMap<String, Vec<Packet>>,
    /// By Call-ID; each once, however often it came.
    notifies: HashMap<String, Vec<Packet>>,
    /// How often each NOTIFY came, by branch.
    copies: HashMap<String, u32>,
    policy: Policy,
}

impl Phone {
    /// A phone that speaks UDP with `server`.
    pub fn udp(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
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
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(TURN)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reading = stream.try_clone().unwrap();
        let phone = Self::new(stream.local_addr().unwrap(), Wire::Tcp(Mutex::new(stream)));
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
                        reading.write_all(answer.as_bytes()).unwrap();
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
        let call_id = format!("{:032x}@127.0.0.1", rand::random::<u128>());
        let local_tag = format!("{:08x}", rand::random::<u32>());
        Dialog { phone: self, presentity: presentity.to_owned(), call_id, local_tag, remote_tag: None, target: None, cseq: 0, seen: 0 }
    }

    /// Subscribes, which has to succeed.
    pub fn subscribe(&self, presentity: &str) -> Dialog<'_> {
        let mut dialog = self.dialog(presentity);
        let response = dialog.send(&Subscribe::default());
        assert_eq!(response.status(), Some(200), "{}", response.start);
        dialog
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        match &self.wire {
            Wire::Udp { socket, server } => assert_eq!(socket.send_to(bytes, server).unwrap(), bytes.len()),
            Wire::Tcp(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes).unwrap(),
        }
    }

    /// The responses to the request with this branch, once there are `count`.
    pub fn responses(&self, branch: &str, count: usize) -> Vec<Packet> {
        self.shared.wait(&format!("{count} responses to {branch}"), PATIENCE, |state| {
            state.responses.get(branch).filter(|responses| responses.len() >= count).cloned()
        })
    }

    /// How often a NOTIFY came.
    pub fn copies(&self, notify: &Packet) -> u32 {
        self.shared.lock().copies.get(&branch_of(notify)).copied().unwrap_or(0)
    }

    fn transport(&self) -> &'static str {
        match self.wire {
            Wire::Udp { .. } => "UDP",
            Wire::Tcp(_) => "TCP",
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Wire::Tcp(stream) = &self.wire {
            drop(stream.lock().unwrap_or_else(PoisonError::into_inner).shutdown(std::net::Shutdown::Both));
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
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
    fn wait<T>(&self, what: &str, patience: Duration, mut value: impl FnMut(&State) -> Option<T>) -> T {
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

/// What a SUBSCRIBE asks for.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The Expires header; `None`: none.
    pub expires: Option<u32>,
    /// The body; empty: none.
    pub body: String,
    /// More header lines, each with its line end.
    pub more: &'static str,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { expires: Some(3600), body: String::new(), more: "" }
    }
}

/// One dialog of a phone.
pub struct Dialog<'p> {
    phone: &'p Phone,
    presentity: String,
    /// Its Call-ID.
    pub call_id: String,
    local_tag: String,
    remote_tag: Option<String>,
    target: Option<String>,
    cseq: u32,
    seen: usize,
}

impl<'p> Dialog<'p> {
    /// The next SUBSCRIBE of the dialog, and its branch. Nothing is sent.
    pub fn request(&mut self, what: &Subscribe) -> (String, String) {
        self.cseq += 1;
        let branch = format!("z9hG4bK{:016x}", rand::random::<u64>());
        let (local, transport) = (self.phone.local, self.phone.transport());
        let uri = self.target.as_deref().unwrap_or(&self.presentity);
        let to_tag = self.remote_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let expires = what.expires.map(|seconds| format!("Expires: {seconds}\r\n")).unwrap_or_default();
        let content_type = if what.body.is_empty() { "" } else { "Content-Type: application/x-as-feature-event+xml\r\n" };
        let text = format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: <{presentity}>;tag={tag}\r\nTo: <{presentity}>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <sip:phone@{local};transport={scheme}>\r\nEvent: as-feature-event\r\n\
             Accept: application/x-as-feature-event+xml, multipart/mixed\r\nUser-Agent: test-phone/1\r\n{expires}{more}{content_type}\
             Content-Length: {length}\r\n\r\n{body}",
            presentity = self.presentity,
            tag = self.local_tag,
            call_id = self.call_id,
            cseq = self.cseq,
            scheme = transport.to_ascii_lowercase(),
            more = what.more,
            length = what.body.len(),
            body = what.body,
        );
        (text, branch)
    }

    /// Sends a SUBSCRIBE and waits for its response.
    pub fn send(&mut self, what: &Subscribe) -> Packet {
        let (text, branch) = self.request(what);
        self.phone.send(text.as_bytes());
        self.response(&branch)
    }

    /// The response to the request with this branch; a 2xx makes the dialog what it is.
    pub fn response(&mut self, branch: &str) -> Packet {
        let response = self.phone.responses(branch, 1).remove(0);
        if response.status() == Some(200) {
            self.remote_tag = response.param("to", "tag");
            let contact = response.must("contact");
            self.target = Some(contact.trim_start_matches('<').split('>').next().unwrap().to_owned());
        }
        response
    }

    /// Presses a key: a SUBSCRIBE with a body, which has to succeed.
    pub fn press(&mut self, body: impl Into<String>) {
        let response = self.send(&Subscribe { body: body.into(), ..Subscribe::default() });
        assert_eq!(response.status(), Some(200), "{}", response.start);
    }

    /// Refreshes, which has to succeed.
    pub fn refresh(&mut self) {
        self.press("");
    }

    /// Unsubscribes, which has to succeed.
    pub fn unsubscribe(&mut self) {
        let response = self.send(&Subscribe { expires: Some(0), ..Subscribe::default() });
        assert_eq!(response.status(), Some(200), "{}", response.start);
    }

    /// The next NOTIFY of the dialog.
    pub fn notify(&mut self) -> Packet {
        self.notify_within(PATIENCE)
    }

    /// The next NOTIFY of the dialog, for which the test has more or less patience.
    pub fn notify_within(&mut self, patience: Duration) -> Packet {
        let (call_id, at) = (self.call_id.clone(), self.seen);
        self.seen += 1;
        let what = format!("NOTIFY {} for {}", at + 1, self.presentity);
        self.phone.shared.wait(&what, patience, |state| state.notifies.get(&call_id).and_then(|all| all.get(at)).cloned())
    }

    /// What the next NOTIFYs show, once they have shown `count` features: a phone over UDP gets the full state one by one.
    pub fn shows(&mut self, count: usize) -> Vec<String> {
        let mut shown = Vec::new();
        while shown.len() < count {
            shown.extend(self.notify().shows());
        }
        assert_eq!(shown.len(), count, "{shown:?}");
        shown
    }

    /// NOTIFYs up to the one that shows this.
    pub fn until(&mut self, wanted: &str) -> Packet {
        loop {
            let notify = self.notify();
            if notify.shows().iter().any(|line| line == wanted) {
                return notify;
            }
        }
    }

    /// How many NOTIFYs of the dialog have come. Ask only after something that would have come later than one too many.
    pub fn notify_count(&self) -> usize {
        self.phone.shared.lock().notifies.get(&self.call_id).map_or(0, Vec::len)
    }

    /// Goes to another server of the same system, as behind a load balancer; the dialog stays.
    pub fn at<'q>(&self, phone: &'q Phone) -> Dialog<'q> {
        Dialog {
            phone,
            presentity: self.presentity.clone(),
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
            target: self.target.clone(),
            cseq: self.cseq,
            seen: 0,
        }
    }

    /// Our tag in its dialog: the subscription's id.
    pub fn subscription(&self) -> String {
        self.remote_tag.clone().unwrap()
    }
}

/// The body by which a phone switches Do Not Disturb.
pub fn set_dnd(on: bool) -> String {
    set("SetDoNotDisturb", &format!("<doNotDisturbOn>{on}</doNotDisturbOn>"))
}

/// The body by which a phone changes a forward; `more` holds its other elements.
pub fn set_forwarding(kind: &str, on: bool, more: &str) -> String {
    set("SetForwarding", &format!("<forwardingType>{kind}</forwardingType><activateForward>{on}</activateForward>{more}"))
}

fn set(root: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\r\n<{root} xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
         <device>alice</device>{inner}</{root}>"
    )
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
    let text = std::str::from_utf8(&stream[..head]).unwrap();
    let length: usize = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("Content-Length").parse().unwrap();
    (stream.len() >= head + length).then_some(head + length)
}
