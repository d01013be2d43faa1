//! Deliveries, and what a consumer says of itself.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::simulate::server::config::{AckPolicy, Retention};
use crate::simulate::server::consumer::pull;
use crate::simulate::server::consumer::state::{Consumer, Pending, Scene};
use crate::simulate::server::log::{Held, Log};
use crate::simulate::server::moment;
use crate::simulate::server::wire::Out;

/// The message that is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again(u64),
    New(u64),
}

impl Consumer {
    /// Delivers what can be; returns what leaves a work queue by it.
    pub(in crate::simulate::server) fn serve(&mut self, log: &Log, scene: &mut Scene<'_>) -> Vec<u64> {
        let mut done = Vec::new();
        self.unpin_late(scene);
        self.drop_over(scene);
        self.take_back_late(log, scene);
        loop {
            if self.config.is_push() && !self.is_active || !self.config.is_push() && self.waiting.is_empty() {
                break;
            }
            let Some(next) = self.next(log) else {
                let is_full = self.is_full();
                if !is_full {
                    self.end_no_wait(scene);
                }
                break;
            };
            let to = if self.config.is_push() { Some(self.config.deliver_subject.clone()) } else { self.next_waiting(scene) };
            let Some(to) = to else {
                // what nobody can get is put back behind the others
                if self.is_woken && matches!(next, Next::Again(_)) {
                    self.rdq.rotate_left(1);
                }
                break;
            };
            let seq = match next {
                Next::Again(seq) | Next::New(seq) => seq,
            };
            if let Some(held) = log.get(seq) {
                self.deliver(next, seq, held, to, scene);
                if self.acks_by_itself() && self.retention == Retention::WorkQueue {
                    done.push(seq);
                }
            }
        }
        self.is_woken = false;
        self.say_heartbeat(scene);
        done
    }

    fn is_full(&self) -> bool {
        self.config.max_ack_pending > 0
            && self.config.ack_policy != AckPolicy::None
            && i64::try_from(self.pending.len()).unwrap_or(i64::MAX) >= self.config.max_ack_pending
    }

    fn next(&mut self, log: &Log) -> Option<Next> {
        let most = u64::try_from(self.config.max_deliver).unwrap_or(u64::MAX);
        while let Some(seq) = self.rdq.front().copied() {
            if self.rdc.get(&seq).copied().unwrap_or_default() + 1 >= most {
                self.rdq.pop_front();
                self.pending.remove(&seq);
                continue;
            }
            if log.get(seq).is_some() && self.pending.contains_key(&seq) {
                return Some(Next::Again(seq));
            }
            self.rdq.pop_front();
        }
        if self.is_full() {
            return None;
        }
        if let Some((last, resume)) = &mut self.skip {
            while let Some(seq) = last.first().copied() {
                if log.get(seq).is_some() {
                    return Some(Next::New(seq));
                }
                last.remove(&seq);
            }
            self.sseq = *resume + 1;
            self.skip = None;
        }
        if let Some((seq, _)) = log.next_from(self.sseq, &self.filters) {
            Some(Next::New(seq))
        } else if !self.is_woken {
            // what was stored is not for it: it does not look
            None
        } else {
            self.sseq = self.sseq.max(log.last_seq() + 1);
            if self.pending.is_empty() && self.rdq.is_empty() {
                (self.adflr, self.asflr) = (self.dseq - 1, self.sseq - 1);
            }
            self.npc = 0;
            None
        }
    }

