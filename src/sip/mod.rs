//! The SIP we use (RFC 3261, RFC 6665): a tolerant reader, a strict writer, non-INVITE transactions, and the transports.
//!
//! Everything but `transport` is pure: no socket, task or clock. What comes in may be spelled in any way that phones are
//! known for; what goes out follows the grammar to the letter.

pub mod digest;
pub mod flow;
pub mod framing;
mod head;
pub mod header;
pub mod locate;
pub mod message;
pub(crate) mod method;
pub(crate) mod name;
pub(crate) mod notify;
pub mod request;
pub(crate) mod request_writer;
pub mod response;
mod scan;
pub(crate) mod stun;
#[cfg(test)]
mod tests;
pub(crate) mod transaction;
pub(crate) mod transport;
pub mod uri;

pub use flow::{ConnectionId, Flow, Transport};
pub use message::{Message, ParseError, Start, parse};
pub use method::Method;
pub use name::Name;
pub use request::{BadRequest, Request};
pub use response::{Response, ResponseWriter};
