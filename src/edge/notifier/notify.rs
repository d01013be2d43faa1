//! NOTIFYs: what goes next to a subscription, and what becomes of it.
//!
//! ```text
//!  outbox ─ pump ─▶ in flight ─┬─ 2xx ───────────▶ versions confirmed ─┐
//!     ▲                        ├─ 4xx, 5xx, 6xx ─▶ lost ───────────────┴─▶ the next, or the end
//!     └── put_off ◀────────────┼─ Retry-After, no room, another way
//!                              ├─ connection gone ─▶ put off until the phone comes back
//!                              └─ 481, Timer F ─▶ the subscription ends
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bus::message::{EndReason, NotifyOutcome};
use crate::bus::trace::Cause;
use crate::edge::event;
use crate::edge::metrics::{DeliveryOutcome, FailoverReason};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::{BusRequest, NotifyId, Output, Unsent};
use crate::edge::notifier::state::bus_requests::{StoreOutcome, Wait};
use crate::edge::notifier::state::delivery::NotNow;
use crate::edge::notifier::state::names::DEAD_FOR;
use crate::edge::subscription::cover::Cover;
use crate::edge::subscription::verdict::{self, Verdict};
use crate::edge::subscription::{InFlight, Phase, Subscription};
use crate::runtime::clock::Now;
use crate::sip::flow::{ConnectionId, Flow};
use crate::sip::locate::{HostName, Location, NotLocated};
use crate::sip::message::Message;
use crate::sip::response::Response;
use crate::sip::transaction::{self, ClientEvent};

/// How long a job may be kept unacknowledged by a phone that asked for a pause: well below its redelivery.
pub(super) const LONGEST_JOB_WAIT: Duration = Duration::from_secs(20);
/// How long a NOTIFY waits when too many are in flight, or wait for the same connection.
const ROOM_AFTER: Duration = Duration::from_secs(1);
/// How long a NOTIFY is waited for when its phone has sent a SUBSCRIBE meanwhile: until it would be sent again.
const FRESH: Duration = transaction::T1;
/// How often the last NOTIFY is put off at the phone's wish: then the subscription is over without it.
const LAST_PUT_OFFS: u8 = 3;

impl Notifier {
    /// Sends the next NOTIFY of a subscription, if one is due and none is in flight.
    pub(super) fn pump(&mut self, subscription: &mut Subscription, now: Now) {
        if matches!(subscription.phase, Phase::Storing | Phase::Over) || !subscription.outbox.is_due(now.at) {
            return;
        }
        // It is another edge's: the store under way takes it back, and with it what its phone has, or lets it go.
        if subscription.is_seen_elsewhere() {
            // What was put off is looked at again then, not at once and over again.
            if subscription.outbox.retry_at().is_some() {
                subscription.outbox.hold(now.at + ROOM_AFTER);
            }
            return;
        }
        // Without the lease another edge may be telling this phone.
        let has_lease = self.availability.is_lease_held();
        if has_lease && !subscription.has_cseq() {
            return self.wait_for_cseq(subscription, now);
        }
        match if has_lease { self.delivery.send(subscription, &mut self.names, now) } else { Err(NotNow::NoRoom) } {
            Err(NotNow::NoRoom) => {
                subscription.outbox.hold(now.at + ROOM_AFTER);
                self.arm(subscription, now);
            }
            // It is due, and goes once that is known: see `on_located`.
            Err(NotNow::Asked(host)) => {
                subscription.outbox.unpark();
                self.locate(host);
            }
            Ok(None) => {}
            Ok(Some(sent)) => {
                self.output.push_back(sent.output);
                if sent.is_detour {
                    self.arm(subscription, now);
                }
                if sent.reserves {
                    self.reserve(subscription, now);
                }
            }
        }
    }

    /// No `CSeq` is left that a stored record covers: what is due waits until one does, and one is asked for now and then.
    fn wait_for_cseq(&mut self, subscription: &mut Subscription, now: Now) {
        // It is due: no other time is waited for.
        subscription.outbox.unpark();
        // After the end it waits for the removal of the record: then its numbers are nobody else's.
        if subscription.phase != Phase::Live || subscription.lane.reserve_again_at.is_some_and(|at| at > now.at) {
            return;
        }
        subscription.lane.reserve_again_at = Some(now.at + ROOM_AFTER.max(self.config.store_timeout));
        self.arm(subscription, now);
        if self.availability.is_bus_up() {
            self.reserve(subscription, now);
        }
    }

