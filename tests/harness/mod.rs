//! The whole product on its real parts: the `dfks` binary, a nats-server, phones on sockets, services on the bus.

#![allow(dead_code, unused_imports, unreachable_pub, clippy::allow_attributes, reason = "each test binary uses a part of it")]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, and looks at the clock itself"
)]

mod bus;
mod cli;
mod dialog;
mod packet;
mod phone;
mod product;
mod program;

pub use bus::{Service, Taken, Wiretap};
pub use cli::{Done, Running, dfks, dfks_at, dfks_with, started};
pub use dialog::{Dialog, Subscribe, set_dnd, set_forwarding};
pub use packet::Packet;
pub use phone::{Answer, Phone};
pub use product::{Product, Setup};
pub use program::{Program, root};
