//! The worker: runs gets and sets. Stateless; any number of instances share the queue group.
//!
//! ```text
//! dfks.get ───────▶ service ─▶ handler ─┬─▶ responder/ (all features at once): owners, answer, breaker ─▶ again
//! dfks.route.set ─▶    │               ├─▶ store/: record
//!                      ▼               └─▶ script/: live ─▶ script ─▶ call (the object dfks)
//!                    reply  ◀── get, set: the outcome (pure)
//! ```
//!
//! `dfks.responders` is answered by the desk. I/O: `service`, `desk`, `handler`, `again`, `responder/` (`mod`, `ask`, `memory`),
//! `store`, `script/live`; every other file is pure.

mod again;
pub(crate) mod change;
mod commit;
mod desk;
pub(crate) mod error;
mod get;
mod handler;
mod learn;
mod local;
mod metrics;
mod quorum;
mod recent;
pub(crate) mod rehearsal;
pub(crate) mod responder;
pub(crate) mod route;
pub(crate) mod script;
mod service;
mod set;
pub(crate) mod store;
pub(crate) mod view;
mod work;

pub use error::WorkerError;
pub use route::Route;
pub use script::call::{Call, Verdict};
pub use script::{RouteError, Script, ScriptError};
pub use service::run;
