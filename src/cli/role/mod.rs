//! The roles of a process: started together, watched, stopped in the order of the flow.
//!
//! ```text
//! start ─▶ each role says that it serves ─▶ running ─▶ stop: edge and mi take in nothing new and finish ─▶ then the worker
//!               a role that ends before it was told to ends the process
//! ```
//! The edge has a thread and a runtime of its own: a slow route script or a burst of commands never delays its SIP loop.

pub(crate) mod common;
pub(crate) mod edge;
pub(crate) mod mi;
pub(super) mod process;
pub(super) mod start;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::args::Role;
use crate::cli::exit::Failure;
use crate::cli::role::common::Common;
use crate::cli::role::start::Start;
use crate::config::Config;
use crate::runtime::Tasks;
use crate::telemetry::{Condition, Readiness, exporter};

/// The order of stopping: what takes in work first, what works for it last.
const STOP_ORDER: [&[Role]; 2] = [&[Role::Edge, Role::Mi], &[Role::Worker]];

/// What the roles of a process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) readiness: Readiness,
    pub(crate) common: Common,
}

/// The running roles of a process.
pub(crate) struct Roles {
    shared: Shared,
    tasks: Tasks,
    running: BTreeMap<Role, Running>,
    reports: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

struct Running {
    stop: CancellationToken,
    condition: Condition,
    serving: Option<oneshot::Receiver<Vec<String>>>,
}

struct Ended {
    role: Role,
    outcome: Result<(), Failure>,
}

impl Roles {
    /// None yet. `tasks` carries those that share the process's runtime.
    pub(crate) fn new(shared: Shared, tasks: Tasks) -> Self {
        let (reports, ended) = mpsc::channel(8);
        Self { shared, tasks, running: BTreeMap::new(), reports, ended }
    }

    /// Starts a role on the process's runtime.
    pub(crate) fn spawn<F>(&mut self, role: Role, body: impl FnOnce(Start) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (start, report) = self.prepare(role);
        let body = unless_stopped(start, body);
        self.tasks.spawn_brief(role.as_str(), async move { report.send(body.await) });
    }

    /// Starts a role on a thread and runtime of its own.
    ///
    /// # Errors
    ///
    /// The system's error: no thread, or no runtime.
    pub(crate) fn spawn_on_thread<F>(&mut self, role: Role, body: impl FnOnce(Start) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (start, report) = self.prepare(role);
        let thread = std::thread::Builder::new().name(role.as_str().to_owned());
        thread.spawn(move || report.send(runtime.block_on(unless_stopped(start, body)))).map(drop)
    }

    fn prepare(&mut self, role: Role) -> (Start, EndReport) {
        exporter::build_info(role.as_str());
        let condition = self.shared.readiness.condition(role.as_str(), "starting");
        let (serving, is_serving) = oneshot::channel();
        let stop = CancellationToken::new();
        self.running.insert(role, Running { stop: stop.clone(), condition: condition.clone(), serving: Some(is_serving) });
        let config = Arc::clone(&self.shared.config);
        let (readiness, common) = (self.shared.readiness.clone(), self.shared.common.clone());
        let start = Start { role, config, readiness, common, stop, condition, serving, is_serving: Arc::default() };
        (start, EndReport { role, reports: self.reports.clone(), is_sent: false })
    }

    /// Waits until every role serves, and names their listeners.
    pub(crate) async fn started(&mut self) -> Result<Vec<String>, Failure> {
        let mut listening = Vec::new();
        let waits: Vec<_> = self.running.values_mut().filter_map(|running| running.serving.take()).collect();
        for serving in waits {
            tokio::select! {
                served = serving => match served {
                    Ok(listeners) => listening.extend(listeners),
                    // it ended without serving: the reason is on its way
                    Err(_) => return Err(self.failed().await),
                },
                failure = self.failed() => return Err(failure),
            }
        }
        Ok(listening)
    }

    /// Waits until a role ends early.
    pub(crate) async fn failed(&mut self) -> Failure {
        match self.ended.recv().await {
            Some(ended) => {
                self.running.remove(&ended.role);
                ended.outcome.err().unwrap_or_else(|| Failure::Refused(format!("role {} ended early", ended.role.as_str())))
            }
            // not while `reports` is held here
            None => std::future::pending().await,
        }
    }

