//! Matches replies to requests: one inbox subscription for all requests of a client.
//!
//! The NATS client has such a table of its own, but drops an entry only when its reply comes, so requests that are never
//! answered would leak. Here an entry is dropped with its request, and the table is bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use crate::bus::error::RequestError;

/// Most outstanding requests.
const MAX_WAITING: usize = 65_536;

/// The outstanding requests. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replies {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
}

/// A request's entry in the table, removed on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    id: u64,
    receiver: oneshot::Receiver<Message>,
    shared: Arc<Shared>,
}

impl Replies {
    /// An entry for one more request.
    ///
    /// # Errors
    ///
    /// [`RequestError::Overloaded`] over the bound.
    pub(crate) fn open(&self) -> Result<Slot, RequestError> {
        let (sender, receiver) = oneshot::channel();
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.shared.waiting();
        if waiting.len() >= MAX_WAITING {
            return Err(RequestError::Overloaded(MAX_WAITING));
        }
        waiting.insert(id, sender);
        drop(waiting);
        Ok(Slot { id, receiver, shared: Arc::clone(&self.shared) })
    }

    /// The connection is lost: ends all waits.
    pub(crate) fn fail_all(&self) {
        self.shared.waiting().clear();
    }

    /// Dispatches the replies of an inbox until the client is closed.
    pub(crate) async fn deliver(self, mut inbox: Subscriber) {
        while let Some(reply) = inbox.next().await {
            let id = reply.subject.rsplit('.').next().and_then(|token| u64::from_str_radix(token, 16).ok());
            let waiting = id.and_then(|id| self.shared.waiting().remove(&id));
            if waiting.is_none_or(|sender| sender.send(reply).is_err()) {
                tracing::debug!("late reply");
            }
        }
        self.fail_all();
    }
}

impl Slot {
    /// The reply subject under the client's inbox.
    pub(crate) fn subject(&self, inbox: &str) -> String {
        format!("{inbox}.{:x}", self.id)
    }

    /// The reply; `None` when the connection was lost while waiting.
    pub(crate) async fn reply(&mut self) -> Option<Message> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_a_request_that_is_given_up() {
        let replies = Replies::default();
        let slot = replies.open().unwrap();
        assert_eq!(slot.subject("_INBOX_edge.x"), "_INBOX_edge.x.0");
        assert_eq!(replies.shared.waiting().len(), 1);
        drop(slot);
        assert_eq!(replies.shared.waiting().len(), 0);
    }

    #[test]
    fn refuses_more_than_it_can_hold() {
        let replies = Replies::default();
        let slots: Vec<_> = (0..MAX_WAITING).map(|_| replies.open().unwrap()).collect();
        assert!(matches!(replies.open(), Err(RequestError::Overloaded(MAX_WAITING))));
        drop(slots);
        assert!(replies.open().is_ok());
    }

    #[tokio::test]
    async fn a_lost_connection_ends_all_waits() {
        let replies = Replies::default();
        let mut slot = replies.open().unwrap();
        replies.fail_all();
        assert!(slot.reply().await.is_none());
    }
}
