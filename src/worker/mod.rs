//! The worker: what runs for a get and a set. Stateless; any number of them share the queue group.
//!
//! ```text
//! dfks.get ───────▶ service ─▶ handler ─┬─▶ responder (all features at once) ─▶ answer
//! dfks.route.set ─▶    │               ├─▶ store ─▶ record
//!                      ▼               └─▶ routes ─▶ script ─▶ call (the object dfks)
//!                    reply  ◀── get, set: what it comes to (pure)
//! ```
//!
//! Pure: [`script`], `call`, `change`, `answer`, `record`, `get`, `set`, `recent`, `breaker`. I/O: `service`, `handler`, `responder`,
//! `store`, [`routes`].

mod change;
pub mod error;
mod get;
mod handler;
mod metrics;
mod recent;
mod responder;
pub mod route;
pub mod script;
mod service;
mod set;
mod store;

pub use error::WorkerError;
pub use script::live::Routes;
pub use script::{Script, ScriptError};
pub use service::run;
