//! The edge over TLS and WebSocket, and its mirror: the real binary, phones behind a relay that speaks the transport.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, spawn and read the clock"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod certificate;
mod mirror;
mod sip;
mod subscribe;

use harness::{ALICE, ALL_OFF};
