//! The SIP edge: RFC 6665 notifier for `as-feature-event`.
//!
//! ```text
//!  phones ⇄ io (sockets, driver, port) ⇄ bus
//!                 ⇅ inputs, outputs
//!              notifier ── its state and gate: pure, no socket, task or clock
//! ```
//! Imports run down this list: `threads`, `run`, `io`, `takeover`, `notifier`, `event`, `subscription`, `subscribe`, `config`, `gate`, `limit`,
//! `metrics`, `refusal`, `profile`. `notifier`, `subscription` and `gate` import neither tokio nor the NATS client.

pub mod config;
pub(crate) mod event;
pub mod gate;
pub(crate) mod io;
pub mod limit;
pub mod metrics;
pub mod notifier;
pub mod profile;
pub(crate) mod refusal;
mod run;
pub(crate) mod subscribe;
pub mod subscription;
mod takeover;
mod threads;

pub use io::dns::Resolver;
pub use run::EdgeError;
pub use threads::Edge;
