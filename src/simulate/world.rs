//! The world of one run: simulated time, the network, NATS, phones, and the ledger of what was promised.
//!
//! One lock, one queue of events in the order of time. Tasks of the product run between events, on tokio's paused clock; whatever they
//! send is an event to come. So a seed gives one run, to the byte.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::sync::Notify;

use crate::feature::{Status, Values};
use crate::simulate::event::Event;
use crate::simulate::fault::Faults;
use crate::simulate::ledger::Ledger;
use crate::simulate::line::Line;
use crate::simulate::machine::{Machine, Way};
use crate::simulate::network::Network;
use crate::simulate::phone::Phone;
use crate::simulate::server::Server;
use crate::simulate::story::Story;
use crate::simulate::time::Time;

/// What the responder has of each presentity. Its process may end, this stays.
pub(crate) type Books = BTreeMap<String, (Status, Values)>;

/// The world. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    time: Time,
    /// Something is due earlier than before.
    hurry: Notify,
    /// The deployment has something to do.
    call: Notify,
    state: Mutex<State>,
}

/// Everything in it, under one lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) time: Time,
    /// Time since it began.
    pub(crate) now: Duration,
    pub(crate) random: StdRng,
    pub(crate) server: Server,
    pub(crate) network: Network,
    pub(crate) lines: Vec<Line>,
    pub(crate) machines: BTreeMap<&'static str, Arc<Machine>>,
    pub(crate) phones: Vec<Phone>,
    /// What the responder has.
    pub(crate) books: Books,
    /// How many presentities they watch.
    pub(crate) presentities: usize,
    pub(crate) faults: Faults,
    pub(crate) ledger: Ledger,
    pub(crate) story: Story,
    queue: BinaryHeap<Reverse<Due>>,
    queued: u64,
    handled: u64,
    digest: DefaultHasher,
}

#[derive(Debug)]
struct Due {
    at: Duration,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl World {
    /// An empty world. Called on a runtime whose clock is paused.
    pub(crate) fn new(seed: u64, story: Story) -> Self {
        let time = Time::new();
        let state = State {
            time,
            now: Duration::ZERO,
            random: StdRng::seed_from_u64(seed),
            server: Server::with_seed(Time::epoch(), seed),
            network: Network::default(),
            lines: Vec::new(),
            machines: BTreeMap::new(),
            phones: Vec::new(),
            books: Books::new(),
            presentities: 0,
            faults: Faults::default(),
            ledger: Ledger::default(),
            story,
            queue: BinaryHeap::new(),
            queued: 0,
            handled: 0,
            digest: DefaultHasher::new(),
        };
        let shared = Shared { time, hurry: Notify::new(), call: Notify::new(), state: Mutex::new(state) };
        Self { shared: Arc::new(shared) }
    }

    /// Its time.
    pub(crate) fn time(&self) -> Time {
        self.shared.time
    }

    /// A machine in it.
    pub(crate) fn machine(&self, name: &'static str, ip: IpAddr) -> Arc<Machine> {
        let machine = Machine::new(ip, self.time(), Arc::new(self.clone()));
        let mut state = self.state();
        state.machines.insert(name, Arc::clone(&machine));
        state.story.name_host(ip, name.to_owned());
        machine
    }

    /// Everything in it, as of now.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.time().elapsed();
        state
    }

    /// Looks at what is due, since something was put into the queue from outside an event.
    pub(crate) fn hurry(&self) {
        self.shared.hurry.notify_one();
    }

    /// Tells the deployment that it has something to do.
    pub(crate) fn call(&self) {
        self.shared.call.notify_one();
    }

    /// Waits until the deployment has something to do.
    pub(crate) async fn called(&self) {
        self.shared.call.notified().await;
    }

    /// Handles events in the order of time until `end`.
    pub(crate) async fn run(&self, end: Duration) {
        loop {
            let next = self.state().next_at();
            let until = next.unwrap_or(end).min(end);
            let at = tokio::time::Instant::from_std(self.time().instant(until));
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(at) => {}
                () = self.shared.hurry.notified() => continue,
            }
            if self.time().elapsed() >= end && next.is_none_or(|next| next >= end) {
                return;
            }
            self.step();
        }
    }

    /// Handles what is due now.
    fn step(&self) {
        loop {
            let mut state = self.state();
            let now = state.now;
            if state.server.next_at().is_some_and(|at| at <= now) {
                state.server.advance(now);
                state.carry_deliveries();
            }
            if state.queue.peek().is_none_or(|Reverse(due)| due.at > now) {
                if state.server.next_at().is_none_or(|at| at > now) {
                    return;
                }
                continue;
            }
            let Some(Reverse(Due { at, event, .. })) = state.queue.pop() else { return };
            state.handled += 1;
            state.note(at, &event);
            state.handle(self, event);
        }
    }
}

/// Machines send through it.
impl Way for World {
    fn send(&self, from: SocketAddr, to: SocketAddr, packet: Bytes) {
        self.state().send(from, to, packet);
        self.hurry();
    }
}

impl State {
    /// Has something happen at a time.
    pub(crate) fn at(&mut self, at: Duration, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse(Due { at, number: self.queued, event }));
    }

    /// Has something happen after a while.
    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn next_at(&self) -> Option<Duration> {
        let queued = self.queue.peek().map(|Reverse(due)| due.at);
        [queued, self.server.next_at()].into_iter().flatten().min()
    }

    /// Events so far.
    pub(crate) const fn handled(&self) -> u64 {
        self.handled
    }

    /// A number that another run of the same seed has as well.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// A time between two, to the microsecond.
    pub(crate) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let (shortest, longest) = (micros(shortest), micros(longest));
        if shortest >= longest {
            Duration::from_micros(shortest)
        } else {
            Duration::from_micros(self.random.random_range(shortest..longest))
        }
    }

    /// Whether something of this probability happens.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability.clamp(0.0, 1.0))
    }

    /// A number below `count`.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.random.random_range(0..count.max(1))
    }

    /// A number of 64 bits.
    pub(crate) fn number(&mut self) -> u64 {
        self.random.next_u64()
    }

    fn note(&mut self, at: Duration, event: &Event) {
        at.hash(&mut self.digest);
        event.hash(&mut self.digest);
        self.story.event(at, event);
    }

    fn handle(&mut self, world: &World, event: Event) {
        match event {
            Event::Datagram { from, to, packet } => self.arrived(from, to, packet),
            Event::ToServer { line, epoch, what } => self.server_hears(line, epoch, what),
            Event::ToClient { line, epoch, what } => self.client_hears(line, epoch, what),
            Event::GivenUp { line, epoch } => self.given_up(line, epoch),
            Event::Noticed { line, epoch } => self.noticed(line, epoch),
            Event::Connect { line, attempt } => self.connect(line, attempt),
            Event::PhoneTimer(phone) => self.phone_timer(phone),
            Event::Phone(phone, act) => self.phone_acts(phone, act),
            Event::Fault(fault) => self.fault(world, fault),
            Event::Start(name) => {
                self.faults.starts.push(name);
                world.call();
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
