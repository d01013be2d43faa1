//! The sockets of an edge: datagrams in and out, connections that it opens, names that it resolves.
//!
//! Nothing here waits: a packet is queued, handed to a connection, or dropped and counted.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::edge::config::EdgeConfig;
use crate::edge::io::mirror::Mirror;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::{NotifyId, Unsent};
use crate::edge::subscription::next_hop::Destination;
use crate::edge::takeover::Lease;
use crate::runtime::{Tasks, clock};
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::transport::{Batch, Remote, SendError, SendQueue, StreamTransport, UdpListener};
use crate::sip::uri::TargetHost;

/// Datagrams that wait for one socket; over it they are dropped, and retransmitted later.
const UDP_QUEUE: usize = 65_536;
/// Batches of datagrams read from one socket in a round.
const BATCHES_A_ROUND: usize = 8;
/// Names looked up at a time.
const LOOKUPS: usize = 64;
/// Addresses remembered.
const NAMES: usize = 10_000;
const NAME_KEPT_FOR: Duration = Duration::from_mins(1);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Sockets {
    udp: Vec<Socket>,
    streams: StreamTransport,
    config: Arc<EdgeConfig>,
    mirror: Mirror,
    batch: Batch,
    metrics: Arc<EdgeMetrics>,
    tasks: Tasks,
    lease: Lease,
    /// NOTIFYs over UDP that leave with the next flush, if the lease is held then.
    notifies: VecDeque<(Flow, Bytes, Option<NotifyId>)>,
    opening: AHashMap<ConnectionId, Vec<NotifyId>>,
    unsent: VecDeque<(NotifyId, Unsent)>,
    names: AHashMap<Box<str>, (IpAddr, Instant)>,
    lookups: usize,
    found: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
}

struct Socket {
    listener: UdpListener,
    queue: SendQueue,
    is_blocked: bool,
}

/// A packet for a host, not resolved yet.
struct HostPacket {
    port: u16,
    transport: Transport,
    listener: u16,
    notify: Option<NotifyId>,
    packet: Bytes,
}

/// The result of resolving a name for a packet.
struct Found {
    name: Box<str>,
    address: Option<IpAddr>,
    host_packet: HostPacket,
}

