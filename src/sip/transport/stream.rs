//! TCP, TLS and WebSocket connections, accepted and made, each with a task that reads and writes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::limits::{CloseReason, OnRefused, StreamLimits};
use super::shared::Shared;
use super::tls::Tls;
use super::{Inbound, SendError, accept, connection};
use crate::runtime::Tasks;
use crate::sip::flow::{ConnectionId, Flow, Transport};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Every stream connection of an edge.
///
/// When the tasks stop, it accepts no more, but requests in hand can still be answered: the connections end with
/// `Self::close` or when this is dropped, and only then is [`Tasks::stop`] done.
pub(crate) struct StreamTransport {
    shared: Arc<Shared>,
    tasks: Tasks,
}

/// Where a connection of ours goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remote<'a> {
    /// TCP or TLS. A WebSocket is opened by the phone only (RFC 7118 §3).
    pub transport: Transport,
    pub address: SocketAddr,
    /// Its name, which its certificate must show; without one its address (RFC 5922 §7.2).
    pub name: Option<&'a str>,
}

impl StreamTransport {
    /// Without connections. They report to `inbound`; while it is full, nothing is read. Without `tls` there is
    /// no TLS and no secure WebSocket.
    #[must_use]
    pub(crate) fn new(
        limits: StreamLimits,
        inbound: mpsc::Sender<Inbound>,
        tls: Option<Arc<Tls>>,
        on_refused: OnRefused,
        tasks: Tasks,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(limits, inbound, tls, on_refused)), tasks }
    }

    /// Binds a socket and accepts on it until the tasks stop; `listener` is its index in `sip.listen`. An IPv6 one takes no
    /// IPv4. Returns the address that it is bound to.
    ///
    /// # Errors
    ///
    /// That of the operating system: the address is not ours, or is taken. `InvalidInput`: a secure transport without
    /// [`Tls`], or UDP.
    pub(crate) fn listen(&self, transport: Transport, address: SocketAddr, listener: u16, is_shared: bool) -> io::Result<SocketAddr> {
        let is_possible = match transport {
            Transport::Udp => false,
            Transport::Tcp | Transport::Ws => true,
            Transport::Tls | Transport::Wss => self.shared.tls.is_some(),
        };
        if !is_possible {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no certificate for this transport"));
        }
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of a process that has just ended must not keep its port.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(is_shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let local_addr = socket.local_addr()?;
        let accepting = accept::run(socket, transport, listener, Arc::clone(&self.shared), self.tasks.clone());
        self.tasks.spawn("accept", accepting);
        Ok(local_addr)
    }

    /// Hands a message to a connection, which writes it when it can.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] or [`SendError::Full`]: the message is not sent.
    pub(crate) fn send(&self, connection: ConnectionId, packet: Bytes) -> Result<(), SendError> {
        self.shared.send(connection, packet)
    }

    /// Opens a connection in the background and writes `first` once it is open. Its [`Inbound::Opened`] or
    /// [`Inbound::Closed`] follows; until then messages are queued.
    ///
    /// # Errors
    ///
    /// [`SendError::TooManyConnections`]; [`SendError::NoWayOut`] for a WebSocket, and for TLS without a certificate of ours.
    pub(crate) fn connect(&self, remote: Remote<'_>, listener: u16, first: Bytes) -> Result<Flow, SendError> {
        let Remote { transport, address, name } = remote;
        let tls = match transport {
            Transport::Tcp => None,
            Transport::Tls => {
                let tls = self.shared.tls.as_ref().ok_or(SendError::NoWayOut)?;
                Some(tls.towards(address.ip(), name).ok_or(SendError::NoWayOut)?)
            }
            Transport::Udp | Transport::Ws | Transport::Wss => return Err(SendError::NoWayOut),
        };
        let connection = self.shared.enter(transport, address, listener, false).map_err(|_| SendError::TooManyConnections)?;
        let flow = connection.flow;
        let id = flow.connection.ok_or(SendError::Closed)?;
        self.shared.table().open(id);
        self.shared.send(id, first)?;
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn_brief("connection", async move {
            let limits = &shared.limits;
            let dialled = async {
                let stream = tokio::time::timeout(limits.connect_timeout, TcpStream::connect(address)).await.ok()?.ok()?;
                connection::set_options(&stream);
                let Some((connector, name)) = tls else { return Some(Dialled::Plain(stream)) };
                let secured = tokio::time::timeout(limits.handshake_timeout, connector.connect(name, stream)).await.ok()?;
                let secured = secured.inspect_err(|error| tracing::debug!(%error, "tls handshake of ours failed"));
                Some(Dialled::Secured(Box::new(secured.ok()?)))
            };
            let dialled = tokio::select! {
                dialled = dialled => dialled,
                () = shared.closing.cancelled() => None,
            };
            match dialled {
                Some(Dialled::Plain(stream)) => connection::run(&shared, connection, stream).await,
                Some(Dialled::Secured(stream)) => connection::run(&shared, connection, stream).await,
                None => shared.leave(connection, CloseReason::ConnectFailed).await,
            }
        });
        Ok(flow)
    }

    /// The newest open connection to a peer.
    #[must_use]
    pub(crate) fn find(&self, peer: SocketAddr, transport: Transport) -> Option<Flow> {
        self.shared.table().find(peer, transport)
    }

    /// The flow of a connection, while it is there.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn flow(&self, connection: ConnectionId) -> Option<Flow> {
        self.shared.table().flow(connection)
    }

    /// How many connections there are, those in their handshake counted.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        self.shared.table().len()
    }

    /// Stops accepting and reading; each connection writes its queue, then ends. Nothing more is reported.
    pub(crate) fn close(&self) {
        self.shared.closing.cancel();
        self.shared.table().close();
    }
}

impl Drop for StreamTransport {
    fn drop(&mut self) {
        self.close();
    }
}

/// An open connection of ours.
enum Dialled {
    Plain(TcpStream),
    Secured(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

#[cfg(test)]
#[path = "tests/stream.rs"]
mod tests;
