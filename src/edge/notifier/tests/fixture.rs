//! A notifier on a test bench: phones and bus are played by the test, time is its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::bus::message::{EndReason, ErrorBody, ErrorReply, GetResponse, Kind, NotifyJob, Origin, RouteSetResponse, SubscriptionChange};
use crate::config::{InitialNotify, PresentityFrom, SubscriptionConfig};
use crate::edge::config::{Listener, Place};
use crate::edge::event::Event;
use crate::edge::gate::policy::AuthPolicy;
use crate::edge::gate::rate_limit::RateLimitConfig;
use crate::edge::limit::CAPACITIES;
pub(in crate::edge::notifier) use crate::edge::notifier::tests::request::{set_dnd, subscribe};
use crate::edge::notifier::*;
use crate::edge::profile::Profiles;
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::record::Record;
use crate::feature::{FeatureState, Status};
use crate::runtime::clock;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::locate::HostName;
use crate::sip::message::{Message, Start, parse};
use crate::sip::name::Name;

pub(in crate::edge::notifier) struct Bench {
    pub notifier: Notifier,
    pub now: Now,
    pub flow: Flow,
    /// Messages sent, oldest first.
    pub sent: VecDeque<(Destination, Message)>,
    pub asked: VecDeque<(Token, BusRequest)>,
    pub events: Vec<Event>,
    pub fan_outs: Vec<FanOut>,
    pub done: Vec<JobHandle>,
    /// Jobs for other edges.
    pub moved: Vec<JobHandle>,
    /// Responses for other notifier threads.
    pub handed_over: Vec<(u8, Bytes)>,
    /// Names to be located.
    pub located: VecDeque<Arc<HostName>>,
    /// Bytes of the largest packet sent.
    pub largest: usize,
    revision: u64,
    /// Whether what is stored to say that all is told is acknowledged without further ado.
    pub acks_told: bool,
    /// The last of these records, with its key.
    pub told: Option<(String, Record)>,
}

pub(in crate::edge) fn config() -> EdgeConfig {
    EdgeConfig {
        edge_id: "edge-0".into(),
        place: Place::ALONE,
        listeners: vec![
            listener(Transport::Udp, "192.0.2.1:5060"),
            listener(Transport::Tcp, "192.0.2.1:5060"),
            listener(Transport::Udp, "[2001:db8::1]:5060"),
            listener(Transport::Udp, "192.0.2.1:5070"),
        ],
        domains: Vec::new(),
        presentity_from: PresentityFrom::RequestUri,
        initial_notify: InitialNotify::Auto,
        udp_notify_limit_bytes: 1300,
        max_subscriptions: 100,
        max_subscriptions_per_presentity: 3,
        subscription: SubscriptionConfig::default(),
        // The phones' own proxy, where a test has one.
        auth: AuthPolicy { trusted: vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()], ..AuthPolicy::open() },
        rate_limit: RateLimitConfig::off(),
        passthrough: false,
        profiles: Profiles::default(),
        store_timeout: Duration::from_secs(1),
        // Tests of what is stored ask for it.
        unstored_for: Duration::ZERO,
        route_timeout: Duration::from_millis(1500),
        drain_patience: Duration::from_secs(6),
        silent_after: Duration::from_secs(30),
    }
}

fn listener(transport: Transport, address: &str) -> Listener {
    Listener { transport, advertised: address.into(), address: address.parse().unwrap() }
}

impl Bench {
    pub(in crate::edge::notifier) fn new(config: EdgeConfig) -> Self {
        let now = clock::moment();
        let metrics = Arc::new(EdgeMetrics::new(&[Transport::Udp], &CAPACITIES));
        let notifier = Notifier::new(Arc::new(config), Arc::new(FeatureTable::built_in()), metrics, now);
        let peer: SocketAddr = "192.0.2.9:5062".parse().unwrap();
        let flow = Flow { transport: Transport::Udp, listener: 0, peer, connection: None };
        let mut bench = Self {
            notifier,
            now,
            flow,
            sent: VecDeque::new(),
            asked: VecDeque::new(),
            events: Vec::new(),
            fan_outs: Vec::new(),
            done: Vec::new(),
            moved: Vec::new(),
            handed_over: Vec::new(),
            located: VecDeque::new(),
            largest: 0,
            revision: 0,
            acks_told: true,
            told: None,
        };
        bench.input(Input::Bus { is_up: true });
        bench
    }

