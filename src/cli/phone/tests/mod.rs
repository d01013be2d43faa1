//! The phone against a server that is written out here, message by message.

mod device;
mod fixture;
mod subscriber;
