//! The SIP edge: RFC 6665 notifier for `as-feature-event`.
//!
//! ```text
//!  phones ⇄ reach ⇄ driver ⇄ port ⇄ bus          notifier: the pure machine; everything else here only carries it out
//!                     ⇅
//!                  notifier ─▶ fan_out ─▶ jobs for the watchers on other edges
//! ```

pub mod accounts;
pub mod auth;
mod certificates;
pub mod config;
pub mod driver;
pub mod exchange;
pub mod fan_out;
pub mod label;
pub mod metrics;
pub mod mirror;
pub mod next_hop;
pub mod notifier;
pub mod outbox;
pub mod port;
pub mod profile;
mod queue_metrics;
pub mod rate_limit;
pub mod reach;
pub mod record;
pub mod response;
pub mod roster;
pub mod run;
pub mod subscribe;
pub mod subscription;
mod takeover;
pub mod transport_metrics;
pub mod users;
pub mod users_file;
pub mod watchers;
pub mod write;

pub use run::{Edge, EdgeError};
