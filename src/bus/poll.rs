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

/// Silence after which all edges count as having answered.
const SILENCE: Duration = Duration::from_millis(300);

/// Bounds of a poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollLimits {
    /// Timeout of the first answer, and of the next message of an edge that announced more.
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
