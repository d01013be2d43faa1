//! The connection below the client: its options, and what happens to it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{ClientError, ConnectOptions, Event, Server, ServerAddr, ServerError};
use tokio::sync::watch;

use crate::bus::attempts::{Attempts, Failed};
use crate::bus::error::BusError;
use crate::bus::login::{Arrival, Login, secret};
use crate::bus::metrics::BusMetrics;
use crate::bus::replies::Replies;
use crate::config::NatsConfig;
use crate::runtime::Backoff;

/// Messages that may wait to be written, before publishing fails.
const CLIENT_CAPACITY: usize = 65_536;
/// Messages that may wait in one subscription before some are lost: more than flow control lets out at a time (32 MiB).
const SUBSCRIPTION_CAPACITY: usize = 262_144;
/// A server that answers no PING three times in a row counts as lost.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// For TCP, TLS and the handshake.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between attempts to reconnect.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// Most subjects that are remembered as refused.
const MAX_REFUSED: usize = 64;

/// What happens to the connection, seen from the client's event callback.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) metrics: BusMetrics,
    pub(crate) replies: Replies,
    client: Box<str>,
    /// The servers of `nats.url`.
    servers: Box<str>,
    status: watch::Sender<LinkStatus>,
    attempts: Attempts,
    denied: watch::Sender<Option<String>>,
    /// Subjects that the server took nothing on, on this connection.
    refused: Mutex<BTreeSet<Box<str>>>,
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LinkStatus {
    /// Connections so far; 0 before the first.
    pub(crate) connections: u64,
    /// Whether there is one now.
    pub(crate) is_up: bool,
    /// Whether the client is closed for good.
    pub(crate) is_closed: bool,
}

impl Link {
    /// Of a client that is called so there, to `servers`.
    pub(crate) fn new(client: &str, servers: &[ServerAddr]) -> Self {
        Self {
            metrics: BusMetrics::new(),
            replies: Replies::default(),
            client: client.into(),
            servers: describe(servers).into(),
            status: watch::Sender::new(LinkStatus::default()),
            attempts: Attempts::default(),
            denied: watch::Sender::new(None),
            refused: Mutex::default(),
        }
    }

