//! The whole notifier under any packets, replies, jobs, changes and time. The input is a list of steps, each
//! `kind, length (two bytes), data`; in the data `%T` stands for the tag of the newest dialog, `%B` for the branch of the newest NOTIFY.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use dfks::bus::message::NotifyJob;
use dfks::config::{InitialNotify, PresentityFrom, SubscriptionConfig};
use dfks::edge::gate::policy::AuthPolicy;
use dfks::edge::config::{EdgeConfig, Listener, Place};
use dfks::edge::limit::CAPACITIES;
use dfks::edge::metrics::EdgeMetrics;
use dfks::edge::notifier::{
    BusReply, BusRequest, Input, JobHandle, Notifier, NotifyId, Output, ReplyMessage, Token, Unavailable, Unsent,
};
use dfks::edge::profile::Profiles;
use dfks::edge::gate::rate_limit::RateLimitConfig;
use dfks::feature::table::FeatureTable;
use dfks::runtime::clock::Now;
use dfks::sip::locate::NotLocated;
use dfks::sip::flow::{ConnectionId, Flow, Transport};
use dfks::sip::message;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static METRICS: LazyLock<Arc<EdgeMetrics>> = LazyLock::new(|| Arc::new(EdgeMetrics::new(&[Transport::Udp, Transport::Tcp], &CAPACITIES)));

struct World {
    notifier: Notifier,
    now: Now,
    asked: Vec<(Token, BusRequest)>,
    notifies: Vec<NotifyId>,
    tag: String,
    branch: String,
    revision: u64,
}

fn config() -> EdgeConfig {
    let listener =
        |transport| Listener { transport, advertised: "192.0.2.1:5060".into(), address: SocketAddr::from(([192, 0, 2, 1], 5060)) };
    EdgeConfig {
        edge_id: "edge-0".into(),
        place: Place::ALONE,
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        domains: Vec::new(),
        presentity_from: PresentityFrom::RequestUri,
        initial_notify: InitialNotify::Auto,
        udp_notify_limit_bytes: 1300,
        max_subscriptions: 20,
        max_subscriptions_per_presentity: 3,
        subscription: SubscriptionConfig::default(),
        auth: AuthPolicy::open(),
        rate_limit: RateLimitConfig::off(),
        passthrough: true,
        profiles: Profiles::default(),
        store_timeout: Duration::from_secs(1),
        route_timeout: Duration::from_millis(1500),
        drain_patience: Duration::from_secs(6),
        silent_after: Duration::from_secs(30),
        unstored_for: Duration::from_secs(5),
    }
}

