//! The pure notifier: a phone and a bus that answer at once, in a time that stands still.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dfks::bus::message::NotifyJob;
use dfks::config::{InitialNotify, PresentityFrom, SubscriptionConfig};
use dfks::edge::config::{EdgeConfig, Listener, Place};
use dfks::edge::gate::policy::AuthPolicy;
use dfks::edge::gate::rate_limit::RateLimitConfig;
use dfks::edge::limit::CAPACITIES;
use dfks::edge::metrics::EdgeMetrics;
use dfks::edge::notifier::{BusReply, BusRequest, Input, JobHandle, Notifier, Output, ReplyMessage, Token};
use dfks::edge::profile::Profiles;
use dfks::edge::subscription::record::Record;
use dfks::feature::FeatureTable;
use dfks::runtime::clock::{self, Now};
use dfks::sip::{Flow, Transport};
use serde_json::json;

const PHONE: &str = "192.0.2.9:5062";

pub(crate) fn flow() -> Flow {
    Flow { transport: Transport::Udp, listener: 0, peer: PHONE.parse().unwrap(), connection: None }
}

fn config() -> EdgeConfig {
    let address = SocketAddr::from(([192, 0, 2, 1], 5060));
    EdgeConfig {
        edge_id: "edge-0".into(),
        place: Place::ALONE,
        listeners: vec![Listener { transport: Transport::Udp, advertised: "192.0.2.1:5060".into(), address }],
        domains: Vec::new(),
        presentity_from: PresentityFrom::RequestUri,
        initial_notify: InitialNotify::Multipart,
        udp_notify_limit_bytes: 1300,
        max_subscriptions: 1_000_000,
        max_subscriptions_per_presentity: 32,
        subscription: SubscriptionConfig::default(),
        auth: AuthPolicy::open(),
        rate_limit: RateLimitConfig::off(),
        passthrough: false,
        profiles: Profiles::default(),
        store_timeout: Duration::from_secs(1),
        unstored_for: Duration::from_secs(5),
        route_timeout: Duration::from_millis(1500),
        drain_patience: Duration::from_secs(6),
        silent_after: Duration::from_secs(30),
    }
}

/// SUBSCRIBE of a user of 10.0.0.11; `to_tag` and a body make it one within the dialog.
fn request(user: &str, call_id: &str, cseq: u32, to_tag: &str, body: &str) -> String {
    let (tag, kind) = match to_tag {
        "" => (String::new(), ""),
        tag => (format!(";tag={tag}"), "Content-Type: application/x-as-feature-event+xml\r\n"),
    };
    format!(
        "SUBSCRIBE sip:{user}@10.0.0.11 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{call_id}x{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@10.0.0.11>;tag=f{call_id}\r\nTo: <sip:{user}@10.0.0.11>{tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} SUBSCRIBE\r\nContact: <sip:{user}@{PHONE}>\r\nEvent: as-feature-event\r\n\
         Expires: 3600\r\nAccept: application/x-as-feature-event+xml, multipart/mixed\r\nUser-Agent: bench/1.0\r\n\
         {kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn first_subscribe(user: &str, call_id: &str) -> String {
    request(user, call_id, 1, "", "")
}

pub(crate) fn forwarding_body() -> String {
    "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\
     <SetForwarding xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"><device></device>\
     <forwardingType>forwardNoAns</forwardingType><forwardDN>sip:bob@10.0.0.11</forwardDN>\
     <ringCount>4</ringCount><activateForward>true</activateForward></SetForwarding>"
        .to_owned()
}

fn dnd_body(is_on: bool) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\
         <SetDoNotDisturb xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"><device/>\
         <doNotDisturbOn>{is_on}</doNotDisturbOn></SetDoNotDisturb>"
    )
}

/// The value of a parameter at its first place in a packet.
fn parameter<'p>(packet: &'p str, name: &str) -> &'p str {
    let rest = packet.split_once(name).unwrap().1;
    rest.split([';', '\r', '>']).next().unwrap()
}

