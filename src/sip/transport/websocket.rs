//! SIP over WebSocket (RFC 7118): one SIP message in each WebSocket message, text or binary.
//!
//! The crate enforces RFC 6455: masked frames only, UTF-8 in text, control frames whole, pings answered.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Utf8Bytes};

use super::Inbound;
use super::connection::{CLOSE_TIMEOUT, patience, pong};
use super::limits::{CloseReason, RefuseReason, StreamLimits};
use super::shared::{Connection, Shared};
use crate::runtime::clock;
use crate::sip::flow::Flow;
use crate::sip::framing::{MAX_BODY_BYTES, MAX_HEAD_BYTES};

/// The subprotocol. Source: RFC 7118 §4.1.
const SUBPROTOCOL: &str = "sip";
/// Read at once, and what an idle connection holds.
const BUFFER_BYTES: usize = 4096;
/// More than a message of ours and the control frames that may wait beside it.
const MAX_UNWRITTEN_BYTES: usize = 256 * 1024;
/// A keep-alive (RFC 5626 §3.5.1), which phones also send here (RFC 7118 §6).
const PING: &[u8] = b"\r\n\r\n";

/// A WebSocket over a stream of bytes.
pub(super) struct Socket<S> {
    stream: WebSocketStream<Watched<S>>,
    has_read: Arc<AtomicBool>,
}

/// Takes a WebSocket in.
///
/// # Errors
///
/// What came was no upgrade to a WebSocket, or one that does not offer the subprotocol: that one is answered 400.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<Socket<S>, RefuseReason> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_UNWRITTEN_BYTES)
        .max_message_size(Some(MAX_HEAD_BYTES + MAX_BODY_BYTES))
        .max_frame_size(Some(MAX_HEAD_BYTES + MAX_BODY_BYTES));
    let has_read = Arc::new(AtomicBool::new(false));
    let watched = Watched { stream, has_read: Arc::clone(&has_read) };
    match tokio_tungstenite::accept_hdr_async_with_config(watched, choose_subprotocol, Some(config)).await {
        Ok(stream) => {
            has_read.store(false, Ordering::Relaxed);
            Ok(Socket { stream, has_read })
        }
        Err(WebSocketError::Http(_)) => Err(RefuseReason::Subprotocol),
        Err(error) => {
            tracing::debug!(%error, "websocket handshake failed");
            Err(RefuseReason::WebSocket)
        }
    }
}