impl World {
    fn new() -> Self {
        let now = Now { at: Instant::now(), utc: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) };
        let notifier = Notifier::new(Arc::new(config()), Arc::new(FeatureTable::built_in()), Arc::clone(&METRICS), now);
        let mut world =
            Self { notifier, now, asked: Vec::new(), notifies: Vec::new(), tag: "x".into(), branch: "z9hG4bKx".into(), revision: 0 };
        world.take(Input::Bus { is_up: true });
        world
    }

    fn take(&mut self, input: Input<'_>) {
        self.notifier.handle(input, self.now);
        let (mut outputs, mut names) = (0, Vec::new());
        while let Some(output) = self.notifier.poll_output() {
            outputs += 1;
            assert!(outputs < 1000, "one input, no end of outputs");
            match output {
                Output::Send { packet, notify, .. } => {
                    let message = message::parse(&packet).expect("what we send can be read");
                    let param = |line: &str, name: &str| line.split(';').find_map(|part| part.trim().strip_prefix(name).map(str::to_owned));
                    for (name, value) in message.all_lines() {
                        if name.eq_ignore_ascii_case("To") && notify.is_none() {
                            self.tag = param(value, "tag=").unwrap_or_else(|| std::mem::take(&mut self.tag));
                        }
                        if name.eq_ignore_ascii_case("Via") && notify.is_some() {
                            self.branch = param(value, "branch=").unwrap_or_else(|| std::mem::take(&mut self.branch));
                        }
                    }
                    self.notifies.extend(notify);
                }
                Output::Request { token, request, .. } => self.asked.push((token, request)),
                Output::Locate(host) => names.push(host),
                Output::HandOver { .. } | Output::Answered(..) | Output::FanOut(_) | Output::Event(_) | Output::JobDone(_) | Output::JobMoved(_) => {}
            }
        }
        for host in names {
            let is_certain = host.name().len() % 2 == 0;
            self.take(Input::Located { host, found: Err(NotLocated { is_certain, ttl: None }) });
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        let mut turns = 0;
        while let Some(due) = self.notifier.poll_timeout().filter(|due| *due <= end) {
            let step = due.saturating_duration_since(self.now.at);
            self.now = Now { at: self.now.at + step, utc: self.now.utc + step };
            self.take(Input::Timeout);
            turns += 1;
            assert!(turns < 100_000, "timers without end");
        }
        let step = end.saturating_duration_since(self.now.at);
        self.now = Now { at: end, utc: self.now.utc + step };
    }

    /// Answers a bus request as the bus would, or with these bytes.
    fn reply(&mut self, at: usize, data: &[u8], is_good: bool) {
        if self.asked.is_empty() {
            return;
        }
        let (token, request) = self.asked.remove(at % self.asked.len());
        self.revision += 1;
        let state = |feature: &str| json!({"feature": feature, "assigned": true, "status": 1, "values": {}, "version": self.revision, "source": "store"});
        let payload = match &request {
            _ if !is_good => data.to_vec(),
            BusRequest::Store { .. } | BusRequest::Remove { .. } => json!({"stream": "KV", "seq": self.revision}).to_string().into_bytes(),
            BusRequest::Lookup { .. } | BusRequest::Auth { .. } => data.to_vec(),
            BusRequest::Get(get) => json!({"presentity": get.presentity, "features": [state("DoNotDisturb"), state("CallForwardingBusy")]}).to_string().into_bytes(),
            BusRequest::RouteSet(set) => json!({
                "presentity": set.presentity, "state": state(&set.feature), "previous": state(&set.feature), "also": [state("DoNotDisturb")],
                "notify": true, "changed": true, "denied": null
            })
            .to_string()
            .into_bytes(),
        };
        let removed_over = (data.len() % 2 == 1).then_some(self.revision);
        let message =
            ReplyMessage { status: None, sequence: Some(self.revision), is_deleted: false, removed_over, payload: payload.into() };
        let reply = if data == b"-" { BusReply::Unavailable(Unavailable::NoResponders) } else { BusReply::Message(message) };
        self.take(Input::Reply { token, reply });
    }

    fn step(&mut self, kind: u8, data: &[u8]) {
        let number = u64::from(data.first().copied().unwrap_or(0));
        match kind % 12 {
            0..=3 => {
                let is_stream = kind % 4 == 3;
                let flow = Flow {
                    transport: if is_stream { Transport::Tcp } else { Transport::Udp },
                    listener: u16::from(is_stream),
                    peer: SocketAddr::from(([192, 0, 2, 9], 5060 + u16::from(kind % 4))),
                    connection: is_stream.then_some(ConnectionId(1)),
                };
                let text = String::from_utf8_lossy(data).replace("%T", &self.tag).replace("%B", &self.branch);
                let bytes = if data.is_ascii() { text.as_bytes() } else { data };
                self.take(Input::Packet { flow, bytes });
            }
            4 | 5 => self.reply(usize::from(kind / 12), data, true),
            6 => self.reply(usize::from(kind / 12), data, false),
            7 => self.pass(Duration::from_millis(number * number * number)),
            8 => {
                if let Ok(job) = serde_json::from_slice::<NotifyJob>(data) {
                    self.take(Input::Job { job: Box::new(job), handle: JobHandle(number), age: Duration::from_millis(number) });
                }
            }
            9 => {
                let key = self.tag.clone();
                self.revision += 1;
                let removed_over = (data.is_empty() && number % 2 == 0).then_some(self.revision - 1);
                let value = (!data.is_empty()).then_some(data);
                self.take(Input::Change { key: &key, revision: self.revision, value, removed_over });
            }
            10 if number % 2 == 0 => self.take(Input::Opened(ConnectionId(1))),
            10 => self.take(Input::Closed(ConnectionId(1))),
            _ if number == 255 => {
                for id in self.notifier.held() {
                    self.revision += 1;
                    self.take(Input::Holder { id, revision: self.revision, edge_id: "edge-1" });
                }
            }
            _ if number == 254 => {
                let key = self.tag.clone();
                self.take(Input::Record { key: &key, revision: self.revision, value: data.get(1..) });
                self.take(Input::Restored);
            }
            _ if number == 253 => self.take(Input::Overload { is_overloaded: data.len() % 2 == 0 }),
            _ if !self.notifies.is_empty() => {
                let notify = self.notifies[usize::from(kind / 12) % self.notifies.len()];
                self.take(Input::Undeliverable { notify, why: if number % 2 == 0 { Unsent::NoWay } else { Unsent::NoRoom } });
            }
            _ => self.take(Input::Bus { is_up: number % 2 == 0 }),
        }
    }
}

fuzz_target!(|steps: &[u8]| {
    let mut world = World::new();
    let mut rest = steps;
    while let [kind, high, low, after @ ..] = rest {
        let length = (usize::from(*high) << 8 | usize::from(*low)).min(after.len());
        let (data, next) = after.split_at(length);
        world.step(*kind, data);
        rest = next;
    }
    // everything that was begun has an end
    world.take(Input::Drain);
    world.pass(Duration::from_secs(8000));
    world.pass(Duration::from_secs(60));
    // what it stores at its end is not answered
    world.take(Input::PutDown);
    assert!(!world.notifier.is_put_down() || world.notifier.live().next().is_none());
    world.pass(Duration::from_secs(60));
    world.take(Input::PutDown);
    assert!(world.notifier.is_put_down());
});
