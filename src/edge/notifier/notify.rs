//! NOTIFYs: what goes next to a subscription, what its response means, and how a subscription ends.

use std::time::{Duration, Instant};

use super::{BusRequest, Destination, Event, Notifier, Now, Output, Timer, Wait};
use crate::bus::message::{EndReason, Kind, NotifyEvent, NotifyOutcome, SubscriptionChange, SubscriptionEvent};
use crate::bus::trace::{Cause, new_id};
use crate::config::InitialNotify;
use crate::edge::metrics::Direction;
use crate::edge::notifier::work::feature_index;
use crate::edge::outbox::{Grouping, Parcel};
use crate::edge::response::{self, Verdict};
use crate::edge::subscription::{InFlight, Phase, Subscription, SubscriptionId};
use crate::edge::write;
use crate::runtime::clock;
use crate::sip::flow::Flow;
use crate::sip::message::Message;
use crate::sip::response::Response;
use crate::sip::transaction::{ClientEvent, ClientOutput};
use crate::sip::uri;

/// How long a job may be kept unacknowledged by a phone that asked for a pause: well below its redelivery.
const LONGEST_JOB_WAIT: Duration = Duration::from_secs(20);
/// How long a NOTIFY waits when too many are in flight.
const ROOM_AFTER: Duration = Duration::from_secs(1);
/// Bytes of a NOTIFY's head, about: what a body must leave of the UDP limit.
const HEAD_BYTES: usize = 700;

impl Notifier {
    /// Sends the next NOTIFY of a subscription, if one is due and none is in flight.
    pub(super) fn pump(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.phase == Phase::Storing {
            return;
        }
        let grouping = grouping(subscription, self.config.initial_notify, self.config.udp_notify_limit_bytes);
        if !subscription.outbox.is_due(now.at) {
            return;
        }
        let Some(branch) = self.client.next_branch(rand::random()) else { return self.wait_for_room(id, now) };
        let Some(parcel) = subscription.outbox.take(grouping, now.at) else { return };
        let (cseq, reserves) = subscription.next_cseq();
        let flow = subscription.flow;
        let listener = self.config.listeners.get(usize::from(flow.listener));
        let packet = write::notify(subscription, &parcel, cseq, branch.as_str(), listener, now.at, &mut self.scratch);
        let to = destination(subscription, &self.connections);
        let is_reliable = flow.transport.is_reliable();
        let connection = if let Destination::Flow(flow) = &to { flow.connection } else { None };
        subscription.in_flight = Some(InFlight { parcel, branch: branch.as_str().into(), sent_at: now.at, connection });
        self.in_flight += 1;
        self.metrics.notify_started();
        self.client.start(branch, "NOTIFY", packet.clone(), is_reliable, id, now.at);
        self.output.push_back(Output::Send { to, packet });
        if reserves {
            self.reserve(id, now);
        }
    }

    /// Stores the record again with more `CSeq` numbers, beside everything else.
    fn reserve(&mut self, id: SubscriptionId, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if subscription.lane.storing.is_some() || subscription.phase != Phase::Live {
            return;
        }
        let record = Box::new(crate::edge::record::Record::of(subscription, &self.config.edge_id, now.at, now.utc));
        let (ttl, expected_revision) = (subscription.record_ttl(now.at, grace), subscription.revision);
        self.ask(BusRequest::Store { id, record, ttl, expected_revision }, Wait::Reserve(id), Cause::new(), now);
    }

    pub(super) fn on_response(&mut self, message: Message, flow: Flow, now: Now) {
        let Some(response) = Response::from_message(message) else { return self.stray_response(flow, now) };
        let status = response.status();
        match self.client.handle_response(response.branch(), response.method(), status, now.at) {
            Some(ClientEvent::Completed(id)) => self.on_final_response(id, status, response.retry_after_seconds(), now),
            Some(_) => {}
            None => self.stray_response(flow, now),
        }
    }