    /// Stops the roles in the order of the flow and waits until `deadline`.
    ///
    /// # Errors
    ///
    /// The first role that failed to stop, or those that were still running at the deadline.
    pub(crate) async fn stop(mut self, deadline: Instant) -> Result<(), Failure> {
        for running in self.running.values() {
            running.condition.not_ready("draining");
        }
        let mut failure = None;
        for stage in STOP_ORDER {
            for running in stage.iter().filter_map(|role| self.running.get(role)) {
                running.stop.cancel();
            }
            while stage.iter().any(|role| self.running.contains_key(role)) {
                let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.ended.recv()).await else {
                    let names: Vec<_> = self.running.keys().map(|role| role.as_str()).collect();
                    return Err(Failure::Refused(format!("still running at the end of the grace period: {}", names.join(", "))));
                };
                self.running.remove(&ended.role);
                failure = failure.or(ended.outcome.err());
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Runs a role. One stopped before it serves has nothing in hand, so it is dropped.
fn unless_stopped<F>(start: Start, body: impl FnOnce(Start) -> F) -> impl Future<Output = Result<(), Failure>>
where
    F: Future<Output = Result<(), Failure>>,
{
    let (stop, is_serving) = (start.stop.clone(), Arc::clone(&start.is_serving));
    let body = body(start);
    async move {
        tokio::pin!(body);
        tokio::select! {
            outcome = &mut body => return outcome,
            () = stop.cancelled() => {}
        }
        if is_serving.load(Ordering::Acquire) { body.await } else { Ok(()) }
    }
}

/// Reports the end of a role, also when it panics.
struct EndReport {
    role: Role,
    reports: mpsc::Sender<Ended>,
    is_sent: bool,
}

impl EndReport {
    fn send(mut self, outcome: Result<(), Failure>) {
        self.is_sent = true;
        self.report(outcome);
    }

    fn report(&self, outcome: Result<(), Failure>) {
        // there is room for every role; nobody listens when the process ends first
        let _process_ends = self.reports.try_send(Ended { role: self.role, outcome });
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        if !self.is_sent {
            self.report(Err(Failure::Refused(format!("role {} panicked", self.role.as_str()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::config::NatsConfig;

    async fn roles() -> (Roles, Readiness) {
        let (config, tasks) = (Config::default(), Tasks::new());
        // nobody listens there, and nobody asks
        let nats = NatsConfig { url: "nats://127.0.0.1:1".to_owned(), ..config.nats.clone() };
        let common = Common::start(&nats, &[], 0, &tasks).await.unwrap();
        let shared = Shared { config: Arc::new(config), readiness: Readiness::new(), common };
        let readiness = shared.readiness.clone();
        (Roles::new(shared, tasks), readiness)
    }

    fn in_a_second() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test]
    async fn the_worker_stops_last_and_readiness_follows() {
        let (mut roles, readiness) = roles().await;
        let order = Arc::new(Mutex::new(Vec::new()));
        for role in [Role::Worker, Role::Mi] {
            let order = Arc::clone(&order);
            roles.spawn(role, move |start| async move {
                start.serving(Vec::new()).cancelled().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                order.lock().unwrap().push(role);
                Ok(())
            });
        }
        let of_edge = Arc::clone(&order);
        let edge = |start: Start| async move {
            start.serving(vec!["udp:127.0.0.1:5060".to_owned()]).cancelled().await;
            of_edge.lock().unwrap().push(Role::Edge);
            Ok(())
        };
        roles.spawn_on_thread(Role::Edge, edge).unwrap();
        assert!(!readiness.report().ready);
        assert_eq!(roles.started().await.unwrap(), ["udp:127.0.0.1:5060"]);
        assert!(readiness.report().ready);
        roles.stop(in_a_second()).await.unwrap();
        assert_eq!(*order.lock().unwrap(), [Role::Edge, Role::Mi, Role::Worker]);
        assert_eq!(readiness.report().reasons.values().collect::<Vec<_>>(), [&"draining"; 3]);
    }

    #[tokio::test]
    async fn a_role_that_does_not_start_says_why() {
        let (mut roles, _) = roles().await;
        roles.spawn(Role::Worker, |start| async move {
            start.serving(Vec::new()).cancelled().await;
            Ok(())
        });
        roles.spawn(Role::Mi, |_| async { Err(Failure::Config("bad".to_owned())) });
        assert_eq!(roles.started().await, Err(Failure::Config("bad".to_owned())));
        roles.stop(in_a_second()).await.unwrap();
    }

    #[tokio::test]
    async fn a_role_that_ends_early_or_panics_fails_the_process() {
        let (mut roles, _) = roles().await;
        roles.spawn(Role::Worker, |start| async move {
            start.serving(Vec::new());
            Ok(())
        });
        assert_eq!(roles.failed().await, Failure::Refused("role worker ended early".to_owned()));
        let edge = |start: Start| async move {
            start.serving(Vec::new());
            panic!("on purpose")
        };
        roles.spawn_on_thread(Role::Edge, edge).unwrap();
        assert_eq!(roles.failed().await, Failure::Refused("role edge panicked".to_owned()));
    }

    #[tokio::test]
    async fn a_role_that_still_starts_is_stopped_at_once() {
        let (mut roles, _) = roles().await;
        roles.spawn(Role::Worker, |_start| std::future::pending());
        roles.spawn_on_thread(Role::Edge, |_start| std::future::pending()).unwrap();
        assert_eq!(roles.stop(in_a_second()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_role_that_does_not_stop_is_named_at_the_deadline() {
        let (mut roles, _) = roles().await;
        roles.spawn(Role::Mi, |start| async move {
            start.serving(Vec::new());
            std::future::pending().await
        });
        roles.started().await.unwrap();
        let stopped = roles.stop(Instant::now() + Duration::from_millis(20)).await;
        assert_eq!(stopped, Err(Failure::Refused("still running at the end of the grace period: mi".to_owned())));
    }
}
