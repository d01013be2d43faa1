//! NOTIFYs: what goes next to a subscription, and what becomes of it.

use std::time::{Duration, Instant, SystemTime};

use super::{BusRequest, Event, Notifier, NotifyId, Output, Timer, Unsent, Wait};
use crate::bus::message::{EndReason, Kind, NotifyEvent, NotifyOutcome};
use crate::bus::trace::{Cause, new_id};
use crate::config::InitialNotify;
use crate::edge::config::EdgeConfig;
use crate::edge::metrics::{DeliveryOutcome, Direction};
use crate::edge::notifier::tell::feature_index;
use crate::edge::subscription::next_hop::{Destination, next_hop};
use crate::edge::subscription::outbox::{Grouping, Parcel};
use crate::edge::subscription::record::Record;
use crate::edge::subscription::verdict::{self, Verdict};
use crate::edge::subscription::write;
use crate::edge::subscription::{InFlight, Phase, Subscription, SubscriptionId};
use crate::runtime::clock::{self, Now};
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::message::Message;
use crate::sip::response::Response;
use crate::sip::transaction::{ClientEvent, ClientOutput};

/// How long a job may be kept unacknowledged by a phone that asked for a pause: well below its redelivery.
pub(super) const LONGEST_JOB_WAIT: Duration = Duration::from_secs(20);
/// How long a NOTIFY waits when too many are in flight, or wait for the same connection.
const ROOM_AFTER: Duration = Duration::from_secs(1);
/// How often the last NOTIFY is put off at the phone's wish: then the subscription is over without it.
const LAST_PUT_OFFS: u8 = 3;

impl Notifier {
    /// Sends the next NOTIFY of a subscription, if one is due and none is in flight.
    pub(super) fn pump(&mut self, id: SubscriptionId, now: Now) {
        let Some(to) = self.next_hop_of(id) else { return };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        if matches!(subscription.phase, Phase::Storing | Phase::Over) || !subscription.outbox.is_due(now.at) {
            return;
        }
        if !self.is_lease_held {
            return self.wait_for_room(id, now);
        }
        let Some(branch) = self.client.next_branch(rand::random()) else { return self.wait_for_room(id, now) };
        let grouping = grouping(subscription, &to, branch.as_str(), &self.config, now.at);
        let Some(parcel) = subscription.outbox.take(grouping, now.at) else { return };
        let (cseq, reserves) = subscription.next_cseq();
        let head = write::Sending { cseq, branch: branch.as_str(), to: &to, config: &self.config };
        let packet = write::notify(subscription, &parcel, &head, now.at, &mut self.scratch);
        let (transport, connection) = (to.transport(), to.connection());
        subscription.in_flight = Some(InFlight { parcel, cseq, branch: branch.as_str().into(), sent_at: now.at, transport, connection });
        if let Some(users) = connection.and_then(|connection| self.connections.get_mut(&connection)) {
            users.insert(id);
        }
        self.in_flight += 1;
        self.metrics.notify_started();
        self.client.start(branch, "NOTIFY", packet.clone(), transport.is_reliable(), id, now.at);
        self.output.push_back(Output::Send { to, packet, notify: Some(NotifyId { subscription: id, cseq }) });
        if reserves {
            self.reserve(id, now);
        }
    }

    fn next_hop_of(&self, id: SubscriptionId) -> Option<Destination> {
        let subscription = self.subscriptions.get(&id)?;
        Some(next_hop(subscription, &self.config, |connection| self.connections.contains_key(&connection)))
    }

    /// Stores the record again with more `CSeq` numbers, beside everything else.
    pub(super) fn reserve(&mut self, id: SubscriptionId, now: Now) {
        let told_until = self.told_until(now);
        self.store_again(id, told_until, now);
    }

