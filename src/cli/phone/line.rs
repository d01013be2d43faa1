//! The socket of a simulated phone: one UDP socket, or one TCP connection. I/O.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::sip::Transport;
use crate::sip::framing::{Frame, Framer, PONG};

/// Largest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// A way to the server and back.
#[derive(Debug)]
pub(super) struct Line {
    server: SocketAddr,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Udp { socket: UdpSocket, buffer: Vec<u8> },
    Tcp { stream: TcpStream, framer: Framer },
}

impl Line {
    /// Opens a socket of the address that the server is reached from.
    ///
    /// # Errors
    ///
    /// The system's error; over TCP also a refused connection.
    pub(super) async fn open(server: SocketAddr, transport: Transport) -> io::Result<Self> {
        let socket = match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((address_towards(server).await?, 0)).await?;
                report_errors(&socket, server)?;
                Socket::Udp { socket, buffer: vec![0; MAX_DATAGRAM_BYTES] }
            }
            Transport::Tcp => Socket::Tcp { stream: TcpStream::connect(server).await?, framer: Framer::new() },
            other => return Err(io::Error::new(io::ErrorKind::Unsupported, format!("the phone does not speak {}", other.as_str()))),
        };
        Ok(Self { server, socket })
    }

    /// The phone's own address.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Udp { socket, .. } => socket.local_addr(),
            Socket::Tcp { stream, .. } => stream.local_addr(),
        }
    }

    /// Sends to the server, or over UDP to where a request came from.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) async fn send(&mut self, packet: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        match &mut self.socket {
            Socket::Udp { socket, .. } => socket.send_to(packet, to.unwrap_or(self.server)).await.map(|_bytes| ()),
            Socket::Tcp { stream, .. } => stream.write_all(packet).await,
        }
    }

    /// The next message. Dropped before it is there, nothing is lost.
    ///
    /// # Errors
    ///
    /// What the system says; over TCP also the end of the connection, or of what can be read.
    pub(super) async fn receive(&mut self) -> io::Result<(Bytes, SocketAddr)> {
        match &mut self.socket {
            Socket::Udp { socket, buffer } => {
                let (length, source) = socket.recv_from(buffer).await?;
                Ok((Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default()), source))
            }
            Socket::Tcp { stream, framer } => loop {
                match framer.next_frame().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                    Some(Frame::Message(message)) => return Ok((message, self.server)),
                    // two bytes fit an empty send buffer; without them the server pings again
                    Some(Frame::Ping) => drop(stream.try_write(PONG)),
                    None if stream.read_buf(framer.buffer()).await? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    None => {}
                }
            },
        }
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
