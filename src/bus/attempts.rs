//! Why there is no connection: each reason said once, and then only now and again. Pure but for the log.
//!
//! ```text
//! an attempt fails ─▶ new reason of this server ─▶ warn
//!                  └▶ known ─▶ debug, and each minute warn once more      connected ─▶ all of it is forgotten
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::runtime::clock;

/// A reason that lasts is said again after this.
const REMIND_AFTER: Duration = Duration::from_mins(1);
/// Most reasons remembered: a cluster's servers, with two each.
const MAX_REASONS: usize = 64;

/// Why a server did not take us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It refuses our credentials.
    Credentials,
    /// It wants a client certificate.
    CertificateWanted,
    /// It refuses our client certificate.
    CertificateRefused,
    /// We do not trust its certificate.
    Untrusted,
    /// It is not there, or says something else.
    Other,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// `host:port`
    pub(crate) server: String,
    pub(crate) obstacle: Obstacle,
    pub(crate) reason: String,
}

/// What is known of the attempts since the last connection.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Vec<(Failed, Instant)>,
    last: Option<Failed>,
}

impl Attempts {
    /// An attempt failed; `text` is what the NATS client says. `client` is our name there.
    pub(crate) fn failed(&self, client: &str, server: String, text: &str) {
        let failed = Failed::new(server, text);
        let is_news = self.note(&failed, clock::now());
        let Failed { server, reason, .. } = failed;
        if is_news {
            tracing::warn!(server, client, error = reason, "cannot connect to nats, trying again");
        } else {
            tracing::debug!(server, client, error = reason, "no connection to nats yet");
        }
    }

    /// There is a connection.
    pub(crate) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// The last attempt that failed since the last connection.
    pub(crate) fn last(&self) -> Option<Failed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// Whether it is to be said at warn.
    fn note(&self, failed: &Failed, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = Some(failed.clone());
        if let Some((_, said_at)) = state.said.iter_mut().find(|(known, _)| known == failed) {
            let is_due = now.saturating_duration_since(*said_at) >= REMIND_AFTER;
            if is_due {
                *said_at = now;
            }
            return is_due;
        }
        if state.said.len() == MAX_REASONS {
            state.said.remove(0);
        }
        state.said.push((failed.clone(), now));
        true
    }
}

impl Failed {
    fn new(server: String, text: &str) -> Self {
        let (obstacle, reason) = explain(text);
        Self { server, obstacle, reason }
    }
}

/// The client's words in ours: `IO error: received fatal alert: CertificateRequired`.
fn explain(text: &str) -> (Obstacle, String) {
    let says = |word: &str| text.contains(word);
    let lower = text.to_ascii_lowercase();
    if lower.contains("authorization violation") || lower.contains("authentication") || says("failed signing nonce") {
        return (Obstacle::Credentials, "it refuses our credentials".to_owned());
    }
    // TLS 1.2 has no alert of its own for it
    if says("alert: CertificateRequired") || says("alert: HandshakeFailure") {
        let words = "it wants a client certificate: nats.tls.certificate and nats.tls.key";
        return (Obstacle::CertificateWanted, words.to_owned());
    }
    if let Some((_, alert)) = text.split_once("received fatal alert: ") {
        return (Obstacle::CertificateRefused, format!("it refuses our client certificate ({alert}): nats.tls.certificate"));
    }
    if let Some((_, why)) = text.split_once("invalid peer certificate: ") {
        return (Obstacle::Untrusted, format!("its certificate is not trusted ({why}): nats.tls.ca names its authority"));
    }
    (Obstacle::Other, text.strip_prefix("IO error: ").unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_server_wants() {
        for (text, obstacle, word) in [
            ("authorization violation: nats: authorization violation", Obstacle::Credentials, "refuses our credentials"),
            ("IO error: nats: user authentication expired", Obstacle::Credentials, "refuses our credentials"),
            ("IO error: received fatal alert: CertificateRequired", Obstacle::CertificateWanted, "nats.tls.certificate"),
            ("IO error: received fatal alert: BadCertificate", Obstacle::CertificateRefused, "BadCertificate"),
            ("IO error: invalid peer certificate: UnknownIssuer", Obstacle::Untrusted, "nats.tls.ca"),
            ("IO error: Connection refused (os error 111)", Obstacle::Other, "Connection refused (os error 111)"),
            ("timed out", Obstacle::Other, "timed out"),
        ] {
            let (found, reason) = explain(text);
            assert!(found == obstacle && reason.contains(word) && !reason.starts_with("IO error"), "{text}: {found:?} {reason}");
        }
    }

    #[test]
    fn a_reason_is_said_once_until_it_changes_and_each_minute() {
        let attempts = Attempts::default();
        let start = clock::now();
        let failed = |server: &str, text: &str| Failed::new(server.to_owned(), text);
        let (refused, wrong) = (failed("a:1", "Connection refused"), failed("a:1", "authorization violation"));
        let said = |failed: &Failed, seconds| attempts.note(failed, start + Duration::from_secs(seconds));
        assert!(said(&refused, 0) && !said(&refused, 1), "once");
        assert!(said(&wrong, 2) && !said(&wrong, 3) && !said(&refused, 4), "another reason, once too");
        assert!(said(&failed("b:1", "Connection refused"), 5), "of another server");
        assert!(!said(&refused, 59) && said(&refused, 60) && !said(&refused, 61), "a reminder");
        assert_eq!(attempts.last(), Some(refused.clone()));
        attempts.succeeded();
        assert!(attempts.last().is_none() && said(&refused, 62), "news after a connection");
    }
}
