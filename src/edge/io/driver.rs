//! The loop of an edge: inputs from sockets, bus and clock to the notifier, its outputs to sockets and bus.
//!
//! One task on its own thread owns the notifier, so nothing is locked. A round takes a bounded batch from every source, so that
//! none starves another.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::bus::message::NotifyJob;
use crate::bus::watchers::Change;
use crate::edge::gate::users::Users;
use crate::edge::io::changes::Changes;
use crate::edge::io::deliveries::Deliveries;
use crate::edge::io::dns::Lookups;
use crate::edge::io::fan_out::FanOuts;
use crate::edge::io::mirror::Mirror;
use crate::edge::io::port::Port;
use crate::edge::io::seat::{Seat, Stray};
use crate::edge::io::service::EdgeService;
use crate::edge::io::sockets::Sockets;
use crate::edge::io::spans;
use crate::edge::metrics::{DropReason, EdgeMetrics};
use crate::edge::notifier::{BusReply, Input, Notifier, Output};
use crate::edge::takeover::{Missed, TakeOver};
use crate::notify::{JOB_LIFETIME, Jobs};
use crate::runtime::clock::{self, Now};
use crate::sip::flow::ConnectionId;
use crate::sip::transport::Inbound;

/// Inputs taken from one source before the others have their turn.
const BATCH: usize = 128;
/// Interval of work that needs no exact time.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);

/// The sources of inputs.
pub(crate) struct Sources {
    /// Messages and connection changes of the stream transports.
    pub streams: mpsc::Receiver<Inbound>,
    pub jobs: Jobs,
    /// Host names that are being located.
    pub(crate) lookups: Lookups,
    /// Changes of the subscription bucket.
    pub changes: Changes,
    /// The users file each time it is read; `None` where none is configured.
    pub users: Option<mpsc::Receiver<Arc<Users>>>,
    /// The other notifier threads behind the same addresses.
    pub(crate) seat: Seat,
    /// Subscriptions of silent edges, and our own lease.
    pub(crate) take_over: TakeOver,
}

pub(crate) struct Driver {
    notifier: Notifier,
    port: Port,
    sockets: Sockets,
    sources: Sources,
    service: EdgeService,
    deliveries: Deliveries,
    fan_outs: FanOuts,
    mirror: Mirror,
    metrics: Arc<EdgeMetrics>,
    housekeeping_at: Instant,
    /// Depths of its queues, as the metrics have them.
    depths: [usize; 6],
    is_draining: bool,
    is_lease_held: bool,
}

/// Age of a job, from its expiry: all jobs have the same lifetime.
fn age(job: &NotifyJob, now: Now) -> Duration {
    let not_after = clock::parse_rfc3339(&job.not_after);
    let made_at = not_after.and_then(|not_after| not_after.checked_sub(JOB_LIFETIME));
    made_at.and_then(|made_at| now.utc.duration_since(made_at).ok()).unwrap_or_default()
}

/// Why the edge cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// A task that feeds the edge has ended.
    #[error("the source of {0} has ended")]
    SourceEnded(&'static str),
}

impl Driver {
    /// A driver of this notifier.
    pub(crate) fn new(
        notifier: Notifier,
        port: Port,
        sockets: Sockets,
        sources: Sources,
        service: EdgeService,
        fan_outs: FanOuts,
        metrics: Arc<EdgeMetrics>,
    ) -> Self {
        let mirror = sockets.mirror().clone();
        Self {
            notifier,
            port,
            sockets,
            sources,
            service,
            deliveries: Deliveries::default(),
            fan_outs,
            mirror,
            metrics,
            housekeeping_at: clock::now(),
            depths: [0; 6],
            is_draining: false,
            is_lease_held: true,
        }
    }

