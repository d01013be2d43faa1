//! One connection that is a stream of bytes, TCP or TLS: what reads it and writes it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::Inbound;
use super::limits::CloseReason;
use super::shared::{Connection, Shared};
use crate::runtime::clock;
use crate::sip::flow::Flow;
use crate::sip::framing::{Frame, Framer, PONG};

/// What one read may bring.
const READ_BYTES: usize = 4096;
/// A peer that vanished without a word is found after about two minutes (RFC 5626 §4.4 leaves keep-alives to phones).
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(20));
/// How long what waits may still be written when everything is closed, and how long saying goodbye may take.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Sets what every connection wants, before its handshakes.
pub(super) fn set_options(stream: &TcpStream) {
    let set = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE));
    if let Err(error) = set {
        tracing::debug!(%error, "socket option not set");
    }
}

/// Reads and writes a connection until it ends.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(shared: &Shared, mut connection: Connection, stream: S) {
    let flow = connection.flow;
    if !shared.open(flow).await {
        return;
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    // One task for both ways: whichever ends first ends the connection.
    let reason = tokio::select! {
        reason = read(shared, flow, &mut reader) => reason,
        reason = write(&mut connection.queue, &mut writer, shared.limits.write_timeout) => reason,
        () = patience(shared) => CloseReason::SlowPeer,
    };
    shared.leave(connection, reason).await;
    if !matches!(reason, CloseReason::Io | CloseReason::SlowPeer) {
        // TLS says goodbye, so that the peer does not take the end for an attack (RFC 8446 §6.1).
        let _gone_anyway = tokio::time::timeout(CLOSE_TIMEOUT, writer.shutdown()).await;
    }
}

/// Ends a while after everything is closed: a peer that reads nothing does not hold up the end of the role.
pub(super) async fn patience(shared: &Shared) {
    shared.closing.cancelled().await;
    tokio::time::sleep(CLOSE_TIMEOUT).await;
}

async fn read(shared: &Shared, flow: Flow, reader: &mut (impl AsyncRead + Unpin)) -> CloseReason {
    let mut framer = Framer::new();
    let mut message_due_at: Option<Instant> = None;
    loop {
        let (due_at, late) = match message_due_at {
            Some(at) => (at, CloseReason::SlowMessage),
            None => (clock::now() + shared.limits.idle_timeout, CloseReason::Idle),
        };
        match tokio::time::timeout_at(due_at.into(), read_some(reader, framer.buffer())).await {
            Ok(Ok(0)) => return CloseReason::Peer,
            Ok(Ok(_)) => {}
            // A peer that ends TLS without a goodbye, as many do.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return CloseReason::Peer,
            Ok(Err(_)) => return CloseReason::Io,
            Err(_elapsed) => return late,
        }
        let mut has_message = false;
        loop {
            match framer.next_frame() {
                Ok(Some(Frame::Message(packet))) => {
                    has_message = true;
                    if shared.inbound.send(Inbound::Message { flow, packet }).await.is_err() {
                        return CloseReason::Local;
                    }
                }
                Ok(Some(Frame::Ping)) => pong(shared, flow),
                Ok(None) => break,
                Err(error) => return CloseReason::Framing(error),
            }
        }
        message_due_at = match message_due_at {
            _ if !framer.is_partial() => None,
            Some(at) if !has_message => Some(at),
            _ => Some(clock::now() + shared.limits.message_timeout),
        };
        framer.release();
    }
}

/// Reads what is there. The room for it is on the stack, and only while it is read: an idle connection holds none.
async fn read_some(reader: &mut (impl AsyncRead + Unpin), into: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *reader).poll_read(cx, &mut read))?;
        into.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

/// Answers a keep-alive (RFC 5626 §4.4.1). One that finds the queue full is not answered: there is traffic enough.
pub(super) fn pong(shared: &Shared, flow: Flow) {
    if let Some(id) = flow.connection
        && let Err(error) = shared.send(id, Bytes::from_static(PONG))
    {
        tracing::debug!(reason = error.reason(), "keep-alive not answered");
    }
}

async fn write(queue: &mut mpsc::Receiver<Bytes>, writer: &mut (impl AsyncWrite + Unpin), write_timeout: Duration) -> CloseReason {
    while let Some(packet) = queue.recv().await {
        let written = async {
            writer.write_all(&packet).await?;
            // TLS keeps what the socket did not take at once.
            writer.flush().await
        };
        match tokio::time::timeout(write_timeout, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Io,
            Err(_elapsed) => return CloseReason::SlowPeer,
        }
    }
    // The table dropped the queue, and everything in it is written.
    CloseReason::Local
}
