//! `dfks.watchers`: every edge is asked for its live subscriptions, and each answers in one message or more.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::StatusCode;
use futures_util::StreamExt;

use crate::bus::answer;
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::message::{ErrorBody, Kind, Watcher, WatchersRequest, WatchersResponse, read_reply};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};

/// Edges that have answered nothing for so long have nothing more to say.
const SILENCE: Duration = Duration::from_millis(300);

/// How long to wait, and for how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollLimits {
    /// For the first answer, and for the next one of an edge that has announced it.
    pub(crate) timeout: Duration,
    /// For all answers.
    pub(crate) total: Duration,
    /// Subscriptions after which no more are taken.
    pub(crate) watchers: usize,
}

/// What the edges said.
#[derive(Debug, Default)]
pub(crate) struct Poll {
    /// The subscriptions of each edge that answered.
    pub(crate) edges: BTreeMap<String, Vec<Watcher>>,
    /// What an edge refused the question with, if one did.
    pub(crate) refused: Option<ErrorBody>,
    /// Whether there are more than the limit; some are missing then.
    pub(crate) is_cut: bool,
}

/// Asks every edge. The end is when each that answers has said all, and no other speaks up for a while.
///
/// # Errors
///
/// [`RequestError`] when the question was not sent. That no edge answered is no error.
pub(crate) async fn watchers(bus: &Bus, presentity: Option<String>, limits: PollLimits) -> Result<Poll, RequestError> {
    let client = bus.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_closed| PublishError::Disconnected)?;
    let request = serde_json::to_vec(&WatchersRequest { kind: Kind::default(), presentity }).map_err(answer::unwritable)?;
    bus.try_publish(Pattern::Watchers, bus.subjects().watchers(), Some(inbox), headers(&Cause::new()), request.into())?;
    let mut poll = Poll::default();
    let (mut unfinished, mut count) = (Vec::<String>::new(), 0_usize);
    let all = async {
        loop {
            let patience = if poll.edges.is_empty() || !unfinished.is_empty() { limits.timeout } else { SILENCE };
            let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await else { break };
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            match read_reply::<WatchersResponse>(&answer.payload) {
                Ok(part) => {
                    unfinished.retain(|edge| *edge != part.edge_id);
                    if part.more {
                        unfinished.push(part.edge_id.clone());
                    }
                    count = count.saturating_add(part.watchers.len());
                    if count > limits.watchers {
                        poll.is_cut = true;
                        break;
                    }
                    poll.edges.entry(part.edge_id).or_default().extend(part.watchers);
                }
                Err(error) => poll.refused = Some(error),
            }
        }
    };
    // what has come by then is the answer
    let _late = tokio::time::timeout(limits.total, all).await;
    Ok(poll)
}
