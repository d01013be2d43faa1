//! What the world of `model.rs` sees of the notifier, and holds against it.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::message::{EndReason, SubscriptionChange};
use crate::edge::event::Event;
use crate::edge::notifier::tests::model::{Entry, Pending, World};
use crate::edge::notifier::*;
use crate::edge::subscription::Phase;
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::record::Record;
use crate::runtime::clock;
use crate::sip::flow::Flow;
use crate::sip::header::Via;
use crate::sip::message::{Message, Start, parse};
use crate::sip::name::Name;

impl World {
    pub(in crate::edge::notifier) fn input(&mut self, input: Input<'_>) {
        self.notifier.handle(input, self.now);
        while let Some(output) = self.notifier.poll_output() {
            match output {
                Output::Send { to, packet, notify } => self.on_send(to, packet, notify),
                Output::Locate(_) => panic!("no name is in this model"),
                Output::Request { token, request, .. } => self.bus.push((token, request)),
                Output::Event(event) => self.on_event(&event),
                Output::JobDone(JobHandle(handle)) | Output::JobMoved(JobHandle(handle)) => {
                    assert!(self.open_jobs.remove(&handle), "job {handle} is done twice");
                }
                Output::HandOver { to, .. } => panic!("there is no thread {to}"),
                Output::Answered(..) => panic!("nothing is recorded"),
                Output::FanOut(_) => {}
            }
        }
    }

    fn on_send(&mut self, to: Destination, packet: Bytes, notify: Option<NotifyId>) {
        let message = parse(&packet).unwrap();
        match message.start() {
            Start::Response { status, .. } => self.on_response(&message, status, packet),
            Start::Request { .. } => self.on_notify(message, packet, to, notify),
        }
    }

    fn on_response(&mut self, message: &Message, status: u16, packet: Bytes) {
        let via = Via::parse(message.header(Name::Via).unwrap()).unwrap();
        let request = self.requests.get_mut(&format!("branch={}", via.branch().unwrap())).expect("a request of ours");
        request.responses += 1;
        assert!(request.responses <= request.arrivals, "answered more often than asked: {message:?}");
        if let Some(first) = &request.response {
            assert_eq!(*first, packet, "another answer to a copy");
            return;
        }
        request.response = Some(packet);
        assert!([200, 400, 403, 423, 481, 482, 500, 503].contains(&status), "{status}");
        if status == 200 {
            self.is_covered(message);
            let phone: usize = message.header(Name::CallId).unwrap().strip_prefix("call").unwrap().parse().unwrap();
            let tag = tag_of(message, Name::To);
            // What had ended without the phone's knowing lives again with its next SUBSCRIBE, as long as the bucket has it.
            self.ended.remove(&tag);
            self.lasts.remove(&tag);
            self.phones[phone].tag = Some(tag);
        }
    }

    /// What a 200 grants, the bucket has, whoever holds the subscription: a crash at this moment costs nothing of it.
    fn is_covered(&self, message: &Message) {
        let (granted, key) = (message.header(Name::Expires).unwrap().parse().unwrap(), tag_of(message, Name::To));
        if granted == 0 || self.purged.contains(&key) {
            return;
        }
        let entry = self.bucket.get(&key).unwrap_or_else(|| panic!("{key} is granted and not stored"));
        let record = entry.record.as_ref().unwrap_or_else(|| panic!("{key} is granted and removed"));
        let (until, granted) = (clock::parse_rfc3339(&record.expires_at).unwrap(), Duration::from_secs(granted));
        assert!(until + Duration::from_secs(1) >= self.now.utc + granted, "{until:?} is stored, {granted:?} are granted");
        assert!(entry.until >= self.now.at + granted, "its key is gone before it expires");
    }

    fn on_notify(&mut self, message: Message, packet: Bytes, to: Destination, id: Option<NotifyId>) {
        let key = tag_of(&message, Name::From);
        assert!(!self.ended.contains(&key), "{key} has ended: {message:?}");
        self.name(&key);
        if let Some(before) = self.pending.get(&key) {
            if before.packet == packet {
                return;
            }
            // One that was taken back or timed out is no more in flight, and no more ours.
            let via = Via::parse(before.message.header(Name::Via).unwrap()).unwrap();
            assert!(!self.notifier.delivery.has(via.branch().unwrap()), "two in flight: {:?} and {message:?}", before.message);
        }
        let cseq: u32 = message.header(Name::CSeq).unwrap().split(' ').next().unwrap().parse().unwrap();
        let last = self.last_cseq.insert(key.clone(), cseq).unwrap_or_default();
        // The last one waits for the removal of the record, but not where nobody can say: the dialog is over with it.
        let is_last = message.header(Name::SubscriptionState).is_some_and(|state| state.starts_with("terminated"));
        assert!(is_last || self.reserved.get(&key).is_none_or(|reserved| cseq <= *reserved), "{cseq} is not reserved");
        assert!(cseq > last, "{cseq} after {last}");
        assert_eq!(id.map(|id| (id.subscription.to_string(), id.cseq)), Some((key.clone(), cseq)));
        self.pending.insert(key, Pending { message, packet, to, id });
    }