    /// A record is stored, and covers more `CSeq` numbers: what waited for them goes out.
    pub(super) fn has_reserved(&mut self, subscription: &mut Subscription, now: Now) {
        if subscription.lane.reserve_again_at.take().is_some() {
            self.pump(subscription, now);
        }
    }

    /// The answer to a reservation.
    pub(super) fn on_reserved(&mut self, subscription: &mut Subscription, cover: Cover, outcome: StoreOutcome, now: Now) {
        match outcome {
            StoreOutcome::Unavailable(why) => self.metrics.store_failed(why.as_str()),
            // The next store meets the other revision, and reads it; a NOTIFY that waits does not wait for that.
            StoreOutcome::Conflict if subscription.lane.reserve_again_at.is_some() && !subscription.lane.is_storing() => {
                let id = subscription.id;
                self.ask(BusRequest::Lookup { id }, Wait::Holder(id), Cause::new(), now);
            }
            StoreOutcome::Conflict => {}
            StoreOutcome::Stored(revision) => {
                subscription.is_stored(revision, cover);
                self.watermark.stored(now.at);
                self.has_reserved(subscription, now);
            }
        }
    }

    /// The record is gone, or nobody can say: its last NOTIFY waits no longer for a `CSeq`.
    pub(super) fn on_unrecorded(&mut self, subscription: &mut Subscription, now: Now) {
        subscription.is_unrecorded = true;
        self.pump(subscription, now);
    }

    pub(super) fn on_response(&mut self, message: Message, bytes: &[u8], flow: Flow, now: Now) {
        let response = Response::from_message(message);
        let event = response.as_ref().and_then(|response| self.delivery.handle_response(response, now.at));
        match (response, event) {
            (Some(response), Some(ClientEvent::Completed(id))) => self.step_of(id, |notifier, subscription| {
                notifier.on_final_response(subscription, response.status(), response.retry_after_seconds(), now);
            }),
            (Some(_), Some(_)) => {}
            (response, _) => {
                let nonce = response.and_then(|response| transaction::nonce_of(response.branch()));
                match nonce.and_then(|nonce| self.config.place.other(nonce)) {
                    Some(to) => self.output.push_back(Output::HandOver { to, flow, packet: Bytes::copy_from_slice(bytes) }),
                    None => self.gate.stray_response(flow.peer.ip(), now.at),
                }
            }
        }
    }

    fn on_final_response(&mut self, subscription: &mut Subscription, status: u16, retry_after: Option<u32>, now: Now) {
        let Some(in_flight) = self.delivery.finish(subscription) else { return };
        if self.fails_over_by_response(subscription, &in_flight, (status, retry_after), now) {
            return self.try_next(subscription, in_flight, now);
        }
        let verdict = verdict::verdict(status, retry_after);
        let outcome = if verdict == Verdict::Delivered { NotifyOutcome::Delivered } else { NotifyOutcome::Failed };
        self.delivery.count_end(&in_flight, verdict::outcome(verdict), now);
        self.emit_notify(subscription, &in_flight, outcome, Some(status), now);
        match verdict {
            Verdict::Delivered => {
                if let Some(since) = in_flight.parcel.since() {
                    self.metrics.delivered_after(now.at.saturating_duration_since(since));
                }
                for update in &in_flight.parcel.updates {
                    subscription.confirm(self.table.index_of(&update.state.feature), update.state.version);
                }
                self.notify_done(subscription, &in_flight, true, now);
            }
            Verdict::Ignored => self.notify_done(subscription, &in_flight, false, now),
            Verdict::RetryAfter(seconds) => self.put_off(subscription, in_flight, now.at + Duration::from_secs(seconds.into()), now),
            // An answer that is older than the phone's last SUBSCRIBE: it is told once more.
            Verdict::Ends if subscription.phase == Phase::Live && in_flight.recalled_at.is_some() => {
                self.put_off(subscription, in_flight, now.at, now);
                self.pump(subscription, now);
            }
            Verdict::Ends => {
                self.settle(in_flight.parcel.jobs(), false);
                self.end(subscription, EndReason::Rejected, &in_flight.parcel.cause(), now);
            }
        }
    }

