//! How a client command reaches whom it asks: a connection to NATS, a question, and what to say when there is no answer.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Serialize, de::DeserializeOwned};

use super::args::ClientArgs;
use super::exit::Failure;
use super::target::Target;
use crate::bus::attempts::{Failed, Obstacle};
use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};
use crate::bus::who;
use crate::config::hide_user;

/// Longest wait for an answer where `--timeout` says nothing, in seconds.
const ANSWER_WITHIN: u16 = 5;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// This part of the timeout without an answer is silence, and services have as long to say what they listen on.
const SILENT_PART: u32 = 8;
/// A wait that is longer than this is said on a terminal.
const SHOWN_AFTER: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Takes `dfks.set`.
    Bridge,
    /// Takes `dfks.get`.
    Worker,
    /// Takes `dfks.watchers`.
    Edge,
    /// Takes `dfks.responder.…`.
    Responder,
    /// Takes `dfks.command.set`.
    Stream,
    /// Has the feature states.
    Store,
    /// Has what was given up on.
    Dead,
    /// Says what it is.
    Process,
    /// Has what happened.
    Events,
}

impl Whom {
    const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "mi bridge",
            Self::Worker => "worker",
            Self::Edge => "edge",
            Self::Responder => "responder",
            Self::Stream => "stream of commands",
            Self::Store => "bucket of feature states",
            Self::Dead => "stream of dead letters",
            Self::Process => "process",
            Self::Events => "stream of events",
        }
    }

    const fn role(self) -> &'static str {
        match self {
            Self::Bridge | Self::Stream | Self::Dead => "mi",
            // a responder is of a service of its own
            Self::Worker | Self::Responder | Self::Store => "worker",
            Self::Edge | Self::Process | Self::Events => "edge",
        }
    }
}

/// A connection to the NATS of `--nats`.
#[derive(Debug)]
pub(super) struct Nats {
    bus: Bus,
    /// Without its password.
    url: String,
    prefix: String,
    timeout: Duration,
}

impl Nats {
    /// Connects; fails when nobody answers, or the server does not take us.
    pub(super) async fn connect(args: &ClientArgs) -> Result<Self, Failure> {
        let target = Target::of(args)?;
        let nats = &target.nats;
        let arrived = Bus::arrive(nats, "dfks-cli", target.arrival.clone()).await;
        let bus = arrived.map_err(|error| target.as_given(&error))?;
        let url = hide_user(&nats.url);
        let deadline = CONNECT_TIMEOUT.min(args.timeout());
        let connecting = tokio::time::timeout(deadline, bus.connected());
        if said(&format!("connecting to {url}"), connecting).await.is_ok() {
            return Ok(Self { bus, url, prefix: nats.prefix.clone(), timeout: args.timeout() });
        }
        Err(not_connected(&url, bus.why_not_connected()))
    }

    pub(super) const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<M: Serialize, R: DeserializeOwned>(
        &self,
        whom: Whom,
        (pattern, subject): (Pattern, String),
        message: &M,
    ) -> Result<R, Failure> {
        let cause = Cause::new();
        let asked = self.bus.request(pattern, subject.clone(), message, &cause, self.timeout);
        self.permitted(&subject, whom, asked).await?.map_err(|error| self.failure(&error, &subject, whom))
    }

    /// As [`ask`](Self::ask); where that subject is not for this user, or nobody listens on it here, on the one of the presentity's
    /// domain: what a tenant may ask.
    pub(super) async fn ask_or_as_tenant<M: Serialize, R: DeserializeOwned>(
        &self,
        whom: Whom,
        (pattern, subject): (Pattern, String),
        of_domain: Option<(Pattern, String)>,
        message: &M,
        cause: &Cause,
    ) -> Result<R, Failure> {
        let asked = self.bus.request(pattern, subject.clone(), message, cause, self.timeout);
        let of_domain = of_domain.map(|(pattern, subject)| {
            let asked = self.bus.request(pattern, subject.clone(), message, cause, self.timeout);
            (subject, asked)
        });
        self.first_or_as_tenant(whom, subject, asked, of_domain).await
    }

