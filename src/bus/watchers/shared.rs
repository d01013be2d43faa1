//! The one index of a process: it starts once all who follow the bucket are there, since each of them needs it from its beginning.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::bus::client::Bus;
use crate::bus::watchers::{IndexHook, WatcherIndex};
use crate::runtime::Tasks;

/// The index of a process, for all of its roles. Clones share it.
#[derive(Debug, Clone)]
pub struct SharedIndex {
    shared: Arc<Shared>,
}

struct Shared {
    bus: Bus,
    tasks: Tasks,
    /// Where its tasks run, whoever starts it.
    runtime: Handle,
    waiting: Mutex<Waiting>,
    started: watch::Sender<Option<WatcherIndex>>,
}

struct Waiting {
    /// Followers that are still to come.
    missing: usize,
    hooks: Vec<IndexHook>,
}

impl SharedIndex {
    /// An index that waits for so many followers. Called on the runtime that its tasks are to run on.
    #[must_use]
    pub fn new(bus: Bus, tasks: Tasks, followers: usize) -> Self {
        let waiting = Mutex::new(Waiting { missing: followers, hooks: Vec::new() });
        let shared = Shared { bus, tasks, runtime: Handle::current(), waiting, started: watch::Sender::new(None) };
        Self { shared: Arc::new(shared) }
    }

    /// The index, which calls `hook` from its first event on. Waits for the other followers.
    pub async fn follow(&self, hook: IndexHook) -> WatcherIndex {
        self.shared.come(Some(hook));
        self.started().await
    }

    /// The index, for who only looks things up. Waits for the followers.
    pub async fn look_up(&self) -> WatcherIndex {
        self.shared.come(None);
        self.started().await
    }

    /// The index, where it has started.
    pub(crate) fn current(&self) -> Option<WatcherIndex> {
        self.shared.started.borrow().clone()
    }

    async fn started(&self) -> WatcherIndex {
        let mut started = self.shared.started.subscribe();
        // the sender lives in `self`: it cannot be gone
        match started.wait_for(Option::is_some).await.map(|index| index.clone()) {
            Ok(Some(index)) => index,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Shared {
    fn come(&self, hook: Option<IndexHook>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = hook {
            waiting.missing = waiting.missing.saturating_sub(1);
            waiting.hooks.push(hook);
        }
        if waiting.missing == 0 && self.started.borrow().is_none() {
            let _on_its_runtime = self.runtime.enter();
            let index = WatcherIndex::start(&self.bus, &self.tasks, std::mem::take(&mut waiting.hooks));
            self.started.send_replace(Some(index));
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("is_started", &self.started.borrow().is_some()).finish_non_exhaustive()
    }
}