    /// Serves until `stop`, then finishes what is in hand.
    ///
    /// # Errors
    ///
    /// [`DriverError`] when a source is gone for good.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), DriverError> {
        let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut stopped = Box::pin(stop.cancelled_owned());
        loop {
            let is_overloaded = self.fan_outs.is_half_full();
            let now = self.moment();
            self.notifier.handle(Input::Overload { is_overloaded }, now);
            if self.is_draining {
                self.notifier.handle(Input::PutDown, now);
            }
            self.carry_out();
            if self.is_draining && self.notifier.is_put_down() && self.sockets.is_flushed() {
                self.deliveries.give_back();
                self.port.flush().await;
                return Ok(());
            }
            self.set_alarm(&mut sleep);
            let is_stopped = poll_fn(|cx| self.poll_round(cx, sleep.as_mut(), stopped.as_mut())).await?;
            if is_stopped {
                self.is_draining = true;
                let now = self.moment();
                self.notifier.handle(Input::Drain, now);
            }
        }
    }

    /// The time of day is that of NATS, so that it means the same to workers and to other edges.
    fn moment(&self) -> Now {
        Now { at: clock::now(), utc: self.port.utc_now() }
    }

    /// A deadline that stays is not set again: most rounds change none.
    fn set_alarm(&self, sleep: &mut Pin<Box<Sleep>>) {
        let others = self.notifier.poll_timeout().into_iter().chain(self.port.events_leave_at());
        let due_at = tokio::time::Instant::from_std(others.fold(self.housekeeping_at, Instant::min));
        if sleep.deadline() != due_at {
            sleep.as_mut().reset(due_at);
        }
    }

    /// Takes a batch from every source; ready when there was any input. `true`: a stop was asked for.
    fn poll_round(
        &mut self,
        cx: &mut Context<'_>,
        sleep: Pin<&mut Sleep>,
        stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<bool, DriverError>> {
        if !self.is_draining && stopped.poll(cx).is_ready() {
            return Poll::Ready(Ok(true));
        }
        let now = self.moment();
        // The bus coming or going wakes nobody: its state is read before the inputs that did.
        self.notifier.handle(Input::Bus { is_up: self.port.is_up() }, now);
        self.look_at_lease(now);
        let mut had_any = self.poll_sources(cx, now)?;
        if sleep.poll(cx).is_ready() {
            had_any = true;
            self.on_alarm(now);
        }
        if had_any { Poll::Ready(Ok(false)) } else { Poll::Pending }
    }

    /// Updates the lease. Once it has lapsed it is held again only after all changes that came meanwhile are read.
    fn look_at_lease(&mut self, now: Now) {
        let has_lapsed = !self.sources.take_over.lease.is_held();
        let is_held = !has_lapsed && (self.is_lease_held || self.sources.changes.is_empty());
        if is_held != std::mem::replace(&mut self.is_lease_held, is_held) {
            self.metrics.lease(is_held);
        }
        self.notifier.handle(Input::Lease { is_held }, now);
    }

    fn poll_sources(&mut self, cx: &mut Context<'_>, now: Now) -> Result<bool, DriverError> {
        let Self { notifier, port, sockets, sources, service, deliveries, mirror, metrics, is_draining, .. } = self;
        // A capture has the clock of this machine, as every other of it.
        let received_at = clock::utc_now();
        let mut connections = Vec::new();
        let mut had_any = sockets.poll_datagrams(cx, |flow, bytes| {
            metrics.queues.received(flow.transport);
            mirror.received(flow, bytes, received_at);
            notifier.handle(Input::Packet { flow, bytes }, now);
        });
        had_any |= take("bus replies", |cx| port.poll_reply(cx), cx, |(token, reply)| notifier.handle(Input::Reply { token, reply }, now))?;
        had_any |= take("answers", |cx| port.poll_local(cx), cx, |(token, reply)| notifier.handle(Input::Reply { token, reply }, now))?;
        had_any |= take(
            "stream messages",
            |cx| sources.streams.poll_recv(cx),
            cx,
            |inbound| {
                if let Inbound::Message { flow, packet } = &inbound {
                    metrics.queues.received(flow.transport);
                    mirror.received(*flow, packet, received_at);
                }
                on_stream(notifier, metrics, &mut connections, inbound, now);
            },
        )?;
        for (connection, is_open) in connections.drain(..) {
            if is_open { sockets.on_opened(connection) } else { sockets.on_closed(connection) }
        }
        had_any |= take(
            "responses of other threads",
            |cx| sources.seat.poll_stray(cx),
            cx,
            |stray| {
                mirror.handed_over(stray.flow, &stray.packet, received_at);
                notifier.handle(Input::Packet { flow: stray.flow, bytes: &stray.packet }, now);
            },
        )?;
        // Before the jobs: each was made for those that are here after these.
        had_any |= take(
            "bucket changes",
            |cx| sources.changes.poll(cx),
            cx,
            |change| {
                let Change { key, revision, value, removed_over, .. } = &change;
                notifier.handle(Input::Change { key, revision: *revision, value: value.as_deref(), removed_over: *removed_over }, now);
            },
        )?;
        if *is_draining {
            // What still arrives is for the next process with this edge id.
            sources.jobs.give_back();
        } else if sources.changes.is_empty() {
            had_any |= take(
                "notify jobs",
                |cx| sources.jobs.poll_recv(cx),
                cx,
                |(job, delivery)| {
                    metrics.queues.job_received();
                    let (handle, age) = (deliveries.open(delivery, now.at), age(&job, now));
                    notifier.handle(Input::Job { job: Box::new(job), handle, age }, now);
                },
            )?;
        }
        if !*is_draining {
            let orphans = &mut sources.take_over.orphans;
            let missed = &mut sources.take_over.missed;
            had_any |= take(
                "changes missed",
                |cx| missed.poll_recv(cx),
                cx,
                |missed| match missed {
                    Missed::Changed(presentities) => notifier.handle(Input::Missed { presentities }, now),
                    Missed::Pressed(ids) => notifier.handle(Input::Pressed { ids }, now),
                },
            )?;
            had_any |= take("orphans", |cx| orphans.poll_recv(cx), cx, |orphan| notifier.handle(Input::Orphan(orphan), now))?;
        }
        if let Some(users) = &mut sources.users {
            had_any |= take("users file", |cx| users.poll_recv(cx), cx, |users| notifier.handle(Input::Users(users), now))?;
        }
        had_any |=
            take("host names", |cx| sources.lookups.poll(cx), cx, |(host, found)| notifier.handle(Input::Located { host, found }, now))?;
        had_any |= take(
            "unsent packets",
            |_| sockets.poll_unsent(),
            cx,
            |(notify, why)| {
                notifier.handle(Input::Undeliverable { notify, why }, now);
            },
        )?;
        had_any |= service.poll(cx, notifier, now);
        Ok(had_any)
    }

    fn on_alarm(&mut self, now: Now) {
        if now.at >= self.housekeeping_at {
            self.housekeeping_at = now.at + HOUSEKEEPING_EVERY;
            self.port.forget_unanswered(now.at);
            self.deliveries.keep(now.at);
            if self.sources.changes.take_lost() {
                for id in self.notifier.held() {
                    match self.sources.changes.index().last_seen(&id.to_string()) {
                        Some((revision, edge_id)) => self.notifier.handle(Input::Holder { id, revision, edge_id: &edge_id }, now),
                        None => self.notifier.handle(Input::Unrecorded { id }, now),
                    }
                }
            }
            self.count_queues();
        }
        self.notifier.handle(Input::Timeout, now);
    }

    /// Depth of the queues after a round; a depth that stays above 0 means that the edge does not keep up.
    fn count_queues(&mut self) {
        let queues = &self.metrics.queues;
        let [waits, connections, changes, fan_outs, jobs, in_hand] = &mut self.depths;
        queues.waits.moved(waits, self.notifier.waiting());
        queues.connections.moved(connections, self.sources.streams.len());
        queues.changes.moved(changes, self.sources.changes.len());
        queues.fan_outs.moved(fan_outs, self.fan_outs.len());
        queues.jobs.moved(jobs, self.sources.jobs.waiting());
        queues.jobs_in_hand.moved(in_hand, self.deliveries.len());
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.notifier.poll_output() {
            match output {
                Output::Send { to, packet, notify } => self.sockets.send(to, packet, notify),
                Output::Locate(host) => self.sources.lookups.ask(host),
                Output::Request { token, request, cause } => {
                    if let Err(error) = self.port.ask(token, request, &cause) {
                        let now = self.moment();
                        self.notifier.handle(Input::Reply { token, reply: BusReply::Unavailable(error.into()) }, now);
                    }
                }
                Output::FanOut(fan_out) => {
                    // It fits: the notifier takes no change while half of the queue is full.
                    if !self.fan_outs.take(fan_out, |event| self.port.emit(event)) {
                        self.metrics.dropped(DropReason::FanOut);
                    }
                }
                Output::Event(event) => {
                    spans::of_event(&event);
                    self.port.emit(*event);
                }
                Output::Answered(cause, since, status) => spans::of_subscribe(&cause, since, status),
                Output::HandOver { to, flow, packet } => {
                    // Without room it is lost, as a datagram may be: the NOTIFY is sent again.
                    if !self.sources.seat.hand_over(to, Stray { flow, packet }) {
                        self.metrics.dropped(DropReason::QueueFull);
                    }
                }
                Output::JobDone(handle) => {
                    self.deliveries.done(handle);
                    self.port.sent_besides();
                }
                Output::JobMoved(handle) => {
                    if let Some(delivery) = self.deliveries.take(handle) {
                        // Without room it is redelivered.
                        let _comes_again = self.sources.take_over.moved_jobs.try_send(delivery);
                    }
                }
            }
        }
        self.sockets.flush();
        self.port.publish_events();
    }
}

