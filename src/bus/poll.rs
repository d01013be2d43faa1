//! Questions that all answer, each in one message or more: every edge for its live subscriptions (`dfks.watchers`), every worker
//! for what it knows of responders (`dfks.responders`).

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::StatusCode;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bus::answer;
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::message::{
    ErrorBody, Kind, LogRequest, ResponderReport, RespondersRequest, RespondersResponse, StatusRequest, StatusResponse, Watcher,
    WatchersRequest, WatchersResponse, read_reply,
};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};

/// Silence after which all count as having answered.
const SILENCE: Duration = Duration::from_millis(300);

/// Most processes that are listed.
const MAX_PROCESSES: usize = 4096;

/// Bounds of a poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollLimits {
    /// Timeout of the first answer, and of the next message of one that announced more.
    pub(crate) timeout: Duration,
    /// Timeout of the whole poll.
    pub(crate) total: Duration,
    /// Most subscriptions to collect.
    pub(crate) watchers: usize,
}

/// What the edges said.
#[derive(Debug, Default)]
pub(crate) struct Poll {
    /// The subscriptions of each edge that answered.
    pub(crate) edges: BTreeMap<String, Vec<Watcher>>,
    /// The error of an edge that refused the request, if one did.
    pub(crate) refused: Option<ErrorBody>,
    /// Whether the limit cut the answer short.
    pub(crate) is_cut: bool,
}

/// Asks every edge. Ends once each edge that answers has sent its last message and no other answers for a while.
///
/// # Errors
///
/// [`RequestError`] when the request was not sent. No answer at all is not an error.
pub(crate) async fn watchers(bus: &Bus, presentity: Option<String>, limits: PollLimits) -> Result<Poll, RequestError> {
    of_edges(bus, &WatchersRequest { kind: Kind::default(), presentity, domain: None, details: false }, limits).await
}

/// As [`watchers`], for those of the presentities of one domain, as it stands in subjects.
///
/// # Errors
///
/// As [`watchers`].
pub(crate) async fn watchers_of_domain(bus: &Bus, domain: &str, limits: PollLimits) -> Result<Poll, RequestError> {
    of_edges(bus, &WatchersRequest { kind: Kind::default(), presentity: None, domain: Some(domain.to_owned()), details: false }, limits)
        .await
}

/// As [`watchers`], with what each phone is still to be told.
///
/// # Errors
///
/// As [`watchers`].
pub(crate) async fn watchers_in_detail(bus: &Bus, presentity: String, limits: PollLimits) -> Result<Poll, RequestError> {
    let request = WatchersRequest { kind: Kind::default(), presentity: Some(presentity), domain: None, details: true };
    of_edges(bus, &request, limits).await
}

async fn of_edges(bus: &Bus, request: &WatchersRequest, limits: PollLimits) -> Result<Poll, RequestError> {
    watchers_that(bus, request, limits, |_| true).await
}

/// As [`watchers`], of those alone that fit: the others are not kept and do not count.
///
/// # Errors
///
/// As [`watchers`].
pub(crate) async fn watchers_that(
    bus: &Bus,
    request: &WatchersRequest,
    limits: PollLimits,
    fits: impl Fn(&Watcher) -> bool,
) -> Result<Poll, RequestError> {
    let mut poll = Poll::default();
    let mut count = 0_usize;
    let took = |part: Result<WatchersResponse, ErrorBody>| match part {
        Ok(part) => {
            let said = Said { by: part.edge_id.clone(), more: part.more };
            let watchers: Vec<_> = part.watchers.into_iter().filter(|watcher| fits(watcher)).collect();
            count = count.saturating_add(watchers.len());
            if count > limits.watchers {
                poll.is_cut = true;
                return None;
            }
            poll.edges.entry(part.edge_id).or_default().extend(watchers);
            Some(said)
        }
        Err(error) => {
            poll.refused = Some(error);
            Some(Said::default())
        }
    };
    ask(bus, (Pattern::Watchers, bus.subjects().watchers()), request, limits, took).await?;
    Ok(poll)
}

