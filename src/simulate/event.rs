//! What happens in a world.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::simulate::fault::Fault;
use crate::simulate::line::{ToClient, ToServer};
use crate::simulate::phone::Act;

/// What is to happen at a time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives.
    Datagram { from: SocketAddr, to: SocketAddr, packet: Bytes },
    /// Something of a client arrives at the server.
    ToServer { line: usize, epoch: u64, what: ToServer },
    /// Something of the server arrives at a client.
    ToClient { line: usize, epoch: u64, what: ToClient },
    /// The server gives a client up that is silent.
    GivenUp { line: usize, epoch: u64 },
    /// A client notices that its connection is gone.
    Noticed { line: usize, epoch: u64 },
    /// A client tries to connect.
    Connect { line: usize, attempt: u32 },
    /// A timer of a phone.
    PhoneTimer(usize),
    /// A phone does something.
    Phone(usize, Act),
    /// Something breaks, or is whole again.
    Fault(Fault),
    /// A supervisor starts a process.
    Start(&'static str),
}

/// What another run of the same seed has to have in common: what happens, when, to whom, and the bytes on the wire.
impl Hash for Event {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Datagram { from, to, packet } => (from, to, packet).hash(state),
            Self::ToServer { line, epoch, what } => (line, epoch, what).hash(state),
            Self::ToClient { line, epoch, what } => (line, epoch, what).hash(state),
            Self::GivenUp { line, epoch } | Self::Noticed { line, epoch } => (line, epoch).hash(state),
            Self::Connect { line, attempt } => (line, attempt).hash(state),
            Self::PhoneTimer(phone) => phone.hash(state),
            Self::Phone(phone, act) => (phone, act).hash(state),
            Self::Fault(fault) => fault.hash(state),
            Self::Start(name) => name.hash(state),
        }
    }
}
