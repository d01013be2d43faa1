//! What operators see: the log, the metrics exporter, health and readiness over HTTP.

pub mod exporter;
pub mod http;
pub mod log;
pub mod pii;
pub mod readiness;

mod accept;

pub use pii::Pii;
pub use readiness::{Condition, Readiness};