    /// Timer F: nobody answered. The subscription ends, unless only its connection is gone: then it waits for the phone.
    pub(super) fn on_notify_timeout(&mut self, subscription: &mut Subscription, now: Now) {
        let is_connection_lost = self.delivery.is_connection_lost(subscription);
        let Some(in_flight) = self.delivery.finish(subscription) else { return };
        if in_flight.detour.is_some() {
            return self.leave_detour(subscription, in_flight, now);
        }
        if self.fails_over(subscription, &in_flight, (FailoverReason::Timeout, DEAD_FOR), now) {
            return self.try_next(subscription, in_flight, now);
        }
        if is_connection_lost {
            return self.park(subscription, in_flight, now);
        }
        // It has shown itself since: its SUBSCRIBE was answered, or is about to be.
        if subscription.phase == Phase::Live && (in_flight.recalled_at.is_some() || subscription.lane.is_storing()) {
            self.delivery.count_end(&in_flight, DeliveryOutcome::Expired, now);
            return self.put_off(subscription, in_flight, now.at + ROOM_AFTER, now);
        }
        self.delivery.count_end(&in_flight, DeliveryOutcome::Expired, now);
        self.emit_notify(subscription, &in_flight, NotifyOutcome::Expired, None, now);
        self.settle(in_flight.parcel.jobs(), false);
        self.end(subscription, EndReason::Unreachable, &in_flight.parcel.cause(), now);
    }

    /// A NOTIFY did not leave.
    pub(super) fn on_undeliverable(&mut self, notify: NotifyId, why: Unsent, now: Now) {
        // Its subscription may have ended while the packet waited for a connection or a name.
        self.step(notify.subscription, |notifier, subscription| {
            let is_meant = |in_flight: &InFlight| in_flight.cseq == notify.cseq;
            let Some(in_flight) = notifier.delivery.take_back(subscription, is_meant) else { return };
            match why {
                Unsent::NoWay if in_flight.detour.is_some() => notifier.leave_detour(subscription, in_flight, now),
                Unsent::NoWay if notifier.fails_over(subscription, &in_flight, (FailoverReason::NoConnection, DEAD_FOR), now) => {
                    notifier.try_next(subscription, in_flight, now);
                }
                Unsent::NoWay => notifier.park(subscription, in_flight, now),
                Unsent::NoRoom | Unsent::NoLease => {
                    notifier.delivery.count_end(&in_flight, DeliveryOutcome::Retried, now);
                    notifier.put_off(subscription, in_flight, now.at + ROOM_AFTER, now);
                }
            }
        });
    }

    /// A connection is gone: what went into it may not have arrived, and is sent again, where there is another way.
    pub(super) fn on_closed(&mut self, connection: ConnectionId, now: Now) {
        for id in self.delivery.close(connection) {
            self.step_of(id, |notifier, subscription| {
                let is_meant = |in_flight: &InFlight| in_flight.connection == Some(connection);
                if let Some(in_flight) = notifier.delivery.take_back(subscription, is_meant) {
                    notifier.delivery.count_end(&in_flight, DeliveryOutcome::NoConnection, now);
                    notifier.put_off(subscription, in_flight, now.at, now);
                    notifier.pump(subscription, now);
                }
            });
        }
    }

    /// The phone has shown itself by a SUBSCRIBE: what is in flight to it may never have arrived, and goes out again with what
    /// that SUBSCRIBE is owed. A fresh one is waited for a moment more, where it went the way that the phone uses now.
    pub(super) fn recall(&mut self, subscription: &mut Subscription, now: Now) {
        self.names.forget(subscription.id);
        let Some(mut in_flight) = subscription.in_flight.take() else { return };
        let is_fresh = now.at < in_flight.sent_at + FRESH;
        let is_waited_for = is_fresh && self.delivery.is_same_way(subscription, &in_flight);
        in_flight.recalled_at = is_waited_for.then_some(in_flight.sent_at + FRESH);
        subscription.in_flight = Some(in_flight);
        if is_waited_for {
            return self.arm(subscription, now);
        }
        if let Some(in_flight) = self.delivery.take_back(subscription, |_| true) {
            self.delivery.count_end(&in_flight, DeliveryOutcome::Retried, now);
            self.put_off(subscription, in_flight, now.at, now);
        }
    }

    /// The names that subscriptions wait for: what is due to them goes out, or has no way.
    pub(super) fn on_located(&mut self, host: &HostName, found: Result<Location, NotLocated>, now: Now) {
        for id in self.names.located(host, found, now.at) {
            // It may have ended meanwhile.
            self.step(id, |notifier, subscription| notifier.pump(subscription, now));
        }
    }