    pub(crate) fn status(&self) -> LinkStatus {
        *self.status.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<LinkStatus> {
        self.status.subscribe()
    }

    /// What the server did not permit last, in its own words.
    pub(crate) fn watch_denied(&self) -> watch::Receiver<Option<String>> {
        self.denied.subscribe()
    }

    /// Whether the server refused to take something on this subject, on this connection. Of too many, every one counts as refused.
    pub(crate) fn is_refused(&self, subject: &str) -> bool {
        let refused = self.refused();
        refused.len() >= MAX_REFUSED || refused.contains(subject)
    }

    fn note_refused(&self, text: &str) {
        let mut refused = self.refused();
        if let Some(subject) = text.split('"').nth(1)
            && refused.len() < MAX_REFUSED
        {
            refused.insert(subject.into());
        }
    }

    fn refused(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last attempt to connect that failed; `None` once one succeeded.
    pub(crate) fn why_not_connected(&self) -> Option<Failed> {
        self.attempts.last()
    }

    /// Before each attempt the client shows what became of those before it, server by server.
    fn attempting(&self, servers: &[Server]) {
        for server in servers {
            if let Some(error) = &server.last_error {
                self.attempts.failed(&self.client, describe(std::slice::from_ref(&server.addr)), error);
            }
        }
    }

    pub(crate) fn handle(&self, event: Event) {
        match event {
            Event::Connected => {
                self.refused().clear();
                self.attempts.succeeded();
                self.metrics.connected(&self.client, self.status().connections == 0);
                self.status.send_modify(|status| {
                    status.connections += 1;
                    status.is_up = true;
                });
            }
            Event::Disconnected => {
                self.metrics.disconnected();
                self.status.send_modify(|status| status.is_up = false);
                self.replies.fail_all();
            }
            Event::Closed => {
                self.metrics.closed();
                self.status.send_modify(|status| {
                    status.is_up = false;
                    status.is_closed = true;
                });
                self.replies.fail_all();
            }
            Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => self.metrics.slow_consumer(),
            Event::ServerError(ServerError::Other(text)) => self.server_error(&text),
            // the attempt that follows says so, once
            Event::ServerError(ServerError::AuthorizationViolation) => tracing::debug!("nats refuses our credentials"),
            Event::ClientError(ClientError::Other(text)) => self.round_failed(&text),
            Event::ClientError(error) => tracing::warn!(%error, "nats client error"),
            Event::LameDuckMode => tracing::info!("nats server is about to stop"),
            Event::Draining => tracing::debug!("draining"),
        }
    }

    fn server_error(&self, text: &str) {
        if let Some((action, subject)) = permission_violation(text) {
            self.metrics.permission_violation(action, &subject);
            self.note_refused(text);
            self.denied.send_replace(Some(text.to_owned()));
        } else {
            tracing::warn!(error = text, "nats server error");
        }
    }

    /// No server took us. Which and why comes with the next attempt, but for a name that means no address.
    fn round_failed(&self, text: &str) {
        if text.starts_with("DNS error") {
            self.attempts.failed(&self.client, self.servers.to_string(), "a name has no address");
        }
    }
}

/// The action and the first two tokens of the subject of a permission error; what follows may name a presentity.
fn permission_violation(text: &str) -> Option<(&'static str, String)> {
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("permissions violation") {
        return None;
    }
    let action = if lower.contains("subscription") { "subscribe" } else { "publish" };
    let subject = text.split('"').nth(1).unwrap_or_default();
    Some((action, subject.split('.').take(2).collect::<Vec<_>>().join(".")))
}

/// `host:port` of each server, without credentials.
pub(crate) fn describe(servers: &[ServerAddr]) -> String {
    servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect::<Vec<_>>().join(",")
}

/// The options of a client called `name`.
///
/// # Errors
///
/// [`BusError`] for a file that cannot be read, or credentials of two kinds.
pub(crate) async fn options(config: &NatsConfig, name: &str, arrival: Arrival, link: Arc<Link>) -> Result<ConnectOptions, BusError> {
    let (is_first, seen) = (AtomicBool::new(true), Arc::clone(&link));
    let options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(arrival.inbox_prefix)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECTION_TIMEOUT)
        .request_timeout(Some(Duration::from_millis(config.timeout_ms)))
        .retry_on_initial_connect()
        .reconnect_delay_callback(move |attempt| {
            if is_first.swap(false, Ordering::Relaxed) {
                return Duration::ZERO;
            }
            RECONNECT.delay(u32::try_from(attempt).unwrap_or(u32::MAX), rand::random())
        })
        .reconnect_to_server_callback(move |servers, _info| {
            seen.attempting(&servers);
            // the client chooses
            std::future::ready(None)
        })
        .event_callback(move |event| {
            let link = Arc::clone(&link);
            async move { link.handle(event) }
        });
    let login = match arrival.login {
        Some(login) => login,
        None => Login::of(config).await?,
    };
    let options = with_tls(config, login.apply(&config.url, options)?).await?;
    Ok(if arrival.is_tls_first { options.tls_first() } else { options })
}

async fn with_tls(config: &NatsConfig, mut options: ConnectOptions) -> Result<ConnectOptions, BusError> {
    let tls = &config.tls;
    // read by the client at each connect, where an error would only be seen as one more attempt that failed
    for (key, path) in [("nats.tls.ca", &tls.ca), ("nats.tls.certificate", &tls.certificate), ("nats.tls.key", &tls.key)] {
        if !path.as_os_str().is_empty() {
            secret(key, path).await?;
        }
    }
    if !tls.ca.as_os_str().is_empty() {
        options = options.add_root_certificates(tls.ca.clone()).require_tls(true);
    }
    if !tls.certificate.as_os_str().is_empty() {
        options = options.add_client_certificate(tls.certificate.clone(), tls.key.clone()).require_tls(true);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::login::servers;

    #[test]
    fn a_permission_error_is_told_without_the_presentity() {
        let cases = [
            (r#"Permissions Violation for Publish to "dfks.get""#, Some(("publish", "dfks.get"))),
            (r#"Permissions Violation for Subscription to "$KV.dfks-features.sip=3Aalice""#, Some(("subscribe", "$KV.dfks-features"))),
            ("maximum connections exceeded", None),
        ];
        for (text, want) in cases {
            let got = permission_violation(text);
            assert_eq!(got.as_ref().map(|(action, subject)| (*action, subject.as_str())), want, "{text}");
        }
    }

    #[test]
    fn a_bad_url_is_named_by_its_place_alone() {
        let error = servers("nats://127.0.0.1:4222, nats://bob:secret@:::").unwrap_err();
        assert_eq!(error.to_string(), "entry 2 of nats.url is not nats://HOST:PORT or tls://HOST:PORT");
        let servers = servers("nats://bob:secret@127.0.0.1:4222,tls://nats.example:4443").unwrap();
        assert_eq!(describe(&servers), "127.0.0.1:4222,nats.example:4443");
    }
}
