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
mod relay;

pub use bus::{Service, Taken, Wiretap};
pub use cli::{Done, Running, command, dfks, dfks_at, dfks_at_folder, dfks_in, dfks_with, started};
pub use dialog::{Dialog, Subscribe, set_dnd, set_forwarding};
pub use packet::Packet;
pub use phone::{Answer, Phone};
pub use product::{Product, Setup};
pub use program::{Program, root};
pub use relay::{Authority, Relay, certificate_of};

/// The presentity of a test that needs no special one.
pub const ALICE: &str = "sip:alice@127.0.0.1";

/// The full state of a presentity that nothing was set of.
pub const ALL_OFF: [&str; 4] = ["DoNotDisturb off", "CallForwardingAlways off", "CallForwardingBusy off", "CallForwardingNoAnswer off"];
