//! A listener for HTTP that holds a bounded number of connections, none of them idle for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Past a refused `accept`, such as one without a free descriptor.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);

/// Accepts while fewer than its bound are open; the rest wait in the kernel's backlog.
pub(crate) struct BoundedListener {
    listener: TcpListener,
    free: Arc<Semaphore>,
    idle_timeout: Duration,
}

/// A connection that holds its place until it is dropped, and ends when nothing comes or goes for the idle timeout.
pub(crate) struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(SocketAddr::new(stream.remote_addr().ip().to_canonical(), stream.remote_addr().port()))
    }
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, connections: usize, idle_timeout: Duration) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections)), idle_timeout }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // the semaphore is never closed
            let Ok(place) = Arc::clone(&self.free).acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let idle = Box::pin(tokio::time::sleep(self.idle_timeout));
                    return (Connection { stream, idle, idle_timeout: self.idle_timeout, _place: place }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "http connection not accepted");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    fn busy(&mut self) {
        let until = Instant::now() + self.idle_timeout;
        self.idle.as_mut().reset(until);
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.busy();
            return Poll::Ready(result);
        }
        // over the idle timeout: the end of the stream, as if the peer had closed it
        self.idle.as_mut().poll(context).map(Ok)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            // an answer that goes on, such as a stream of events, is no silence
            self.busy();
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
