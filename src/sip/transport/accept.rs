//! Takes connections in: limits first, then the handshakes that their listener asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::limits::RefuseReason;
use super::shared::{Connection, Shared};
use super::{connection, tls, websocket};
use crate::runtime::Tasks;
use crate::sip::flow::Transport;

/// Pause after an accept that failed: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the tasks stop.
pub(super) async fn run(socket: TcpListener, transport: Transport, listener: u16, shared: Arc<Shared>, tasks: Tasks) {
    loop {
        let accepted = tokio::select! {
            accepted = next(&socket, transport, &shared) => accepted,
            () = tasks.stopping().cancelled() => return,
            () = shared.closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, place)) => match shared.enter(transport, peer, listener, place.is_some()) {
                Ok(connection) => {
                    let shared = Arc::clone(&shared);
                    tasks.spawn_brief("connection", async move { serve(&shared, connection, stream, place).await });
                    // After a restart all phones come at once: those that are here have their turn before the next.
                    tokio::task::yield_now().await;
                }
                Err(reason) => shared.refuse(transport, reason),
            },
            Err(error) => {
                tracing::warn!(%error, transport = transport.as_str(), "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Closed before the role stops: the port is given back, and the task must not end early.
    drop(socket);
    tasks.stopping().cancelled().await;
}

/// The next connection, and a permit if it has a handshake. (An idle listener holds one permit.)
async fn next(
    socket: &TcpListener,
    transport: Transport,
    shared: &Shared,
) -> std::io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let place = if transport == Transport::Tcp { None } else { Arc::clone(&shared.handshakes).acquire_owned().await.ok() };
    let (stream, peer) = socket.accept().await?;
    Ok((stream, peer, place))
}

/// A connection from its handshakes to its end.
async fn serve(shared: &Shared, connection: Connection, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
    connection::set_options(&stream);
    let transport = connection.flow.transport;
    let handshake = tokio::time::timeout(shared.limits.handshake_timeout, shake_hands(shared, transport, stream));
    let taken = tokio::select! {
        taken = handshake => taken.unwrap_or(Err(RefuseReason::HandshakeTimeout)),
        () = shared.closing.cancelled() => return,
    };
    drop(place);
    match taken {
        Ok(Taken::Tcp(stream)) => connection::run(shared, connection, stream).await,
        Ok(Taken::Tls(stream)) => connection::run(shared, connection, stream).await,
        Ok(Taken::Ws(socket)) => websocket::run(shared, connection, *socket).await,
        Ok(Taken::Wss(socket)) => websocket::run(shared, connection, *socket).await,
        Err(reason) => shared.refuse(transport, reason),
    }
}

/// A connection whose handshakes are done.
enum Taken {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<websocket::Socket<TcpStream>>),
    Wss(Box<websocket::Socket<Box<TlsStream<TcpStream>>>>),
}

async fn shake_hands(shared: &Shared, transport: Transport, stream: TcpStream) -> Result<Taken, RefuseReason> {
    match transport {
        Transport::Udp | Transport::Tcp => Ok(Taken::Tcp(stream)),
        Transport::Tls => Ok(Taken::Tls(secure(shared, stream).await?)),
        Transport::Ws => Ok(Taken::Ws(Box::new(websocket::accept(stream).await?))),
        Transport::Wss => Ok(Taken::Wss(Box::new(websocket::accept(secure(shared, stream).await?).await?))),
    }
}

async fn secure(shared: &Shared, stream: TcpStream) -> Result<Box<TlsStream<TcpStream>>, RefuseReason> {
    let acceptor = shared.tls.as_ref().ok_or(RefuseReason::Tls)?.acceptor();
    let secured = Box::pin(acceptor.accept(stream)).await;
    secured.map(Box::new).map_err(|error| {
        tracing::debug!(%error, "tls handshake failed");
        tls::refuse_reason(&error)
    })
}
