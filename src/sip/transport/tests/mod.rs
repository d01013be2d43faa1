//! Tests of the transports over real sockets.

pub(crate) mod authority;
mod secure;
mod websocket;
