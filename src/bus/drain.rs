//! The end of a connection: what is queued is sent first.

use serde::de::IgnoredAny;

use crate::bus::client::Bus;

impl Bus {
    /// Sends what is queued; whether the server has it all within [`timeout`](Self::timeout).
    pub(crate) async fn flush(&self) -> bool {
        matches!(tokio::time::timeout(self.timeout(), self.client().flush()).await, Ok(Ok(())))
    }

    /// Sends what is queued, ends all subscriptions and closes the connection; gives up after twice [`timeout`](Self::timeout).
    pub async fn drain(&self) {
        let client = self.client();
        let mut status = self.link_status();
        let drained = async {
            // the client's own flush and drain may drop what the socket has not taken yet: any answer to this request proves
            // that everything sent before it has arrived
            let question = format!("STREAM.INFO.{}", self.subjects().stream("EVENTS"));
            match self.api::<IgnoredAny>(&question, self.timeout()).await {
                Err(error) if error.is_away() => return Err("the queue to nats was not flushed"),
                Ok(_) | Err(_) => {}
            }
            client.drain().await.map_err(|_| "the nats client is closed already")?;
            status.wait_for(|status| status.is_closed).await.map(|_| ()).map_err(|_| "the nats client is gone")
        };
        if !self.is_connected() {
            // What never was connected has queued nothing that anybody was told of.
            if self.link_status().borrow().connections > 0 {
                tracing::warn!("not connected to nats, what is queued is lost");
            }
            return;
        }
        match tokio::time::timeout(self.timeout() * 2, drained).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => tracing::warn!(reason, "nats connection not drained"),
            Err(_) => tracing::warn!(reason = "timeout", "nats connection not drained"),
        }
    }
}
