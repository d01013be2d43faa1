//! A DNS server of a test, and an edge in this process that asks it: a child of the binary asks the servers of this machine.

use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dfks::bus::{Bus, SharedIndex};
use dfks::config::Config;
use dfks::edge::{Edge, Resolver};
use dfks::feature::FeatureTable;
use dfks::runtime::Tasks;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio_util::sync::CancellationToken;

use crate::common::Nats;

/// A DNS server on a UDP port of its own. A name that it has not does not exist; one that is silent gets no answer.
pub(crate) struct Zone {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    records: Mutex<Vec<Record>>,
    silent: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Zone {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (address, shared) = (socket.local_addr().unwrap(), Arc::new(Shared::default()));
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !serving.is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = serving.answer(&Message::from_vec(&buffer[..length]).unwrap()) {
                    socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        Self { address, shared }
    }

    /// `_sip._udp.example.test` 0 1 5060 `host.example.test`
    pub(crate) fn srv(&self, name: &str, (priority, weight): (u16, u16), port: u16, target: &str, ttl: u32) {
        self.add(name, ttl, RData::SRV(SRV::new(priority, weight, port, of(target))));
    }

    pub(crate) fn naptr(&self, name: &str, (order, preference): (u16, u16), service: &str, replacement: &str) {
        let service = service.as_bytes().into();
        self.add(name, 60, RData::NAPTR(NAPTR::new(order, preference, b"s".as_slice().into(), service, Box::default(), of(replacement))));
    }

    pub(crate) fn a(&self, name: &str, address: [u8; 4], ttl: u32) {
        let [a, b, c, d] = address;
        self.add(name, ttl, RData::A(A::new(a, b, c, d)));
    }

    fn add(&self, name: &str, ttl: u32, data: RData) {
        lock(&self.shared.records).push(Record::from_rdata(of(name), ttl, data));
    }

    /// A name has no records any more.
    pub(crate) fn forget(&self, name: &str) {
        lock(&self.shared.records).retain(|record| record.name != of(name));
    }

    /// Questions that end in this name get no answer.
    pub(crate) fn silence(&self, name: &str) {
        lock(&self.shared.silent).push(of(name).to_string());
    }

    /// What was asked: `SRV _sip._udp.example.test.`
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries.first().unwrap();
        let (name, kind) = (query.name(), query.query_type());
        lock(&self.asked).push(format!("{kind} {name}"));
        if lock(&self.silent).iter().any(|silent| name.to_string().ends_with(silent)) {
            return None;
        }
        let records = lock(&self.records);
        let of_name: Vec<_> = records.iter().filter(|record| record.name == *name).collect();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.response_code = if of_name.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        answer.add_answers(of_name.into_iter().filter(|record| record.record_type() == kind).cloned());
        Some(answer)
    }
}

fn of(name: &str) -> Name {
    let mut name = Name::from_str(name).unwrap();
    name.set_fqdn(true);
    name
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An edge in this process, over UDP and TCP, whose names this zone has. Proxies on loopback are trusted.
pub(crate) struct NamedEdge {
    listening: Vec<String>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl NamedEdge {
    pub(crate) fn start(nats: &Nats, zone: &Zone) -> Self {
        let stop = CancellationToken::new();
        let (stopping, url, resolver) = (stop.clone(), nats.url(), Resolver::at(vec![zone.address]));
        let (told, listening) = std::sync::mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let keys = [
                    ("DFKS__NATS__URL", url.as_str()),
                    ("DFKS__SIP__LISTEN", "udp:127.0.0.1:0,tcp:127.0.0.1:0"),
                    ("DFKS__SIP__EDGE_ID", "edge-named"),
                    ("DFKS__SIP__AUTH__TRUSTED", "127.0.0.0/8"),
                ];
                let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
                let config = Arc::new(Config::load(None, keys).unwrap());
                let bus = Bus::connect(&config.nats, "dfks-named-edge").await.unwrap();
                bus.connected().await;
                let (tasks, table) = (Tasks::new(), Arc::new(FeatureTable::built_in()));
                let index = SharedIndex::new(bus.clone(), tasks, 1);
                let edge = Box::pin(Edge::start(&config, bus, &index, table, resolver)).await.unwrap();
                told.send(edge.listening()).unwrap();
                Box::pin(edge.run(stopping)).await.unwrap();
            });
        });
        let listening = listening.recv_timeout(Duration::from_secs(20)).expect("an edge");
        Self { listening, stop, thread: Some(thread) }
    }

    /// Where it takes SIP over this transport.
    pub(crate) fn at(&self, transport: &str) -> SocketAddr {
        let of_transport = |listener: &String| listener.strip_prefix(transport)?.strip_prefix(':')?.parse().ok();
        self.listening.iter().find_map(of_transport).unwrap()
    }
}

impl Drop for NamedEdge {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // a test that has failed already says why
            let _ended = thread.join();
        }
    }
}
