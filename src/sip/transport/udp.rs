//! UDP: one socket, read in batches.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
#[cfg(feature = "simulate")]
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

#[cfg(feature = "simulate")]
use crate::runtime::host::{self, Datagrams};
use crate::sip::flow::{Flow, Transport};

/// Most datagrams that one system call moves.
pub(super) const BATCH: usize = 32;
/// The largest datagram.
const DATAGRAM_BYTES: usize = 65_535;
/// What the kernel is asked to hold for us, each way; it grants what `net.core.rmem_max` and `wmem_max` allow.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A UDP socket that requests come in on and responses go out of.
#[derive(Debug)]
pub(crate) struct UdpListener {
    socket: Below,
    local_addr: SocketAddr,
    listener: u16,
}

/// What carries its datagrams.
#[derive(Debug)]
enum Below {
    Kernel(UdpSocket),
    #[cfg(feature = "simulate")]
    Model(Arc<dyn Datagrams>),
}

/// Datagrams that came together. Holds its buffers for good: receiving allocates nothing.
#[derive(Debug)]
pub(crate) struct Batch {
    buffers: [Box<[u8]>; BATCH],
    /// Sender and length of each of the first `count`.
    received: [Option<(SocketAddr, usize)>; BATCH],
}

impl UdpListener {
    /// Binds a socket; `listener` is its index in `sip.listen`. An IPv6 one takes no IPv4. A `shared` address has several
    /// sockets of this process; each has its senders, by their address and port.
    ///
    /// # Errors
    ///
    /// That of the operating system: the address is not ours, or is taken.
    pub(crate) fn bind(address: SocketAddr, listener: u16, is_shared: bool) -> io::Result<Self> {
        #[cfg(feature = "simulate")]
        if let Some(host) = host::current() {
            let socket = host.bind(address)?;
            return Ok(Self { local_addr: socket.local_addr(), socket: Below::Model(socket), listener });
        }
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        for granted in [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)] {
            if let Err(error) = granted {
                tracing::debug!(%error, "socket buffer not enlarged");
            }
        }
        socket.set_reuse_port(is_shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local_addr = socket.local_addr()?;
        Ok(Self { socket: Below::Kernel(socket), local_addr, listener })
    }

    /// The address that it is bound to.
    #[must_use]
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The flow of a datagram from that address.
    #[must_use]
    pub(crate) fn flow(&self, peer: SocketAddr) -> Flow {
        Flow { transport: Transport::Udp, listener: self.listener, peer, connection: None }
    }

    /// Waits until there is something to receive.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    #[cfg(test)]
    pub(crate) async fn readable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// Whether there is something to receive; wakes the task when there is.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Below::Kernel(socket) => socket.poll_recv_ready(cx),
            #[cfg(feature = "simulate")]
            Below::Model(socket) => socket.poll_readable(cx).map(Ok),
        }
    }

    /// Whether a datagram can be sent; wakes the task when one can.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Below::Kernel(socket) => socket.poll_send_ready(cx),
            #[cfg(feature = "simulate")]
            Below::Model(_) => Poll::Ready(Ok(())),
        }
    }

    /// Receives what is there, at most 32 datagrams, and says how many; 0 when there was none after all.
    ///
    /// # Errors
    ///
    /// That of the operating system. The socket is still good for another try.
    pub(crate) fn recv_batch(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.received = [None; BATCH];
        #[cfg(feature = "simulate")]
        if let Below::Model(socket) = &self.socket {
            return Ok(batch.fill(|| socket.receive()));
        }
        let Some(socket) = self.kernel() else { return Ok(0) };
        let received = socket.try_io(Interest::READABLE, || {
            let fd = socket.as_raw_fd();
            let count = if self.local_addr.is_ipv4() {
                HEADERS_V4.with_borrow_mut(|headers| receive(fd, headers, batch, |peer| SocketAddrV4::from(*peer).into()))
            } else {
                HEADERS_V6.with_borrow_mut(|headers| receive(fd, headers, batch, |peer| SocketAddrV6::from(*peer).into()))
            };
            Ok(count?)
        });
        match received {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    /// Sends one datagram now, or not at all.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the socket's buffer is full, else that of the operating system.
    #[cfg(test)]
    pub(crate) fn send(&self, peer: SocketAddr, packet: &[u8]) -> io::Result<()> {
        // Not through tokio: a fresh socket counts as unwritable there until the reactor has looked at it.
        let Some(socket) = self.kernel() else { return Err(io::ErrorKind::Unsupported.into()) };
        match socket2::SockRef::from(socket).send_to(packet, &peer.into()) {
            Ok(_) => Ok(()),
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock {
                    self.note_full();
                }
                Err(error)
            }
        }
    }

    /// Has tokio know that the buffer is full, so that [`Self::writable`] waits.
    pub(super) fn note_full(&self) {
        let full = self.kernel().map(|socket| socket.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into())));
        debug_assert!(!matches!(full, Some(Ok(()))), "the closure gives nothing else");
    }

    /// The socket of the kernel; in the simulation there is none.
    #[cfg_attr(not(feature = "simulate"), expect(clippy::unnecessary_wraps, reason = "the simulation has none"))]
    pub(super) fn kernel(&self) -> Option<&UdpSocket> {
        match &self.socket {
            Below::Kernel(socket) => Some(socket),
            #[cfg(feature = "simulate")]
            Below::Model(_) => None,
        }
    }

    /// The socket of the simulation.
    #[cfg(feature = "simulate")]
    pub(super) fn model(&self) -> Option<&dyn Datagrams> {
        match &self.socket {
            Below::Kernel(_) => None,
            Below::Model(socket) => Some(socket.as_ref()),
        }
    }
}

