//! The mi bridge: commands in, a worker's set route asked, NOTIFY jobs and events out.
//!
//! ```text
//! POST /mi ─▶ jsonrpc ─▶ method ─┐
//! PUT /v1/… ─▶ http::v1 ─────────┤
//! dfks.set ─▶ service ───────────┤
//! dfks.command.set ─▶ durable ───┴▶ command ─▶ dfks.route.set (worker) ─▶ plan ─▶ NOTIFY jobs, dfks.event.feature, the reply
//! dfks.timer.due.> ─▶ timer ─▶ dfks.route.set: a feature goes off whose time is over
//! dfks.resync, dfks.end ─▶ hand ─▶ dfks.edge.resync, dfks.edge.end: the edges that hold the subscriptions
//! dfks.why ─▶ why ─▶ dfks.watchers, dfks.get, dfks.responders, the stream of events
//! ```

pub(crate) mod bridge;
pub mod command;
pub mod durable;
pub(crate) mod error;
mod hand;
pub(crate) mod http;
mod lasts;
pub mod limit;
mod metrics;
pub mod openapi;
pub(crate) mod plan;
pub(crate) mod refused;
pub(crate) mod service;
pub mod teller;
pub(crate) mod timer;
pub(crate) mod trace;
mod why;

pub use bridge::{Bridge, Fanout};
pub use command::SetCommand;
pub use durable::Patience;
pub use error::MiError;
pub use lasts::Lasts;
pub use service::run;
