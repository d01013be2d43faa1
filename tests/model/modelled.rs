//! A program on the model.

use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message};
use dfks::simulate::server::{ConnectionId, Publication, Server, SubscriptionId};

use crate::program::{Op, SLOTS, inbox};
use crate::seen::Seen;

/// The model, one client, and what came to it.
pub(crate) struct Modelled {
    server: Server,
    client: ConnectionId,
    came: Vec<(usize, Message)>,
    asked: u64,
}

/// The pin that came last, the reply subject of a delivery: of either side its own.
pub(crate) fn pin_of(came: &[(usize, Message)]) -> Option<String> {
    let mut pins = came.iter().rev().filter_map(|(_, message)| message.headers.as_ref()?.get("Nats-Pin-Id"));
    pins.next().map(|pin| pin.as_str().to_owned())
}

pub(crate) fn delivery_of(came: &[(usize, Message)], inbox: usize, back: usize) -> Option<String> {
    let theirs = came.iter().rev().filter(|(slot, _)| *slot == inbox).filter_map(|(_, message)| message.reply.as_ref());
    theirs.filter(|reply| reply.starts_with("$JS.ACK")).nth(back).map(ToString::to_string)
}

/// The body of a request for messages, with the pin that its side knows.
pub(crate) fn with_pin(body: &str, pin: Option<String>) -> String {
    match pin {
        Some(pin) => body.replace("PIN", &pin),
        None => body.replace(r#""id":"PIN","#, ""),
    }
}

impl Modelled {
    pub(crate) fn new() -> Self {
        let mut server = Server::new(SystemTime::now());
        let client = server.connect();
        let mut model = Self { server, client, came: Vec::new(), asked: 0 };
        model.listen();
        model
    }

    fn listen(&mut self) {
        for (slot, (subject, queue)) in SLOTS.iter().enumerate() {
            self.server.subscribe(self.client, id(slot), subject, *queue);
        }
    }

    /// Names the sequence that is meant by `last`: that of the last message on the subject.
    pub(crate) fn resolve(&self, op: &Op) -> Op {
        let Op::Send { subject, headers, payload, is_asked } = op else { return op.clone() };
        let mut headers = headers.clone();
        let of = headers.iter().find(|(name, _)| name.ends_with("-Subject")).map_or_else(|| subject.clone(), |(_, of)| of.clone());
        for (_, value) in headers.iter_mut().filter(|(_, value)| value == "last") {
            let all = self.server.streams().flat_map(|(name, _)| self.server.messages(name));
            let last = all.filter(|stored| stored.subject == of).map(|stored| stored.sequence).max();
            *value = last.unwrap_or_default().to_string();
        }
        Op::Send { subject: subject.clone(), headers, payload: payload.clone(), is_asked: *is_asked }
    }

    pub(crate) fn carry_out(&mut self, op: &Op, now: Duration) -> Vec<Seen> {
        match op {
            Op::Send { subject, headers, payload, is_asked } => {
                let reply = is_asked.then(|| self.reply());
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    map.insert(*name, value.as_str());
                }
                self.publish(subject.clone(), reply, map, payload.clone(), now);
            }
            Op::Ask { consumer, body, slot } => {
                let body = with_pin(body, pin_of(&self.came));
                self.publish(format!("$JS.API.CONSUMER.MSG.NEXT.{consumer}"), Some(inbox(*slot)), HeaderMap::new(), body, now);
            }
            Op::Say { slot, back, word, is_asked } => {
                if let Some(subject) = delivery_of(&self.came, *slot, *back) {
                    let reply = is_asked.then(|| self.reply());
                    self.publish(subject, reply, HeaderMap::new(), (*word).to_owned(), now);
                }
            }
            Op::Listen { slot } => {
                self.server.advance(now);
                if let Some((subject, queue)) = SLOTS.get(*slot) {
                    self.server.subscribe(self.client, id(*slot), subject, *queue);
                }
            }
            Op::Deafen { slot } => {
                self.server.advance(now);
                self.server.unsubscribe(self.client, id(*slot));
            }
            Op::Wait { .. } => {}
            Op::Restart => {
                self.server.restart(now);
                self.client = self.server.connect();
                self.listen();
            }
        }
        self.drain()
    }

    pub(crate) fn advance(&mut self, now: Duration) -> Vec<Seen> {
        self.server.advance(now);
        self.drain()
    }

    fn reply(&mut self) -> String {
        self.asked += 1;
        format!("re.{}", self.asked)
    }

    fn publish(&mut self, subject: String, reply: Option<String>, headers: HeaderMap, payload: String, now: Duration) {
        self.server.publish(self.client, Publication { subject, reply, headers, payload: payload.into() }, now);
    }

    fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(delivery) = self.server.poll() {
            let slot = crate::program::shown_as(usize::try_from(delivery.subscription.0).unwrap_or_default());
            seen.push(Seen::of(slot, &delivery.message));
            self.came.push((slot, delivery.message));
        }
        seen
    }
}

fn id(slot: usize) -> SubscriptionId {
    SubscriptionId(u64::try_from(slot).unwrap_or_default())
}
