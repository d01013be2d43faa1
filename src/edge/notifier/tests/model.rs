//! A world for the notifier: phones, a bucket with revisions, workers; and what must hold whatever they do.
//!
//! - every request gets one final response, and its copies the same bytes;
//! - a subscription has one NOTIFY in flight, with growing `CSeq`, and none once it has ended;
//! - no `CSeq` is used that no stored record has reserved;
//! - every job is acknowledged once;
//! - when everything is answered and all time has passed, nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::bus::message::{ErrorBody, ErrorReply, GetResponse, Kind, NotifyJob, RouteSetResponse};
use crate::edge::limit::CAPACITIES;
use crate::edge::notifier::tests::fixture::config;
use crate::edge::notifier::tests::fixture::set_dnd;
use crate::edge::notifier::tests::fixture::subscribe;
use crate::edge::notifier::*;
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::record::Record;
use crate::feature::{FeatureState, Status};
use crate::runtime::clock;
use crate::sip::flow::{ConnectionId, Flow, Transport};
use crate::sip::message::Message;

/// How a SUBSCRIBE comes.
#[derive(Debug, Clone, Copy)]
pub(in crate::edge::notifier) enum Way {
    Udp,
    Tcp(u64),
    Proxy,
}

/// How the bus deals with a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::edge::notifier) enum How {
    Good,
    /// It is carried out, but the answer is lost.
    Unheard,
    NoResponders,
    Garbage,
    /// Denied, or an error.
    Refused,
    /// `notify=0`
    Hidden,
    /// `assigned=0`
    Unassigned,
}

