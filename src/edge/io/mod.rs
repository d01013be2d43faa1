//! Everything of the edge that touches a socket, a task or NATS.

pub(crate) mod asked_sip;
pub(crate) mod bind;
pub(crate) mod changes;
pub(crate) mod deliveries;
pub(crate) mod dns;
pub(crate) mod driver;
mod events;
pub(crate) mod fan_out;
pub(crate) mod hands;
pub(crate) mod mirror;
pub(crate) mod port;
pub(crate) mod ring;
pub(crate) mod seat;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod sockets;
mod spans;
pub(crate) mod tls_files;
pub(crate) mod users_file;
pub(crate) mod watchers;
