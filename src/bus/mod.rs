//! The bus: subjects, messages and headers (pure), and the NATS client, streams and buckets they travel over.

pub mod message;
pub mod subject;
pub mod trace;
