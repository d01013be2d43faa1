//! What each process says of itself (`dfks.status`), and its log level (`dfks.log`). I/O.
//!
//! One endpoint a process for each, whatever roles it has: the roles share its log.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_nats::SubscribeError;
use futures_util::future::join;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::client::Bus;
use crate::bus::message::{Deed, ErrorBody, HandEvent, Holder, Kind, LogRequest, StatusRequest, StatusResponse};
use crate::bus::service::{Endpoint, EndpointSpec, Handler, Request};
use crate::bus::subject::Pattern;
use crate::bus::trace::{self, Cause};
use crate::runtime::{clock, tasks};
use crate::telemetry::level::LogLevel;

/// Most requests of each kind in hand. One more is answered 503 at once.
const MAX_IN_HAND: usize = 16;
/// Longest time for which a log level is set.
const MAX_FOR: Duration = Duration::from_hours(24 * 7);
/// Most bytes of metrics in one message.
const MAX_METRICS_BYTES: usize = 256 * 1024;
/// The roles there are.
const ROLES: [&str; 3] = ["edge", "worker", "mi"];

/// What a process says of itself.
pub(crate) struct Process {
    pub(crate) host: String,
    pub(crate) roles: Vec<String>,
    /// The first digits of a hash of its effective configuration.
    pub(crate) config: String,
    /// The edges that it is.
    pub(crate) edges: Vec<String>,
    /// The edges that hold live subscriptions, as far as it knows.
    pub(crate) holders: Box<dyn Fn() -> Option<Vec<Holder>> + Send + Sync>,
    pub(crate) log: LogLevel,
    /// The effective configuration, without secrets.
    pub(crate) settings: String,
    /// Renders the metrics.
    pub(crate) metrics: Box<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("host", &self.host).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// Answers for a process until `shutdown`.
///
/// # Errors
///
/// [`SubscribeError`]: the client is closed.
pub(crate) async fn serve(bus: Bus, process: Process, shutdown: CancellationToken) -> Result<(), SubscribeError> {
    let subjects = bus.subjects();
    let status = EndpointSpec::new::<StatusRequest, StatusResponse>("status", Pattern::Status, subjects.status(), MAX_IN_HAND);
    let log = EndpointSpec::new::<LogRequest, StatusResponse>("log", Pattern::Log, subjects.log(), MAX_IN_HAND);
    let (status, log) = (Endpoint::open(&bus, status).await?, Endpoint::open(&bus, log).await?);
    let desk =
        Arc::new(Desk { id: trace::new_id(), started_at: clock::rfc3339(clock::utc_now()), bus, process, going_back: Mutex::default() });
    let (told, set) = (Answers { desk: Arc::clone(&desk), is_set: false }, Answers { desk, is_set: true });
    join(status.serve(&told, &shutdown), log.serve(&set, &shutdown)).await;
    Ok(())
}

/// The series that are not 0, without buckets and comments: what fits into a message.
fn essence(metrics: &str) -> String {
    let is_told = |line: &&str| !line.starts_with('#') && !line.contains("_bucket{") && !line.ends_with(" 0") && !line.is_empty();
    let mut text = String::new();
    for line in metrics.lines().filter(is_told) {
        if text.len() + line.len() >= MAX_METRICS_BYTES {
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

struct Desk {
    bus: Bus,
    id: String,
    started_at: String,
    process: Process,
    going_back: Mutex<Option<GoingBack>>,
}

/// A log level that goes back to the one of the configuration.
struct GoingBack {
    at: SystemTime,
    _task: AbortOnDropHandle<()>,
}

struct Answers {
    desk: Arc<Desk>,
    /// Whether the log level is set, or only told.
    is_set: bool,
}

impl Handler for Answers {
    async fn handle(&self, request: Request) {
        let set = if self.is_set { self.desk.set(request.payload()) } else { Ok(None) };
        // what cannot be read asks for no more than the others
        let details = !self.is_set && serde_json::from_slice(request.payload()).is_ok_and(|asked: StatusRequest| asked.details);
        let answer = set.map(|event| (self.desk.told(event.is_some(), details), event));
        let (answer, event) = match answer {
            Ok((answer, event)) => (serde_json::to_vec(&answer).map_err(|error| ErrorBody::new(500, error.to_string())), event),
            Err(error) => (Err(error), None),
        };
        // the client is closed: nobody waits
        let _is_sent = request.respond(answer.map(Into::into), request.cause()).await;
        if let Some(event) = event {
            self.desk.bus.tell_by_hand(None, &HandEvent { cause: request.cause().clone(), ..event }).await;
        }
    }

    fn turn_away(&self) -> ErrorBody {
        ErrorBody::new(503, format!("{MAX_IN_HAND} such requests are in hand already"))
    }

    fn reply_not_sent(&self) {
        tracing::debug!("reply of a process not sent");
    }
}

impl Desk {
    fn told(&self, log_set: bool, details: bool) -> StatusResponse {
        let Process { host, roles, config, edges, holders, log, settings, metrics } = &self.process;
        let going_back = self.going_back.lock().unwrap_or_else(PoisonError::into_inner);
        StatusResponse {
            kind: Kind::default(),
            process: self.id.clone(),
            host: host.clone(),
            pid: std::process::id(),
            roles: roles.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: config.clone(),
            started_at: self.started_at.clone(),
            log_level: log.now(),
            log_until: going_back.as_ref().filter(|back| back.at > clock::utc_now()).map(|back| clock::rfc3339(back.at)),
            log_set,
            edges: edges.clone(),
            holders: holders(),
            settings: details.then(|| settings.clone()),
            metrics: details.then(|| essence(&metrics())),
        }
    }

    /// Sets the log level, if this process is meant. The event that says so.
    fn set(self: &Arc<Self>, payload: &[u8]) -> Result<Option<HandEvent>, ErrorBody> {
        let unreadable = |error: serde_json::Error| ErrorBody::new(400, format!("no io.dfks.api.v1.log_request: {error}"));
        let LogRequest { kind: _, level, role, pid, for_seconds, actor } = serde_json::from_slice(payload).map_err(unreadable)?;
        if let Some(role) = role.as_deref().filter(|role| !ROLES.contains(role)) {
            return Err(ErrorBody::invalid("role", &role.into(), "edge, worker or mi"));
        }
        let span = for_seconds.map(Duration::from_secs);
        if span.is_some_and(|span| span.is_zero() || span > MAX_FOR) {
            return Err(ErrorBody::bad(Some("for_seconds"), format!("for_seconds: expected 1 to {}", MAX_FOR.as_secs())));
        }
        let is_meant = role.is_none_or(|role| self.process.roles.contains(&role)) && pid.is_none_or(|pid| pid == std::process::id());
        if !is_meant {
            return Ok(None);
        }
        let before = self.process.log.now();
        self.process.log.set(&level).map_err(|error| ErrorBody::bad(Some("level"), error.to_string()))?;
        let level = self.process.log.now();
        tracing::info!(level, before, for_seconds, actor, "log level set");
        let desk = Arc::downgrade(self);
        let going_back = span.map(|span| {
            let back = async move {
                tokio::time::sleep(span).await;
                if let Some(desk) = desk.upgrade() {
                    desk.process.log.set_back();
                    tracing::info!(level = desk.process.log.now(), "log level is that of the configuration again");
                }
            };
            GoingBack { at: clock::utc_now() + span, _task: tasks::spawn_owned(back) }
        });
        *self.going_back.lock().unwrap_or_else(PoisonError::into_inner) = going_back;
        let event = HandEvent::new(Deed::LogLevel, actor.as_deref(), self.bus.utc_now(), Cause::default());
        Ok(Some(HandEvent { level: Some(level), for_seconds, process: Some(self.id.clone()), ..event }))
    }
}