/// Takes up to a batch from one source.
fn take<T>(
    name: &'static str,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Option<T>>,
    cx: &mut Context<'_>,
    mut handle: impl FnMut(T),
) -> Result<bool, DriverError> {
    for taken in 0..BATCH {
        match poll(cx) {
            Poll::Ready(Some(item)) => handle(item),
            Poll::Ready(None) => return Err(DriverError::SourceEnded(name)),
            Poll::Pending => return Ok(taken > 0),
        }
    }
    Ok(true)
}

fn on_stream(notifier: &mut Notifier, metrics: &EdgeMetrics, connections: &mut Vec<(ConnectionId, bool)>, inbound: Inbound, now: Now) {
    match inbound {
        Inbound::Message { flow, packet } => notifier.handle(Input::Packet { flow, bytes: &packet }, now),
        Inbound::Opened { flow } => {
            metrics.transports.opened(flow.transport);
            if let Some(connection) = flow.connection {
                connections.push((connection, true));
                notifier.handle(Input::Opened(connection), now);
            }
        }
        Inbound::Closed { flow, reason } => {
            metrics.transports.closed(flow.transport, reason);
            if let Some(connection) = flow.connection {
                connections.push((connection, false));
                notifier.handle(Input::Closed(connection), now);
            }
        }
    }
}