    /// Stores a message in a stream, under this id; where its subject is not for this user, or no stream has it here, under the one of
    /// the presentity's domain.
    pub(super) async fn store_or_as_tenant<M: Serialize>(
        &self,
        (pattern, subject): (Pattern, String),
        of_domain: Option<(Pattern, String)>,
        id: &str,
        message: &M,
        cause: &Cause,
    ) -> Result<u64, Failure> {
        let stored = |pattern, subject: String| self.bus.publish_stored(pattern, subject, id, headers(cause), message);
        let of_domain = of_domain.map(|(pattern, subject)| (subject.clone(), stored(pattern, subject)));
        self.first_or_as_tenant(Whom::Stream, subject.clone(), stored(pattern, subject), of_domain).await
    }

    /// Does the first; where its subject is not for this user, or nobody listens there, the other. Where somebody who listens to
    /// everything hides that nobody does, the services say so: the other is done as well, and the first answer counts.
    async fn first_or_as_tenant<T>(
        &self,
        whom: Whom,
        subject: String,
        first: impl Future<Output = Result<T, RequestError>>,
        of_domain: Option<(String, impl Future<Output = Result<T, RequestError>>)>,
    ) -> Result<T, Failure> {
        let Some((of_domain, second)) = of_domain else {
            return self.read(self.unless_denied(None, &subject, whom, first).await, &subject, whom);
        };
        let mut first = Box::pin(self.unless_denied(None, &subject, whom, first));
        let answer = tokio::select! {
            answer = &mut first => answer,
            () = self.is_missing(&subject) => {
                let second = Box::pin(self.unless_denied(None, &of_domain, whom, second));
                let (answer, of) = match select(first, second).await {
                    // there is one after all
                    Either::Left((answer, _)) => (answer, &subject),
                    Either::Right((answer, _)) => (answer, &of_domain),
                };
                return match answer {
                    // what was tried first is what people know
                    Ok(Err(RequestError::NoResponders | RequestError::Timeout(_))) => Err(self.nobody(&subject, whom)),
                    answer => self.read(answer, of, whom),
                };
            }
        };
        let denied = match answer {
            Ok(Err(RequestError::NoResponders)) => None,
            Err(text) if text.contains(&format!("\"{subject}\"")) => Some(text),
            answer => return self.read(answer, &subject, whom),
        };
        match Box::pin(self.unless_denied(denied.as_deref(), &of_domain, whom, second)).await {
            // what was tried first is what people know
            Ok(Err(RequestError::NoResponders)) | Err(_) if denied.is_none() => Err(self.nobody(&subject, whom)),
            Ok(answer) => answer.map_err(|error| self.failure(&error, &of_domain, whom)),
            Err(text) => Err(self.not_permitted(denied.as_ref().unwrap_or(&text))),
        }
    }

    /// Ends when there is silence on a subject and none of the services that answer says that it listens there.
    async fn is_missing(&self, subject: &str) {
        tokio::time::sleep(self.timeout / SILENT_PART).await;
        let instances = who::instances(&self.bus, self.timeout / SILENT_PART).await.unwrap_or_default();
        if instances.iter().any(|instance| instance.listens_on(subject)) {
            std::future::pending::<()>().await;
        }
    }

    fn read<T>(&self, answer: Result<Result<T, RequestError>, String>, subject: &str, whom: Whom) -> Result<T, Failure> {
        answer.map_err(|text| self.not_permitted(&text))?.map_err(|error| self.failure(&error, subject, whom))
    }

    /// Does the work, unless the server says first that it is not permitted.
    pub(super) async fn permitted<T>(&self, subject: &str, whom: Whom, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.unless_denied(None, subject, whom, work).await.map_err(|text| self.not_permitted(&text))
    }

