//! Workers against a real nats-server: what goes over the bus, in what order, and what happens when something is away.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod doubt;
mod fence;
mod fixture;
mod learn;
mod quorum;
mod responder;
mod script;
mod service;
mod store;
mod trust;
mod view;
