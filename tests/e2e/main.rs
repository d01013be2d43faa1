//! The whole product on its real parts, from the phone's key to every other phone and back.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, and looks at the clock itself"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod actor;
mod asyncapi;
mod auth;
mod away;
mod backup;
mod capture;
mod cause;
mod command;
mod console;
mod cover;
mod dead;
mod domain;
mod durable;
mod edges;
mod ended;
mod events;
mod examples;
mod feature;
mod fleet;
mod freeswitch;
mod hand;
mod http;
mod kamailio;
mod kept;
mod local;
mod login;
mod mi;
mod onlooker;
mod otlp;
mod phone;
mod raw;
mod readme;
mod refused;
mod responder;
mod responders;
mod script;
mod services;
mod sipp;
mod stop;
mod subscribe;
mod takeover;
mod target;
mod telemetry;
mod tenant;
mod threads;
mod timer;
mod trace;
mod trust;
mod web_phone;
mod why;

use harness::{ALICE, ALL_OFF};
