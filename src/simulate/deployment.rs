//! The processes of a deployment: each with the roles of the product on a machine of its own, started, stopped in order, and started again
//! by a supervisor where it ends by itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::cli::args::Role;
use crate::cli::exit::Failure;
use crate::cli::role::common::Common;
use crate::cli::role::{self, Roles, Shared};
use crate::config::Config;
use crate::runtime::host::Host;
use crate::runtime::{Tasks, tasks};
use crate::simulate::carry::end::End;
use crate::simulate::event::Event;
use crate::simulate::ledger::Invariant;
use crate::simulate::machine::Machine;
use crate::simulate::responder;
use crate::simulate::world::World;
use crate::telemetry::Readiness;

/// Port of every edge.
const SIP_PORT: u16 = 5060;
/// How long a supervisor waits before it starts a process that has ended.
const RESTART_AFTER: Duration = Duration::from_secs(2);
/// Names of machines; the first of each kind.
const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
const BRIDGES: [&str; 2] = ["mi-1", "mi-2"];
const RESPONDER: &str = "crm";

/// How large a deployment is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) edges: usize,
    pub(crate) workers: usize,
    pub(crate) bridges: usize,
    /// Whether a responder owns a feature.
    pub(crate) has_responder: bool,
    /// All roles in one process each, in place of processes of their own.
    pub(crate) is_together: bool,
    pub(crate) replicas: usize,
}

/// A process that can run on a machine. One without roles is the responder.
#[derive(Debug)]
struct Spec {
    machine: Arc<Machine>,
    config: Config,
    roles: Vec<Role>,
}

/// What the supervisor does with processes.
pub(crate) struct Deployment {
    world: World,
    /// Until then the responder changes something by itself.
    working_until: Duration,
    specs: BTreeMap<&'static str, Spec>,
    running: BTreeMap<&'static str, (u64, CancellationToken)>,
    /// Counts processes.
    started: u64,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
}

/// A process has ended.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    number: u64,
    /// It was told to.
    is_asked: bool,
    has_served: bool,
    outcome: Result<(), Failure>,
}

impl Deployment {
    /// The processes of this size; none runs.
    pub(crate) fn new(world: &World, size: Size, working_until: Duration) -> Self {
        let mut specs = BTreeMap::new();
        let mut add = |name: &'static str, last: u8, roles: &[Role]| {
            let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
            let machine = world.machine(name, ip);
            specs.insert(name, Spec { config: config(name, ip, size), machine, roles: roles.to_vec() });
        };
        for (name, last) in EDGES.into_iter().zip(1..).take(size.edges) {
            add(name, last, if size.is_together { &[Role::Edge, Role::Worker, Role::Mi] } else { &[Role::Edge] });
        }
        if !size.is_together {
            WORKERS.into_iter().zip(11..).take(size.workers).for_each(|(name, last)| add(name, last, &[Role::Worker]));
            BRIDGES.into_iter().zip(21..).take(size.bridges).for_each(|(name, last)| add(name, last, &[Role::Mi]));
        }
        if size.has_responder {
            add(RESPONDER, 31, &[]);
        }
        Self { world: world.clone(), working_until, specs, running: BTreeMap::new(), started: 0, ended: mpsc::channel(64) }
    }

    /// Names of its machines.
    pub(crate) fn machines(&self) -> Vec<&'static str> {
        self.specs.keys().copied().collect()
    }

    /// Where the edges listen.
    pub(crate) fn edges(&self) -> Vec<SocketAddr> {
        let edges = self.specs.values().filter(|spec| spec.roles.contains(&Role::Edge));
        edges.map(|spec| SocketAddr::from((spec.machine.ip, SIP_PORT))).collect()
    }

    /// Starts everything, and then what is asked for, for ever.
    pub(crate) async fn run(mut self) {
        for name in self.machines() {
            self.start(name);
        }
        loop {
            tokio::select! {
                biased;
                () = self.world.called() => self.look_at_calls(),
                Some(ended) = self.ended.1.recv() => self.look_at_end(ended),
            }
        }
    }

    fn look_at_calls(&mut self) {
        let (starts, terminates) = {
            let mut state = self.world.state();
            (std::mem::take(&mut state.faults.starts), std::mem::take(&mut state.faults.terminates))
        };
        // after a SIGKILL it is not running, whatever is known here
        for name in starts {
            self.start(name);
        }
        for name in terminates {
            if let Some((_, stop)) = self.running.get(name) {
                stop.cancel();
            }
        }
    }

    fn look_at_end(&mut self, ended: Ended) {
        let Ended { name, number, is_asked, has_served, outcome } = ended;
        if self.running.get(name).is_none_or(|(running, _)| *running != number) {
            return;
        }
        self.running.remove(name);
        if let Some(spec) = self.specs.get(name) {
            spec.machine.ended();
        }
        let mut state = self.world.state();
        let now = state.now;
        state.story.line(now, || format!("process {name} has ended: {outcome:?}"));
        if is_asked {
            drop(state);
            return self.start(name);
        }
        state.ledger.ended += 1;
        if has_served {
            state.ledger.broken(now, Invariant::StaysUp, format!("{name} has ended: {outcome:?}"));
        }
        state.after(RESTART_AFTER, Event::Start(name));
        drop(state);
        self.world.hurry();
    }

    fn start(&mut self, name: &'static str) {
        let Some(spec) = self.specs.get(name).filter(|spec| spec.machine.start()) else { return };
        self.started += 1;
        let (number, stop) = (self.started, CancellationToken::new());
        self.running.insert(name, (number, stop.clone()));
        let process = Process {
            world: self.world.clone(),
            working_until: self.working_until,
            name,
            number,
            config: spec.config.clone(),
            roles: spec.roles.clone(),
            stop,
            ended: self.ended.0.clone(),
        };
        let host: Arc<dyn Host> = Arc::clone(&spec.machine) as _;
        tasks::spawn_on(&host, Box::pin(process.run()));
    }
}

