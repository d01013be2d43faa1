//! One TCP connection: what reads it and writes it.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::Inbound;
use super::tcp::Shared;
use crate::runtime::clock;
use crate::sip::flow::Flow;
use crate::sip::framing::{Frame, Framer, FramingError, PONG};

/// What one read may bring.
const READ_BYTES: usize = 4096;
/// A peer that vanished without a word is found after about two minutes (RFC 5626 §4.4 leaves keep-alives to phones).
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(20));

/// Why a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it.
    Peer,
    /// It broke.
    Io,
    /// It brought nothing for [`super::TcpLimits::idle_timeout`].
    Idle,
    /// A message was not whole within [`super::TcpLimits::message_timeout`].
    SlowMessage,
    /// The peer did not take a message within [`super::TcpLimits::write_timeout`].
    SlowPeer,
    /// What it brought was no SIP.
    Framing(FramingError),
    /// It never came to be.
    ConnectFailed,
    /// We closed it.
    Local,
}

impl CloseReason {
    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Io => "io",
            Self::Idle => "idle",
            Self::SlowMessage => "slow_message",
            Self::SlowPeer => "slow_peer",
            Self::Framing(error) => error.reason(),
            Self::ConnectFailed => "connect_failed",
            Self::Local => "local",
        }
    }
}

/// The task's end of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) flow: Flow,
    pub(super) queue: mpsc::Receiver<Bytes>,
}

/// Reads and writes a connection until it ends.
pub(super) async fn run(shared: &Shared, mut connection: Connection, mut stream: TcpStream) {
    let flow = connection.flow;
    if let Err(error) = set_options(&stream) {
        tracing::debug!(%error, "socket option not set");
    }
    let is_heard = tokio::select! {
        sent = shared.inbound.send(Inbound::Opened { flow }) => sent.is_ok(),
        () = shared.closing.cancelled() => true,
    };
    let reason = if is_heard {
        let (mut reader, mut writer) = stream.split();
        // One task for both ways: whichever ends first ends the connection.
        tokio::select! {
            reason = read(shared, flow, &mut reader) => reason,
            reason = write(&mut connection.queue, &mut writer, shared.limits.write_timeout) => reason,
        }
    } else {
        CloseReason::Local
    };
    shared.leave(flow, reason).await;
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE)
}

async fn read(shared: &Shared, flow: Flow, reader: &mut ReadHalf<'_>) -> CloseReason {
    let mut framer = Framer::new();
    let mut message_due_at: Option<Instant> = None;
    loop {
        let (due_at, late) = match message_due_at {
            Some(at) => (at, CloseReason::SlowMessage),
            None => (clock::now() + shared.limits.idle_timeout, CloseReason::Idle),
        };
        match tokio::time::timeout_at(due_at.into(), reader.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Io,
            Err(_elapsed) => return late,
        }
        framer.buffer().reserve(READ_BYTES);
        match reader.try_read_buf(framer.buffer()) {
            Ok(0) => return CloseReason::Peer,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return CloseReason::Io,
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

/// Answers a keep-alive (RFC 5626 §4.4.1). One that finds the queue full is not answered: there is traffic enough.
fn pong(shared: &Shared, flow: Flow) {
    if let Some(id) = flow.connection
        && let Err(error) = shared.send(id, Bytes::from_static(PONG))
    {
        tracing::debug!(reason = error.reason(), "keep-alive not answered");
    }
}

async fn write(queue: &mut mpsc::Receiver<Bytes>, writer: &mut WriteHalf<'_>, write_timeout: Duration) -> CloseReason {
    while let Some(packet) = queue.recv().await {
        match tokio::time::timeout(write_timeout, writer.write_all(&packet)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Io,
            Err(_elapsed) => return CloseReason::SlowPeer,
        }
    }
    // The table let go of the connection: everything is written.
    CloseReason::Local
}
