//! The SIP edge: RFC 6665 notifier for `as-feature-event`.
//!
//! ```text
//!  phones ⇄ reach ⇄ driver ⇄ port ⇄ bus          notifier: the pure machine; everything else here only carries it out
//!                     ⇅
//!                  notifier ─▶ fan_out ─▶ jobs for the watchers on other edges
//! ```

pub mod config;
mod exchange;
pub mod metrics;
pub mod notifier;
mod outbox;
mod record;
mod response;
mod subscribe;
mod subscription;
mod write;