    fn on_final_response(&mut self, id: SubscriptionId, status: u16, retry_after: Option<u32>, now: Now) {
        let Some((in_flight, transport)) = self.landed(id) else { return };
        let verdict = response::verdict(status, retry_after);
        let outcome = if verdict == Verdict::Delivered { NotifyOutcome::Delivered } else { NotifyOutcome::Failed };
        self.metrics.notify_ended(transport, response::outcome(verdict), now.at.saturating_duration_since(in_flight.sent_at));
        self.emit_notify(id, &in_flight, outcome, Some(status), now);
        match verdict {
            Verdict::Delivered => {
                if let Some(since) = in_flight.parcel.since() {
                    self.metrics.delivered_after(now.at.saturating_duration_since(since));
                }
                self.confirm_versions(id, &in_flight.parcel);
                self.over(id, &in_flight, true, now);
            }
            Verdict::Ignored => self.over(id, &in_flight, false, now),
            Verdict::RetryAfter(seconds) => self.put_off(id, in_flight, now.at + Duration::from_secs(seconds.into()), now),
            Verdict::Ends => {
                self.settle_jobs(in_flight.parcel.jobs(), false);
                self.end(id, EndReason::Rejected, &in_flight.parcel.cause(), now);
            }
        }
    }

    fn stray_response(&mut self, flow: Flow, now: Now) {
        self.metrics.stray_response();
        self.rate_limit.stray_response(flow.peer.ip(), now.at);
    }

    /// Timers E and F of the NOTIFYs.
    pub(super) fn client_timeout(&mut self, now: Now) {
        self.client.handle_timeout(now.at);
        while let Some(output) = self.client.poll_output() {
            match output {
                ClientOutput::Retransmit(id, packet) => {
                    let Some(subscription) = self.subscriptions.get(id) else { continue };
                    self.metrics.retransmitted(Direction::Out);
                    let to = destination(subscription, &self.connections);
                    self.output.push_back(Output::Send { to, packet: packet.clone() });
                }
                ClientOutput::TimedOut(id) => self.on_notify_timeout(id, now),
            }
        }
    }

    /// Timer F: nobody answered. The subscription ends, unless only its connection is gone: then it waits for the phone.
    fn on_notify_timeout(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let is_connection_lost = subscription.flow.connection.is_some_and(|connection| !self.connections.contains(&connection));
        if is_connection_lost {
            return self.park(id, now);
        }
        let Some((in_flight, transport)) = self.landed(id) else { return };
        self.metrics.notify_ended(transport, response::TIMEOUT, now.at.saturating_duration_since(in_flight.sent_at));
        self.emit_notify(id, &in_flight, NotifyOutcome::Expired, None, now);
        self.settle_jobs(in_flight.parcel.jobs(), false);
        self.end(id, EndReason::Unreachable, &in_flight.parcel.cause(), now);
    }

    pub(super) fn on_undeliverable(&mut self, id: SubscriptionId, now: Now) {
        let branch =
            self.subscriptions.get(&id).and_then(|subscription| subscription.in_flight.as_ref()).map(|in_flight| in_flight.branch.clone());
        if branch.is_some_and(|branch| self.client.cancel(&branch).is_some()) {
            self.park(id, now);
        }
    }

    /// Takes back a NOTIFY that went into another connection than the phone uses now: it may never have arrived, and what
    /// it said goes out again.
    pub(super) fn recall(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let left = |in_flight: &&InFlight| in_flight.connection.is_some() && in_flight.connection != subscription.flow.connection;
        let branch = subscription.in_flight.as_ref().filter(left).map(|in_flight| in_flight.branch.clone());
        if branch.is_some_and(|branch| self.client.cancel(&branch).is_some())
            && let Some((in_flight, transport)) = self.landed(id)
        {
            self.metrics.notify_ended(transport, response::NO_CONNECTION, now.at.saturating_duration_since(in_flight.sent_at));
            self.put_off(id, in_flight, now.at, now);
        }
    }

    /// No room for another NOTIFY: this one is looked at again shortly.
    fn wait_for_room(&mut self, id: SubscriptionId, now: Now) {
        self.timers.schedule(now.at + ROOM_AFTER, Timer::Subscription(id));
    }

    /// The phone cannot be reached now: what it was to be told waits for its next SUBSCRIBE. A last NOTIFY is not waited for.
    fn park(&mut self, id: SubscriptionId, now: Now) {
        let Some((in_flight, transport)) = self.landed(id) else { return };
        self.metrics.notify_ended(transport, response::NO_CONNECTION, now.at.saturating_duration_since(in_flight.sent_at));
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let (phase, until) = (subscription.phase, subscription.expires_at + self.config.grace());
        if phase == Phase::Ending {
            self.settle_jobs(in_flight.parcel.jobs(), false);
            self.forget(id);
        } else {
            self.put_off(id, in_flight, until, now);
        }
    }

    /// Takes the NOTIFY in flight of a subscription whose transaction is over.
    fn landed(&mut self, id: SubscriptionId) -> Option<(InFlight, crate::sip::flow::Transport)> {
        let subscription = self.subscriptions.get_mut(&id)?;
        let in_flight = subscription.in_flight.take()?;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.metrics.notify_landed();
        Some((in_flight, subscription.flow.transport))
    }

