//! The bus: subjects, messages and headers (pure), and the NATS client, streams and buckets they travel over.

mod answer;
mod api;
pub mod asyncapi;
pub(crate) mod attempts;
mod changed;
pub(crate) mod client;
mod domain;
pub(crate) mod embedded;
pub(crate) mod error;
pub(crate) mod feature_record;
mod keeper;
pub(crate) mod kv;
mod link;
pub mod message;
mod metrics;
mod pattern;
pub(crate) mod poll;
pub mod pull;
pub(crate) mod queues;
mod replies;
mod room;
pub mod schema;
pub(crate) mod service;
pub mod setup;
pub mod subject;
mod time;
pub mod trace;
pub(crate) mod watchers;
mod widen;

pub(crate) use changed::ChangedError;
pub use client::Bus;
pub use embedded::{Embedded, EmbeddedError};
pub use error::{BusError, PublishError, RequestError};
pub(crate) use keeper::StreamKeeper;
pub use trace::headers;
pub use watchers::{Change, EdgeWatchers, IndexEvent, IndexHook, SharedIndex, WatcherIndex};