    pub(in crate::edge::notifier) fn input(&mut self, input: Input<'_>) {
        self.notifier.handle(input, self.now);
        let mut unsent = Vec::new();
        while let Some(output) = self.notifier.poll_output() {
            match output {
                Output::Send { to: Destination::Nowhere { .. }, notify, .. } => unsent.extend(notify),
                Output::Send { to, packet, .. } => {
                    self.largest = self.largest.max(packet.len());
                    self.sent.push_back((to, parse(&packet).unwrap()));
                }
                Output::Request { token, request, .. } => self.asked.push_back((token, request)),
                Output::Locate(host) => self.located.push_back(host),
                Output::FanOut(fan_out) => self.fan_outs.push(*fan_out),
                Output::Event(event) => self.events.push(*event),
                Output::HandOver { to, packet, .. } => self.handed_over.push((to, packet)),
                Output::JobDone(handle) => self.done.push(handle),
                Output::JobMoved(handle) => self.moved.push(handle),
                Output::Answered(..) => panic!("nothing is recorded"),
            }
        }
        for notify in unsent {
            self.input(Input::Undeliverable { notify, why: Unsent::NoWay });
        }
    }

    pub(in crate::edge::notifier) fn packet(&mut self, text: &str) {
        let text = text.replace('\n', "\r\n");
        self.input(Input::Packet { flow: self.flow, bytes: text.as_bytes() });
    }

