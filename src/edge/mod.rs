//! The SIP edge: RFC 6665 notifier for `as-feature-event`.
//!
//! ```text
//!  phones ⇄ reach ⇄ driver ⇄ port ⇄ bus          notifier: the pure machine; everything else here only carries it out
//!                     ⇅
//!                  notifier ─▶ fan_out ─▶ jobs for the watchers on other edges
//! ```

pub mod config;
pub(crate) mod event;
pub mod gate;
pub mod io;
pub mod limit;
pub mod metrics;
pub mod notifier;
pub mod profile;
pub mod refusal;
pub mod run;
pub mod subscribe;
pub mod subscription;
mod takeover;

pub use run::{Edge, EdgeError};
