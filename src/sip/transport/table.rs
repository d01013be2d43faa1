//! The table of stream connections. Pure.

use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;

use super::limits::{RefuseReason, StreamLimits};
use crate::sip::flow::{ConnectionId, Flow, Transport};

/// Every connection, by id, and the open ones by peer. `Q` is the queue of what waits to be written to one.
#[derive(Debug)]
pub(super) struct Table<Q> {
    connections: AHashMap<ConnectionId, Handle<Q>>,
    by_peer: AHashMap<(SocketAddr, Transport), ConnectionId>,
    per_source: AHashMap<IpAddr, Source>,
    last_id: u64,
    is_closed: bool,
}

/// The driver's end of a connection.
#[derive(Debug)]
struct Handle<Q> {
    flow: Flow,
    queue: Q,
    is_in_handshake: bool,
}

/// What one address has.
#[derive(Debug, Default)]
struct Source {
    connections: usize,
    handshakes: usize,
}

/// A connection to be added.
#[derive(Debug)]
pub(super) struct Newcomer<Q> {
    pub(super) transport: Transport,
    pub(super) listener: u16,
    pub(super) peer: SocketAddr,
    pub(super) queue: Q,
    /// Whether it counts as a handshake until [`Table::open`].
    pub(super) is_in_handshake: bool,
}

impl<Q> Default for Table<Q> {
    fn default() -> Self {
        Self {
            connections: AHashMap::default(),
            by_peer: AHashMap::default(),
            per_source: AHashMap::default(),
            last_id: 0,
            is_closed: false,
        }
    }
}

impl<Q> Table<Q> {
    /// Adds a connection; it is found by its peer only after [`Table::open`].
    ///
    /// # Errors
    ///
    /// Over a limit, or after [`Table::close`].
    pub(super) fn insert(&mut self, newcomer: Newcomer<Q>, limits: &StreamLimits) -> Result<Flow, RefuseReason> {
        let Newcomer { transport, listener, peer, queue, is_in_handshake } = newcomer;
        if self.is_closed || self.connections.len() >= limits.max_connections {
            return Err(RefuseReason::TooManyConnections);
        }
        let of_source = self.per_source.get(&peer.ip());
        if of_source.map_or(0, |source| source.connections) >= limits.max_connections_per_source {
            return Err(RefuseReason::TooManyFromSource);
        }
        if is_in_handshake && of_source.map_or(0, |source| source.handshakes) >= limits.max_handshakes_per_source {
            return Err(RefuseReason::TooManyHandshakes);
        }
        let source = self.per_source.entry(peer.ip()).or_default();
        source.connections += 1;
        source.handshakes += usize::from(is_in_handshake);
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let flow = Flow { transport, listener, peer, connection: Some(id) };
        self.connections.insert(id, Handle { flow, queue, is_in_handshake });
        Ok(flow)
    }

    /// Ends the connection's handshake; from now on it is found by its peer.
    pub(super) fn open(&mut self, id: ConnectionId) {
        let Some(handle) = self.connections.get_mut(&id) else { return };
        self.by_peer.insert((handle.flow.peer, handle.flow.transport), id);
        if std::mem::take(&mut handle.is_in_handshake)
            && let Some(source) = self.per_source.get_mut(&handle.flow.peer.ip())
        {
            source.handshakes = source.handshakes.saturating_sub(1);
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(Handle { flow, is_in_handshake, .. }) = self.connections.remove(&id) else { return };
        let peer = (flow.peer, flow.transport);
        // A newer connection to the same peer keeps its entry.
        if self.by_peer.get(&peer) == Some(&id) {
            self.by_peer.remove(&peer);
        }
        match self.per_source.get_mut(&flow.peer.ip()) {
            Some(source) if source.connections > 1 => {
                source.connections -= 1;
                source.handshakes = source.handshakes.saturating_sub(usize::from(is_in_handshake));
            }
            _ => {
                self.per_source.remove(&flow.peer.ip());
            }
        }
    }

    pub(super) fn queue(&self, id: ConnectionId) -> Option<&Q> {
        self.connections.get(&id).map(|handle| &handle.queue)
    }

    pub(super) fn flow(&self, id: ConnectionId) -> Option<Flow> {
        self.connections.get(&id).map(|handle| handle.flow)
    }

    pub(super) fn find(&self, peer: SocketAddr, transport: Transport) -> Option<Flow> {
        self.flow(*self.by_peer.get(&(peer, transport))?)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Drops every queue, so that each connection ends once it is written; accepts no more.
    pub(super) fn close(&mut self) {
        *self = Self { is_closed: true, last_id: self.last_id, ..Self::default() };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: fn() -> StreamLimits =
        || StreamLimits { max_connections: 4, max_connections_per_source: 3, max_handshakes_per_source: 1, ..StreamLimits::default() };

    fn enter(table: &mut Table<()>, peer: &str, transport: Transport) -> Result<ConnectionId, RefuseReason> {
        let is_in_handshake = transport != Transport::Tcp;
        let newcomer = Newcomer { transport, listener: 0, peer: peer.parse().unwrap(), queue: (), is_in_handshake };
        table.insert(newcomer, &LIMITS()).map(|flow| flow.connection.unwrap())
    }

    #[test]
    fn keeps_to_each_limit_and_frees_what_ends() {
        let mut table = Table::default();
        let first = enter(&mut table, "10.0.0.1:1", Transport::Tcp).unwrap();
        let second = enter(&mut table, "10.0.0.1:2", Transport::Tls).unwrap();
        assert_eq!(enter(&mut table, "10.0.0.1:3", Transport::Ws), Err(RefuseReason::TooManyHandshakes));
        table.open(second);
        let third = enter(&mut table, "10.0.0.1:3", Transport::Ws).unwrap();
        assert_eq!(enter(&mut table, "10.0.0.1:4", Transport::Tcp), Err(RefuseReason::TooManyFromSource));
        assert!(enter(&mut table, "10.0.0.2:1", Transport::Wss).is_ok());
        assert_eq!(enter(&mut table, "10.0.0.3:1", Transport::Tcp), Err(RefuseReason::TooManyConnections));
        for id in [first, first, third] {
            table.remove(id);
        }
        assert_eq!(table.len(), 2);
        assert!(enter(&mut table, "10.0.0.1:3", Transport::Tls).is_ok(), "its handshake ended with its connection");
        assert!(enter(&mut table, "10.0.0.1:5", Transport::Tcp).is_ok());
    }

    #[test]
    fn finds_the_newest_open_connection_of_a_peer() {
        let mut table = Table::default();
        let peer = "10.0.0.1:1";
        let (old, new) = (enter(&mut table, peer, Transport::Tcp).unwrap(), enter(&mut table, peer, Transport::Tcp).unwrap());
        assert_ne!(old, new);
        let found = |table: &Table<()>, transport| table.find(peer.parse().unwrap(), transport).and_then(|flow| flow.connection);
        assert_eq!(found(&table, Transport::Tcp), None, "neither is open");
        table.open(old);
        table.open(new);
        table.remove(old);
        assert_eq!(found(&table, Transport::Tcp), Some(new));
        assert_eq!(found(&table, Transport::Tls), None);
        table.remove(new);
        assert_eq!(found(&table, Transport::Tcp), None);
    }

    #[test]
    fn takes_no_more_once_closed() {
        let mut table = Table::default();
        let id = enter(&mut table, "10.0.0.1:1", Transport::Tcp).unwrap();
        table.close();
        assert!(table.queue(id).is_none() && table.is_closed());
        assert!(enter(&mut table, "10.0.0.1:1", Transport::Tcp).is_err());
    }
}