    /// The same, for an edge that has told all that was asked of it before this time.
    pub(super) fn store_again(&mut self, id: SubscriptionId, told_until: SystemTime, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        if subscription.lane.is_storing() || subscription.phase != Phase::Live {
            return;
        }
        let record = Box::new(Record::of(subscription, &self.config, now.at, now.utc).told_until(told_until));
        let (ttl, expected_revision, cseq_reserved) = (subscription.record_ttl(now.at, grace), subscription.revision, record.local_cseq);
        self.ask(BusRequest::Store { id, record, ttl, expected_revision }, Wait::Reserve(id, cseq_reserved), Cause::new(), now);
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
        let Some(in_flight) = self.landed(id) else { return };
        let verdict = verdict::verdict(status, retry_after);
        let outcome = if verdict == Verdict::Delivered { NotifyOutcome::Delivered } else { NotifyOutcome::Failed };
        self.count_end(&in_flight, verdict::outcome(verdict), now);
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
                    let to = next_hop(subscription, &self.config, |connection| self.connections.contains_key(&connection));
                    self.output.push_back(Output::Send { to, packet, notify: None });
                }
                ClientOutput::TimedOut(id) => self.on_notify_timeout(id, now),
            }
        }
    }

    /// Timer F: nobody answered. The subscription ends, unless only its connection is gone: then it waits for the phone.
    fn on_notify_timeout(&mut self, id: SubscriptionId, now: Now) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let is_connection_lost = subscription.flow.connection.is_some_and(|connection| !self.connections.contains_key(&connection));
        let Some(in_flight) = self.landed(id) else { return };
        if is_connection_lost {
            return self.park(id, in_flight, now);
        }
        self.count_end(&in_flight, DeliveryOutcome::Timeout, now);
        self.emit_notify(id, &in_flight, NotifyOutcome::Expired, None, now);
        self.settle_jobs(in_flight.parcel.jobs(), false);
        self.end(id, EndReason::Unreachable, &in_flight.parcel.cause(), now);
    }

    /// A NOTIFY did not leave.
    pub(super) fn on_undeliverable(&mut self, notify: NotifyId, why: Unsent, now: Now) {
        let NotifyId { subscription: id, cseq } = notify;
        let Some(in_flight) = self.take_back(id, |in_flight| in_flight.cseq == cseq) else { return };
        match why {
            Unsent::NoWay => self.park(id, in_flight, now),
            Unsent::NoRoom => {
                self.count_end(&in_flight, DeliveryOutcome::Retried, now);
                self.put_off(id, in_flight, now.at + ROOM_AFTER, now);
            }
        }
    }

    /// A connection is gone: what went into it may not have arrived, and is sent again, where there is another way.
    pub(super) fn on_closed(&mut self, connection: ConnectionId, now: Now) {
        for id in self.connections.remove(&connection).unwrap_or_default() {
            if let Some(in_flight) = self.take_back(id, |in_flight| in_flight.connection == Some(connection)) {
                self.count_end(&in_flight, DeliveryOutcome::NoConnection, now);
                self.put_off(id, in_flight, now.at, now);
                self.pump(id, now);
            }
        }
    }

    /// Takes back a NOTIFY that went another way than the phone uses now: it may never have arrived, and what it said goes
    /// out again.
    pub(super) fn recall(&mut self, id: SubscriptionId, now: Now) {
        let Some(to) = self.next_hop_of(id) else { return };
        let has_left = |in_flight: &InFlight| (in_flight.transport, in_flight.connection) != (to.transport(), to.connection());
        if let Some(in_flight) = self.take_back(id, has_left) {
            self.count_end(&in_flight, DeliveryOutcome::NoConnection, now);
            self.put_off(id, in_flight, now.at, now);
        }
    }

    /// Ends the transaction of the NOTIFY in flight, if it is such a one and has no final response.
    fn take_back(&mut self, id: SubscriptionId, is_meant: impl FnOnce(&InFlight) -> bool) -> Option<InFlight> {
        let in_flight = self.subscriptions.get(&id)?.in_flight.as_ref().filter(|in_flight| is_meant(in_flight))?;
        self.client.cancel(&in_flight.branch)?;
        self.landed(id)
    }

    /// No room for another NOTIFY: this one is looked at again shortly.
    fn wait_for_room(&mut self, id: SubscriptionId, now: Now) {
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.outbox.hold(now.at + ROOM_AFTER);
        }
        self.arm(id, now);
    }

    /// The phone cannot be reached now: what it was to be told waits for its next SUBSCRIBE. A last NOTIFY is not waited for.
    fn park(&mut self, id: SubscriptionId, in_flight: InFlight, now: Now) {
        self.count_end(&in_flight, DeliveryOutcome::NoConnection, now);
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        if subscription.phase == Phase::Ending {
            self.emit_notify(id, &in_flight, NotifyOutcome::Failed, None, now);
            self.settle_jobs(in_flight.parcel.jobs(), false);
            self.forget(id);
        } else {
            let until = (subscription.expires_at + self.config.grace()).max(now.at + ROOM_AFTER);
            self.put_off(id, in_flight, until, now);
        }
    }

    /// Takes the NOTIFY in flight of a subscription whose transaction is over.
    pub(super) fn landed(&mut self, id: SubscriptionId) -> Option<InFlight> {
        let in_flight = self.subscriptions.get_mut(&id)?.in_flight.take()?;
        if let Some(users) = in_flight.connection.and_then(|connection| self.connections.get_mut(&connection)) {
            users.remove(&id);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.metrics.notify_landed();
        Some(in_flight)
    }

    fn count_end(&self, in_flight: &InFlight, outcome: DeliveryOutcome, now: Now) {
        self.metrics.notify_ended(in_flight.transport, outcome, now.at.saturating_duration_since(in_flight.sent_at));
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
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        if subscription.phase == Phase::Ending && subscription.outbox.put_offs() >= LAST_PUT_OFFS {
            self.settle_jobs(parcel.jobs(), false);
            return self.forget(id);
        }
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
        if !subscription.timers.fire(now.at) {
            return;
        }
        if subscription.phase == Phase::Live && !subscription.lane.is_storing() {
            if now.at >= subscription.expires_at && !std::mem::replace(&mut subscription.counted_in_grace, true) {
                self.metrics.grace_entered();
            }
            if now.at >= subscription.expires_at + grace {
                return self.expire(id, now);
            }
        }
        let retry = subscription.lane.retry.filter(|retry| retry.at <= now.at);
        if let Some(retry) = retry {
            self.retry_full_state(id, retry, now);
        }
        self.pump(id, now);
        self.arm(id, now);
    }

    /// Schedules the subscription's next deadline in the wheel, if none is scheduled before it. What is overdue is due at once.
    pub(super) fn arm(&mut self, id: SubscriptionId, now: Now) {
        let grace = self.config.grace();
        let Some(subscription) = self.subscriptions.get_mut(&id).filter(|subscription| subscription.phase != Phase::Over) else { return };
        let expiry = if subscription.counted_in_grace { subscription.expires_at + grace } else { subscription.expires_at };
        let deadlines = [
            // While a SUBSCRIBE is stored, it decides; then this is looked at again.
            (subscription.phase == Phase::Live && !subscription.lane.is_storing()).then_some(expiry),
            subscription.outbox.retry_at(),
            subscription.lane.retry.map(|retry| retry.at),
        ];
        let Some(at) = deadlines.into_iter().flatten().min().map(|at| at.max(now.at)) else { return };
        if subscription.timers.set(at) {
            self.timers.schedule(at, Timer::Subscription(id));
        }
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
            package: subscription.package.name.to_owned(),
            features: in_flight.parcel.changes.iter().map(|change| change.state.feature.clone()).collect(),
            outcome,
            status,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        self.output.push_back(Output::Event(Box::new(Event::Notify(subscription.presentity.clone(), event))));
    }
}

/// How documents may share a NOTIFY of this subscription.
fn grouping(subscription: &Subscription, to: &Destination, branch: &str, config: &EdgeConfig, now: Instant) -> Grouping {
    match subscription.quirks.initial_notify.unwrap_or(config.initial_notify) {
        _ if !subscription.accepts_multipart => Grouping::OneByOne,
        InitialNotify::Sequential => Grouping::OneByOne,
        InitialNotify::Auto if to.transport() == Transport::Udp && subscription.outbox.has_several() => {
            let (head, part_overhead) = write::overhead(subscription, to, branch, config, now);
            Grouping::UpTo { bytes: config.udp_notify_limit_bytes.saturating_sub(head), part_overhead }
        }
        InitialNotify::Auto | InitialNotify::Multipart => Grouping::Whole,
    }
}
