//! The whole product on its real parts: the `dfks` binary, a nats-server, phones on sockets, services on the bus.

#![allow(dead_code, unused_imports, unreachable_pub, clippy::allow_attributes, reason = "each test binary uses a part of it")]

mod bus;
mod cli;
mod packet;
mod phone;
mod product;

pub use bus::{Service, Taken, Wiretap};
pub use cli::{Done, Running, dfks, dfks_with, started};
pub use packet::Packet;
pub use phone::{Answer, Dialog, Phone, Subscribe, set_dnd, set_forwarding};
pub use product::{Product, Setup};