/// What happens. A number picks one of what there is.
#[derive(Debug, Clone, Copy)]
pub(in crate::edge::notifier) enum Step {
    Subscribe { phone: usize, is_in_dialog: bool, expires: Option<u32>, body: &'static str, cseq_step: i64, way: Way },
    Resend(usize),
    Bus(usize, How),
    ReplyAgain(usize),
    Respond(usize, u16, &'static str),
    Job(bool),
    TakeElsewhere(usize),
    Purge(usize),
    HearOfChange,
    Pass(u64),
    BusIsUp(bool),
    Close(u64),
    Unsent(usize, bool),
}

#[derive(Default)]
pub(in crate::edge::notifier) struct Phone {
    pub tag: Option<String>,
    pub cseq: u32,
}

/// A request of a phone, by its branch.
pub(in crate::edge::notifier) struct Asked {
    pub flow: Flow,
    pub text: String,
    pub at: Instant,
    pub arrivals: usize,
    pub response: Option<Bytes>,
    pub responses: usize,
}

/// A NOTIFY without a final response.
pub(in crate::edge::notifier) struct Pending {
    pub message: Message,
    pub packet: Bytes,
    pub to: Destination,
    pub id: Option<NotifyId>,
}

/// What is under a key of the bucket.
pub(in crate::edge::notifier) struct Entry {
    pub revision: u64,
    pub record: Option<Record>,
    pub until: Instant,
}

pub(in crate::edge::notifier) struct World {
    pub notifier: Notifier,
    pub now: Now,
    pub phones: Vec<Phone>,
    pub requests: BTreeMap<String, Asked>,
    pub bus: Vec<(Token, BusRequest)>,
    pub answered: Vec<(Token, ReplyMessage)>,
    pub bucket: BTreeMap<String, Entry>,
    pub changes: VecDeque<(String, u64, Option<Record>)>,
    pub sequence: u64,
    pub version: u64,
    pub pending: BTreeMap<String, Pending>,
    pub last_cseq: BTreeMap<String, u32>,
    /// Up to which number a stored record of a subscription has reserved them.
    pub reserved: BTreeMap<String, u32>,
    pub ended: BTreeSet<String>,
    /// Keys that an operator removed, which the notifier may not know yet.
    pub purged: BTreeSet<String>,
    pub lasts: BTreeMap<String, u32>,
    pub jobs: u64,
    pub open_jobs: BTreeSet<u64>,
    pub branches: u64,
    /// Whether a removal was never carried out.
    pub has_lost_removal: bool,
    /// Subscriptions in the order of their coming: their own names are random.
    pub names: Vec<String>,
}

impl World {
    pub(in crate::edge::notifier) fn new() -> Self {
        let now = clock::moment();
        let metrics = Arc::new(EdgeMetrics::new(&Transport::ALL, &CAPACITIES));
        let config = EdgeConfig { unstored_for: Duration::from_secs(5), ..config() };
        let notifier = Notifier::new(Arc::new(config), Arc::new(FeatureTable::built_in()), metrics, now);
        let phones = (0..3).map(|_| Phone::default()).collect();
        let mut world = Self {
            notifier,
            now,
            phones,
            requests: BTreeMap::new(),
            bus: Vec::new(),
            answered: Vec::new(),
            bucket: BTreeMap::new(),
            changes: VecDeque::new(),
            sequence: 0,
            version: 0,
            pending: BTreeMap::new(),
            last_cseq: BTreeMap::new(),
            reserved: BTreeMap::new(),
            ended: BTreeSet::new(),
            purged: BTreeSet::new(),
            lasts: BTreeMap::new(),
            jobs: 0,
            open_jobs: BTreeSet::new(),
            branches: 0,
            has_lost_removal: false,
            names: Vec::new(),
        };
        world.input(Input::Bus { is_up: true });
        for connection in 1..4 {
            world.input(Input::Opened(ConnectionId(connection)));
        }
        world
    }

    pub(in crate::edge::notifier) fn take(&mut self, step: Step) {
        match step {
            Step::Subscribe { phone, is_in_dialog, expires, body, cseq_step, way } => {
                self.subscribe(phone, is_in_dialog, expires, body, cseq_step, way);
            }
            Step::Resend(at) => self.resend(at),
            Step::Bus(at, how) if !self.bus.is_empty() => {
                let (token, request) = self.bus.remove(at % self.bus.len());
                self.carry_out(token, request, how);
            }
            Step::ReplyAgain(at) if !self.answered.is_empty() => {
                let (token, message) = &self.answered[at % self.answered.len()];
                let again = BusReply::Message(ReplyMessage { payload: message.payload.clone(), ..*message });
                self.input(Input::Reply { token: *token, reply: again });
            }
            Step::Respond(at, status, more) => self.respond(at, status, more),
            Step::Job(is_assigned) => self.job(is_assigned),
            Step::TakeElsewhere(at) => self.rewrite(at, |record| {
                record.map(|record| Record {
                    edge_id: "edge-1".into(),
                    remote_cseq: record.remote_cseq + 1,
                    local_cseq: record.local_cseq + 1000,
                    ..record
                })
            }),
            Step::Purge(at) => self.rewrite(at, |_| None),
            Step::HearOfChange => {
                if let Some((key, revision, record)) = self.changes.pop_front() {
                    let value = record.map(|record| serde_json::to_vec(&record).unwrap());
                    self.input(Input::Change { key: &key, revision, value: value.as_deref(), removed_over: None });
                }
            }
            Step::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Step::BusIsUp(is_up) => self.input(Input::Bus { is_up }),
            Step::Close(connection) => {
                self.pending.retain(|_, pending| pending.to.connection() != Some(ConnectionId(connection)));
                self.input(Input::Closed(ConnectionId(connection)));
            }
            Step::Unsent(at, has_way) => {
                let Some(key) = self.pick_pending(at) else { return };
                let why = if has_way { Unsent::NoRoom } else { Unsent::NoWay };
                if let Some(notify) = self.pending.remove(&key).and_then(|pending| pending.id) {
                    self.input(Input::Undeliverable { notify, why });
                }
            }
            Step::Bus(..) | Step::ReplyAgain(_) => {}
        }
    }

    /// Everything is answered as it should be, until all time has passed: then nothing is left.
    pub(in crate::edge::notifier) fn finish(&mut self) {
        self.input(Input::Bus { is_up: true });
        for _ in 0..100_000 {
            while let Some((token, request)) = self.bus.pop() {
                self.carry_out(token, request, How::Good);
            }
            while !self.pending.is_empty() {
                self.respond(0, 200, "");
            }
            while !self.changes.is_empty() {
                self.take(Step::HearOfChange);
            }
            if !self.bus.is_empty() || !self.pending.is_empty() {
                continue;
            }
            let Some(due) = self.notifier.poll_timeout() else { break };
            self.advance_to(due.max(self.now.at));
            self.input(Input::Timeout);
        }
        for (branch, request) in &self.requests {
            assert!(request.response.is_some(), "{branch} has no answer: {}", request.text);
        }
        let Notifier { registry, requests, jobs, delivery, responses, timers, .. } = &self.notifier;
        assert!(registry.is_empty(), "{registry:?}");
        assert!(requests.is_empty() && requests.lookups() == 0 && jobs.is_empty() && timers.is_empty());
        assert!(responses.len() == 0 && delivery.is_empty() && delivery.has_no_transaction());
        assert!(self.open_jobs.is_empty(), "{:?}", self.open_jobs);
        if self.has_lost_removal {
            // Its record is there until its time is over.
            self.advance_to(self.now.at + Duration::from_hours(3));
        }
        let ours = self.bucket.values().filter(|entry| entry.record.as_ref().is_some_and(|record| &*record.edge_id == "edge-0"));
        assert_eq!(ours.count(), 0, "no record is left in our name");
        assert!(self.lasts.values().all(|confirmed| *confirmed <= 1));
    }

    fn subscribe(&mut self, phone: usize, is_in_dialog: bool, expires: Option<u32>, body: &str, cseq_step: i64, way: Way) {
        let tag = self.phones[phone].tag.clone().filter(|_| is_in_dialog);
        let step = if tag.is_some() { cseq_step } else { 1 };
        let cseq = u32::try_from(i64::from(self.phones[phone].cseq) + step).unwrap_or(1);
        self.phones[phone].cseq = self.phones[phone].cseq.max(cseq);
        let body = match body {
            "" => String::new(),
            "bad" => "<x>".to_owned(),
            word => set_dnd(word == "on"),
        };
        let expires = expires.map(|expires| format!("Expires: {expires}\n")).unwrap_or_default();
        self.branches += 1;
        let branch = format!("branch=z9hG4bKr{}r", self.branches);
        let text = subscribe(&format!("call{phone}"), cseq, tag.as_deref(), &expires, &body);
        let mut text = text.replace(&format!("branch=z9hG4bKcall{phone}{cseq}"), &branch);
        let peer = format!("192.0.2.{}:5062", 10 + phone).parse().unwrap();
        let mut flow = Flow { transport: Transport::Udp, listener: 0, peer, connection: None };
        match way {
            Way::Udp => {}
            Way::Tcp(connection) => {
                self.input(Input::Opened(ConnectionId(connection)));
                flow = Flow { transport: Transport::Tcp, listener: 1, connection: Some(ConnectionId(connection)), ..flow };
            }
            Way::Proxy => text = text.replace("Event:", "Record-Route: <sip:192.0.2.50;lr>\nEvent:"),
        }
        let request = Asked { flow, text: text.replace('\n', "\r\n"), at: self.now.at, arrivals: 0, response: None, responses: 0 };
        self.requests.insert(branch.clone(), request);
        self.arrive(&branch);
    }

    fn arrive(&mut self, branch: &str) {
        let request = self.requests.get_mut(branch).unwrap();
        request.arrivals += 1;
        let (flow, text) = (request.flow, request.text.clone());
        self.input(Input::Packet { flow, bytes: text.as_bytes() });
    }

    /// A copy, as a network or an impatient phone makes them; as long as the transaction lives.
    fn resend(&mut self, at: usize) {
        let now = self.now.at;
        let is_alive = |request: &Asked| request.flow.connection.is_none() && now < request.at + Duration::from_secs(31);
        let alive: Vec<_> = self.requests.iter().filter(|(_, request)| is_alive(request)).map(|(branch, _)| branch.clone()).collect();
        if !alive.is_empty() {
            self.arrive(&alive[at % alive.len()]);
        }
    }

    fn job(&mut self, is_assigned: bool) {
        self.version += 1;
        self.jobs += 1;
        self.open_jobs.insert(self.jobs);
        let job = NotifyJob {
            kind: Kind::default(),
            id: self.jobs.to_string(),
            presentity: "sip:alice@10.0.0.11".into(),
            states: vec![self.dnd(), FeatureState { version: self.version, ..FeatureState::new("CallForwardingAlways") }],
            assigned: is_assigned,
            skip: None,
            taken_from: None,
            not_after: "2999-01-01T00:00:00Z".into(),
            cause: Cause::new(),
        };
        let job =
            NotifyJob { states: job.states.into_iter().map(|state| FeatureState { assigned: is_assigned, ..state }).collect(), ..job };
        self.input(Input::Job { job: Box::new(job), handle: JobHandle(self.jobs), age: Duration::ZERO });
    }

    fn dnd(&self) -> FeatureState {
        FeatureState { version: self.version, status: Status::ON, ..FeatureState::new("DoNotDisturb") }
    }

    /// Another edge, or an operator, writes a key.
    fn rewrite(&mut self, at: usize, write: impl FnOnce(Option<Record>) -> Option<Record>) {
        let has_record = |key: &&String| self.bucket.get(*key).is_some_and(|entry| entry.record.is_some());
        let keys: Vec<_> = self.names.iter().filter(has_record).cloned().collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[at % keys.len()].clone();
        let (record, until) = (write(self.bucket[&key].record.clone()), self.bucket[&key].until);
        if record.is_none() {
            self.purged.insert(key.clone());
        }
        self.store(key, record, until);
    }

    fn carry_out(&mut self, token: Token, request: BusRequest, how: How) {
        let json = |value: serde_json::Value| Bytes::from(value.to_string());
        let plain = |payload| ReplyMessage { status: None, sequence: None, is_deleted: false, removed_over: None, payload };
        let empty = |status| ReplyMessage { status: Some(status), ..plain(Bytes::new()) };
        self.has_lost_removal |= matches!((how, &request), (How::NoResponders | How::Garbage, BusRequest::Remove { .. }));
        let message = match (how, request) {
            (How::NoResponders, _) => empty(503),
            (How::Garbage, _) => plain(Bytes::from_static(b"garbage")),
            (_, BusRequest::Store { id, record, expected_revision, ttl }) => {
                plain(json(self.cas(id, Some(*record), expected_revision, ttl)))
            }
            (_, BusRequest::Remove { id, expected_revision, covers }) => {
                plain(json(self.cas(id, None, expected_revision, covers + Duration::from_mins(1))))
            }
            (_, BusRequest::Lookup { id }) => match self.bucket.get(&id.to_string()) {
                None => empty(404),
                Some(Entry { revision, record: None, .. }) => {
                    ReplyMessage { sequence: Some(*revision), is_deleted: true, removed_over: None, ..plain(Bytes::new()) }
                }
                Some(Entry { revision, record: Some(record), .. }) => {
                    ReplyMessage { sequence: Some(*revision), ..plain(serde_json::to_vec(record).unwrap().into()) }
                }
            },
            (How::Refused, BusRequest::Get(_)) => plain(
                serde_json::to_vec(&ErrorReply { error: ErrorBody { code: 500, description: "no".into(), field: None } }).unwrap().into(),
            ),
            (_, BusRequest::Auth { .. }) => empty(503),
            (_, BusRequest::Get(request)) => {
                let features = vec![self.dnd(), FeatureState::new("CallForwardingAlways")];
                let features = if matches!(how, How::Unassigned) { Vec::new() } else { features };
                plain(serde_json::to_vec(&GetResponse { kind: Kind::default(), presentity: request.presentity, features }).unwrap().into())
            }
            (_, BusRequest::RouteSet(request)) => {
                let previous = self.dnd();
                self.version += u64::from(!matches!(how, How::Refused));
                let state = FeatureState { status: request.status, assigned: !matches!(how, How::Unassigned), ..self.dnd() };
                let response = RouteSetResponse {
                    kind: Kind::default(),
                    presentity: request.presentity,
                    state,
                    previous,
                    also: vec![FeatureState { version: self.version, ..FeatureState::new("CallForwardingBusy") }],
                    also_previous: vec![FeatureState::new("CallForwardingBusy")],
                    notify: !matches!(how, How::Hidden),
                    changed: !matches!(how, How::Refused),
                    denied: matches!(how, How::Refused).then(|| "no".into()),
                    logged: false,
                    work: None,
                };
                plain(serde_json::to_vec(&response).unwrap().into())
            }
        };
        if !matches!(how, How::Unheard) {
            self.answered.push((token, message.clone()));
            self.input(Input::Reply { token, reply: BusReply::Message(message) });
        }
    }
}
