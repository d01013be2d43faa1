//! The bus against a real nats-server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod embedded;
mod notify;
mod setup;
mod watchers;