    fn confirm_versions(&mut self, id: SubscriptionId, parcel: &Parcel) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        for change in &parcel.changes {
            subscription.confirm(feature_index(&self.table, &change.state.feature), change.state.version);
        }
    }

    /// A NOTIFY is done with: on to the next one, or to the end.
    fn over(&mut self, id: SubscriptionId, in_flight: &InFlight, is_delivered: bool, now: Now) {
        self.settle_jobs(in_flight.parcel.jobs(), is_delivered);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.outbox.settle();
        if in_flight.parcel.is_last {
            self.forget(id);
        } else {
            self.pump(id, now);
        }
    }

    /// What a NOTIFY said waits until `at`, unless something newer takes its place.
    fn put_off(&mut self, id: SubscriptionId, in_flight: InFlight, at: Instant, now: Now) {
        let mut parcel = in_flight.parcel;
        if at.saturating_duration_since(now.at) > LONGEST_JOB_WAIT {
            // The job would come again and again meanwhile. The phone has not got it, but its next SUBSCRIBE brings all.
            self.settle_jobs(parcel.jobs().collect::<Vec<_>>(), false);
            parcel = parcel.without_jobs();
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let stale = subscription.outbox.postpone(parcel, at);
        self.settle_jobs(stale, true);
        self.arm(id, now);
    }

    /// A subscription's timer: what is due of expiry, grace, a NOTIFY put off, a full state owed.
    pub(super) fn subscription_timeout(&mut self, id: SubscriptionId, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.timer_at = None;
        if subscription.phase == Phase::Live && now.at >= subscription.expires_at + grace && subscription.lane.storing.is_none() {
            return self.expire(id, now);
        }
        if subscription.phase == Phase::Live
            && now.at >= subscription.expires_at
            && !std::mem::replace(&mut subscription.counted_in_grace, true)
        {
            self.metrics.grace_entered();
        }
        let retry = subscription.lane.retry.filter(|retry| retry.at <= now.at);
        if let Some(retry) = retry {
            self.retry_full_state(id, retry, now);
        }
        self.pump(id, now);
        self.arm(id, now);
    }

    fn expire(&mut self, id: SubscriptionId, now: Now) {
        let cause = Cause::new();
        self.remove_record(id, &cause, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.phase = Phase::Ending;
        subscription.outbox.unpark();
        self.uncount(id);
        self.emit_subscription(id, SubscriptionChange::Terminated, Some(EndReason::Timeout), &cause, now);
        self.end_with_empty_notify(id, cause, now);
    }

    /// Schedules the subscription's next deadline in the wheel, if none is scheduled before it.
    pub(super) fn arm(&mut self, id: SubscriptionId, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let expiry = if now.at < subscription.expires_at { subscription.expires_at } else { subscription.expires_at + grace };
        let deadlines = [
            (subscription.phase == Phase::Live).then_some(expiry),
            subscription.outbox.retry_at(),
            subscription.lane.retry.map(|retry| retry.at),
        ];
        let Some(at) = deadlines.into_iter().flatten().filter(|at| *at > now.at).min() else { return };
        if subscription.timer_at.is_none_or(|scheduled| at < scheduled) {
            subscription.timer_at = Some(at);
            self.timers.schedule(at, Timer::Subscription(id));
        }
    }

    /// Ends a subscription without another NOTIFY.
    pub(super) fn end(&mut self, id: SubscriptionId, reason: EndReason, cause: &Cause, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        if subscription.phase == Phase::Live {
            if reason != EndReason::Moved {
                self.remove_record(id, cause, now);
            }
            self.uncount(id);
            self.emit_subscription(id, SubscriptionChange::Terminated, Some(reason), cause, now);
        }
        self.forget(id);
    }

    fn remove_record(&mut self, id: SubscriptionId, cause: &Cause, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let expected_revision = subscription.revision;
        self.ask(BusRequest::Remove { id, expected_revision }, Wait::Remove, cause.clone(), now);
    }

    /// A live subscription stops being a watcher, here and in the metrics.
    pub(super) fn uncount(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        self.metrics.subscription_ended(std::mem::take(&mut subscription.counted_in_grace));
        let presentity = subscription.presentity.clone();
        self.unwatch(id, &presentity);
    }

    fn unwatch(&mut self, id: SubscriptionId, presentity: &crate::feature::Presentity) {
        if let Some(ids) = self.watchers.get_mut(presentity) {
            ids.retain(|watcher| *watcher != id);
            if ids.is_empty() {
                self.watchers.remove(presentity);
            }
        }
    }

    /// Lets go of everything about a subscription.
    pub(super) fn forget(&mut self, id: SubscriptionId) {
        let Some(mut subscription) = self.subscriptions.remove(&id) else { return };
        let presentity = subscription.presentity.clone();
        self.unwatch(id, &presentity);
        if let Some(in_flight) = subscription.in_flight.take() {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.metrics.notify_landed();
            let _user = self.client.cancel(&in_flight.branch);
            self.settle_jobs(in_flight.parcel.jobs(), false);
        }
        let jobs: Vec<_> = subscription.outbox.drain().collect();
        self.settle_jobs(jobs, false);
    }

    pub(super) fn emit_subscription(
        &mut self,
        id: SubscriptionId,
        what: SubscriptionChange,
        reason: Option<EndReason>,
        cause: &Cause,
        now: Now,
    ) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let event = SubscriptionEvent {
            kind: Kind::default(),
            id: new_id(),
            time: clock::rfc3339(now.utc),
            cause: cause.clone(),
            edge_id: self.config.edge_id.to_string(),
            subscription: id.to_string(),
            presentity: subscription.presentity.as_str().to_owned(),
            watcher: subscription.watcher.to_string(),
            what,
            reason,
            expires_at: clock::rfc3339(subscription.expires_at_utc(now.at, now.utc)),
            user_agent: subscription.user_agent.to_string(),
            transport: subscription.flow.transport.as_str().to_owned(),
            call_id: subscription.dialog.call_id.to_string(),
        };
        self.output.push_back(Output::Event(Box::new(Event::Subscription(subscription.presentity.clone(), event))));
    }

    fn emit_notify(&mut self, id: SubscriptionId, in_flight: &InFlight, outcome: NotifyOutcome, status: Option<u16>, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let took = now.at.saturating_duration_since(in_flight.sent_at);
        let event = NotifyEvent {
            kind: Kind::default(),
            id: new_id(),
            time: clock::rfc3339(now.utc),
            cause: in_flight.parcel.cause(),
            edge_id: self.config.edge_id.to_string(),
            subscription: id.to_string(),
            presentity: subscription.presentity.as_str().to_owned(),
            features: in_flight.parcel.changes.iter().map(|change| change.state.feature.clone()).collect(),
            outcome,
            status,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        self.output.push_back(Output::Event(Box::new(Event::Notify(subscription.presentity.clone(), event))));
    }
}

/// How documents may share a NOTIFY of this subscription.
fn grouping(subscription: &Subscription, mode: InitialNotify, udp_limit_bytes: usize) -> Grouping {
    match subscription.quirks.initial_notify.unwrap_or(mode) {
        _ if !subscription.accepts_multipart => Grouping::OneByOne,
        InitialNotify::Sequential => Grouping::OneByOne,
        InitialNotify::Auto if !subscription.flow.transport.is_reliable() => Grouping::UpTo(udp_limit_bytes.saturating_sub(HEAD_BYTES)),
        InitialNotify::Auto | InitialNotify::Multipart => Grouping::Whole,
    }
}

/// Where a NOTIFY goes: the first Route; else the flow when the SUBSCRIBE came straight from the phone; else the Contact.
/// A connection that is gone: the Contact, which may be reachable anew.
fn destination(subscription: &Subscription, connections: &ahash::AHashSet<crate::sip::flow::ConnectionId>) -> Destination {
    let flow = subscription.flow;
    let is_open = flow.connection.is_none_or(|connection| connections.contains(&connection));
    let is_flow_usable = is_open && (flow.connection.is_some() || !flow.transport.is_reliable());
    let hop = match subscription.dialog.routes.first() {
        // The connection that the proxy keeps to us is the one to its own Route.
        Some(_) if flow.transport.is_reliable() && is_flow_usable => return Destination::Flow(flow),
        Some(route) => uri::of_name_addr(route),
        None if subscription.is_direct && is_flow_usable => return Destination::Flow(flow),
        None => &subscription.dialog.target,
    };
    let Some(target) = uri::parse(hop).ok().and_then(|hop| uri::target(&hop)) else { return Destination::Flow(flow) };
    let transport = target.transport_after(flow.transport);
    Destination::Host { host: target.host, port: target.port.unwrap_or(transport.default_port()), transport, subscription: subscription.id }
}
