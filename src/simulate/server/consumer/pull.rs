//! Requests for messages, and who of them gets the next one.

use std::time::Duration;

use serde::Deserialize;

use crate::simulate::server::consumer::client::Waiting;
use crate::simulate::server::consumer::state::{Consumer, Scene};
use crate::simulate::server::wire::Out;

/// What a request for messages says; times are nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Ask {
    batch: i64,
    expires: i64,
    no_wait: bool,
    idle_heartbeat: i64,
    group: String,
    id: String,
}

impl Out {
    pub(super) fn with_pending(self, left: u64) -> Self {
        self.with("Nats-Pending-Messages", &left).with("Nats-Pending-Bytes", &0)
    }
}

impl Consumer {
    /// Somebody asks for messages.
    pub(in crate::simulate::server) fn ask(&mut self, reply: &str, body: &[u8], scene: &mut Scene<'_>) {
        match self.read_ask(body, scene) {
            Ok(Some(ask)) => self.wait(reply, &ask, scene),
            Ok(None) => {}
            Err((status, why)) => scene.out.push_back(Out::status(reply, status, why)),
        }
    }

    fn read_ask(&mut self, body: &[u8], scene: &Scene<'_>) -> Result<Option<Ask>, (u16, String)> {
        if self.config.is_push() {
            return Err((409, "Consumer is push based".to_owned()));
        }
        let text = std::str::from_utf8(body).unwrap_or_default().trim();
        let ask = if text.is_empty() {
            Ask { batch: 1, ..Ask::default() }
        } else if let Ok(batch) = text.parse() {
            Ask { batch, ..Ask::default() }
        } else {
            serde_json::from_str(text).map_err(|error| (400, format!("Bad Request - {error}")))?
        };
        let bad = |why: &str| Err((400, format!("Bad Request - {why}")));
        if ask.idle_heartbeat > 0 && (ask.expires == 0 || ask.idle_heartbeat * 2 > ask.expires) {
            return bad("heartbeat value too large");
        }
        if self.is_pinned_policy() {
            if ask.group.is_empty() {
                return bad("Priority Group missing");
            }
            if !self.config.priority_groups.contains(&ask.group) {
                return bad("Invalid Priority Group");
            }
            if !ask.id.is_empty() && self.pin.is_some() {
                let until = self.pinned_until(scene);
                match &mut self.pin {
                    Some(pin) if pin.id == ask.id => pin.until = until,
                    _ => return Err((423, "Nats-Pin-Id mismatch".to_owned())),
                }
            }
        }
        Ok(Some(ask))
    }

    fn wait(&mut self, reply: &str, ask: &Ask, scene: &mut Scene<'_>) {
        self.drop_over(scene);
        self.idle_since = scene.now;
        let left = u64::try_from(ask.batch.max(1)).unwrap_or(1);
        let nanos = |time: i64| Duration::from_nanos(u64::try_from(time).unwrap_or_default());
        let expires_at = (ask.expires != 0).then(|| scene.now + nanos(ask.expires));
        if ask.no_wait {
            let there = self.npc + u64::try_from(self.rdq.len()).unwrap_or(0);
            if there == 0 && expires_at.is_none() {
                scene.out.push_back(Out::status(reply, 404, "No Messages"));
                return;
            }
            let wanted: u64 = self.waiting.iter().map(|waiting| waiting.left).sum();
            if there > 0 && there < wanted {
                scene.out.push_back(Out::status(reply, 408, "Requests Pending"));
                return;
            }
        }
        if i64::try_from(self.waiting.len()).unwrap_or(i64::MAX) >= self.config.max_waiting {
            scene.out.push_back(Out::status(reply, 409, "Exceeded MaxWaiting"));
            return;
        }
        self.is_woken = true;
        self.waiting.push_back(Waiting {
            reply: reply.to_owned(),
            left,
            has_some: false,
            expires_at,
            is_no_wait: ask.no_wait,
            heartbeat: nanos(ask.idle_heartbeat),
            said_at: scene.now,
            pin: ask.id.clone(),
        });
    }

    /// Who gets the next message: the reply subject of its request. Each has its turn.
    pub(super) fn next_waiting(&mut self, scene: &mut Scene<'_>) -> Option<String> {
        let mut passed = 0;
        while passed < self.waiting.len() {
            let mut waiting = self.waiting.pop_front()?;
            if waiting.expires_at.is_some_and(|at| at <= scene.now) {
                scene.out.push_back(Out::status(&waiting.reply, 408, "Request Timeout").with_pending(waiting.left));
                continue;
            }
            if !scene.plain.has_interest(&waiting.reply) {
                continue;
            }
            if self.is_pinned_policy() {
                let pinned = self.pin.as_ref().map(|pin| pin.id.as_str());
                match (pinned, waiting.pin.is_empty()) {
                    (None, true) => waiting.pin = self.pin_anew(scene),
                    (Some(pinned), false) if pinned == waiting.pin => {}
                    (Some(_), true) => {
                        self.waiting.push_back(waiting);
                        passed += 1;
                        continue;
                    }
                    (_, false) => {
                        scene.out.push_back(Out::status(&waiting.reply, 423, "Nats-Wrong-Pin-Id").with_pending(waiting.left));
                        continue;
                    }
                }
            }
            let reply = waiting.reply.clone();
            waiting.left -= 1;
            waiting.has_some = true;
            waiting.said_at = scene.now;
            if waiting.left > 0 {
                self.waiting.push_back(waiting);
            } else {
                self.idle_since = scene.now;
            }
            return Some(reply);
        }
        None
    }

    /// There is nothing more to deliver: whoever would not wait is told.
    pub(super) fn end_no_wait(&mut self, scene: &mut Scene<'_>) {
        let is_over = |waiting: &Waiting| waiting.is_no_wait && (waiting.expires_at.is_none() || waiting.has_some);
        let (over, rest): (Vec<Waiting>, Vec<Waiting>) = std::mem::take(&mut self.waiting).into_iter().partition(is_over);
        self.waiting = rest.into();
        for waiting in over {
            scene.out.push_back(Out::status(&waiting.reply, 404, "No Messages"));
        }
    }

    /// Requests whose time is over, or whom nobody listens to any more; heartbeats of the others.
    pub(super) fn drop_over(&mut self, scene: &mut Scene<'_>) {
        let (dseq, sseq) = (self.dseq - 1, self.sseq - 1);
        let before = self.waiting.len();
        if self.waiting.iter().any(|waiting| waiting.expires_at.is_some_and(|at| at <= scene.now)) {
            // the server looks at all of them then
            self.end_no_wait(scene);
        }
        self.waiting.retain_mut(|waiting| {
            if waiting.expires_at.is_some_and(|at| at <= scene.now) {
                scene.out.push_back(Out::status(&waiting.reply, 408, "Request Timeout").with_pending(waiting.left));
                return false;
            }
            if !scene.plain.has_interest(&waiting.reply) {
                return false;
            }
            if !waiting.heartbeat.is_zero() && waiting.said_at + waiting.heartbeat <= scene.now {
                waiting.said_at = scene.now;
                scene.out.push_back(heartbeat(&waiting.reply, dseq, sseq));
            }
            true
        });
        if self.waiting.len() < before {
            self.is_woken = true;
            self.idle_since = scene.now;
        }
    }

    pub(in crate::simulate::server) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

pub(super) fn heartbeat(to: &str, dseq: u64, sseq: u64) -> Out {
    Out::status(to, 100, "Idle Heartbeat").with("Nats-Last-Consumer", &dseq).with("Nats-Last-Stream", &sseq)
}
