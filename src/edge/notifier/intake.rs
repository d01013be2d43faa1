//! Requests from their packet to the decision what they are: refused, a fetch, a new subscription, or one in a dialog.

use std::time::Instant;

use bytes::Bytes;

use crate::bus::trace::Cause;
use crate::edge::gate::policy::{self, Identity};
use crate::edge::metrics::label::method_label;
use crate::edge::metrics::{Direction, DropReason};
use crate::edge::notifier::{BusRequest, MAX_LOOKUPS, Notifier, Output, Wait};
use crate::edge::refusal::{ALLOW, Confirm, Refusal};
use crate::edge::subscribe::{self, Subscribe};
use crate::edge::subscription::lane::{Exchange, Task, Work};
use crate::edge::subscription::next_hop::Destination;
use crate::edge::subscription::outbox::Ending;
use crate::edge::subscription::{Dialog, Phase, Subscription, SubscriptionId};
use crate::feature::{Presentity, package};
use crate::runtime::clock::Now;
use crate::sip::flow::Flow;
use crate::sip::header::Via;
use crate::sip::message::{self, Fault, Message, Start};
use crate::sip::name::Name;
use crate::sip::request::Request;
use crate::sip::response::{self, ResponseWriter};
use crate::sip::transaction::{Begin, TransactionKey};

/// A SUBSCRIBE that nothing was decided of yet, its transaction begun.
#[derive(Debug)]
pub(in crate::edge::notifier) struct Arrival {
    pub(in crate::edge::notifier) request: Request,
    pub(in crate::edge::notifier) key: TransactionKey,
    pub(in crate::edge::notifier) flow: Flow,
    pub(in crate::edge::notifier) at: Instant,
    pub(in crate::edge::notifier) cause: Cause,
}

impl Notifier {
    pub(in crate::edge::notifier) fn on_packet(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        if !self.is_admitted(flow, bytes, now) {
            return;
        }
        let message = match message::parse(bytes) {
            Ok(message) => message,
            // A keep-alive.
            Err(error) if error.fault() == Fault::Empty => return,
            Err(error) => {
                self.metrics.dropped(DropReason::Unparsable);
                if let Some(message) = error.answerable() {
                    self.answer_bare(message, error.reason(), &Refusal::new(error.status()), flow);
                }
                return;
            }
        };
        match message.start() {
            Start::Response { .. } => self.on_response(message, flow, now),
            Start::Request { method, .. } if method.as_str() == "ACK" => self.metrics.dropped(DropReason::Ack),
            Start::Request { .. } => match Request::from_message(message) {
                Ok(request) => self.on_request(request, flow, now),
                Err(bad) => {
                    self.metrics.dropped(DropReason::Malformed);
                    self.answer_bare(&bad.message, bad.reason, &Refusal::new(bad.status), flow);
                }
            },
        }
    }

    fn on_request(&mut self, request: Request, flow: Flow, now: Now) {
        let key = self.server.key(&request);
        // What changes nothing is answered without keeping anything, RFC 3261 §8.2.7.
        if let Err(refusal) = self.check(&request) {
            return self.refuse(&request, key, flow, &refusal, now.at, now);
        }
        if request.method().as_str() == "OPTIONS" {
            return self.answer_options(&request, key, flow, now);
        }
        match self.server.look(key) {
            Begin::New => {}
            Begin::Retransmission(answer) => {
                let answer = answer.cloned();
                self.metrics.retransmitted(Direction::In);
                if let Some(packet) = answer {
                    self.reply(reply_destination(&request, flow), packet);
                }
                return;
            }
            Begin::Merged => return self.refuse(&request, key, flow, &Refusal::new(482).because("merged request"), now.at, now),
            Begin::Full => return self.refuse(&request, key, flow, &Refusal::unavailable(), now.at, now),
        }
        self.on_subscribe(request, key, flow, now);
    }