    /// Does the work, unless the server first denies something else than what is `known`: then its text.
    async fn unless_denied<T>(&self, known: Option<&str>, subject: &str, whom: Whom, work: impl Future<Output = T>) -> Result<T, String> {
        let waiting = format!("waiting for {} on {subject} at {}", with_article(whom.name()), self.url);
        tokio::select! {
            done = said(&waiting, work) => Ok(done),
            text = self.bus.denied(known) => Err(text),
        }
    }

    /// The server does not permit something.
    pub(super) fn not_permitted(&self, text: &str) -> Failure {
        let action = if text.to_ascii_lowercase().contains("subscription") { "subscribe to" } else { "publish to" };
        let subject = text.split('"').nth(1).unwrap_or("that subject");
        let hint = if subject == self.bus.subjects().all_events() { ": name a domain with --domain" } else { "" };
        Failure::Refused(format!("not permitted: the NATS server at {} does not let this user {action} {subject}{hint}", self.url))
    }

    /// Why there is no answer.
    pub(super) fn failure(&self, error: &RequestError, subject: &str, whom: Whom) -> Failure {
        match error {
            RequestError::Refused(body) => Failure::Answered(body.clone()),
            RequestError::NoResponders => self.nobody(subject, whom),
            RequestError::Timeout(after) => Failure::NobodyAnswered(format!(
                "no {} answered on {subject} at {} within {after:?}: wait longer with --timeout, or see its log",
                whom.name(),
                self.url
            )),
            RequestError::Disconnected => Failure::NobodyAnswered(format!("the connection to NATS at {} was lost", self.url)),
            other => Failure::Refused(other.to_string()),
        }
    }

    pub(super) fn nobody(&self, subject: &str, whom: Whom) -> Failure {
        Failure::NobodyAnswered(format!(
            "no {} listens on {subject} at {}: check that 'dfks run --role {}' runs on this NATS with nats.prefix \"{}\"",
            whom.name(),
            self.url,
            whom.role(),
            self.prefix
        ))
    }
}

/// Why there is no connection to the servers of `url`.
fn not_connected(url: &str, failed: Option<Failed>) -> Failure {
    const SILENT: [&str; 2] = ["Connection refused", "timed out"];
    let (obstacle, reason) = failed.map_or((Obstacle::Other, String::new()), |failed| (failed.obstacle, failed.reason));
    match obstacle {
        Obstacle::Credentials => Failure::Refused(format!(
            "the NATS server at {url} refuses these credentials: give others with --creds, --context, --config, or in the URL"
        )),
        Obstacle::CertificateWanted | Obstacle::CertificateRefused | Obstacle::Untrusted => {
            Failure::Refused(format!("no TLS with the NATS server at {url}: {reason}, in the file that --config names"))
        }
        Obstacle::Other => {
            let is_silent = reason.is_empty() || SILENT.iter().any(|word| reason.contains(word));
            let reason = if is_silent { String::new() } else { format!(" ({reason})") };
            Failure::NobodyAnswered(format!(
                "no NATS server answered at {url}{reason}: check that it runs there, or name another with --nats or NATS_URL"
            ))
        }
    }
}

impl ClientArgs {
    /// `--timeout`, where it was given.
    pub(super) fn timeout_given(&self) -> Option<Duration> {
        self.timeout.map(|_| self.timeout())
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout.unwrap_or(ANSWER_WITHIN)))
    }
}

fn with_article(name: &str) -> String {
    format!("{} {name}", if name.starts_with('e') { "an" } else { "a" })
}

/// Does the work; when it takes long, says on a terminal's stderr what it waits for, and takes that away at the end.
async fn said<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(SHOWN_AFTER) => {}
    }
    let erase = Erase;
    let _nobody_left = write!(io::stderr(), "{what} …").and_then(|()| io::stderr().flush());
    let done = work.await;
    drop(erase);
    done
}

/// Takes the line away, also where the wait is given up.
struct Erase;

impl Drop for Erase {
    fn drop(&mut self) {
        let _nobody_left = write!(io::stderr(), "\r\x1b[K").and_then(|()| io::stderr().flush());
    }
}