    /// What a NOTIFY said goes out again, by the next way to where it was to go.
    fn try_next(&mut self, subscription: &mut Subscription, in_flight: InFlight, now: Now) {
        self.put_off(subscription, in_flight, now.at, now);
        self.pump(subscription, now);
    }

    /// Takes back a NOTIFY that was fresh when the phone sent a SUBSCRIBE, and has still no answer.
    pub(super) fn recall_due(&mut self, subscription: &mut Subscription, now: Now) -> bool {
        let is_due = subscription.in_flight.as_ref().and_then(|in_flight| in_flight.recalled_at).is_some_and(|at| at <= now.at);
        if is_due {
            self.recall(subscription, now);
        }
        is_due
    }

    /// Takes back a NOTIFY that went over TCP because of its size, and has no final response in time.
    pub(super) fn detour_due(&mut self, subscription: &mut Subscription, now: Now) {
        let is_due = |in_flight: &InFlight| in_flight.detour.as_ref().is_some_and(|way| way.until <= now.at);
        if let Some(in_flight) = self.delivery.take_back(subscription, is_due) {
            self.leave_detour(subscription, in_flight, now);
        }
    }

    /// The phone was not reached over TCP: what it was to be told goes in a datagram all the same.
    fn leave_detour(&mut self, subscription: &mut Subscription, in_flight: InFlight, now: Now) {
        if let Some(way) = &in_flight.detour {
            self.delivery.detour_failed(way, now);
        }
        self.delivery.count_end(&in_flight, DeliveryOutcome::NoConnection, now);
        self.put_off(subscription, in_flight, now.at, now);
        self.pump(subscription, now);
    }

    /// The phone cannot be reached now: what it was to be told waits for its next SUBSCRIBE, or until the name that leads to it may
    /// lead somewhere. A last NOTIFY is not waited for.
    fn park(&mut self, subscription: &mut Subscription, in_flight: InFlight, now: Now) {
        self.delivery.count_end(&in_flight, DeliveryOutcome::NoConnection, now);
        if subscription.phase == Phase::Ending {
            self.emit_notify(subscription, &in_flight, NotifyOutcome::Failed, None, now);
            self.settle(in_flight.parcel.jobs(), false);
            self.close(subscription);
        } else {
            let until = match &in_flight.by_name {
                Some(way) => self.names.again_at(&way.named, now.at),
                None => subscription.ends_at(self.config.grace()),
            };
            let until = until.max(now.at + ROOM_AFTER);
            self.put_off(subscription, in_flight, until, now);
        }
    }

    /// A NOTIFY is done with: on to the next one, or to the end.
    fn notify_done(&mut self, subscription: &mut Subscription, in_flight: &InFlight, is_delivered: bool, now: Now) {
        self.settle(in_flight.parcel.jobs(), is_delivered);
        subscription.outbox.settle();
        subscription.lane.sync.told(is_delivered, subscription.outbox.is_empty());
        if in_flight.parcel.is_last {
            self.close(subscription);
        } else {
            self.pump(subscription, now);
        }
    }

    /// What a NOTIFY said waits until `at`, unless something newer takes its place.
    fn put_off(&mut self, subscription: &mut Subscription, in_flight: InFlight, at: Instant, now: Now) {
        let mut parcel = in_flight.parcel;
        if subscription.phase == Phase::Ending && subscription.outbox.put_offs() >= LAST_PUT_OFFS {
            self.settle(parcel.jobs(), false);
            return self.close(subscription);
        }
        if at.saturating_duration_since(now.at) > LONGEST_JOB_WAIT {
            // The job would come again and again meanwhile. The phone has not got it, but its next SUBSCRIBE brings all.
            self.settle(parcel.jobs(), false);
            parcel = parcel.without_jobs();
        }
        let stale = subscription.outbox.postpone(parcel, at);
        self.settle(stale, true);
        self.arm(subscription, now);
    }

    fn emit_notify(&mut self, subscription: &Subscription, in_flight: &InFlight, outcome: NotifyOutcome, status: Option<u16>, now: Now) {
        if outcome != NotifyOutcome::Delivered {
            self.metrics.notify_failed(subscription.about(), outcome.as_str(), status);
        }
        self.emit(event::of_notify(&self.config.edge_id, subscription, in_flight, outcome, status, now));
    }
}
