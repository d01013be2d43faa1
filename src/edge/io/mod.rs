//! Everything of the edge that touches a socket, a task or NATS.

pub mod driver;
pub mod fan_out;
pub mod mirror;
pub mod port;
pub mod sockets;
pub mod tls_files;
pub mod users_file;
pub mod watchers;
