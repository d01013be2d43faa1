//! The bus against a real nats-server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod embedded;
mod notify;
mod setup;
mod watchers;

use common::Nats;
use dfks::bus::{Bus, setup as streams};
use dfks::config::NatsConfig;

/// A client of a server, once it is connected.
async fn connect(config: &NatsConfig) -> Bus {
    common::connect(config, "dfks-test").await
}

/// A server with the streams and buckets of the product, and a client of it.
async fn server() -> (Nats, Bus) {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    streams::ensure(&bus, 1).await.unwrap();
    (nats, bus)
}