#[expect(clippy::result_large_err, reason = "the crate's type")]
fn choose_subprotocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let chosen = offered.flat_map(|value| value.split(',')).map(str::trim).find(|protocol| protocol.eq_ignore_ascii_case(SUBPROTOCOL));
    // In the spelling that was offered: the other end looks for that (RFC 6455 §4.1).
    if let Some(chosen) = chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        return Ok(response);
    }
    let text = "expected Sec-WebSocket-Protocol: sip\n";
    let mut refusal = ErrorResponse::new(Some(text.to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    refusal.headers_mut().insert(CONTENT_LENGTH, text.len().into());
    refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Err(refusal)
}

/// Reads and writes a WebSocket until it ends.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(shared: &Shared, mut connection: Connection, socket: Socket<S>) {
    let flow = connection.flow;
    if !shared.open(flow).await {
        return;
    }
    let (mut sink, stream) = socket.stream.split();
    let mut reader = Reader { stream, has_read: socket.has_read, partial_since: None };
    // One task for both ways: whichever ends first ends the connection.
    let reason = tokio::select! {
        reason = read(shared, flow, &mut reader) => reason,
        reason = write(&mut connection.queue, &mut sink, shared.limits.write_timeout) => reason,
        () = patience(shared) => CloseReason::SlowPeer,
    };
    shared.leave(connection, reason).await;
    let code = match reason {
        CloseReason::Io | CloseReason::SlowPeer => return,
        CloseReason::MessageTooLong => CloseCode::Size,
        CloseReason::WebSocket => CloseCode::Protocol,
        CloseReason::SlowMessage => CloseCode::Policy,
        _ => CloseCode::Away,
    };
    let farewell = Message::Close(Some(CloseFrame { code, reason: "".into() }));
    let _gone_anyway = tokio::time::timeout(CLOSE_TIMEOUT, async {
        let _already_closing = sink.send(farewell).await;
        sink.close().await
    })
    .await;
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(shared: &Shared, flow: Flow, reader: &mut Reader<S>) -> CloseReason {
    loop {
        let packet = match reader.next(&shared.limits).await {
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Binary(bytes)) => bytes,
            // The crate answers a ping and a close.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => continue,
            Err(reason) => return reason,
        };
        if packet == PING {
            pong(shared, flow);
        } else if !packet.iter().all(u8::is_ascii_whitespace) && shared.inbound.send(Inbound::Message { flow, packet }).await.is_err() {
            return CloseReason::Local;
        }
    }
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    queue: &mut mpsc::Receiver<Bytes>,
    sink: &mut SplitSink<WebSocketStream<Watched<S>>, Message>,
    write_timeout: Duration,
) -> CloseReason {
    while let Some(packet) = queue.recv().await {
        match tokio::time::timeout(write_timeout, sink.send(frame(packet))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return close_reason(&error),
            Err(_elapsed) => return CloseReason::SlowPeer,
        }
    }
    // The table dropped the queue, and everything in it is written.
    CloseReason::Local
}

/// Text wherever it is text: what scripts in a browser expect, and both ends must take either.
fn frame(packet: Bytes) -> Message {
    match Utf8Bytes::try_from(packet.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(packet),
    }
}

fn close_reason(error: &WebSocketError) -> CloseReason {
    match error {
        WebSocketError::ConnectionClosed
        | WebSocketError::AlreadyClosed
        | WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => CloseReason::Peer,
        WebSocketError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => CloseReason::Peer,
        WebSocketError::Io(_) | WebSocketError::Tls(_) => CloseReason::Io,
        WebSocketError::Capacity(_) => CloseReason::MessageTooLong,
        _ => CloseReason::WebSocket,
    }
}

/// The reading half, which knows since when an unfinished message waits for its rest.
struct Reader<S> {
    stream: SplitStream<WebSocketStream<Watched<S>>>,
    has_read: Arc<AtomicBool>,
    partial_since: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<S> {
    /// The next message.
    async fn next(&mut self, limits: &StreamLimits) -> Result<Message, CloseReason> {
        let idle_at = clock::now() + limits.idle_timeout;
        let mut alarm = pin!(tokio::time::sleep_until(idle_at.into()));
        poll_fn(|cx| self.poll_next(cx, alarm.as_mut(), idle_at, limits.message_timeout)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Sleep>,
        idle_at: Instant,
        message_timeout: Duration,
    ) -> Poll<Result<Message, CloseReason>> {
        if let Poll::Ready(message) = self.stream.poll_next_unpin(cx) {
            self.partial_since = None;
            self.has_read.store(false, Ordering::Relaxed);
            return Poll::Ready(message.unwrap_or(Err(WebSocketError::ConnectionClosed)).map_err(|error| close_reason(&error)));
        }
        if self.has_read.load(Ordering::Relaxed) && self.partial_since.is_none() {
            self.partial_since = Some(clock::now());
        }
        let (due_at, late) = match self.partial_since {
            Some(since) => (since + message_timeout, CloseReason::SlowMessage),
            None => (idle_at, CloseReason::Idle),
        };
        if alarm.deadline() != due_at.into() {
            alarm.as_mut().reset(due_at.into());
        }
        alarm.poll(cx).map(|()| Err(late))
    }
}

/// A stream that notes that it has brought something.
pub(super) struct Watched<S> {
    stream: S,
    has_read: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.has_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
