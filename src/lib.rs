//! `dfks`: keeps the feature keys of SIP phones in step with the services that own those features, over NATS.
//!
//! The folders are the flow: [`feature`] what is synchronised, [`sip`] the wire to the phones, [`edge`] the notifier,
//! [`bus`] NATS, [`worker`] the routes, [`mi`] commands, [`notify`] the jobs between them, `console` the pages of operators, [`telemetry`] and [`runtime`]
//! what every role stands on. `ARCHITECTURE.md` draws the picture.

pub mod bus;
pub mod cli;
pub mod config;
pub(crate) mod console;
pub mod edge;
pub mod feature;
pub mod mi;
pub mod notify;
pub mod runtime;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod sip;
pub mod telemetry;
pub mod worker;
