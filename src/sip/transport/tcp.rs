//! TCP: connections taken in and made, each with a task that reads and writes.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::tcp_connection::{CloseReason, Connection, run};
use super::tcp_table::Table;
use super::{Inbound, SendError};
use crate::runtime::Tasks;
use crate::sip::flow::{ConnectionId, Flow};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Pause after an accept that failed: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What TCP may take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections at a time; one more is closed as soon as it is accepted.
    pub max_connections: usize,
    /// Connections at a time from one address.
    pub max_connections_per_source: usize,
    /// Messages that may wait to be written to one connection.
    pub queue_messages: usize,
    /// A connection that brings nothing for so long is closed; a keep-alive counts.
    pub idle_timeout: Duration,
    /// A message must be whole within this time after its first byte.
    pub message_timeout: Duration,
    /// A peer must take a message within this time.
    pub write_timeout: Duration,
    /// A connection of ours must stand within this time.
    pub connect_timeout: Duration,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            max_connections: 120_000,
            max_connections_per_source: 20_000,
            queue_messages: 64,
            // Longer than the default expiry of a subscription: a phone that sends no keep-alives refreshes in time.
            idle_timeout: Duration::from_mins(62),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// Every TCP connection of an edge.
///
/// When the tasks are told to stop, it accepts no more, but what is in hand can still be answered: the connections end with
/// [`Self::close`] or when this is dropped, and only then is [`Tasks::stop`] done.
#[derive(Debug)]
pub struct TcpTransport {
    shared: Arc<Shared>,
    tasks: Tasks,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: TcpLimits,
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// Cancelled when nobody wants to hear of connections any more.
    pub(super) closing: CancellationToken,
    table: Mutex<Table>,
    refused: AtomicU64,
}

impl TcpTransport {
    /// No connection yet. What they bring goes into `inbound`; while that is full, nothing is read.
    #[must_use]
    pub fn new(limits: TcpLimits, inbound: mpsc::Sender<Inbound>, tasks: Tasks) -> Self {
        let shared =
            Shared { limits, inbound, closing: CancellationToken::new(), table: Mutex::new(Table::default()), refused: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), tasks }
    }

    /// Binds a socket and accepts on it until the tasks stop; `listener` is its index in `sip.listen`. An IPv6 one takes no
    /// IPv4. Returns the address that it is bound to.
    ///
    /// # Errors
    ///
    /// That of the operating system: the address is not ours, or is taken.
    pub fn listen(&self, address: SocketAddr, listener: u16) -> io::Result<SocketAddr> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of a process that has just ended must not keep its port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let local_addr = socket.local_addr()?;
        self.tasks.spawn("tcp accept", accept(socket, listener, Arc::clone(&self.shared), self.tasks.clone()));
        Ok(local_addr)
    }

    /// Hands a message to a connection, which writes it when it can.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] or [`SendError::Full`]: the message is not sent.
    pub fn send(&self, connection: ConnectionId, packet: Bytes) -> Result<(), SendError> {
        self.shared.send(connection, packet)
    }

    /// Opens a connection in the background and writes `first` as soon as it stands. Its [`Inbound::Opened`] or
    /// [`Inbound::Closed`] follows; until then it can be sent to as if it stood.
    ///
    /// # Errors
    ///
    /// [`SendError::TooManyConnections`].
    pub fn connect(&self, peer: SocketAddr, listener: u16, first: Bytes) -> Result<Flow, SendError> {
        let connection = self.shared.enter(peer, listener).ok_or(SendError::TooManyConnections)?;
        let flow = connection.flow;
        let id = flow.connection.ok_or(SendError::Closed)?;
        self.shared.send(id, first)?;
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn_brief("tcp connection", async move {
            let stream = tokio::select! {
                stream = tokio::time::timeout(shared.limits.connect_timeout, TcpStream::connect(peer)) => stream.map_err(|_| ()),
                () = shared.closing.cancelled() => Err(()),
            };
            match stream {
                Ok(Ok(stream)) => run(&shared, connection, stream).await,
                Ok(Err(_)) | Err(()) => shared.leave(flow, CloseReason::ConnectFailed).await,
            }
        });
        Ok(flow)
    }

    /// The newest open connection to a peer.
    #[must_use]
    pub fn find(&self, peer: SocketAddr) -> Option<Flow> {
        self.shared.table().find(peer)
    }

    /// The flow of a connection, while it is open.
    #[must_use]
    pub fn flow(&self, connection: ConnectionId) -> Option<Flow> {
        self.shared.table().flow(connection)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.table().len()
    }

    /// How many connections were closed at once because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Accepts and reads no more; each connection writes what waits in its queue, then ends. Nothing is heard of them again.
    pub fn close(&self) {
        self.shared.closing.cancel();
        self.shared.table().close();
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, connection: ConnectionId, packet: Bytes) -> Result<(), SendError> {
        let table = self.table();
        table.queue(connection).ok_or(SendError::Closed)?.try_send(packet).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Closed(_) => SendError::Closed,
        })
    }

    fn enter(&self, peer: SocketAddr, listener: u16) -> Option<Connection> {
        let TcpLimits { queue_messages, max_connections, max_connections_per_source, .. } = self.limits;
        let (sender, queue) = mpsc::channel(queue_messages.max(1));
        let flow = self.table().insert(peer, listener, sender, max_connections, max_connections_per_source)?;
        Some(Connection { flow, queue })
    }

    /// Takes a connection out of the table and says so.
    pub(super) async fn leave(&self, flow: Flow, reason: CloseReason) {
        if let Some(id) = flow.connection {
            self.table().remove(id);
        }
        tokio::select! {
            _ = self.inbound.send(Inbound::Closed { flow, reason }) => {}
            () = self.closing.cancelled() => {}
        }
    }
}

async fn accept(socket: TcpListener, listener: u16, shared: Arc<Shared>, tasks: Tasks) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = tasks.stopping().cancelled() => return,
            () = shared.closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match shared.enter(peer, listener) {
                Some(connection) => {
                    let shared = Arc::clone(&shared);
                    tasks.spawn_brief("tcp connection", async move { run(&shared, connection, stream).await });
                }
                None => {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Closed before the role stops: the port is given back, and the task must not end early.
    drop(socket);
    tasks.stopping().cancelled().await;
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
