//! What operators see: the log, the metrics exporter, health and readiness over HTTP, and SIP messages as HEP.

pub mod depth;
pub mod exporter;
pub mod hep;
pub mod hep_sender;
pub mod http;
pub(crate) mod level;
pub mod log;
pub mod otlp;
pub mod pii;
pub mod process;
pub mod readiness;

pub(crate) mod accept;
pub(crate) mod token;

pub use pii::Pii;
pub(crate) use readiness::{Condition, Readiness};