impl Sockets {
    /// The sockets and connections of one edge.
    #[must_use]
    pub(crate) fn new(
        udp: Vec<UdpListener>,
        streams: StreamTransport,
        config: Arc<EdgeConfig>,
        mirror: Mirror,
        metrics: Arc<EdgeMetrics>,
        tasks: Tasks,
        lease: Lease,
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
            lease,
            notifies: VecDeque::new(),
            opening: AHashMap::new(),
            unsent: VecDeque::new(),
            names: AHashMap::new(),
            lookups: 0,
            found: mpsc::channel(LOOKUPS),
        }
    }

    /// Reads a bounded number of datagrams from every socket; `true` when there were any.
    pub(crate) fn poll_datagrams(&mut self, cx: &mut Context<'_>, mut handle: impl FnMut(Flow, &[u8])) -> bool {
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
                    // Spurious readiness: polled again, so that the socket wakes us.
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

    /// The next NOTIFY that could not be sent: no address, or no connection.
    pub(crate) fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Option<(NotifyId, Unsent)>> {
        while let Poll::Ready(Some(found)) = self.found.1.poll_recv(cx) {
            self.on_found(found);
        }
        self.unsent.pop_front().map_or(Poll::Pending, |unsent| Poll::Ready(Some(unsent)))
    }

    /// Sends a packet, now or with the next [`Sockets::flush`]. A NOTIFY that cannot be sent comes out of [`Sockets::poll_unsent`].
    pub(crate) fn send(&mut self, to: Destination, packet: Bytes, notify: Option<NotifyId>) {
        match to {
            Destination::Flow(flow) => self.send_on(flow, packet, notify),
            Destination::Host { host, port, transport, listener } => {
                let host_packet = HostPacket { port, transport, listener, notify, packet };
                match host {
                    TargetHost::Ip(address) => self.send_to(address, None, host_packet),
                    TargetHost::Name(name) => match self.names.get(&name) {
                        Some((address, _)) => self.send_to(*address, Some(&name), host_packet),
                        None => self.look_up(name, host_packet),
                    },
                }
            }
        }
    }

    fn give_up(&mut self, notify: Option<NotifyId>, why: Unsent) {
        if why == Unsent::NoRoom {
            self.metrics.dropped(DropReason::QueueFull);
        }
        self.unsent.extend(notify.map(|notify| (notify, why)));
    }

    /// The mirror of what is sent.
    #[must_use]
    pub(crate) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    fn send_on(&mut self, flow: Flow, packet: Bytes, notify: Option<NotifyId>) {
        if flow.transport == Transport::Udp {
            return self.send_datagram(flow, packet, notify);
        }
        if is_notify(&packet) && !self.lease.is_held() {
            return self.give_up(notify, Unsent::NoLease);
        }
        // The connection was already gone when the next hop was chosen, and there was no other.
        let Some(connection) = flow.connection else { return self.give_up(notify, Unsent::NoWay) };
        match self.streams.send(connection, packet.clone()) {
            Ok(()) => self.mirror.sent(flow, &packet, clock::utc_now()),
            // The notifier gets the end of the connection as an input of its own.
            Err(SendError::Closed) => self.metrics.dropped(DropReason::ConnectionClosed),
            Err(_) => self.give_up(notify, Unsent::NoRoom),
        }
    }

    fn send_datagram(&mut self, flow: Flow, packet: Bytes, notify: Option<NotifyId>) {
        if is_notify(&packet) { self.notifies.push_back((flow, packet, notify)) } else { self.queue_datagram(flow, packet) }
    }

    /// A datagram that finds its queue full is dropped: it is retransmitted.
    fn queue_datagram(&mut self, flow: Flow, packet: Bytes) {
        let socket = self.udp.iter_mut().find(|socket| socket.listener.flow(flow.peer).listener == flow.listener);
        self.mirror.sent(flow, &packet, clock::utc_now());
        if !socket.is_some_and(|socket| socket.queue.push(flow.peer, packet)) {
            self.metrics.dropped(DropReason::QueueFull);
        }
    }

    fn send_to(&mut self, address: IpAddr, name: Option<&str>, host_packet: HostPacket) {
        let HostPacket { port, transport, listener, notify, packet } = host_packet;
        let peer = SocketAddr::new(address, port);
        if transport == Transport::Udp {
            let Some(listener) = self.config.listener_of(transport, self.address_of(listener), peer) else {
                return self.give_up(notify, Unsent::NoWay);
            };
            return self.send_datagram(Flow { transport, listener, peer, connection: None }, packet, notify);
        }
        if is_notify(&packet) && !self.lease.is_held() {
            return self.give_up(notify, Unsent::NoLease);
        }
        let sent = match self.streams.find(peer, transport) {
            Some(flow) => flow.connection.ok_or(SendError::Closed).and_then(|id| self.streams.send(id, packet.clone())).map(|()| flow),
            None => self.streams.connect(Remote { transport, address: peer, name }, listener, packet.clone()).inspect(|flow| {
                flow.connection.map(|connection| self.opening.insert(connection, Vec::new()));
            }),
        };
        match sent {
            Ok(flow) => {
                self.mirror.sent(flow, &packet, clock::utc_now());
                if let Some(waiting) = flow.connection.and_then(|connection| self.opening.get_mut(&connection)) {
                    waiting.extend(notify);
                }
            }
            Err(SendError::Full) => self.give_up(notify, Unsent::NoRoom),
            Err(_) => self.give_up(notify, Unsent::NoWay),
        }
    }

    fn address_of(&self, listener: u16) -> Option<SocketAddr> {
        self.config.listeners.get(usize::from(listener)).map(|listener| listener.address)
    }

    /// A connection that this edge opened is established.
    pub(crate) fn on_opened(&mut self, connection: ConnectionId) {
        self.opening.remove(&connection);
    }

    /// A connection is gone; NOTIFYs that waited for it are not sent.
    pub(crate) fn on_closed(&mut self, connection: ConnectionId) {
        for notify in self.opening.remove(&connection).unwrap_or_default() {
            self.give_up(Some(notify), Unsent::NoWay);
        }
    }

    /// Hands everything queued to the kernel, as far as it takes it. Without the lease no NOTIFY leaves: what was not sent before
    /// is given back, a copy is dropped.
    pub(crate) fn flush(&mut self) {
        let is_held = self.lease.is_held();
        for (flow, packet, notify) in std::mem::take(&mut self.notifies) {
            if is_held { self.queue_datagram(flow, packet) } else { self.give_up(notify, Unsent::NoLease) }
        }
        if !is_held {
            self.udp.iter_mut().for_each(|socket| socket.queue.retain(|packet| !is_notify(packet)));
        }
        for socket in self.udp.iter_mut().filter(|socket| !socket.queue.is_empty() && !socket.is_blocked) {
            let flushed = socket.queue.flush(&socket.listener);
            socket.is_blocked = flushed.is_blocked;
        }
    }

    /// Whether everything was handed to the kernel.
    #[must_use]
    pub(crate) fn is_flushed(&self) -> bool {
        self.udp.iter().all(|socket| socket.queue.is_empty())
    }

    /// Forgets addresses that may have changed.
    pub(crate) fn forget_old_names(&mut self, now: Instant) {
        self.names.retain(|_, (_, found_at)| now.saturating_duration_since(*found_at) < NAME_KEPT_FOR);
    }

    fn look_up(&mut self, name: Box<str>, host_packet: HostPacket) {
        if matches!(host_packet.transport, Transport::Ws | Transport::Wss) {
            // A browser's Contact is a made-up name, and only the browser opens the connection (RFC 7118 §5.2.3, §3).
            return self.give_up(host_packet.notify, Unsent::NoWay);
        }
        if self.lookups >= LOOKUPS {
            return self.give_up(host_packet.notify, Unsent::NoRoom);
        }
        self.lookups += 1;
        let found = self.found.0.clone();
        let is_ipv4 = self.address_of(host_packet.listener).is_none_or(|address| address.is_ipv4());
        self.tasks.spawn_brief("name lookup", async move {
            let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((&*name, host_packet.port))).await;
            // Prefer an address of the listener's family.
            let address = looked_up.ok().and_then(Result::ok).and_then(|all| all.min_by_key(|address| address.is_ipv4() != is_ipv4));
            let answer = Found { name, address: address.map(|address| address.ip()), host_packet };
            // The channel has room for every lookup; it is closed when the edge has ended.
            let _ended = found.try_send(answer);
        });
    }

    fn on_found(&mut self, found: Found) {
        self.lookups = self.lookups.saturating_sub(1);
        let Some(address) = found.address else { return self.give_up(found.host_packet.notify, Unsent::NoWay) };
        self.send_to(address, Some(&found.name), found.host_packet);
        if self.names.len() < NAMES {
            self.names.insert(found.name, (address, clock::now()));
        }
    }
}

/// Whether a packet of ours is a NOTIFY, sent for the first time or again.
fn is_notify(packet: &[u8]) -> bool {
    packet.starts_with(b"NOTIFY ")
}
