//! A consumer: what it has delivered, what waits for an acknowledgement, who waits for messages. Pure.
//!
//! Follows `server/consumer.go` of nats-server 2.15: the names of its sequences are those of that file.

mod ack;
mod client;
mod deliver;
mod pin;
mod pull;
mod state;

pub(super) use self::ack::AckSubject;
pub(super) use self::state::{Consumer, Scene};
