//! Which TCP connections there are. Pure.

use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;
use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use crate::sip::flow::{ConnectionId, Flow, Transport};

/// Every open connection, by id and by peer.
#[derive(Debug, Default)]
pub(super) struct Table {
    connections: AHashMap<ConnectionId, Handle>,
    by_peer: AHashMap<SocketAddr, ConnectionId>,
    per_source: AHashMap<IpAddr, usize>,
    last_id: u64,
    is_closed: bool,
}

/// The driver's end of a connection.
#[derive(Debug)]
struct Handle {
    flow: Flow,
    queue: Sender<Bytes>,
}

impl Table {
    /// Enters a connection; `None` over either limit, or after [`Self::close`].
    pub(super) fn insert(
        &mut self,
        peer: SocketAddr,
        listener: u16,
        queue: Sender<Bytes>,
        max: usize,
        max_per_source: usize,
    ) -> Option<Flow> {
        let of_source = self.per_source.get(&peer.ip()).copied().unwrap_or_default();
        if self.is_closed || self.connections.len() >= max || of_source >= max_per_source {
            return None;
        }
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let flow = Flow { transport: Transport::Tcp, listener, peer, connection: Some(id) };
        self.connections.insert(id, Handle { flow, queue });
        self.by_peer.insert(peer, id);
        self.per_source.insert(peer.ip(), of_source + 1);
        Some(flow)
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(handle) = self.connections.remove(&id) else { return };
        let peer = handle.flow.peer;
        // A newer connection to the same peer keeps its entry.
        if self.by_peer.get(&peer) == Some(&id) {
            self.by_peer.remove(&peer);
        }
        match self.per_source.get_mut(&peer.ip()) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.per_source.remove(&peer.ip());
            }
        }
    }

    pub(super) fn queue(&self, id: ConnectionId) -> Option<&Sender<Bytes>> {
        self.connections.get(&id).map(|handle| &handle.queue)
    }

    pub(super) fn flow(&self, id: ConnectionId) -> Option<Flow> {
        self.connections.get(&id).map(|handle| handle.flow)
    }

    pub(super) fn find(&self, peer: SocketAddr) -> Option<Flow> {
        self.flow(*self.by_peer.get(&peer)?)
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Lets go of every connection, so that each ends once its queue is written; takes no more.
    pub(super) fn close(&mut self) {
        *self = Self { is_closed: true, last_id: self.last_id, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    fn insert(table: &mut Table, peer: &str) -> Option<ConnectionId> {
        table.insert(peer.parse().unwrap(), 0, channel(1).0, 3, 2)?.connection
    }

    #[test]
    fn keeps_to_both_limits_and_frees_what_ends() {
        let mut table = Table::default();
        let first = insert(&mut table, "10.0.0.1:1").unwrap();
        assert!(insert(&mut table, "10.0.0.1:2").is_some());
        assert_eq!(insert(&mut table, "10.0.0.1:3"), None);
        assert!(insert(&mut table, "10.0.0.2:1").is_some());
        assert_eq!(insert(&mut table, "10.0.0.3:1"), None);
        table.remove(first);
        table.remove(first);
        assert_eq!(table.len(), 2);
        assert!(insert(&mut table, "10.0.0.1:3").is_some());
    }

    #[test]
    fn finds_the_newest_connection_of_a_peer() {
        let mut table = Table::default();
        let (old, new) = (insert(&mut table, "10.0.0.1:1").unwrap(), insert(&mut table, "10.0.0.1:1").unwrap());
        assert_ne!(old, new);
        table.remove(old);
        assert_eq!(table.find("10.0.0.1:1".parse().unwrap()).and_then(|flow| flow.connection), Some(new));
        table.remove(new);
        assert_eq!(table.find("10.0.0.1:1".parse().unwrap()), None);
        assert!(table.per_source.is_empty() && table.by_peer.is_empty());
    }

    #[test]
    fn takes_none_once_closed_and_never_an_id_twice() {
        let mut table = Table::default();
        let id = insert(&mut table, "10.0.0.1:1").unwrap();
        table.close();
        assert!(table.queue(id).is_none());
        assert_eq!(insert(&mut table, "10.0.0.1:1"), None);
    }
}