    fn on_event(&mut self, event: &Event) {
        if let Event::Subscription(_, event) = event
            && event.what == SubscriptionChange::Active
        {
            // also one whose store came through late
            self.ended.remove(&event.subscription);
        }
        if let Event::Subscription(_, event) = event
            && event.what == SubscriptionChange::Terminated
        {
            let without_notify = matches!(event.reason, Some(EndReason::Rejected | EndReason::Unreachable | EndReason::Moved));
            if without_notify {
                self.end(event.subscription.clone());
            }
        }
    }

    fn name(&mut self, key: &str) {
        if !self.names.iter().any(|name| name == key) {
            self.names.push(key.to_owned());
        }
    }

    fn end(&mut self, key: String) {
        self.pending.remove(&key);
        self.ended.insert(key);
    }

    pub(in crate::edge::notifier) fn pick_pending(&self, at: usize) -> Option<String> {
        self.names.iter().filter(|key| self.pending.contains_key(*key)).nth(at % self.pending.len().max(1)).cloned()
    }

    /// The phone answers a NOTIFY.
    pub(in crate::edge::notifier) fn respond(&mut self, at: usize, status: u16, more: &str) {
        let Some(key) = self.pick_pending(at) else { return };
        let pending = &self.pending[&key];
        let header = |name| pending.message.header(name).unwrap_or_default();
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n{}Content-Length: 0\r\n\r\n",
            header(Name::Via),
            header(Name::From),
            header(Name::To),
            header(Name::CallId),
            header(Name::CSeq),
            more.replace('\n', "\r\n"),
        );
        // After Timer F, or when the phone has gone another way, nobody waits for it.
        let subscription = self.notifier.registry.get(key.parse().unwrap());
        let in_flight = subscription.and_then(|subscription| subscription.in_flight.as_ref());
        let is_waited_for = in_flight.map(|in_flight| in_flight.cseq) == Some(self.last_cseq[&key]);
        // One that is older than the phone's last SUBSCRIBE ends nothing.
        let is_live = subscription.is_some_and(|subscription| subscription.phase == Phase::Live);
        let is_recalled = is_live && in_flight.is_some_and(|in_flight| in_flight.recalled_at.is_some());
        let is_last = header(Name::SubscriptionState).starts_with("terminated");
        let flow = match &pending.to {
            Destination::Flow(flow) => *flow,
            Destination::Host { transport, listener, .. } => {
                Flow { transport: *transport, listener: *listener, peer: "192.0.2.50:5060".parse().unwrap(), connection: None }
            }
            Destination::Nowhere { .. } => panic!("no name is in this model"),
        };
        if status >= 200 {
            self.pending.remove(&key);
        }
        self.input(Input::Packet { flow, bytes: text.as_bytes() });
        if !is_waited_for {
            return;
        }
        if is_last && status == 200 {
            *self.lasts.entry(key.clone()).or_default() += 1;
        }
        if status == 481 && !is_recalled || is_last && status >= 200 && more.is_empty() {
            self.end(key);
        }
    }

    /// Lets time pass, with every timer fired at its time.
    pub(in crate::edge::notifier) fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(due) = self.notifier.poll_timeout().filter(|due| *due <= end) {
            self.advance_to(due);
            self.input(Input::Timeout);
        }
        self.advance_to(end);
    }

    pub(in crate::edge::notifier) fn advance_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.at);
        self.now = Now { at: self.now.at + step, utc: self.now.utc + step };
        self.bucket.retain(|_, entry| entry.until > at);
    }

    pub(in crate::edge::notifier) fn store(&mut self, key: String, record: Option<Record>, until: Instant) -> u64 {
        self.sequence += 1;
        self.name(&key);
        if record.is_some() {
            self.purged.remove(&key);
        }
        match &record {
            Some(record) => self.reserved.insert(key.clone(), record.local_cseq),
            // nobody continues it
            None => self.reserved.remove(&key),
        };
        self.bucket.insert(key.clone(), Entry { revision: self.sequence, record: record.clone(), until });
        self.changes.push_back((key, self.sequence, record));
        self.sequence
    }

    /// Compare and set, as the bucket does it.
    pub(in crate::edge::notifier) fn cas(
        &mut self,
        id: SubscriptionId,
        record: Option<Record>,
        expected: u64,
        ttl: Duration,
    ) -> serde_json::Value {
        let revision = self.bucket.get(&id.to_string()).map_or(0, |entry| entry.revision);
        if revision != expected {
            return serde_json::json!({ "error": { "code": 400, "err_code": 10071, "description": "wrong last sequence" }, "seq": 0 });
        }
        serde_json::json!({ "stream": "KV", "seq": self.store(id.to_string(), record, self.now.at + ttl) })
    }
}

fn tag_of(message: &Message, name: Name) -> String {
    message.header(name).unwrap().split("tag=").nth(1).unwrap().to_owned()
}