/// The machine with a phone at one end and the bus at the other.
pub(crate) struct World {
    notifier: Notifier,
    now: Now,
    asked: Vec<(Token, BusRequest)>,
    notifies: Vec<Bytes>,
    /// Our tag in the newest 200.
    to_tag: String,
    /// The newest record stored.
    pub(crate) record: Option<Record>,
    revision: u64,
    states: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Now { at: clock::now(), utc: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) };
        let metrics = Arc::new(EdgeMetrics::new(&[Transport::Udp], &CAPACITIES));
        let state =
            |feature: &str| json!({"feature": feature, "assigned": true, "status": 0, "values": {}, "version": 1, "source": "store"});
        let names = ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer"];
        let mut world = Self {
            notifier: Notifier::new(Arc::new(config()), Arc::new(FeatureTable::built_in()), metrics, now),
            now,
            asked: Vec::new(),
            notifies: Vec::new(),
            to_tag: String::new(),
            record: None,
            revision: 0,
            states: serde_json::to_vec(&names.map(state)).unwrap(),
        };
        world.take(Input::Bus { is_up: true });
        world
    }

    fn take(&mut self, input: Input<'_>) {
        self.notifier.handle(input, self.now);
        while let Some(output) = self.notifier.poll_output() {
            match output {
                Output::Send { packet, notify: Some(_), .. } => self.notifies.push(packet),
                Output::Send { packet, .. } => self.answered(&packet),
                Output::Request { token, request, .. } => self.asked.push((token, request)),
                Output::Locate(_)
                | Output::FanOut(_)
                | Output::Event(_)
                | Output::HandOver { .. }
                | Output::Answered(..)
                | Output::JobDone(_)
                | Output::JobMoved(_) => {}
            }
        }
    }

    fn answered(&mut self, packet: &[u8]) {
        let text = std::str::from_utf8(packet).unwrap();
        assert!(text.starts_with("SIP/2.0 200 "), "{text}");
        let to = text.split_once("\r\nTo: ").unwrap().1;
        parameter(to, ";tag=").clone_into(&mut self.to_tag);
    }

    /// Until the bus has answered all and the phone has answered every NOTIFY.
    fn settle(&mut self) {
        loop {
            if let Some((token, request)) = self.asked.pop() {
                let payload = self.reply(request).into();
                let message = ReplyMessage { status: None, sequence: None, is_deleted: false, removed_over: None, payload };
                self.take(Input::Reply { token, reply: BusReply::Message(message) });
            } else if let Some(notify) = self.notifies.pop() {
                let answer = ok(&notify);
                self.take(Input::Packet { flow: flow(), bytes: answer.as_bytes() });
            } else {
                return;
            }
        }
    }

    fn reply(&mut self, request: BusRequest) -> Vec<u8> {
        self.revision += 1;
        let mut text = Vec::with_capacity(512);
        match request {
            BusRequest::Store { record, .. } => {
                self.record = Some(*record);
                text.extend_from_slice(format!(r#"{{"stream":"KV","seq":{}}}"#, self.revision).as_bytes());
            }
            BusRequest::Get(get) => {
                text.extend_from_slice(format!(r#"{{"presentity":"{}","features":"#, get.presentity).as_bytes());
                text.extend_from_slice(&self.states);
                text.push(b'}');
            }
            BusRequest::RouteSet(set) => {
                let (feature, status) = (&set.feature, u8::from(set.status.0));
                let state = |status: u8, version: u64| {
                    format!(
                        r#"{{"feature":"{feature}","assigned":true,"status":{status},"values":{{}},"version":{version},"source":"store"}}"#
                    )
                };
                let (new, old) = (state(status, self.revision), state(1 - status, self.revision - 1));
                let head = format!(r#"{{"presentity":"{}","state":{new},"previous":{old},"#, set.presentity);
                text.extend_from_slice(head.as_bytes());
                text.extend_from_slice(br#""also":[],"notify":true,"changed":true,"denied":null}"#);
            }
            other => panic!("{other:?}"),
        }
        text
    }

    pub(crate) fn subscribe(&mut self, user: &str, call_id: &str) {
        let packet = first_subscribe(user, call_id);
        self.take(Input::Packet { flow: flow(), bytes: packet.as_bytes() });
        self.settle();
    }
}

/// 200 to a NOTIFY.
fn ok(notify: &[u8]) -> String {
    let head = std::str::from_utf8(notify).unwrap().split("\r\n\r\n").next().unwrap();
    let mut answer = String::with_capacity(512);
    answer.push_str("SIP/2.0 200 OK\r\n");
    let copied = |line: &&str| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
    for line in head.split("\r\n").filter(copied) {
        write!(answer, "{line}\r\n").unwrap();
    }
    answer.push_str("Content-Length: 0\r\n\r\n");
    answer
}

/// A new phone: SUBSCRIBE, store, 200, get, NOTIFY with the full state, 200.
pub(crate) fn subscribe() -> Box<dyn FnMut(u32)> {
    let mut world = World::new();
    Box::new(move |turn| world.subscribe(&format!("u{turn}"), &format!("c{turn}")))
}

/// A key press in a dialog that the stored record covers: SUBSCRIBE with a change, 200, set, NOTIFY, 200.
pub(crate) fn press() -> Box<dyn FnMut(u32)> {
    let mut world = World::new();
    world.subscribe("u1", "c1");
    Box::new(move |turn| {
        let packet = request("u1", "c1", turn + 2, &world.to_tag, &dnd_body(turn % 2 == 0));
        world.take(Input::Packet { flow: flow(), bytes: packet.as_bytes() });
        world.settle();
    })
}

/// A change made elsewhere: NOTIFY job, NOTIFY, 200.
pub(crate) fn job() -> Box<dyn FnMut(u32)> {
    let mut world = World::new();
    world.subscribe("u1", "c1");
    Box::new(move |turn| {
        let state =
            json!({"feature": "DoNotDisturb", "assigned": true, "status": turn % 2, "values": {}, "version": turn + 2, "source": "store"});
        let job = json!({
            "id": format!("job{turn}"), "presentity": "sip:u1@10.0.0.11", "states": [state], "not_after": "2099-01-01T00:00:00Z"
        });
        let job: NotifyJob = serde_json::from_value(job).unwrap();
        world.take(Input::Job { job: Box::new(job), handle: JobHandle(u64::from(turn)), age: Duration::ZERO });
        world.settle();
    })
}
