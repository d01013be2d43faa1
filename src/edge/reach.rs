//! How packets leave: the sockets of this edge, the connections that it makes, and the names that it looks up.
//!
//! Nothing here waits: a packet is queued, handed to a connection, or given up and counted.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::edge::config::EdgeConfig;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::mirror::Mirror;
use crate::edge::notifier::Destination;
use crate::edge::subscription::SubscriptionId;
use crate::runtime::{Tasks, clock};
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::transport::{Batch, Remote, SendError, SendQueue, StreamTransport, UdpListener};
use crate::sip::uri::TargetHost;

/// Datagrams that wait for one socket; over it they are dropped, and retransmissions make up for it.
const UDP_QUEUE: usize = 65_536;
/// Batches of datagrams read from one socket in a round.
const BATCHES_A_ROUND: usize = 8;
/// Names looked up at a time.
const LOOKUPS: usize = 64;
/// Addresses remembered.
const NAMES: usize = 10_000;
const NAME_KEPT_FOR: Duration = Duration::from_mins(1);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub struct Reach {
    udp: Vec<Socket>,
    streams: StreamTransport,
    config: Arc<EdgeConfig>,
    mirror: Mirror,
    batch: Batch,
    metrics: Arc<EdgeMetrics>,
    tasks: Tasks,
    opening: AHashMap<ConnectionId, Vec<SubscriptionId>>,
    unreachable: VecDeque<SubscriptionId>,
    names: AHashMap<Box<str>, (IpAddr, Instant)>,
    lookups: usize,
    found: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
}

struct Socket {
    listener: UdpListener,
    queue: SendQueue,
    is_blocked: bool,
}

/// A name that was looked up for a NOTIFY.
struct Found {
    name: Box<str>,
    address: Option<IpAddr>,
    port: u16,
    transport: Transport,
    subscription: SubscriptionId,
    packet: Bytes,
}

impl Reach {
    /// The sockets and connections of one edge.
    #[must_use]
    pub fn new(
        udp: Vec<UdpListener>,
        streams: StreamTransport,
        config: Arc<EdgeConfig>,
        mirror: Mirror,
        metrics: Arc<EdgeMetrics>,
        tasks: Tasks,
    ) -> Self {
        let udp = udp.into_iter().map(|listener| Socket { listener, queue: SendQueue::new(UDP_QUEUE), is_blocked: false }).collect();
        Self {
            udp,
            streams,
            config,
            mirror,
            batch: Batch::new(),
            metrics,
            tasks,
            opening: AHashMap::new(),
            unreachable: VecDeque::new(),
            names: AHashMap::new(),
            lookups: 0,
            found: mpsc::channel(LOOKUPS),
        }
    }

    /// Reads a bounded number of datagrams from every socket; `true` when there were any.
    pub fn poll_datagrams(&mut self, cx: &mut Context<'_>, mut handle: impl FnMut(Flow, &[u8])) -> bool {
        let mut had_any = false;
        for socket in &mut self.udp {
            if socket.is_blocked && socket.listener.poll_writable(cx).is_ready() {
                socket.is_blocked = false;
                had_any = true;
            }
            for _ in 0..BATCHES_A_ROUND {
                if socket.listener.poll_readable(cx).is_pending() {
                    break;
                }
                match socket.listener.recv_batch(&mut self.batch) {
                    // Nothing after all: asked again, so that the socket wakes us.
                    Ok(0) => {}
                    Ok(_) => {
                        had_any = true;
                        self.batch.iter().for_each(|(peer, bytes)| handle(socket.listener.flow(peer), bytes));
                    }
                    Err(error) => {
                        // A peer's port unreachable, mostly: the socket is still good.
                        tracing::debug!(%error, "datagrams not read");
                        had_any = true;
                        break;
                    }
                }
            }
        }
        had_any
    }

    /// The next subscription whose NOTIFY could not be sent, once names and connections have said so.
    pub fn poll_unreachable(&mut self, cx: &mut Context<'_>) -> Poll<Option<SubscriptionId>> {
        while let Poll::Ready(Some(found)) = self.found.1.poll_recv(cx) {
            self.on_found(found);
        }
        self.unreachable.pop_front().map_or(Poll::Pending, |subscription| Poll::Ready(Some(subscription)))
    }

    /// Sends a packet, now or with the next [`Reach::flush`].
    pub fn send(&mut self, to: Destination, packet: Bytes) {
        match to {
            Destination::Flow(flow) => self.send_on(flow, packet),
            Destination::Host { host: TargetHost::Ip(address), port, transport, subscription } => {
                self.send_to(Remote { transport, address: SocketAddr::new(address, port), name: None }, subscription, packet);
            }
            Destination::Host { host: TargetHost::Name(name), port, transport, subscription } => match self.names.get(&name) {
                Some((address, _)) => {
                    let remote = Remote { transport, address: SocketAddr::new(*address, port), name: Some(&*name) };
                    self.send_to(remote, subscription, packet);
                }
                None => self.look_up(name, port, transport, subscription, packet),
            },
        }
    }