    /// Lets time pass, with every timer fired at its time.
    pub(in crate::edge::notifier) fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(due) = self.notifier.poll_timeout().filter(|due| *due <= end) {
            self.advance_to(due);
            let before = self.asked.len();
            self.input(Input::Timeout);
            if self.acks_told {
                self.ack_told(before);
            }
        }
        self.advance_to(end);
    }

    /// Acknowledges what was stored to say that all is told: no test but those of that is concerned.
    fn ack_told(&mut self, before: usize) {
        let now = clock::rfc3339(self.now.utc);
        let is_told =
            |request: &BusRequest| matches!(request, BusRequest::Store { record, .. } if record.told_until.as_deref() == Some(&now));
        while let Some(at) = self.asked.iter().skip(before).position(|(_, request)| is_told(request)) {
            let Some((token, BusRequest::Store { id, record, .. })) = self.asked.remove(before + at) else { return };
            self.told = Some((id.to_string(), *record));
            self.revision += 1;
            self.stored(token, self.revision);
        }
    }

    fn advance_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.at);
        self.now = Now { at: self.now.at + step, utc: self.now.utc + step };
    }

    pub(in crate::edge::notifier) fn message(&mut self, token: Token, payload: &impl serde::Serialize) {
        self.raw(
            token,
            ReplyMessage {
                status: None,
                sequence: None,
                is_deleted: false,
                removed_over: None,
                payload: serde_json::to_vec(payload).unwrap().into(),
            },
        );
    }

    pub(in crate::edge::notifier) fn raw(&mut self, token: Token, message: ReplyMessage) {
        self.input(Input::Reply { token, reply: BusReply::Message(message) });
    }

    /// The next bus request, which must be a store, acknowledged.
    pub(in crate::edge::notifier) fn ack_store(&mut self) {
        let (token, request) = self.asked.pop_front().expect("a store");
        assert!(matches!(request, BusRequest::Store { .. } | BusRequest::Remove { .. }), "{request:?}");
        self.revision += 1;
        let ack = serde_json::json!({ "stream": "KV_dfks-subscriptions", "seq": self.revision });
        self.message(token, &ack);
    }

    /// The next bus request, which must be a get, answered with these features.
    pub(in crate::edge::notifier) fn answer_get(&mut self, features: Vec<FeatureState>) {
        let (token, request) = self.asked.pop_front().expect("a get");
        assert!(matches!(request, BusRequest::Get(_)), "{request:?}");
        self.message(token, &GetResponse { kind: Kind::default(), presentity: "sip:alice@10.0.0.11".into(), features });
    }

    /// The next bus request, which must be a change, answered as applied with the next version.
    pub(in crate::edge::notifier) fn apply_change(&mut self, edit: impl FnOnce(&mut RouteSetResponse)) {
        let (token, request) = self.asked.pop_front().expect("a change");
        let BusRequest::RouteSet(request) = request else { panic!("{request:?}") };
        assert_eq!(request.origin, Origin::Phone);
        let previous = FeatureState::new(&request.feature);
        let state = FeatureState { status: request.status, values: request.values, version: 1, ..previous.clone() };
        let presentity = request.presentity;
        let mut response = RouteSetResponse {
            kind: Kind::default(),
            presentity,
            state,
            previous,
            also: Vec::new(),
            also_previous: Vec::new(),
            notify: true,
            changed: true,
            denied: None,
            logged: false,
            work: None,
        };
        edit(&mut response);
        self.message(token, &response);
    }

    pub(in crate::edge::notifier) fn refuse_next(&mut self, code: u16) {
        let (token, _) = self.asked.pop_front().expect("a request");
        self.message(token, &ErrorReply { error: ErrorBody { code, description: "no".into(), field: None } });
    }

    /// The next message sent, which must be a response of this status.
    pub(in crate::edge::notifier) fn expect_response(&mut self, want: u16) -> Message {
        let (_, message) = self.sent.pop_front().unwrap_or_else(|| panic!("a {want}"));
        match message.start() {
            Start::Response { status, .. } => assert_eq!(status, want, "{:?}", message.header(Name::Warning)),
            Start::Request { method, .. } => panic!("{method} in place of {want}"),
        }
        message
    }

    /// The next message sent, which must be a NOTIFY.
    pub(in crate::edge::notifier) fn expect_notify(&mut self) -> Message {
        let (_, message) = self.sent.pop_front().expect("a NOTIFY");
        assert!(matches!(message.start(), Start::Request { method, .. } if method.is_notify()), "{message:?}");
        message
    }

    /// Answers a NOTIFY.
    pub(in crate::edge::notifier) fn respond(&mut self, notify: &Message, status: u16, more: &str) {
        let header = |name| notify.header(name).unwrap_or_default();
        let text = format!(
            "SIP/2.0 {status} Whatever\nVia: {}\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: {}\n{more}Content-Length: 0\n\n",
            header(Name::Via),
            header(Name::From),
            header(Name::To),
            header(Name::CallId),
            header(Name::CSeq)
        );
        self.packet(&text);
    }

    /// Subscribes alice's phone, answers everything, and gives the To tag.
    pub(in crate::edge::notifier) fn subscribe(&mut self, call_id: &str) -> String {
        self.packet(&subscribe(call_id, 1, None, "Expires: 3600\n", ""));
        self.ack_store();
        let tag = to_tag(&self.expect_response(200));
        self.answer_get(Vec::new());
        let notify = self.expect_notify();
        self.respond(&notify, 200, "");
        tag
    }

    /// The next bus request, which must be a store or removal; it stays unanswered.
    pub(in crate::edge::notifier) fn take_store(&mut self) -> (Token, BusRequest) {
        let (token, request) = self.asked.pop_front().expect("a store");
        assert!(matches!(request, BusRequest::Store { .. } | BusRequest::Remove { .. }), "{request:?}");
        (token, request)
    }

    pub(in crate::edge::notifier) fn stored(&mut self, token: Token, revision: u64) {
        self.message(token, &serde_json::json!({ "stream": "KV_dfks-subscriptions", "seq": revision }));
    }

    pub(in crate::edge::notifier) fn conflict(&mut self, token: Token) {
        let error = serde_json::json!({ "code": 400, "err_code": 10071, "description": "wrong last sequence" });
        self.message(token, &serde_json::json!({ "error": error, "stream": "s", "seq": 0 }));
    }

    /// Somebody wrote the key of a subscription.
    pub(in crate::edge::notifier) fn changed(&mut self, tag: &str, revision: u64, record: &Record) {
        self.input(Input::Change { key: tag, revision, value: Some(&serde_json::to_vec(record).unwrap()), removed_over: None });
    }

    /// A command has alice's `DoNotDisturb` told in this version.
    pub(in crate::edge::notifier) fn job(&mut self, version: u64, handle: u64) {
        let job = NotifyJob {
            kind: Kind::default(),
            id: handle.to_string(),
            presentity: "sip:alice@10.0.0.11".into(),
            states: vec![FeatureState { status: Status::ON, version, ..FeatureState::new("DoNotDisturb") }],
            assigned: true,
            skip: None,
            taken_from: None,
            not_after: "2999-01-01T00:00:00Z".into(),
            cause: Cause::new(),
        };
        self.input(Input::Job { job: Box::new(job), handle: JobHandle(handle), age: Duration::ZERO });
    }

    /// A phone of which it is not known what it was told last is told nothing before the workers say how things are now: alice's
    /// `DoNotDisturb` is on in this version.
    pub(in crate::edge::notifier) fn answer_what_was_missed(&mut self, version: u64) {
        self.pass(Duration::from_millis(20));
        assert!(self.sent.is_empty(), "it may have been told something newer");
        self.answer_get(vec![FeatureState { status: Status::ON, version, ..FeatureState::new("DoNotDisturb") }]);
    }

    /// From now on packets come on this connection.
    pub(in crate::edge::notifier) fn connect(&mut self, connection: u64) {
        let peer: SocketAddr = format!("192.0.2.9:{}", 40_000 + connection).parse().unwrap();
        self.flow = Flow { transport: Transport::Tcp, listener: 1, peer, connection: Some(ConnectionId(connection)) };
        self.input(Input::Opened(ConnectionId(connection)));
    }

    pub(in crate::edge::notifier) fn reasons(&self) -> Vec<EndReason> {
        let reason = |event: &Event| match event {
            Event::Subscription(_, event) if event.what == SubscriptionChange::Terminated => event.reason,
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    /// Nothing is left of anything.
    pub(in crate::edge::notifier) fn is_empty(&self) -> bool {
        let Notifier { registry, requests, jobs, delivery, .. } = &self.notifier;
        registry.is_empty() && requests.is_empty() && requests.lookups() == 0 && jobs.is_empty() && delivery.is_empty()
    }

    /// Whether a stop would be over now; what it stores is in [`Bench::asked`].
    pub(in crate::edge::notifier) fn is_put_down(&mut self) -> bool {
        self.input(Input::PutDown);
        self.notifier.is_put_down()
    }

    /// The bucket had this record at the start. `true` when it is taken up.
    pub(in crate::edge::notifier) fn restore(&mut self, key: &str, revision: u64, value: &[u8]) -> bool {
        let before = self.notifier.live().count();
        self.input(Input::Record { key, revision, value: Some(value) });
        self.notifier.live().count() > before
    }

    pub(in crate::edge::notifier) fn is_quiet(&self) -> bool {
        self.sent.is_empty() && self.asked.is_empty()
    }
}

/// What a SUBSCRIBE for an hour says.
pub(in crate::edge::notifier) const REFRESH: &str = "Expires: 3600\n";

pub(in crate::edge::notifier) fn other() -> Bench {
    Bench::new(EdgeConfig { edge_id: "edge-1".into(), ..config() })
}

/// A phone's live subscription at edge-0, at revision 7: its tag and its record.
pub(in crate::edge::notifier) fn live() -> (Bench, String, Record) {
    let mut bench = Bench::new(config());
    bench.packet(&subscribe("a", 1, None, REFRESH, ""));
    let (token, BusRequest::Store { record, .. }) = bench.take_store() else { panic!("a store") };
    bench.stored(token, 7);
    let tag = to_tag(&bench.expect_response(200));
    bench.answer_get(Vec::new());
    let notify = bench.expect_notify();
    bench.respond(&notify, 200, "");
    (bench, tag, *record)
}

pub(in crate::edge::notifier) fn to_tag(response: &Message) -> String {
    response.header(Name::To).unwrap().split("tag=").nth(1).unwrap().to_owned()
}

pub(in crate::edge::notifier) fn four(version: u64) -> Vec<FeatureState> {
    let names = ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer"];
    names.map(|name| FeatureState { version, status: Status::OFF, ..FeatureState::new(name) }).into()
}

pub(in crate::edge::notifier) fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}
