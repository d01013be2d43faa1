//! Changes of the subscription bucket, from the index to the edge's own thread.
//!
//! Most are this edge's own stores, which say nothing new: they wait until the thread is awake for something else, once a second at
//! the latest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::bus::watchers::{Change, WatcherIndex};
use crate::edge::limit::CHANGE_QUEUE;

/// Takes changes from the index, and never waits.
pub(crate) struct ChangeSender {
    queue: mpsc::Sender<Change>,
    shared: Arc<Shared>,
    own: Box<str>,
}

/// The way out.
pub(crate) struct ChangeReceiver {
    queue: mpsc::Receiver<Change>,
    shared: Arc<Shared>,
}

/// The changes as the driver takes them. Those that did not fit the queue are found by comparing with the index.
pub(crate) struct Changes {
    come: ChangeReceiver,
    index: WatcherIndex,
}

#[derive(Default)]
struct Shared {
    waker: AtomicWaker,
    /// Whether a change was lost since the last comparison.
    is_any_lost: AtomicBool,
}

/// A queue of the changes that concern the edge of this id.
pub(crate) fn queue(own: &str) -> (ChangeSender, ChangeReceiver) {
    let (sender, queue) = mpsc::channel(CHANGE_QUEUE);
    let shared = Arc::<Shared>::default();
    (ChangeSender { queue: sender, shared: Arc::clone(&shared), own: own.into() }, ChangeReceiver { queue, shared })
}

impl ChangeSender {
    /// Whether it fit. What did not is found again when the driver compares all that it holds with the index.
    pub(crate) fn send(&self, change: Change) -> bool {
        let is_own = change.value.is_some() && change.edge_id.as_deref() == Some(&*self.own);
        let has_fit = self.queue.try_send(change).is_ok();
        if !has_fit {
            self.lost(true);
        }
        if !is_own {
            self.shared.waker.wake();
        }
        has_fit
    }

    /// Says whether a change was lost, here or before.
    pub(crate) fn lost(&self, is_any_lost: bool) {
        self.shared.is_any_lost.store(is_any_lost, Ordering::Release);
    }
}

impl ChangeReceiver {
    /// With the index that tells them.
    pub(crate) fn of(self, index: WatcherIndex) -> Changes {
        Changes { come: self, index }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Change>> {
        // before the look, so that what comes in between wakes
        self.shared.waker.register(cx.waker());
        match self.queue.try_recv() {
            Ok(change) => Poll::Ready(Some(change)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }
}

impl Changes {
    /// The next change, if one is here. Another edge's wakes the task; `None` in the option: the index has ended.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Change>> {
        self.come.poll(cx)
    }

    pub(crate) fn len(&self) -> usize {
        self.come.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.come.queue.is_empty()
    }

    /// Whether a change was lost, once all that were not are taken.
    pub(crate) fn take_lost(&self) -> bool {
        self.is_empty() && self.come.shared.is_any_lost.swap(false, Ordering::AcqRel)
    }

    /// The watcher index, which follows the same bucket.
    pub(crate) fn index(&self) -> &WatcherIndex {
        &self.index
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(edge_id: &str, value: Option<&'static [u8]>) -> Change {
        let value = value.map(Into::into);
        Change { key: "k".into(), revision: 1, value, has_outlived: false, removed_over: None, edge_id: Some(edge_id.into()) }
    }

    #[test]
    fn wakes_for_what_another_edge_did_and_keeps_the_order() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let (sender, mut come) = queue("e1");
        assert!(come.poll(&cx).is_pending());
        for (at, (edge_id, value, wakes)) in [("e1", Some(&b"own"[..]), 0), ("e2", Some(b"x"), 1), ("e1", None, 1)].into_iter().enumerate()
        {
            assert!(sender.send(change(edge_id, value)));
            assert_eq!(woken.0.load(Ordering::Relaxed), wakes, "{at}: woken once a look");
        }
        let told: Vec<_> = std::iter::from_fn(|| if let Poll::Ready(change) = come.poll(&cx) { change } else { None }).collect();
        let told: Vec<_> = told.iter().map(|change| (change.edge_id.as_deref(), change.value.is_some())).collect();
        assert_eq!(told, [(Some("e1"), true), (Some("e2"), true), (Some("e1"), false)]);
        assert!(sender.send(change("e1", None)));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "the key is gone, whoever did it");
        drop(sender);
        assert!(matches!(come.poll(&cx), Poll::Ready(Some(_))) && matches!(come.poll(&cx), Poll::Ready(None)));
    }

    #[test]
    fn says_once_that_a_change_was_lost() {
        let (sender, come) = queue("e1");
        for _ in 0..CHANGE_QUEUE {
            assert!(sender.send(change("e1", Some(b"own"))));
        }
        assert!(!come.shared.is_any_lost.load(Ordering::Acquire));
        assert!(!sender.send(change("e1", Some(b"own"))) && come.shared.is_any_lost.load(Ordering::Acquire));
    }
}
