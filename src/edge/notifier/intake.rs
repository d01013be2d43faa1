//! Requests from their packet to the decision what they are: refused, a fetch, a new subscription, or one in a dialog.

use std::time::Duration;

use crate::bus::message::{AuthRequest, AuthResponse, ErrorBody, Kind};
use crate::bus::trace::Cause;
use crate::edge::gate::Sender;
use crate::edge::gate::policy::Identity;
use crate::edge::gate::rate_limit::Admission;
use crate::edge::metrics::{Direction, DropReason};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::{BusRequest, Output};
use crate::edge::notifier::state::bus_requests::{Unproven, Wait};
use crate::edge::notifier::state::responses;
use crate::edge::refusal::{ALLOW, Confirm, Refusal};
use crate::edge::subscribe::{self, Subscribe};
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::lane::{Arrival, Exchange, Query, Question};
use crate::edge::subscription::outbox::Ending;
use crate::edge::subscription::{Dialog, Phase, Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::runtime::clock::Now;
use crate::sip::digest::{Credentials, Ha1};
use crate::sip::flow::{Flow, Transport};
use crate::sip::header::Via;
use crate::sip::message::{self, Fault, Start};
use crate::sip::name::Name;
use crate::sip::request::Request;
use crate::sip::response;
use crate::sip::stun;
use crate::sip::transaction::Begin;

/// A responder's error code for a user whom it does not know.
const UNKNOWN_USER: u16 = 404;

impl Notifier {
    pub(super) fn on_packet(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        match self.gate.admit(flow.peer.ip(), bytes, now.at) {
            Admission::Admitted => {}
            Admission::Refused => {
                self.output.extend(self.responses.refuse_unread(flow, bytes, now));
                return self.note_rate_limited(flow, bytes, now);
            }
            Admission::Dropped => return self.note_rate_limited(flow, bytes, now),
        }
        // A keep-alive over UDP, RFC 5626 §3.5.2. One that is unreadable is no SIP either.
        if flow.transport == Transport::Udp
            && stun::is_stun(bytes)
            && let Some(packet) = stun::binding_response(bytes, flow.peer)
        {
            return self.output.push_back(Output::Send { to: Destination::Flow(flow), packet, notify: None });
        }
        let message = match message::parse(bytes) {
            Ok(message) => message,
            // A keep-alive.
            Err(error) if error.fault() == Fault::Empty => return,
            Err(error) => {
                self.metrics.dropped(DropReason::Unparsable);
                if let Some(message) = error.answerable() {
                    self.refuse_malformed(message, error.reason(), error.status(), flow, now);
                }
                return;
            }
        };
        match message.start() {
            Start::Response { .. } => self.on_response(message, bytes, flow, now),
            Start::Request { method, .. } if method.as_str() == "ACK" => self.metrics.dropped(DropReason::Ack),
            Start::Request { .. } => match Request::from_message(message) {
                Ok(request) => self.on_request(request, flow, now),
                Err(bad) => {
                    self.metrics.dropped(DropReason::Malformed);
                    self.refuse_malformed(&bad.message, bad.reason, bad.status, flow, now);
                }
            },
        }
    }

    fn on_request(&mut self, request: Request, flow: Flow, now: Now) {
        let key = self.responses.key(&request);
        let arrival = Arrival { request, key, flow, at: now.at, cause: Cause::begin() };
        // What changes nothing is answered without keeping anything, RFC 3261 §8.2.7.
        if let Err(refusal) = self.check(&arrival.request) {
            return self.refuse(&arrival, &refusal, now);
        }
        if arrival.request.method().as_str() == "OPTIONS" {
            return self.answer_options(&arrival, now);
        }
        match self.responses.look(key) {
            Begin::New => self.on_subscribe(arrival, now),
            Begin::Retransmission(answer) => {
                self.metrics.retransmitted(Direction::In);
                self.output.extend(answer.map(|packet| responses::back(&arrival.request, flow, packet.clone())));
            }
            Begin::Merged => self.refuse(&arrival, &Refusal::new(482).because("merged request"), now),
            Begin::Full => self.refuse(&arrival, &Refusal::unavailable(), now),
        }
    }

    /// What every request must pass. Source: RFC 3261 §8.2, §16.3.
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        match request.max_forwards() {
            Some(Ok(0)) => return Err(Refusal::new(483)),
            Some(Err(_)) => return Err(Refusal::new(400).because("Max-Forwards is no number up to 255")),
            _ => {}
        }
        let is_own_branch = |via: &Via| via.branch().is_some_and(|branch| self.delivery.has(branch));
        let mut vias = request.message().values(Name::Via).filter_map(Via::parse).enumerate();
        if vias.any(|(at, via)| is_own_branch(&via) || at > 0 && self.is_own_address(&via)) {
            return Err(Refusal::new(482).because("loop: this request has been here"));
        }
        match request.method().as_str() {
            "SUBSCRIBE" => Ok(()),
            "OPTIONS" => subscribe::supported(request),
            _ => Err(Refusal::method()),
        }
    }

    /// Whether a hop before the last one was us. One that a later hop has seen at another address is behind a NAT, and only
    /// looks like us.
    fn is_own_address(&self, via: &Via) -> bool {
        let Some(port) = via.port else { return false };
        let is_seen_elsewhere = via.received().is_some_and(|received| via.host_ip() != Some(received));
        let sent_by = format!("{}:{port}", via.host);
        !is_seen_elsewhere && self.config.listeners.iter().any(|listener| listener.advertised.eq_ignore_ascii_case(&sent_by))
    }

    fn answer_options(&mut self, arrival: &Arrival, now: Now) {
        // Whoever asks before it sends us more is told that we take no more.
        if self.availability.is_draining() {
            return self.refuse(arrival, &Refusal::unavailable(), now);
        }
        let mut writer = response::response(&arrival.request, 200, arrival.flow.peer);
        writer.to_tag(&arrival.key.tag());
        writer.header("Allow", ALLOW);
        writer.header("Accept", self.table.accept());
        writer.header("Allow-Events", self.table.allow_events());
        self.output.push_back(self.responses.finish(arrival, 200, writer.finish(), now));
    }

    /// A SUBSCRIBE that is no retransmission: its transaction begins once it is known who sent it.
    fn on_subscribe(&mut self, arrival: Arrival, now: Now) {
        let presentity = match self.presentity_of(&arrival.request) {
            Ok(presentity) => presentity,
            Err(refusal) => return self.refuse(&arrival, &refusal, now),
        };
        match self.gate.identify(&arrival.request, arrival.flow.peer.ip(), presentity.as_ref(), now.at) {
            Sender::Refused(refusal) => self.refuse(&arrival, &refusal, now),
            Sender::Known(identity) => {
                self.responses.begin(arrival.key, now.at);
                self.proceed(arrival, presentity, identity, now);
            }
            Sender::Ask(presentity, credentials) => self.ask_responder(arrival, presentity, credentials, now),
        }
    }

    /// Whose features a SUBSCRIBE is about, as far as it matters here: in a dialog, only the realm of a digest hangs on it.
    fn presentity_of(&self, request: &Request) -> Result<Option<Presentity>, Refusal> {
        let Some(tag) = request.to().tag() else { return subscribe::presentity(request, &self.config).map(Some) };
        if !self.gate.needs_realm() {
            return Ok(None);
        }
        let id = tag.parse::<SubscriptionId>().map_err(|_| Refusal::no_subscription())?;
        // Its dialog may be with another edge, or be made up.
        if let Some(subscription) = self.registry.get(id) {
            return Ok(Some(subscription.presentity.clone()));
        }
        let named = [&*request.to().uri, &*request.from().uri];
        named.into_iter().find_map(|uri| Presentity::parse(uri).ok()).map(Some).ok_or_else(Refusal::no_subscription)
    }

    /// A digest cannot be checked with what is known here.
    fn ask_responder(&mut self, arrival: Arrival, presentity: Presentity, credentials: Credentials, now: Now) {
        if self.refuses_new() || !self.requests.has_room_for_auth() {
            let refusal = self.gate.unavailable();
            return self.refuse(&arrival, &refusal, now);
        }
        // From here on retransmissions wait for the same answer.
        self.responses.begin(arrival.key, now.at);
        let request = AuthRequest {
            kind: Kind::default(),
            username: credentials.username.to_string(),
            realm: credentials.realm.to_string(),
            algorithm: credentials.algorithm.as_str().to_owned(),
        };
        let (request, cause) = (BusRequest::Auth { presentity: presentity.clone(), request }, arrival.cause.clone());
        self.ask(request, Wait::Auth(Box::new(Unproven { arrival, presentity, credentials })), cause, now);
    }

    /// A responder's answer: the HA1, or that it knows no such user.
    pub(super) fn on_account(&mut self, unproven: Unproven, answer: Result<AuthResponse, ErrorBody>, now: Now) {
        let Unproven { arrival, presentity, credentials } = unproven;
        let known = match answer {
            Ok(response) => Ha1::parse(credentials.algorithm, &response.ha1).map(Some),
            Err(error) if error.code == UNKNOWN_USER => Some(None),
            Err(_) => None,
        };
        let Some(ha1) = known else {
            let refusal = self.gate.unavailable();
            return self.refuse(&arrival, &refusal, now);
        };
        match self.gate.prove(credentials, &presentity, arrival.request.method().as_str(), ha1, now.at) {
            Ok(identity) => self.proceed(arrival, Some(presentity), identity, now),
            Err(refusal) => {
                self.responses.forget(arrival.key);
                self.refuse(&arrival, &refusal, now);
            }
        }
    }

    /// On with a SUBSCRIBE of a known sender.
    fn proceed(&mut self, arrival: Arrival, presentity: Option<Presentity>, identity: Identity, now: Now) {
        match presentity {
            Some(presentity) if arrival.request.to().tag().is_none() => self.on_initial(arrival, presentity, identity, now),
            _ => self.on_in_dialog(arrival, identity, now),
        }
    }

    /// A SUBSCRIBE that may make a subscription.
    fn on_initial(&mut self, arrival: Arrival, presentity: Presentity, identity: Identity, now: Now) {
        let is_allowed = self.gate.check_presentity(&identity, &presentity);
        let admitted = is_allowed.and_then(|()| self.admit(&arrival, false, &identity));
        let mut subscribe = match admitted.and_then(|subscribe| self.leads_elsewhere(subscribe, &presentity)) {
            Ok(subscribe) => subscribe,
            Err(refusal) => return self.refuse(&arrival, &refusal, now),
        };
        subscribe.watcher = identity.watcher(&subscribe.watcher, &presentity);
        if let Some(id) = self.same_as_before_restart(&arrival.request, &presentity, &identity) {
            let exchange = Box::new(Exchange::new(arrival, subscribe, identity));
            return self.step_of(id, |notifier, subscription| {
                subscription.is_restored = false;
                notifier.take_in_dialog(subscription, exchange, now);
            });
        }
        if let Err(refusal) = self.check_room(&presentity, subscribe.granted_seconds) {
            return self.refuse(&arrival, &refusal, now);
        }
        let dialog = dialog_of(&arrival.request, &subscribe);
        let expires_at = now.at + Duration::from_secs(subscribe.granted_seconds.into());
        let mut subscription = Box::new(Subscription::new(SubscriptionId::random(), presentity, dialog, &subscribe, expires_at));
        let exchange = Box::new(Exchange::new(arrival, subscribe, identity));
        if exchange.subscribe.granted_seconds == 0 {
            self.fetch(&mut subscription, &exchange, now);
        } else {
            self.store(&mut subscription, exchange, now);
        }
        self.registry.check_in(subscription);
    }

    /// What a SUBSCRIBE asks for, if it is admitted.
    fn admit(&self, arrival: &Arrival, is_in_dialog: bool, identity: &Identity) -> Result<Subscribe, Refusal> {
        let Arrival { request, flow, .. } = arrival;
        let mut subscribe = subscribe::admit(request, *flow, is_in_dialog, &self.config, &self.table)?;
        subscribe.is_trusted = self.config.auth.may_lead_elsewhere(identity, flow.peer.ip());
        Ok(subscribe)
    }

    /// A SUBSCRIBE whose change leads no forward back to its presentity, where the configuration forbids that.
    fn leads_elsewhere(&self, subscribe: Subscribe, presentity: &Presentity) -> Result<Subscribe, Refusal> {
        let Some(change) = &subscribe.change else { return Ok(subscribe) };
        let Some(spec) = self.table.find(&change.feature) else { return Ok(subscribe) };
        match spec.check_own_target(presentity.as_str(), &change.values) {
            Ok(()) => Ok(subscribe),
            Err(error) => {
                let confirm = Confirm::Feature(change.feature.clone());
                Err(Refusal { confirm, ..Refusal::new(400).because(error.to_string()) })
            }
        }
    }

    /// Whether there is room for one more subscription to this presentity. A fetch is none.
    fn check_room(&self, presentity: &Presentity, granted_seconds: u32) -> Result<(), Refusal> {
        if self.refuses_new() || self.requests.is_backlog_long() || self.registry.len() >= self.config.max_subscriptions {
            return Err(Refusal::unavailable());
        }
        if granted_seconds > 0 && self.registry.count_of(presentity) >= self.config.max_subscriptions_per_presentity {
            return Err(Refusal::too_many_watchers());
        }
        Ok(())
    }

    /// The subscription that this request has made already, if it was sent again over a restart.
    fn same_as_before_restart(&self, request: &Request, presentity: &Presentity, identity: &Identity) -> Option<SubscriptionId> {
        let is_same = |one: &&Subscription| {
            one.is_restored && one.phase == Phase::Live && is_dialog_of(request, &one.dialog) && request.cseq() == one.dialog.remote_cseq
        };
        let subscription = self.registry.watchers_of(presentity).find(is_same)?;
        identity.may_use_dialog_of(&subscription.watcher, presentity).then_some(subscription.id)
    }

    /// A fetch keeps nothing: its answer and its NOTIFYs are all there is. Source: RFC 6665 §4.4.3.
    fn fetch(&mut self, subscription: &mut Subscription, exchange: &Exchange, now: Now) {
        (subscription.phase, subscription.is_unrecorded) = (Phase::Ending, true);
        self.accept(subscription, exchange, now);
        self.queue_queries(subscription, exchange, Some(Ending::AfterAll), true, now);
    }

    /// A SUBSCRIBE in a dialog.
    fn on_in_dialog(&mut self, arrival: Arrival, identity: Identity, now: Now) {
        let Some(id) = arrival.request.to().tag().and_then(|tag| tag.parse::<SubscriptionId>().ok()) else {
            return self.refuse(&arrival, &Refusal::no_subscription(), now);
        };
        // Its dialog may be with another edge, or be made up: then the bucket is asked.
        let mut held = self.registry.check_out(id);
        let before = held.as_ref().map(|subscription| subscription.dialog.remote_cseq);
        let entered = match &mut held {
            Some(subscription) => self.enter_dialog(subscription, &arrival.request, &identity),
            None => self.may_look_up(id),
        };
        let admitted = entered.and_then(|()| self.admit(&arrival, true, &identity)).and_then(|subscribe| match &held {
            Some(subscription) => self.leads_elsewhere(subscribe, &subscription.presentity),
            // A worker will say.
            None => Ok(subscribe),
        });
        match (admitted, &mut held) {
            (Ok(subscribe), Some(subscription)) => {
                let is_next = before.and_then(|cseq| cseq.checked_add(1)) == Some(arrival.request.cseq());
                let exchange = Box::new(Exchange { is_next, ..Exchange::new(arrival, subscribe, identity) });
                self.take_in_dialog(subscription, exchange, now);
            }
            (Ok(subscribe), None) => {
                let cause = arrival.cause.clone();
                let exchange = Box::new(Exchange::new(arrival, subscribe, identity));
                self.ask(BusRequest::Lookup { id }, Wait::Lookup(id, exchange), cause, now);
            }
            (Err(refusal), held) => {
                self.refuse(&arrival, &refusal, now);
                if let Some(subscription) = held {
                    self.confirm(subscription, refusal.confirm, now);
                }
            }
        }
        if let Some(subscription) = held {
            self.registry.check_in(subscription);
        }
    }

    fn may_look_up(&self, id: SubscriptionId) -> Result<(), Refusal> {
        // Ended here, but the bucket does not know yet.
        if self.removals.under_way(id).is_some() {
            return Err(Refusal::no_subscription());
        }
        if self.refuses_new() || !self.requests.has_room_for_lookup() { Err(Refusal::unavailable()) } else { Ok(()) }
    }

    /// Whether a request may be in the dialog of a subscription; its `CSeq` is used up then.
    fn enter_dialog(&self, subscription: &mut Subscription, request: &Request, identity: &Identity) -> Result<(), Refusal> {
        if !is_dialog_of(request, &subscription.dialog)
            || subscribe::is_of_other_event(request, &self.table, subscription.package, subscription.dialog.event_id())
        {
            return Err(Refusal::no_subscription());
        }
        self.gate.check_dialog(identity, &subscription.watcher, &subscription.presentity)?;
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

    /// After a refusal in a dialog, the phone is told how things are.
    fn confirm(&mut self, subscription: &mut Subscription, confirm: Confirm, now: Now) {
        let what = match confirm {
            Confirm::Nothing => return,
            Confirm::Feature(feature) => Question::Confirm { feature, refused: None },
            Confirm::Everything => Question::FullState,
        };
        if subscription.lane.has_room() {
            subscription.lane.queries.push_back(Query { what, cause: Cause::new(), since: now.at, ends: None, is_owed: true });
            self.ask_next(subscription, now);
        }
    }
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
        event: subscribe.event.clone(),
        remote_cseq: request.cseq(),
        local_cseq: 0,
    }
}