    /// What every request must pass. Source: RFC 3261 §8.2, §16.3.
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        match request.max_forwards() {
            Some(Ok(0)) => return Err(Refusal::new(483)),
            Some(Err(_)) => return Err(Refusal::new(400).because("Max-Forwards is no number up to 255")),
            _ => {}
        }
        let mut vias = request.message().values(Name::Via).filter_map(Via::parse).enumerate();
        if vias.any(|(at, via)| self.is_own_branch(&via) || at > 0 && self.is_own_address(&via)) {
            return Err(Refusal::new(482).because("loop: this request has been here"));
        }
        match request.method().as_str() {
            "SUBSCRIBE" => Ok(()),
            "OPTIONS" => subscribe::supported(request),
            _ => Err(Refusal::method()),
        }
    }

    /// Whether this Via is on a NOTIFY of ours that has no answer yet: it has come back to us.
    fn is_own_branch(&self, via: &Via) -> bool {
        via.branch().is_some_and(|branch| self.client.has(branch))
    }

    /// Whether a hop before the last one was us. One that a later hop has seen at another address is behind a NAT, and only
    /// looks like us.
    fn is_own_address(&self, via: &Via) -> bool {
        let Some(port) = via.port else { return false };
        let is_seen_elsewhere = via.received().is_some_and(|received| via.host_ip() != Some(received));
        let sent_by = format!("{}:{port}", via.host);
        !is_seen_elsewhere && self.config.listeners.iter().any(|listener| listener.advertised.eq_ignore_ascii_case(&sent_by))
    }

    fn answer_options(&mut self, request: &Request, key: TransactionKey, flow: Flow, now: Now) {
        // Whoever asks before it sends us more is told that we take no more.
        if self.drains_since.is_some() {
            return self.refuse(request, key, flow, &Refusal::unavailable(), now.at, now);
        }
        let mut writer = response::response(request, 200, flow.peer);
        writer.to_tag(&key.tag());
        writer.header("Allow", ALLOW);
        writer.header("Accept", package::accept());
        writer.header("Allow-Events", package::allow_events());
        self.finish(request, key, flow, 200, writer.finish(), now.at, now);
    }

    /// A SUBSCRIBE that may make a subscription.
    pub(in crate::edge::notifier) fn on_initial(&mut self, arrival: Arrival, presentity: Presentity, identity: Identity, now: Now) {
        let Arrival { request, key, flow, at, cause } = arrival;
        let admitted = if self.config.auth.may_subscribe(&identity, &presentity) {
            subscribe::admit(&request, flow, false, &self.config, &self.table)
        } else {
            Err(self.forbidden(policy::FOREIGN_PRESENTITY))
        };
        let mut subscribe = match admitted {
            Ok(subscribe) => subscribe,
            Err(refusal) => return self.refuse(&request, key, flow, &refusal, at, now),
        };
        subscribe.watcher = identity.watcher(&subscribe.watcher, &presentity);
        subscribe.is_trusted = self.config.auth.may_lead_elsewhere(&identity, flow.peer.ip());
        if let Some(id) = self.same_as_before_restart(&request, &presentity, &identity) {
            return self.take_in_dialog(id, exchange(Arrival { request, key, flow, at, cause }, subscribe, identity), now);
        }
        let held = self.watchers.get(&presentity).map_or(0, smallvec::SmallVec::len);
        let refusal = if self.refuses_new() || self.backlog.is_long() || self.subscriptions.len() >= self.config.max_subscriptions {
            Some(Refusal::unavailable())
        } else if subscribe.granted_seconds > 0 && held >= self.config.max_subscriptions_per_presentity {
            Some(Refusal::too_many_watchers())
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.refuse(&request, key, flow, &refusal, at, now);
        }
        let id = SubscriptionId::random();
        let dialog = dialog_of(&request, &subscribe);
        let expires_at = now.at + std::time::Duration::from_secs(subscribe.granted_seconds.into());
        let subscription = Subscription::new(id, presentity.clone(), dialog, &subscribe, expires_at);
        self.subscriptions.insert(id, Box::new(subscription));
        let exchange = Box::new(exchange(Arrival { request, key, flow, at, cause }, subscribe, identity));
        if exchange.subscribe.granted_seconds == 0 {
            self.fetch(id, &exchange, now);
        } else {
            self.watchers.entry(presentity).or_default().push(id);
            self.store(id, exchange, now);
        }
    }

    /// The subscription that this request has made already, if it was sent again over a restart.
    fn same_as_before_restart(&mut self, request: &Request, presentity: &Presentity, identity: &Identity) -> Option<SubscriptionId> {
        let ids = self.watchers.get(presentity)?;
        let is_same = |one: &Subscription| {
            one.is_restored && one.phase == Phase::Live && is_dialog_of(request, &one.dialog) && request.cseq() == one.dialog.remote_cseq
        };
        let id = *ids.iter().find(|id| self.subscriptions.get(*id).is_some_and(|one| is_same(one)))?;
        let subscription = self.subscriptions.get_mut(&id)?;
        let may = identity.may_use_dialog_of(&subscription.watcher, presentity);
        subscription.is_restored &= !may;
        may.then_some(id)
    }

    /// A fetch keeps nothing: its answer and its NOTIFYs are all there is. Source: RFC 6665 §4.4.3.
    fn fetch(&mut self, id: SubscriptionId, exchange: &Exchange, now: Now) {
        self.accept(id, exchange, now);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.phase = Phase::Ending;
        let ends = Some(Ending::AfterAll);
        self.queue_works(id, exchange, ends, true, now);
    }

    /// A SUBSCRIBE in a dialog.
    pub(in crate::edge::notifier) fn on_in_dialog(&mut self, arrival: Arrival, identity: Identity, now: Now) {
        let Arrival { request, key, flow, at, .. } = &arrival;
        let Some(id) = request.to().tag().and_then(|tag| tag.parse::<SubscriptionId>().ok()) else {
            return self.refuse(request, *key, *flow, &Refusal::no_subscription(), *at, now);
        };
        if let Err(refusal) = self.enter_dialog(id, request, &identity) {
            return self.refuse(request, *key, *flow, &refusal, *at, now);
        }
        match subscribe::admit(request, *flow, true, &self.config, &self.table) {
            Ok(mut subscribe) => {
                subscribe.is_trusted = self.config.auth.may_lead_elsewhere(&identity, flow.peer.ip());
                self.take_in_dialog(id, exchange(arrival, subscribe, identity), now);
            }
            Err(refusal) => {
                self.refuse(request, *key, *flow, &refusal, *at, now);
                self.confirm(id, refusal.confirm, now);
            }
        }
    }

    /// Whether a request may be in the dialog of a subscription, as far as this edge knows; its `CSeq` is used up then.
    fn enter_dialog(&mut self, id: SubscriptionId, request: &Request, identity: &Identity) -> Result<(), Refusal> {
        let is_full = self.refuses_new() || self.lookups >= MAX_LOOKUPS;
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            // Ended here, but the bucket does not know yet.
            if self.removals.contains_key(&id) {
                return Err(Refusal::no_subscription());
            }
            return if is_full { Err(Refusal::unavailable()) } else { Ok(()) };
        };
        if !is_dialog_of(request, &subscription.dialog) || subscribe::is_of_other_package(request, subscription.package) {
            return Err(Refusal::no_subscription());
        }
        if !identity.may_use_dialog_of(&subscription.watcher, &subscription.presentity) {
            return Err(self.forbidden(policy::FOREIGN_DIALOG));
        }
        match subscription.phase {
            Phase::Ending => Err(Refusal::no_subscription()),
            // Ended here, perhaps moved: whoever has it will know.
            Phase::Over => Err(Refusal::unavailable()),
            _ if request.cseq() < subscription.dialog.remote_cseq => Err(Refusal::cseq_too_low()),
            // Sent again over a restart, it has its answer again.
            _ if request.cseq() == subscription.dialog.remote_cseq && !subscription.is_restored => Err(Refusal::cseq_too_low()),
            Phase::Live | Phase::Storing => {
                subscription.is_restored = false;
                subscription.dialog.remote_cseq = request.cseq();
                Ok(())
            }
        }
    }

    pub(in crate::edge::notifier) fn take_in_dialog(&mut self, id: SubscriptionId, exchange: Exchange, now: Now) {
        let refuses_new = self.refuses_new();
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            let cause = exchange.cause.clone();
            return self.ask(BusRequest::Lookup { id }, Wait::Lookup(id, Box::new(exchange)), cause, now);
        };
        if refuses_new || !subscription.lane.has_room() {
            return self.refuse_exchange(&exchange, &Refusal::unavailable(), now);
        }
        if subscription.lane.is_storing() {
            subscription.lane.waiting.push_back(Box::new(exchange));
        } else {
            self.store(id, Box::new(exchange), now);
        }
    }

    /// After a refusal in a dialog, the phone is told how things are.
    fn confirm(&mut self, id: SubscriptionId, confirm: Confirm, now: Now) {
        let task = match confirm {
            Confirm::Nothing => return,
            Confirm::Feature(feature) => Task::Confirm { feature, refused: None },
            Confirm::Everything => Task::Everything,
        };
        if let Some(subscription) = self.subscriptions.get_mut(&id)
            && subscription.lane.has_room()
        {
            subscription.lane.works.push_back(Work { task, cause: Cause::new(), since: now.at, ends: None, is_owed: true });
            self.run_works(id, now);
        }
    }

    /// Sends a final response, and keeps it for retransmissions where a transaction was begun.
    #[expect(clippy::too_many_arguments, reason = "a response is made of just these")]
    pub(in crate::edge::notifier) fn finish(
        &mut self,
        request: &Request,
        key: TransactionKey,
        flow: Flow,
        status: u16,
        packet: Bytes,
        arrived_at: Instant,
        now: Now,
    ) {
        self.count(request, flow, status, arrived_at, now);
        self.server.complete(key, packet.clone(), flow.transport.is_reliable(), now.at);
        self.reply(reply_destination(request, flow), packet);
    }

    pub(in crate::edge::notifier) fn reply(&mut self, to: Destination, packet: Bytes) {
        self.output.push_back(Output::Send { to, packet, notify: None });
    }

    pub(in crate::edge::notifier) fn refuse(
        &mut self,
        request: &Request,
        key: TransactionKey,
        flow: Flow,
        refusal: &Refusal,
        arrived_at: Instant,
        now: Now,
    ) {
        let packet = self.written(request, flow, refusal);
        self.finish(request, key, flow, refusal.status, packet, arrived_at, now);
    }

    pub(in crate::edge::notifier) fn written(&self, request: &Request, flow: Flow, refusal: &Refusal) -> Bytes {
        let mut writer = response::response(request, refusal.status, flow.peer);
        writer.to_tag(&self.server.key(request).tag());
        self.write_refusal(&mut writer, refusal, flow);
        writer.finish()
    }

    fn write_refusal(&self, writer: &mut ResponseWriter<'_>, refusal: &Refusal, flow: Flow) {
        for (name, value) in &refusal.headers {
            writer.header(name, value);
        }
        if let Some(warning) = &refusal.warning {
            writer.header("Warning", warning_value(self.advertised(flow), warning));
        }
    }

    /// Answers what could be read only in part, if it has all that a response echoes.
    fn answer_bare(&mut self, message: &Message, reason: &str, refusal: &Refusal, flow: Flow) {
        let Start::Request { method, .. } = message.start() else { return };
        let Some(mut writer) = response::to_message(message, refusal.status, reason, flow.peer) else { return };
        writer.to_tag("malformed");
        let packet = writer.finish();
        self.metrics.request(method_label(method), flow.transport, refusal.status);
        let via = message.values(Name::Via).next().and_then(Via::parse);
        self.reply(via.map_or(Destination::Flow(flow), |via| via_destination(&via, flow)), packet);
    }

    pub(in crate::edge::notifier) fn count(&self, request: &Request, flow: Flow, status: u16, arrived_at: Instant, now: Now) {
        let method = method_label(request.method());
        self.metrics.request(method, flow.transport, status);
        self.metrics.request_took(method, now.at.saturating_duration_since(arrived_at));
    }
}

