//! State shared by the tasks of all connections: limits, table, and the channel that they report to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::limits::{CloseReason, OnRefused, RefuseReason, StreamLimits};
use super::table::{Newcomer, Table};
use super::tls::Tls;
use super::{Inbound, SendError};
use crate::sip::flow::{ConnectionId, Flow, Transport};

/// Queue of messages to be written to a connection.
type Queue = mpsc::Sender<Bytes>;

/// State shared by the tasks of all connections.
pub(super) struct Shared {
    pub(super) limits: StreamLimits,
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// Cancelled when connections are no longer reported.
    pub(super) closing: CancellationToken,
    pub(super) tls: Option<Arc<Tls>>,
    /// Places for handshakes.
    pub(super) handshakes: Arc<Semaphore>,
    on_refused: OnRefused,
    table: Mutex<Table<Queue>>,
}

/// The task's end of a connection. It gives its place back when it is dropped.
pub(super) struct Connection {
    pub(super) flow: Flow,
    pub(super) queue: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

impl Shared {
    /// No connection yet.
    pub(super) fn new(limits: StreamLimits, inbound: mpsc::Sender<Inbound>, tls: Option<Arc<Tls>>, on_refused: OnRefused) -> Self {
        let handshakes = Arc::new(Semaphore::new(limits.max_handshakes.clamp(1, Semaphore::MAX_PERMITS)));
        Self { limits, inbound, closing: CancellationToken::new(), tls, handshakes, on_refused, table: Mutex::default() }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table<Queue>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, connection: ConnectionId, packet: Bytes) -> Result<(), SendError> {
        let table = self.table();
        table.queue(connection).ok_or(SendError::Closed)?.try_send(packet).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Closed(_) => SendError::Closed,
        })
    }

    /// Adds a connection to the table, within the limits.
    pub(super) fn enter(
        self: &Arc<Self>,
        transport: Transport,
        peer: SocketAddr,
        listener: u16,
        is_in_handshake: bool,
    ) -> Result<Connection, RefuseReason> {
        let (sender, queue) = mpsc::channel(self.limits.queue_messages.max(1));
        let newcomer = Newcomer { transport, listener, peer, queue: sender, is_in_handshake };
        let flow = self.table().insert(newcomer, &self.limits)?;
        Ok(Connection { flow, queue, shared: Arc::clone(self) })
    }

    /// Reports an open connection; `false` when the receiver is gone.
    pub(super) async fn open(&self, flow: Flow) -> bool {
        if let Some(id) = flow.connection {
            self.table().open(id);
        }
        tokio::select! {
            sent = self.inbound.send(Inbound::Opened { flow }) => sent.is_ok(),
            () = self.closing.cancelled() => true,
        }
    }

    /// Removes a connection from the table and reports its end.
    pub(super) async fn leave(&self, connection: Connection, reason: CloseReason) {
        let flow = connection.flow;
        drop(connection);
        tokio::select! {
            _ = self.inbound.send(Inbound::Closed { flow, reason }) => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// Counts a connection that is refused.
    pub(super) fn refuse(&self, transport: Transport, reason: RefuseReason) {
        // While closing, the refusal is not the peer's fault.
        if !self.table().is_closed() {
            (self.on_refused)(transport, reason);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(id) = self.flow.connection {
            self.shared.table().remove(id);
        }
    }
}
