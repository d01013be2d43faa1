//! The tasks of a role: a task that ends early ends the role, and stopping is bounded.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// The tasks of one role, or of the whole process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tracker: TaskTracker,
    running: Mutex<BTreeMap<&'static str, usize>>,
    stopping: CancellationToken,
    aborted: CancellationToken,
    failed: CancellationToken,
    failure: OnceLock<TaskError>,
}

/// Why a role cannot go on, or did not stop in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A task that runs as long as its role returned.
    #[error("task {0} ended early")]
    EndedEarly(&'static str),
    /// A task panicked.
    #[error("task {name} panicked: {message}")]
    Panicked {
        /// The task.
        name: &'static str,
        /// What it said.
        message: String,
    },
    /// Tasks were still running when the grace period was over; they were aborted.
    #[error("still running after {grace:?}: {}", names.join(", "))]
    StillRunning {
        /// How long they had.
        grace: Duration,
        /// The tasks.
        names: Vec<&'static str>,
    },
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that runs until `stopping`. If it returns before that or panics, the role has
    /// [`failed`](Self::failed).
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.start(name, async move {
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(()) if shared.stopping.is_cancelled() => {}
                Ok(()) => shared.fail(TaskError::EndedEarly(name)),
                Err(panic) => shared.fail(TaskError::Panicked { name, message: panic_message(panic.as_ref()) }),
            }
        });
    }

    /// Starts a task that ends by itself, such as one connection. A panic in it is logged and ends nothing else.
    pub(crate) fn spawn_brief<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(name, async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                tracing::error!(task = name, message = panic_message(panic.as_ref()), "task panicked");
            }
        });
    }

    /// Cancelled when the role is to stop: accept no new work, finish the work in hand, return.
    #[must_use]
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// Waits until a task ended early or panicked.
    pub async fn failed(&self) -> TaskError {
        self.shared.failed.cancelled().await;
        self.failure().unwrap_or(TaskError::EndedEarly("unknown"))
    }

    /// The first task that ended early or panicked, if any.
    #[must_use]
    pub fn failure(&self) -> Option<TaskError> {
        self.shared.failure.get().cloned()
    }

    /// Tells all tasks to stop and waits for them.
    ///
    /// # Errors
    ///
    /// [`TaskError::StillRunning`] with those that were aborted because they did not stop within `grace`.
    pub async fn stop(&self, grace: Duration) -> Result<(), TaskError> {
        self.shared.stopping.cancel();
        self.shared.tracker.close();
        if tokio::time::timeout(grace, self.shared.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let names = self.shared.running().keys().copied().collect();
        self.shared.aborted.cancel();
        // a task can only be dropped at an await: one that blocks its thread is left behind
        if tokio::time::timeout(Duration::from_secs(1), self.shared.tracker.wait()).await.is_err() {
            tracing::error!("a task blocks its thread");
        }
        Err(TaskError::StillRunning { grace, names })
    }

    fn start<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = Running::new(name, Arc::clone(&self.shared));
        let aborted = self.shared.aborted.clone();
        drop(spawn(self.shared.tracker.track_future(async move {
            let _running = running;
            aborted.run_until_cancelled_owned(future).await;
        })));
    }
}

impl Shared {
    fn fail(&self, error: TaskError) {
        tracing::error!(%error, "a task failed, the role stops");
        if self.failure.set(error).is_ok() {
            self.failed.cancel();
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a task by name while it runs.
struct Running {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Running {
    fn new(name: &'static str, shared: Arc<Shared>) -> Self {
        *shared.running().entry(name).or_default() += 1;
        Self { name, shared }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.shared.running();
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
    }
}

/// Starts a task that lives as long as the value that holds its handle: dropped with it.
pub(crate) fn spawn_owned<F>(future: F) -> AbortOnDropHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    AbortOnDropHandle::new(spawn(future))
}

/// A future that another kind of spawning takes, with the host of whoever calls this.
#[cfg(not(feature = "simulate"))]
pub(crate) const fn here<F: Future>(future: F) -> F {
    future
}

/// A future that another kind of spawning takes, with the host of whoever calls this.
#[cfg(feature = "simulate")]
pub(crate) fn here<F: Future>(future: F) -> crate::runtime::host::On<F> {
    crate::runtime::host::inherited(future)
}

/// Starts a task on a simulated host.
#[cfg(feature = "simulate")]
pub(crate) fn spawn_on<F>(host: &Arc<dyn crate::runtime::host::Host>, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = spawn(crate::runtime::host::on(Arc::clone(host), future));
    host.started(task.abort_handle());
}

#[cfg(not(feature = "simulate"))]
#[expect(clippy::disallowed_methods, reason = "this is the place that spawns")]
fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

/// A task runs on the host of whoever starts it.
#[cfg(feature = "simulate")]
#[expect(clippy::disallowed_methods, reason = "this is the place that spawns")]
fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let task = tokio::spawn(crate::runtime::host::inherited(future));
    if let Some(host) = crate::runtime::host::current() {
        host.started(task.abort_handle());
    }
    task
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_fails_the_role() {
        let tasks = Tasks::new();
        tasks.spawn("short", async {});
        assert_eq!(tasks.failed().await, TaskError::EndedEarly("short"));
    }

    #[tokio::test]
    async fn a_panic_fails_the_role_unless_the_task_is_brief() {
        let tasks = Tasks::new();
        tasks.spawn_brief("connection", async { panic!("ignored") });
        tasks.spawn("reader", async { panic!("no more") });
        assert_eq!(tasks.failed().await, TaskError::Panicked { name: "reader", message: "no more".into() });
    }

    #[tokio::test]
    async fn stops_in_time_when_all_tasks_listen() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping().clone();
        tasks.spawn("listener", async move { stopping.cancelled().await });
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(tasks.failure(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn names_and_aborts_what_does_not_stop() {
        let tasks = Tasks::new();
        let held = Arc::new(());
        let in_task = Arc::clone(&held);
        tasks.spawn("deaf", async move {
            std::future::pending::<()>().await;
            drop(in_task);
        });
        let grace = Duration::from_secs(3);
        assert_eq!(tasks.stop(grace).await, Err(TaskError::StillRunning { grace, names: vec!["deaf"] }));
        assert_eq!(Arc::strong_count(&held), 1, "the aborted task is dropped");
    }
}
