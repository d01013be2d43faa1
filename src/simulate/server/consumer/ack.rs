//! Acknowledgements, and what is delivered again.

use bytes::Bytes;
use serde::Deserialize;

use crate::simulate::server::config::AckPolicy;
use crate::simulate::server::consumer::state::{Consumer, Pending, Scene};
use crate::simulate::server::log::Log;
use crate::simulate::server::moment;

/// What somebody says of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ack,
    /// With an order for the next message.
    Next,
    Nak {
        delay: u64,
    },
    Working,
    Term,
}

impl Verdict {
    fn read(payload: &Bytes) -> Option<Self> {
        #[derive(Deserialize)]
        struct Delay {
            delay: u64,
        }
        let text = std::str::from_utf8(payload).ok()?;
        match text {
            "" | "+ACK" | "+OK" => Some(Self::Ack),
            "+WPI" => Some(Self::Working),
            text if text.starts_with("+NXT") => Some(Self::Next),
            text if text.starts_with("+TERM") => Some(Self::Term),
            text if text.starts_with("-NAK") => {
                let rest = text.strip_prefix("-NAK").unwrap_or_default();
                let delay = serde_json::from_str(rest).map_or(0, |Delay { delay }| delay);
                Some(Self::Nak { delay })
            }
            _ => None,
        }
    }
}

/// The numbers at the end of `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulate::server) struct AckSubject {
    sseq: u64,
    dseq: u64,
}

impl AckSubject {
    /// Of what follows the consumer's name.
    pub(in crate::simulate::server) fn read(rest: &str) -> Option<Self> {
        let numbers: Vec<u64> = rest.split('.').map_while(|number| number.parse().ok()).collect();
        match *numbers.as_slice() {
            [_deliveries, sseq, dseq, _time, _pending] => Some(Self { sseq, dseq }),
            _ => None,
        }
    }
}

/// What an acknowledgement leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::simulate::server) struct Acked {
    /// The message leaves a work queue.
    pub(in crate::simulate::server) done: Option<u64>,
    /// Whoever said it is answered.
    pub(in crate::simulate::server) is_answered: bool,
    /// The next message is wanted.
    pub(in crate::simulate::server) wants_next: bool,
}

impl Consumer {
    /// Somebody says something of a delivery.
    pub(in crate::simulate::server) fn acknowledge(&mut self, subject: AckSubject, payload: &Bytes, scene: &Scene<'_>) -> Acked {
        // what is none is answered all the same
        let Some(verdict) = Verdict::read(payload) else { return Acked { is_answered: true, ..Acked::default() } };
        let AckSubject { sseq, dseq } = subject;
        self.is_woken = true;
        let mut acked = Acked { is_answered: true, ..Acked::default() };
        match verdict {
            Verdict::Ack | Verdict::Term | Verdict::Next => {
                acked.done = self.done(sseq, dseq, scene);
                if verdict == Verdict::Next {
                    acked.wants_next = true;
                    acked.is_answered = false;
                }
            }
            Verdict::Working => {
                let now = i128::try_from(scene.now.as_nanos()).unwrap_or(i128::MAX);
                if let Some(pending) = self.pending.get_mut(&sseq) {
                    pending.at = now;
                }
            }
            Verdict::Nak { delay } => self.nak(sseq, dseq, delay, scene),
        }
        acked
    }

    fn done(&mut self, sseq: u64, dseq: u64, scene: &Scene<'_>) -> Option<u64> {
        // never delivered
        if sseq >= self.sseq {
            return None;
        }
        self.last_acked = Some(scene.wall());
        if self.config.ack_policy == AckPolicy::All {
            let all: Vec<u64> = self.pending.range(..=sseq).map(|(seq, _)| *seq).collect();
            for seq in all {
                self.pending.remove(&seq);
                self.rdc.remove(&seq);
                self.rdq.retain(|again| *again != seq);
            }
            (self.adflr, self.asflr) = (self.adflr.max(dseq), self.asflr.max(sseq));
            return Some(sseq);
        }
        let dseq = self.pending.get(&sseq).map_or(dseq, |pending| pending.dseq);
        self.settle(sseq, dseq);
        Some(sseq)
    }

    /// A message is dealt with: the floor follows. Source: `processAckMsgLocked`.
    pub(super) fn settle(&mut self, sseq: u64, dseq: u64) {
        self.pending.remove(&sseq);
        if self.pending.is_empty() {
            (self.adflr, self.asflr) = (self.dseq - 1, self.sseq - 1);
        } else if dseq == self.adflr + 1 {
            (self.adflr, self.asflr) = (dseq, sseq);
            if let Some((next, pending)) = self.pending.range(sseq + 1..self.sseq).next()
                && pending.dseq > 0
            {
                (self.adflr, self.asflr) = (pending.dseq - 1, next - 1);
            }
        }
        self.rdc.remove(&sseq);
        self.rdq.retain(|again| *again != sseq);
    }

    fn nak(&mut self, sseq: u64, dseq: u64, delay: u64, scene: &Scene<'_>) {
        if dseq <= self.adflr || dseq >= self.dseq {
            return;
        }
        let (now, wait) = (i128::from(moment::nanos(scene.now)), i128::from(self.config.ack_wait));
        let Some(pending) = self.pending.get_mut(&sseq) else { return };
        if delay > 0 {
            pending.at = now - wait + i128::from(delay);
        } else if !self.rdq.contains(&sseq) {
            self.rdq.push_back(sseq);
        }
    }

    /// What was not acknowledged in time is delivered again.
    pub(super) fn take_back_late(&mut self, log: &Log, scene: &Scene<'_>) {
        let gone: Vec<(u64, u64)> =
            self.pending.iter().filter(|(seq, _)| log.get(**seq).is_none()).map(|(seq, pending)| (*seq, pending.dseq)).collect();
        for (seq, dseq) in gone {
            self.settle(seq, dseq);
        }
        let is_late = |(seq, pending): &(&u64, &Pending)| self.again_at(**pending) <= scene.now && !self.rdq.contains(seq);
        let late: Vec<u64> = self.pending.iter().filter(is_late).map(|(seq, _)| *seq).collect();
        let most = u64::try_from(self.config.max_deliver).unwrap_or(u64::MAX);
        for seq in late {
            if self.rdc.get(&seq).map_or(0, |count| *count) + 1 >= most {
                self.pending.remove(&seq);
                continue;
            }
            self.rdq.push_back(seq);
            self.is_woken = true;
        }
    }
}
