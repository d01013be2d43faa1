//! A table of what phones send and what they get for it, run against the real binary over UDP, TCP, TLS and WebSocket. Each row
//! names what it shows:
//!
//! | file | rows |
//! |---|---|
//! | `status` | every status code, with the headers that it owes |
//! | `head` | odd heads that are taken, and what is written for them: one line a field, known characters |
//! | `body` | bodies that are taken or refused, and what is told then |
//! | `answer` | what a NOTIFY is answered, and what follows |
//! | `stream` | cuts, keep-alives and limits of TCP and TLS |
//! | `way` | where NOTIFYs and responses go |
//! | `name` | Routes and Contacts that are names: NAPTR, SRV, the next server when one fails |
//! | `state` | full state by size and phone, without a worker, after a restart, to every phone |
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod answer;
mod body;
mod head;
mod name;
mod row;
mod site;
mod state;
mod status;
mod stream;
mod way;
mod zone;

use harness::ALL_OFF;
