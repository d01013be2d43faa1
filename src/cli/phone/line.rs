//! The way of a simulated phone to its server: one UDP socket, or one connection over TCP, TLS or WebSocket. I/O.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::sip::Transport;
use crate::sip::framing::{Frame, Framer, PONG};
use crate::sip::transport::ClientTls;

/// Largest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// How long connecting may take, handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A way to the server and back.
#[derive(Debug)]
pub(super) struct Line {
    server: SocketAddr,
    local: SocketAddr,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Udp { socket: UdpSocket, buffer: Vec<u8> },
    Stream { stream: Box<dyn Wire>, framer: Framer },
    WebSocket(Box<WebSocketStream<Box<dyn Wire>>>),
}

/// Bytes both ways: TCP, or TLS over it.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<W: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Wire for W {}

impl Line {
    /// Opens a socket of the address that the server is reached from.
    ///
    /// # Errors
    ///
    /// The system's error; over a connection also a refused one, a handshake that failed, or one that took too long.
    pub(super) async fn open(server: SocketAddr, transport: Transport, tls: Option<&ClientTls>) -> io::Result<Self> {
        if transport == Transport::Udp {
            let socket = UdpSocket::bind((address_towards(server).await?, 0)).await?;
            report_errors(&socket, server)?;
            let local = socket.local_addr()?;
            return Ok(Self { server, local, carrier: Carrier::Udp { socket, buffer: vec![0; MAX_DATAGRAM_BYTES] } });
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(server, transport, tls)).await;
        let (carrier, local) = connected.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Self { server, local, carrier })
    }

    /// The phone's own address.
    pub(super) const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends to the server, or over UDP to where a request came from.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) async fn send(&mut self, packet: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        match &mut self.carrier {
            Carrier::Udp { socket, .. } => socket.send_to(packet, to.unwrap_or(self.server)).await.map(|_bytes| ()),
            Carrier::Stream { stream, .. } => {
                stream.write_all(packet).await?;
                // TLS keeps what the socket did not take at once.
                stream.flush().await
            }
            Carrier::WebSocket(socket) => socket.send(Message::Binary(Bytes::copy_from_slice(packet))).await.map_err(plain),
        }
    }

    /// The next message. Dropped before it is there, nothing is lost.
    ///
    /// # Errors
    ///
    /// What the system says; over a connection also its end, or that of what can be read.
    pub(super) async fn receive(&mut self) -> io::Result<(Bytes, SocketAddr)> {
        match &mut self.carrier {
            Carrier::Udp { socket, buffer } => {
                let (length, source) = socket.recv_from(buffer).await?;
                Ok((Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default()), source))
            }
            Carrier::Stream { stream, framer } => loop {
                match framer.next_frame().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                    Some(Frame::Message(message)) => return Ok((message, self.server)),
                    Some(Frame::Ping) => {
                        stream.write_all(PONG).await?;
                        stream.flush().await?;
                    }
                    None if stream.read_buf(framer.buffer()).await? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    None => {}
                }
            },
            Carrier::WebSocket(socket) => loop {
                let packet = match socket.next().await {
                    None | Some(Ok(Message::Close(_))) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    // The crate answers a ping.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Err(error)) => return Err(plain(error)),
                };
                if !packet.iter().all(u8::is_ascii_whitespace) {
                    return Ok((packet, self.server));
                }
            },
        }
    }
}

/// A connection with its handshakes done, and our end of it.
async fn connect(server: SocketAddr, transport: Transport, tls: Option<&ClientTls>) -> io::Result<(Carrier, SocketAddr)> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let stream: Box<dyn Wire> = match (transport, tls) {
        (Transport::Tls | Transport::Wss, Some(tls)) => Box::new(tls.connect(stream).await?),
        (Transport::Tls | Transport::Wss, None) => return Err(io::Error::new(io::ErrorKind::Unsupported, "tls is not set up")),
        _ => Box::new(stream),
    };
    if !matches!(transport, Transport::Ws | Transport::Wss) {
        return Ok((Carrier::Stream { stream, framer: Framer::new() }, local));
    }
    let mut request = format!("{}://{server}/", transport.as_str()).into_client_request().map_err(plain)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
    let (socket, _response) = tokio_tungstenite::client_async(request, stream).await.map_err(plain)?;
    Ok((Carrier::WebSocket(Box::new(socket)), local))
}

fn plain(error: WebSocketError) -> io::Error {
    match error {
        WebSocketError::Io(error) => error,
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => io::ErrorKind::UnexpectedEof.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// Enables ICMP errors on this unconnected socket: they tell that nothing listens at the server.
fn report_errors(socket: &UdpSocket, server: SocketAddr) -> io::Result<()> {
    let done =
        if server.is_ipv4() { setsockopt(socket, sockopt::Ipv4RecvErr, &true) } else { setsockopt(socket, sockopt::Ipv6RecvErr, &true) };
    done.map_err(Into::into)
}

/// The address of ours that packets to `server` leave from.
async fn address_towards(server: SocketAddr) -> io::Result<IpAddr> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let probe = UdpSocket::bind((any, 0)).await?;
    probe.connect(server).await?;
    Ok(probe.local_addr()?.ip())
}