thread_local! {
    // The kernel writes an address' length where the next call reads how long it may be: one for each family, or an IPv6
    // address would be cut after an IPv4 one. Of the thread, not of the batch: they hold pointers, which no task may carry.
    static HEADERS_V4: RefCell<MultiHeaders<SockaddrIn>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
    static HEADERS_V6: RefCell<MultiHeaders<SockaddrIn6>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
}

fn receive<S: SockaddrLike + Copy>(
    fd: std::os::fd::RawFd,
    headers: &mut MultiHeaders<S>,
    batch: &mut Batch,
    address: impl Fn(&S) -> SocketAddr,
) -> Result<usize, Errno> {
    let mut slices = batch.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
    let messages = recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    let mut count = 0;
    for (message, received) in messages.zip(&mut batch.received) {
        *received = message.address.as_ref().map(|peer| (address(peer), message.bytes));
        count += 1;
    }
    Ok(count)
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { buffers: std::array::from_fn(|_| vec![0; DATAGRAM_BYTES].into()), received: [None; BATCH] }
    }

    /// Takes what a simulated socket has; returns how many.
    #[cfg(feature = "simulate")]
    fn fill(&mut self, mut next: impl FnMut() -> Option<(SocketAddr, bytes::Bytes)>) -> usize {
        let mut count = 0;
        for (received, buffer) in self.received.iter_mut().zip(&mut self.buffers) {
            let Some((peer, packet)) = next() else { break };
            let length = packet.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..length), packet.get(..length)) {
                to.copy_from_slice(from);
            }
            *received = Some((peer, length));
            count += 1;
        }
        count
    }

    /// The datagrams in the order they came: sender and bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let both = self.received.iter().zip(&self.buffers);
        both.filter_map(|(received, buffer)| received.and_then(|(peer, length)| Some((peer, buffer.get(..length)?))))
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Plain;
    use std::time::Duration;

    use super::*;

    async fn receive_all(listener: &UdpListener, want: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut batch = Batch::new();
        let mut all = Vec::new();
        while all.len() < want {
            tokio::time::timeout(Duration::from_secs(10), listener.readable()).await.expect("a datagram").unwrap();
            let count = listener.recv_batch(&mut batch).unwrap();
            assert_eq!(batch.iter().count(), count);
            all.extend(batch.iter().map(|(peer, bytes)| (peer, bytes.to_vec())));
        }
        all
    }

    #[tokio::test]
    async fn receives_every_datagram_with_its_sender_in_order() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = UdpListener::bind(address.parse().unwrap(), 3, false).unwrap();
            let phones = [Plain::bind(address).unwrap(), Plain::bind(address).unwrap()];
            let sizes = [0_usize, 1, 700, 65_000];
            for index in 0..100_usize {
                let bytes = vec![u8::try_from(index).unwrap(); if index == 50 { 65_000 } else { sizes[index % 3] }];
                phones[index % 2].send_to(&bytes, listener.local_addr()).unwrap();
            }
            let all = receive_all(&listener, 100).await;
            for (index, (peer, bytes)) in all.iter().enumerate() {
                assert_eq!(*peer, phones[index % 2].local_addr().unwrap(), "{index}");
                assert_eq!(bytes.len(), if index == 50 { 65_000 } else { sizes[index % 3] }, "{index}");
                assert!(bytes.iter().all(|byte| usize::from(*byte) == index));
            }
            assert_eq!(listener.recv_batch(&mut Batch::new()).unwrap(), 0);
            assert_eq!(listener.flow(all[0].0), Flow { transport: Transport::Udp, listener: 3, peer: all[0].0, connection: None });
        }
    }

    #[tokio::test]
    async fn both_families_on_one_thread_keep_their_addresses() {
        let v4 = UdpListener::bind("127.0.0.1:0".parse().unwrap(), 0, false).unwrap();
        let v6 = UdpListener::bind("[::1]:0".parse().unwrap(), 1, false).unwrap();
        let (phone4, phone6) = (Plain::bind("127.0.0.1:0").unwrap(), Plain::bind("[::1]:0").unwrap());
        for _ in 0..3 {
            phone4.send_to(b"4", v4.local_addr()).unwrap();
            phone6.send_to(b"6", v6.local_addr()).unwrap();
            assert_eq!(receive_all(&v4, 1).await, [(phone4.local_addr().unwrap(), b"4".to_vec())]);
            assert_eq!(receive_all(&v6, 1).await, [(phone6.local_addr().unwrap(), b"6".to_vec())]);
        }
    }

    #[tokio::test]
    async fn sends_at_once_from_a_fresh_socket() {
        let phone = Plain::bind("127.0.0.1:0").unwrap();
        let listener = UdpListener::bind("127.0.0.1:0".parse().unwrap(), 0, false).unwrap();
        listener.send(phone.local_addr().unwrap(), b"200").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(phone.recv_from(&mut buffer).unwrap(), (3, listener.local_addr()));
        assert!(listener.send(phone.local_addr().unwrap(), &vec![0; 70_000]).is_err());
    }

    #[test]
    fn a_batch_can_be_kept_by_a_task() {
        fn is_send<T: Send>() {}
        is_send::<Batch>();
        is_send::<UdpListener>();
    }
}
