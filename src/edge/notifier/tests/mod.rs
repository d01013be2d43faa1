//! Tests of the notifier, a file a topic. `fixture` has a notifier with a bus and phones around it.

mod amplification;
mod auth;
mod auth_fixture;
mod cover;
mod cseq;
mod detour;
mod exchange;
pub(crate) mod fixture;
mod hand;
mod kept;
mod limit;
mod lost;
mod model;
mod model_check;
mod next_hop;
mod order;
mod ownership;
mod package;
mod quirk;
mod random;
mod request;
mod route;
mod states;
mod sync;
mod takeover;
mod unanswered;
mod watermark;
