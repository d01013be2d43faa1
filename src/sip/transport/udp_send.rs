//! UDP: many datagrams out with one system call.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use smallvec::SmallVec;

use super::udp::{BATCH, UdpListener};

/// Datagrams that wait to be sent together. Bounded: one too many is refused.
#[derive(Debug)]
pub(crate) struct SendQueue {
    packets: VecDeque<(SocketAddr, Bytes)>,
    capacity: usize,
}

/// What a flush came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flushed {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Datagrams that it refused for good (too large, no route), and that are dropped.
    pub failed: usize,
    /// Whether the socket's buffer is full: the rest waits for [`UdpListener::writable`].
    pub is_blocked: bool,
}

impl SendQueue {
    /// An empty queue for at most so many datagrams.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self { packets: VecDeque::new(), capacity }
    }

    /// Adds a datagram; false when there is no room, and it is not sent.
    #[must_use]
    pub(crate) fn push(&mut self, peer: SocketAddr, packet: Bytes) -> bool {
        let has_room = self.packets.len() < self.capacity;
        if has_room {
            self.packets.push_back((peer, packet));
        }
        has_room
    }

    /// Drops the datagrams for which `keep` is false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        self.packets.retain(|(_, packet)| keep(packet));
    }

    /// Whether none waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Sends as much as the kernel takes, in order, and never waits.
    pub(crate) fn flush(&mut self, listener: &UdpListener) -> Flushed {
        let mut flushed = Flushed::default();
        #[cfg(feature = "simulate")]
        if let Some(socket) = listener.model() {
            flushed.sent = self.packets.len();
            self.packets.drain(..).for_each(|(peer, packet)| socket.send(peer, packet));
        }
        while !self.packets.is_empty() {
            match self.send_batch(listener) {
                Ok(sent) => {
                    self.packets.drain(..sent.min(self.packets.len()));
                    flushed.sent += sent;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    listener.note_full();
                    flushed.is_blocked = true;
                    break;
                }
                // An error is that of the first datagram; those after it were not tried.
                Err(error) => {
                    tracing::debug!(%error, "datagram not sent");
                    self.packets.pop_front();
                    flushed.failed += 1;
                }
            }
        }
        flushed
    }

    fn send_batch(&self, listener: &UdpListener) -> Result<usize, Errno> {
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let packet = |index| self.packets.get(index);
        let peers: [SocketAddrAny; BATCH] = std::array::from_fn(|index| packet(index).map_or(nobody, |(peer, _)| *peer).into());
        let slices: [_; BATCH] = std::array::from_fn(|index| [IoSlice::new(packet(index).map_or(&[], |(_, bytes)| bytes))]);
        let mut controls: [_; BATCH] = std::array::from_fn(|_| SendAncillaryBuffer::default());
        let parts = peers.iter().zip(&slices).zip(&mut controls).take(self.packets.len());
        let mut messages: SmallVec<[MMsgHdr<'_>; BATCH]> =
            parts.map(|((peer, slice), control)| MMsgHdr::new_with_addr(peer, slice, control)).collect();
        sendmmsg(listener.kernel().ok_or(Errno::NOTCONN)?, &mut messages, SendFlags::DONTWAIT)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Plain;

    use super::*;

    #[tokio::test]
    async fn sends_all_in_order_over_several_batches() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let phone = Plain::bind(address).unwrap();
            let listener = UdpListener::bind(address.parse().unwrap(), 0, false).unwrap();
            let mut queue = SendQueue::new(100);
            for index in 0..100_u8 {
                assert!(queue.push(phone.local_addr().unwrap(), Bytes::from(vec![index; 1 + usize::from(index)])));
            }
            assert!(!queue.push(phone.local_addr().unwrap(), Bytes::from_static(b"one too many")));
            assert_eq!(queue.flush(&listener), Flushed { sent: 100, failed: 0, is_blocked: false });
            assert!(queue.is_empty());
            let mut buffer = [0; 200];
            for index in 0..100_u8 {
                assert_eq!(phone.recv_from(&mut buffer).unwrap(), (1 + usize::from(index), listener.local_addr()));
                assert_eq!(buffer[usize::from(index)], index);
            }
        }
    }

    #[tokio::test]
    async fn one_that_cannot_be_sent_does_not_stop_the_rest() {
        let phone = Plain::bind("127.0.0.1:0").unwrap();
        let peer = phone.local_addr().unwrap();
        let listener = UdpListener::bind("127.0.0.1:0".parse().unwrap(), 0, false).unwrap();
        let mut queue = SendQueue::new(10);
        for packet in [Bytes::from_static(b"a"), Bytes::from(vec![0; 70_000]), Bytes::from_static(b"b")] {
            assert!(queue.push(peer, packet));
        }
        assert!(queue.push("[::1]:9".parse().unwrap(), Bytes::from_static(b"of the other family")));
        assert_eq!(queue.flush(&listener), Flushed { sent: 2, failed: 2, is_blocked: false });
        let mut buffer = [0; 8];
        for want in [b'a', b'b'] {
            assert_eq!(phone.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], want);
        }
    }
}