    /// The mirror of what is sent.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    fn send_on(&mut self, flow: Flow, packet: Bytes) {
        if flow.transport == Transport::Udp {
            let by_listener = self.udp.iter_mut().find(|socket| socket.listener.flow(flow.peer).listener == flow.listener);
            self.mirror.sent(flow, &packet, clock::utc_now());
            return queue(by_listener, flow.peer, packet, &self.metrics);
        }
        if flow.connection.is_some_and(|connection| self.streams.send(connection, packet.clone()).is_ok()) {
            self.mirror.sent(flow, &packet, clock::utc_now());
        } else {
            self.metrics.dropped(DropReason::QueueFull);
        }
    }

    fn send_to(&mut self, remote: Remote<'_>, subscription: SubscriptionId, packet: Bytes) {
        let Remote { transport, address, .. } = remote;
        let listener = self.config.listener_of(transport).unwrap_or_default();
        if transport == Transport::Udp {
            let by_family = self.udp.iter_mut().find(|socket| socket.listener.local_addr().is_ipv4() == address.is_ipv4());
            if by_family.is_none() {
                return self.unreachable.push_back(subscription);
            }
            self.mirror.sent(Flow { transport, listener, peer: address, connection: None }, &packet, clock::utc_now());
            return queue(by_family, address, packet, &self.metrics);
        }

        let sent = match self.streams.find(address, transport) {
            Some(flow) => flow.connection.ok_or(SendError::Closed).and_then(|id| self.streams.send(id, packet.clone())).map(|()| flow),
            None => self.streams.connect(remote, listener, packet.clone()).inspect(|flow| {
                flow.connection.map(|connection| self.opening.insert(connection, Vec::new()));
            }),
        };
        match sent {
            Ok(flow) => {
                self.mirror.sent(flow, &packet, clock::utc_now());
                if let Some(waiting) = flow.connection.and_then(|connection| self.opening.get_mut(&connection)) {
                    waiting.push(subscription);
                }
            }
            Err(_) => self.unreachable.push_back(subscription),
        }
    }

    /// A connection that was made stands.
    pub fn on_opened(&mut self, connection: ConnectionId) {
        self.opening.remove(&connection);
    }

    /// A connection is gone; what waited for it to stand is not sent.
    pub fn on_closed(&mut self, connection: ConnectionId) {
        self.unreachable.extend(self.opening.remove(&connection).unwrap_or_default());
    }

    /// Hands everything queued to the kernel, as far as it takes it.
    pub fn flush(&mut self) {
        for socket in self.udp.iter_mut().filter(|socket| !socket.queue.is_empty() && !socket.is_blocked) {
            let flushed = socket.queue.flush(&socket.listener);
            socket.is_blocked = flushed.is_blocked;
        }
    }

    /// Whether everything was handed to the kernel.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.udp.iter().all(|socket| socket.queue.is_empty())
    }

    /// Forgets addresses that may have changed.
    pub fn forget_old_names(&mut self, now: Instant) {
        self.names.retain(|_, (_, found_at)| now.saturating_duration_since(*found_at) < NAME_KEPT_FOR);
    }

    fn look_up(&mut self, name: Box<str>, port: u16, transport: Transport, subscription: SubscriptionId, packet: Bytes) {
        if matches!(transport, Transport::Ws | Transport::Wss) {
            // A browser's Contact is a made-up name, and only the browser opens the connection (RFC 7118 §5.2.3, §3).
            return self.unreachable.push_back(subscription);
        }
        if self.lookups >= LOOKUPS {
            return self.metrics.dropped(DropReason::QueueFull);
        }
        self.lookups += 1;
        let found = self.found.0.clone();
        let wants_ipv4 = self.udp.first().is_none_or(|socket| socket.listener.local_addr().is_ipv4());
        self.tasks.spawn_brief("name lookup", async move {
            let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((&*name, port))).await;
            let address = looked_up.ok().and_then(Result::ok).and_then(|mut all| all.find(|address| address.is_ipv4() == wants_ipv4));
            let answer = Found { name, address: address.map(|address| address.ip()), port, transport, subscription, packet };
            // There is room for every lookup; nobody listens when the edge has ended.
            let _ended = found.try_send(answer);
        });
    }

    fn on_found(&mut self, found: Found) {
        self.lookups = self.lookups.saturating_sub(1);
        let Some(address) = found.address else { return self.unreachable.push_back(found.subscription) };
        let remote = Remote { transport: found.transport, address: SocketAddr::new(address, found.port), name: Some(&*found.name) };
        self.send_to(remote, found.subscription, found.packet);
        if self.names.len() < NAMES {
            self.names.insert(found.name, (address, clock::now()));
        }
    }
}

fn queue(socket: Option<&mut Socket>, peer: SocketAddr, packet: Bytes, metrics: &EdgeMetrics) {
    if !socket.is_some_and(|socket| socket.queue.push(peer, packet)) {
        metrics.dropped(DropReason::QueueFull);
    }
}
