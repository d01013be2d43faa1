//! Matches replies to requests: one inbox subscription for all requests of a client.
//!
//! The NATS client has such a table of its own, but drops an entry only when its reply comes, so requests that are never
//! answered would leak. Here an entry is dropped with its request, and the table is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Message;
use futures_util::StreamExt;
use tokio::sync::{Notify, oneshot};

use crate::bus::error::RequestError;
use crate::bus::wire::Subscriber;

/// Most outstanding requests.
const MAX_WAITING: usize = 65_536;
/// Most messages that wait on the inbox of one request. What comes beyond is dropped.
const MAX_UNREAD: usize = 16;

/// The outstanding requests. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replies {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiter>>,
}

/// Who waits.
#[derive(Debug)]
enum Waiter {
    /// For the first message.
    First(oneshot::Sender<Message>),
    /// For each message: what is no answer is passed over.
    Each(Arc<Unread>),
}

/// Messages of one request that were not read yet.
#[derive(Debug, Default)]
struct Unread {
    come: Mutex<Come>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Come {
    messages: VecDeque<Message>,
    is_over: bool,
}

/// A request's entry in the table that takes each message of its inbox, removed on drop.
#[derive(Debug)]
pub(crate) struct Inbox {
    id: u64,
    unread: Arc<Unread>,
    shared: Arc<Shared>,
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
        let id = self.shared.enter(Waiter::First(sender))?;
        Ok(Slot { id, receiver, shared: Arc::clone(&self.shared) })
    }

    /// An entry for one more request, of which every message is looked at.
    ///
    /// # Errors
    ///
    /// [`RequestError::Overloaded`] over the bound.
    pub(crate) fn open_inbox(&self) -> Result<Inbox, RequestError> {
        let unread = Arc::new(Unread::default());
        let id = self.shared.enter(Waiter::Each(Arc::clone(&unread)))?;
        Ok(Inbox { id, unread, shared: Arc::clone(&self.shared) })
    }

    /// The connection is lost: ends all waits.
    pub(crate) fn fail_all(&self) {
        for (_, waiter) in self.shared.waiting().drain() {
            if let Waiter::Each(unread) = waiter {
                unread.come().is_over = true;
                unread.news.notify_one();
            }
        }
    }

    /// Dispatches the replies of an inbox until the client is closed.
    pub(crate) async fn deliver(self, mut inbox: Subscriber) {
        while let Some(reply) = inbox.next().await {
            let id = reply.subject.rsplit('.').next().and_then(|token| u64::from_str_radix(token, 16).ok());
            if id.is_none_or(|id| !self.shared.hand_out(id, reply)) {
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

impl Inbox {
    /// The reply subject under the client's inbox.
    pub(crate) fn subject(&self, inbox: &str) -> String {
        format!("{inbox}.{:x}", self.id)
    }

    /// The next message; `None` when the connection was lost while waiting.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            {
                let mut come = self.unread.come();
                if let Some(message) = come.messages.pop_front() {
                    return Some(message);
                }
                if come.is_over {
                    return None;
                }
            }
            // a message that came since left a permit
            self.unread.news.notified().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

impl Unread {
    fn come(&self) -> MutexGuard<'_, Come> {
        self.come.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room.
    fn put(&self, message: Message) -> bool {
        let mut come = self.come();
        let has_room = come.messages.len() < MAX_UNREAD;
        if has_room {
            come.messages.push_back(message);
            drop(come);
            self.news.notify_one();
        }
        has_room
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

impl Shared {
    fn enter(&self, waiter: Waiter) -> Result<u64, RequestError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_WAITING {
            return Err(RequestError::Overloaded(MAX_WAITING));
        }
        waiting.insert(id, waiter);
        Ok(id)
    }

    /// Whether somebody takes the message.
    fn hand_out(&self, id: u64, reply: Message) -> bool {
        let mut waiting = self.waiting();
        let unread = match waiting.get(&id) {
            Some(Waiter::Each(unread)) => Arc::clone(unread),
            Some(Waiter::First(_)) | None => {
                let Some(Waiter::First(sender)) = waiting.remove(&id) else { return false };
                return sender.send(reply).is_ok();
            }
        };
        drop(waiting);
        unread.put(reply)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
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
        let mut inbox = replies.open_inbox().unwrap();
        replies.fail_all();
        assert!(slot.reply().await.is_none());
        assert!(inbox.next().await.is_none());
    }

    #[tokio::test]
    async fn an_inbox_takes_each_message_in_order_and_no_more_than_fit() {
        let replies = Replies::default();
        let mut inbox = replies.open_inbox().unwrap();
        let subject: async_nats::Subject = inbox.subject("_INBOX_edge.x").into();
        let message = |at: usize| Message {
            subject: subject.clone(),
            reply: None,
            payload: at.to_string().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        let taken: Vec<_> = (0..=MAX_UNREAD).map(|at| replies.shared.hand_out(inbox.id, message(at))).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), MAX_UNREAD);
        for at in 0..MAX_UNREAD {
            assert_eq!(inbox.next().await.unwrap().payload, at.to_string());
        }
        let late = message(7);
        assert!(replies.shared.hand_out(inbox.id, late.clone()), "there is room again");
        let id = inbox.id;
        drop(inbox);
        assert!(!replies.shared.hand_out(id, late));
        assert_eq!(replies.shared.waiting().len(), 0);
    }
}