    fn deliver(&mut self, next: Next, seq: u64, held: &Held, to: String, scene: &mut Scene<'_>) {
        let deliveries = match next {
            Next::New(_) => {
                self.npc = self.npc.saturating_sub(1);
                match &mut self.skip {
                    Some((last, resume)) => {
                        last.remove(&seq);
                        self.sseq = if last.is_empty() { *resume + 1 } else { self.sseq + 1 };
                        if last.is_empty() {
                            self.skip = None;
                        }
                    }
                    None => self.sseq = seq + 1,
                }
                1
            }
            Next::Again(_) => {
                self.rdq.pop_front();
                let count = self.rdc.entry(seq).or_default();
                *count += 1;
                *count + 1
            }
        };
        let dseq = self.dseq;
        self.dseq += 1;
        if self.acks_by_itself() {
            (self.adflr, self.asflr) = (dseq, seq);
        } else {
            let at = i128::from(moment::nanos(scene.now));
            self.pending.entry(seq).and_modify(|pending| pending.at = at).or_insert(Pending { dseq, at });
        }
        self.is_woken = true;
        self.said_at = scene.now;
        self.last_delivered = Some(scene.wall());
        let (stream, name, stored_at, left) = (&self.stream, &self.name, held.stored_at, self.npc);
        let reply = format!("$JS.ACK.{stream}.{name}.{deliveries}.{seq}.{dseq}.{stored_at}.{left}");
        let mut headers = held.headers.clone();
        let mut payload = held.payload.clone();
        if self.config.headers_only {
            headers.insert("Nats-Msg-Size", payload.len().to_string().as_str());
            payload = Bytes::new();
        }
        if let Some(pin) = &self.pin {
            headers.insert("Nats-Pin-Id", pin.id.as_str());
        }
        scene.out.push_back(Out {
            to,
            subject: Some(held.subject.clone()),
            reply: Some(reply),
            status: None,
            headers: Some(headers).filter(|headers: &HeaderMap| !headers.is_empty()),
            payload,
        });
    }

    fn say_heartbeat(&mut self, scene: &mut Scene<'_>) {
        if self.heartbeat_at().is_some_and(|at| at <= scene.now) {
            self.said_at = scene.now;
            scene.out.push_back(pull::heartbeat(&self.config.deliver_subject, self.dseq - 1, self.sseq - 1));
        }
    }

    /// What whoever would make it is told, though it is there.
    pub(in crate::simulate::server) fn info_again(&mut self, log: &Log, scene: &Scene<'_>) -> Value {
        self.count_again(log);
        self.initial.take().unwrap_or_else(|| self.info(scene))
    }

    /// As `CONSUMER.INFO` says it.
    pub(in crate::simulate::server) fn info(&self, scene: &Scene<'_>) -> Value {
        let mut delivered = json!({ "consumer_seq": self.dseq - 1, "stream_seq": self.sseq - 1 });
        let mut floor = json!({ "consumer_seq": self.adflr, "stream_seq": self.asflr });
        for (place, at) in [(&mut delivered, self.last_delivered), (&mut floor, self.last_acked)] {
            if let (Some(fields), Some(at)) = (place.as_object_mut(), at) {
                fields.insert("last_active".to_owned(), moment::rfc3339(at).into());
            }
        }
        let mut info = json!({
            "stream_name": self.stream,
            "name": self.name,
            "created": moment::rfc3339(self.created),
            "config": self.config,
            "delivered": delivered,
            "ack_floor": floor,
            "num_ack_pending": self.pending.len(),
            "num_redelivered": self.rdc.len(),
            "num_waiting": self.waiting(),
            "num_pending": self.npc,
            "ts": moment::rfc3339(scene.wall()),
        });
        if let Some(fields) = info.as_object_mut() {
            if self.config.is_push() && self.is_active {
                fields.insert("push_bound".to_owned(), true.into());
            }
            if self.is_pinned_policy() {
                let groups = self.config.priority_groups.iter().map(|group| match self.pin() {
                    Some(pin) => json!({ "group": group, "pinned_client_id": pin.id, "pinned_ts": moment::rfc3339(pin.since) }),
                    None => json!({ "group": group, "pinned_ts": moment::NEVER }),
                });
                fields.insert("priority_groups".to_owned(), groups.collect());
            }
        }
        info
    }
}
