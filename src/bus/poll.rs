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
    ErrorBody, Kind, ResponderReport, RespondersRequest, RespondersResponse, Watcher, WatchersRequest, WatchersResponse, read_reply,
};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};

/// Silence after which all count as having answered.
const SILENCE: Duration = Duration::from_millis(300);

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
    let mut poll = Poll::default();
    let mut count = 0_usize;
    let took = |part: Result<WatchersResponse, ErrorBody>| match part {
        Ok(part) => {
            let said = Said { by: part.edge_id.clone(), more: part.more };
            count = count.saturating_add(part.watchers.len());
            if count > limits.watchers {
                poll.is_cut = true;
                return None;
            }
            poll.edges.entry(part.edge_id).or_default().extend(part.watchers);
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
