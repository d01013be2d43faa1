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
mod relay;
mod subscribe;

/// The presentity of these tests.
const ALICE: &str = "sip:alice@127.0.0.1";

/// The full state of a presentity that nothing was set of.
const ALL_OFF: [&str; 4] = ["DoNotDisturb off", "CallForwardingAlways off", "CallForwardingBusy off", "CallForwardingNoAnswer off"];