/// Where a response goes: back to where the request came from, as its Via allows. Source: RFC 3261 §18.2.2, RFC 3581.
pub(in crate::edge::notifier) fn reply_destination(request: &Request, flow: Flow) -> Destination {
    via_destination(request.top_via(), flow)
}

fn via_destination(via: &Via, flow: Flow) -> Destination {
    if flow.transport.is_reliable() {
        return Destination::Flow(flow);
    }
    Destination::Flow(Flow { peer: response::response_destination(via, flow.peer), ..flow })
}

fn exchange(arrival: Arrival, subscribe: Subscribe, identity: Identity) -> Exchange {
    let Arrival { request, key: transaction, at: arrived_at, cause, .. } = arrival;
    Exchange { request, transaction, subscribe, identity, cause, arrived_at, expires_before: None, retried: false }
}

fn is_dialog_of(request: &Request, dialog: &Dialog) -> bool {
    request.call_id() == &*dialog.call_id && request.from().tag().unwrap_or_default() == &*dialog.remote_tag
}

fn dialog_of(request: &Request, subscribe: &Subscribe) -> Dialog {
    Dialog {
        call_id: request.call_id().into(),
        remote_tag: request.from().tag().unwrap_or_default().into(),
        local: request.to().uri.clone(),
        remote: request.from().uri.clone(),
        target: subscribe.contact.clone().unwrap_or_default(),
        routes: request.record_route(),
        event_id: subscribe.event_id.clone(),
        remote_cseq: request.cseq(),
        local_cseq: 0,
    }
}

/// `399 agent "text"`. Source: RFC 3261 §20.43.
fn warning_value(agent: &str, text: &str) -> String {
    let text: String =
        text.chars().filter(|c| !c.is_control()).flat_map(|c| (matches!(c, '"' | '\\')).then_some('\\').into_iter().chain([c])).collect();
    format!("399 {agent} \"{text}\"")
}