/// What each worker knows of responders, by its id. Ends as [`watchers`] does.
///
/// # Errors
///
/// [`RequestError`] when the request was not sent. No answer at all is not an error.
pub(crate) async fn responders(bus: &Bus, limits: PollLimits) -> Result<BTreeMap<String, Vec<ResponderReport>>, RequestError> {
    let mut workers: BTreeMap<String, Vec<ResponderReport>> = BTreeMap::new();
    let request = RespondersRequest { kind: Kind::default() };
    let took = |part: Result<RespondersResponse, ErrorBody>| {
        let Ok(part) = part else { return Some(Said::default()) };
        let said = Said { by: part.worker.clone(), more: part.more };
        workers.entry(part.worker).or_default().extend(part.responders);
        Some(said)
    };
    ask(bus, (Pattern::Responders, bus.subjects().responders()), &request, limits, took).await?;
    Ok(workers)
}

/// What every process says of itself. Ends as [`watchers`] does.
///
/// # Errors
///
/// [`RequestError`] when the request was not sent. No answer at all is not an error.
pub(crate) async fn processes(bus: &Bus, limits: PollLimits) -> Result<Vec<StatusResponse>, RequestError> {
    let (processes, _refused) = of_processes(bus, (Pattern::Status, bus.subjects().status()), &StatusRequest::default(), limits).await?;
    Ok(processes)
}

/// As [`processes`], with the configuration and metrics of each.
///
/// # Errors
///
/// As [`processes`].
pub(crate) async fn processes_in_detail(bus: &Bus, limits: PollLimits) -> Result<Vec<StatusResponse>, RequestError> {
    let request = StatusRequest { details: true, ..StatusRequest::default() };
    let (processes, _refused) = of_processes(bus, (Pattern::Status, bus.subjects().status()), &request, limits).await?;
    Ok(processes)
}

/// Has processes log at another level: what each is then, and the error of one that refused. Ends as [`watchers`] does.
///
/// # Errors
///
/// [`RequestError`] when the request was not sent. No answer at all is not an error.
pub(crate) async fn set_log(
    bus: &Bus,
    request: &LogRequest,
    limits: PollLimits,
) -> Result<(Vec<StatusResponse>, Option<ErrorBody>), RequestError> {
    of_processes(bus, (Pattern::Log, bus.subjects().log()), request, limits).await
}

async fn of_processes<M: Serialize>(
    bus: &Bus,
    asked: (Pattern, String),
    request: &M,
    limits: PollLimits,
) -> Result<(Vec<StatusResponse>, Option<ErrorBody>), RequestError> {
    let (mut processes, mut refused) = (Vec::new(), None);
    let took = |part: Result<StatusResponse, ErrorBody>| match part {
        Ok(process) => {
            let said = Said { by: process.process.clone(), more: false };
            processes.push(process);
            (processes.len() < MAX_PROCESSES).then_some(said)
        }
        Err(error) => {
            refused = Some(error);
            // it has answered all the same
            Some(Said { by: "refused".to_owned(), more: false })
        }
    };
    ask(bus, asked, request, limits, took).await?;
    Ok((processes, refused))
}

/// Who sent a message, and whether it sends more.
#[derive(Debug, Default)]
struct Said {
    by: String,
    more: bool,
}

/// Asks all who listen, and hands each answer to `took` until it returns `None`.
async fn ask<M: Serialize, R: DeserializeOwned>(
    bus: &Bus,
    (pattern, subject): (Pattern, String),
    request: &M,
    limits: PollLimits,
    mut took: impl FnMut(Result<R, ErrorBody>) -> Option<Said>,
) -> Result<(), RequestError> {
    let client = bus.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_closed| PublishError::Disconnected)?;
    let request = serde_json::to_vec(request).map_err(answer::unwritable)?;
    bus.try_publish(pattern, subject, Some(inbox), headers(&Cause::new()), request.into())?;
    let (mut unfinished, mut has_answer) = (Vec::<String>::new(), false);
    let all = async {
        loop {
            let patience = if !has_answer || !unfinished.is_empty() { limits.timeout } else { SILENCE };
            let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await else { break };
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            // a stream that keeps the requests acknowledges them
            if !answer::is_answer(&answer) {
                continue;
            }
            let Some(said) = took(read_reply(&answer.payload)) else { break };
            if said.by.is_empty() {
                continue;
            }
            has_answer = true;
            unfinished.retain(|by| *by != said.by);
            if said.more {
                unfinished.push(said.by);
            }
        }
    };
    // what has come by then is the answer
    let _late = tokio::time::timeout(limits.total, all).await;
    Ok(())
}
