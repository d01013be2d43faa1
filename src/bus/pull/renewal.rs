//! A consumer that is there: its settings stay, and a client of before gets nothing of it any more.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::bus::client::Bus;
use crate::bus::error::RequestError;

/// Error of the JetStream API: there is no such consumer.
pub(super) const CONSUMER_NOT_FOUND: u64 = 10014;

/// Makes a consumer of which this is the only client anew, where one of before is still handed messages: somebody listens to
/// everything, so the server takes that client to be there. What it has not acknowledged is delivered again at once.
///
/// # Errors
///
/// [`RequestError`]: it is as it was, or is made by whoever opens it next.
pub(crate) async fn renew(bus: &Bus, stream: &str, durable: &str, filter: &str) -> Result<(), RequestError> {
    bus.presence().looked().await;
    if !bus.presence().is_looked_on() {
        return Ok(());
    }
    let found: Found = match bus.api(&format!("CONSUMER.INFO.{stream}.{durable}"), bus.timeout()).await {
        Err(RequestError::Stream { code: CONSUMER_NOT_FOUND, .. }) => return Ok(()),
        found => found?,
    };
    if found.num_ack_pending == 0 && found.num_waiting == 0 {
        return Ok(());
    }
    let _gone: IgnoredAny = bus.api(&format!("CONSUMER.DELETE.{stream}.{durable}"), bus.timeout()).await?;
    let body = serde_json::json!({ "stream_name": stream, "config": found.config });
    let _info: IgnoredAny = bus.api_with(&format!("CONSUMER.CREATE.{stream}.{durable}.{filter}"), &body, bus.timeout()).await?;
    Ok(())
}

/// A consumer that is there.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) config: Map<String, Value>,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    num_waiting: u64,
}

impl Found {
    /// Its configuration with another filter, the rest as its operator wants it; `None` where it has this filter.
    pub(super) fn with_filter(mut self, filter: &str) -> Option<Map<String, Value>> {
        let before = self.config.insert("filter_subject".to_owned(), filter.into());
        let several = self.config.remove("filter_subjects");
        (before.is_none_or(|before| before != filter) || several.is_some()).then_some(self.config)
    }
}