struct Process {
    world: World,
    working_until: Duration,
    name: &'static str,
    number: u64,
    config: Config,
    roles: Vec<Role>,
    stop: CancellationToken,
    ended: mpsc::Sender<Ended>,
}

impl Process {
    async fn run(self) {
        let (number, bus) = End::connect(&self.world, self.name, &self.config.nats).await;
        let mut has_served = false;
        let outcome = match bus {
            Ok(bus) if self.roles.is_empty() => {
                responder::run(self.world.clone(), bus, self.working_until).await;
                Ok(())
            }
            Ok(bus) => self.serve(bus, &mut has_served).await,
            Err(error) => Err(Failure::Config(error.to_string())),
        };
        self.world.state().end_line(number);
        self.world.hurry();
        let is_asked = self.stop.is_cancelled();
        let ended = Ended { name: self.name, number: self.number, is_asked, has_served, outcome };
        let _nobody_counts_more = self.ended.try_send(ended);
    }

    async fn serve(&self, bus: Bus, has_served: &mut bool) -> Result<(), Failure> {
        let tasks = Tasks::new();
        let edges = usize::from(self.roles.contains(&Role::Edge));
        let common = Common::over(bus.clone(), &self.config.nats, &self.roles, edges, &tasks);
        let shared = Shared { config: Arc::new(self.config.clone()), readiness: Readiness::new(), common };
        let mut roles = Roles::new(shared, tasks.clone());
        for role in &self.roles {
            match role {
                Role::Edge => roles.spawn(Role::Edge, role::edge::run),
                Role::Worker => roles.spawn(Role::Worker, role::worker::run),
                Role::Mi => roles.spawn(Role::Mi, role::mi::run),
            }
        }
        let outcome = tokio::select! {
            failure = serving(&mut roles, has_served) => Err(failure),
            failure = tasks.failed() => Err(Failure::Refused(failure.to_string())),
            () = self.stop.cancelled() => Ok(()),
        };
        let grace = Duration::from_secs(self.config.run.shutdown_grace_seconds);
        let deadline = Instant::now() + grace;
        let stopped = roles.stop(deadline).await;
        let others = tasks.stop(deadline.saturating_duration_since(Instant::now())).await;
        bus.drain().await;
        outcome.and(stopped).and(others.map_err(|error| Failure::Refused(error.to_string())))
    }
}

async fn serving(roles: &mut Roles, has_served: &mut bool) -> Failure {
    if let Err(failure) = roles.started().await {
        return failure;
    }
    *has_served = true;
    roles.failed().await
}

fn config(name: &str, ip: IpAddr, size: Size) -> Config {
    let mut config = Config::default();
    config.nats.replicas = size.replicas;
    name.clone_into(&mut config.sip.edge_id);
    config.sip.listen = vec![format!("udp:{ip}:{SIP_PORT}")];
    config.sip.domains = vec!["example.com".to_owned()];
    config.sip.takeover_seconds = 15;
    config.subscription.default_expires_seconds = 120;
    config.subscription.grace_seconds = 30;
    config.mi.http = String::new();
    config.http.listen = String::new();
    config
}
