//! The sockets of an edge: datagrams in and out, connections that it opens.
//!
//! Nothing here waits: a packet is queued, handed to a connection, or dropped and counted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use ahash::AHashMap;
use bytes::Bytes;

use crate::edge::config::EdgeConfig;
use crate::edge::io::mirror::Mirror;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::{NotifyId, Unsent};
use crate::edge::subscription::destination::Destination;
use crate::edge::takeover::Lease;
use crate::runtime::clock;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::transport::{Batch, Remote, SendError, SendQueue, StreamTransport, UdpListener};

/// Datagrams that wait for one socket; over it they are dropped, and retransmitted later.
const UDP_QUEUE: usize = 65_536;
/// Batches of datagrams read from one socket in a round.
const BATCHES_A_ROUND: usize = 8;

pub(crate) struct Sockets {
    udp: Vec<Socket>,
    streams: StreamTransport,
    config: Arc<EdgeConfig>,
    mirror: Mirror,
    batch: Batch,
    metrics: Arc<EdgeMetrics>,
    lease: Lease,
    /// NOTIFYs over UDP that leave with the next flush, if the lease is held then.
    notifies: VecDeque<(Flow, Bytes, Option<NotifyId>)>,
    opening: AHashMap<ConnectionId, Vec<NotifyId>>,
    unsent: VecDeque<(NotifyId, Unsent)>,
}

struct Socket {
    listener: UdpListener,
    queue: SendQueue,
    is_blocked: bool,
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
            lease,
            notifies: VecDeque::new(),
            opening: AHashMap::new(),
            unsent: VecDeque::new(),
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
    pub(crate) fn poll_unsent(&mut self) -> Poll<Option<(NotifyId, Unsent)>> {
        self.unsent.pop_front().map_or(Poll::Pending, |unsent| Poll::Ready(Some(unsent)))
    }

    /// Sends a packet, now or with the next [`Sockets::flush`]. A NOTIFY that cannot be sent comes out of [`Sockets::poll_unsent`].
    pub(crate) fn send(&mut self, to: Destination, packet: Bytes, notify: Option<NotifyId>) {
        match to {
            Destination::Flow(flow) => self.send_on(flow, packet, notify),
            Destination::Host { address, name, transport, listener } => {
                self.send_to(Remote { transport, address, name: name.as_deref() }, listener, packet, notify);
            }
            Destination::Nowhere { .. } => self.give_up(notify, Unsent::NoWay),
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

    fn send_to(&mut self, remote: Remote<'_>, listener: u16, packet: Bytes, notify: Option<NotifyId>) {
        let Remote { transport, address: peer, .. } = remote;
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
            None => self.streams.connect(remote, listener, packet.clone()).inspect(|flow| {
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
}

/// Whether a packet of ours is a NOTIFY, sent for the first time or again.
fn is_notify(packet: &[u8]) -> bool {
    packet.starts_with(b"NOTIFY ")
}
