//! A whole deployment under a seed: the code of every role, on simulated time, a simulated network and a model of NATS.
//!
//! ```text
//!   phones ⇄ datagrams ⇄ [edge] ⇄ line ⇄ model of NATS ⇄ line ⇄ [worker] [bridge] ⇄ … ⇄ services
//!              late, lost, doubled, cut      away, slow, full, without a leader       killed, stopped, clock off
//! ```
//! What stands in brackets is the product, all of it but its sockets: one thread, tokio's paused clock. `world` is the queue of events,
//! `carry` what each kind of event does, `fault` the plan of what breaks, `ledger` what was promised, `check` what must hold in the end,
//! `run` one run, `many` a lot of them.

mod carry;
mod check;
mod deployment;
mod event;
mod fault;
mod ladder;
mod ledger;
mod line;
mod machine;
mod many;
mod network;
mod phone;
mod responder;
mod run;
pub mod server;
mod service;
mod story;
mod time;
mod world;

pub use many::main;
