//! What a consumer knows, and how it begins and ends. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::simulate::server::config::{AckPolicy, ConsumerConfig, DeliverPolicy, Retention};
use crate::simulate::server::consumer::client::{Pin, Waiting};
use crate::simulate::server::log::{Held, Log};
use crate::simulate::server::plain::Plain;
use crate::simulate::server::wire::Out;
use crate::simulate::server::{moment, subject};

/// What a consumer sees of the server while it works.
#[derive(Debug)]
pub(in crate::simulate::server) struct Scene<'s> {
    pub(in crate::simulate::server) plain: &'s Plain,
    pub(in crate::simulate::server) now: Duration,
    /// Nanoseconds from 1970 to the server's start.
    pub(in crate::simulate::server) epoch: u64,
    pub(in crate::simulate::server) out: &'s mut VecDeque<Out>,
}

impl Scene<'_> {
    /// Nanoseconds since 1970.
    pub(in crate::simulate::server) fn wall(&self) -> u64 {
        self.epoch + moment::nanos(self.now)
    }
}

/// A message that waits for its acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Sequence of its first delivery.
    pub(super) dseq: u64,
    /// Nanoseconds of `now`; with a delay it may lie ahead, so signed.
    pub(super) at: i128,
}

/// One consumer.
#[derive(Debug)]
pub(in crate::simulate::server) struct Consumer {
    pub(super) stream: String,
    pub(in crate::simulate::server) config: ConsumerConfig,
    pub(super) filters: Vec<String>,
    pub(super) retention: Retention,
    pub(in crate::simulate::server) name: String,
    /// Nanoseconds since 1970.
    pub(in crate::simulate::server) created: u64,
    /// The stream sequence that is looked at next.
    pub(super) sseq: u64,
    /// The sequence of the next delivery.
    pub(super) dseq: u64,
    /// Floor of what is acknowledged: of deliveries, of the stream.
    pub(super) adflr: u64,
    pub(super) asflr: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// Redeliveries so far.
    pub(super) rdc: BTreeMap<u64, u64>,
    pub(super) rdq: VecDeque<u64>,
    /// Last of each subject when it began, and where it goes on after these.
    pub(super) skip: Option<(BTreeSet<u64>, u64)>,
    /// Not delivered yet.
    pub(super) npc: u64,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) pin: Option<Pin>,
    pub(super) pins: u64,
    pub(super) is_active: bool,
    /// Something has come that makes it look for whom a message can go to.
    pub(super) is_woken: bool,
    /// Since when nobody asks or listens.
    pub(super) idle_since: Duration,
    /// When it last said something: for heartbeats of a pushed one.
    pub(super) said_at: Duration,
    pub(super) last_delivered: Option<u64>,
    pub(super) last_acked: Option<u64>,
    /// As it was when it began anew: the first one who would make it is told that (nats-server 2.15, `initialInfo`).
    pub(super) initial: Option<Value>,
}

impl Consumer {
    pub(in crate::simulate::server) fn new(
        stream: &str,
        name: String,
        config: ConsumerConfig,
        retention: Retention,
        log: &Log,
        scene: &Scene<'_>,
    ) -> Self {
        let filters = config.filters();
        let (mut skip, mut npc) = (None, None);
        let sseq = match config.deliver_policy {
            DeliverPolicy::All => log.first_seq(),
            DeliverPolicy::New => log.last_seq() + 1,
            DeliverPolicy::Last => {
                let last = filters.iter().filter_map(|filter| log.last_of(filter)).map(|(seq, _)| seq).max();
                if filters.is_empty() { log.last_seq() } else { last.unwrap_or_default().max(log.first_seq()) }
            }
            DeliverPolicy::ByStartSequence => config.opt_start_seq.max(log.first_seq()),
            DeliverPolicy::ByStartTime => {
                let from = config.opt_start_time.as_deref().and_then(moment::parse_rfc3339).unwrap_or_default();
                log.iter().find(|(_, held)| held.stored_at >= from).map_or(log.last_seq() + 1, |(seq, _)| seq)
            }
            DeliverPolicy::LastPerSubject => {
                let last = log.last_of_each(&filters);
                npc = Some(u64::try_from(last.len()).unwrap_or(u64::MAX));
                let first = last.first().copied().unwrap_or(log.last_seq());
                skip = (!last.is_empty()).then(|| (last, log.last_seq()));
                first
            }
        };
        let sseq = sseq.max(1);
        let mut made = Self {
            stream: stream.to_owned(),
            retention,
            name,
            created: scene.wall(),
            sseq,
            dseq: 1,
            adflr: 0,
            asflr: sseq - 1,
            pending: BTreeMap::new(),
            rdc: BTreeMap::new(),
            rdq: VecDeque::new(),
            skip,
            npc: npc.unwrap_or_else(|| log.count_from(sseq, &filters)),
            waiting: VecDeque::new(),
            pin: None,
            pins: 0,
            is_active: false,
            is_woken: true,
            idle_since: scene.now,
            said_at: scene.now,
            last_delivered: None,
            last_acked: None,
            initial: None,
            filters,
            config,
        };
        made.look_for_listeners(scene);
        made
    }

    /// Other settings; what was delivered stays.
    pub(in crate::simulate::server) fn change(&mut self, config: ConsumerConfig, log: &Log, scene: &Scene<'_>) {
        self.filters = config.filters();
        self.config = config;
        self.npc = log.count_from(self.sseq, &self.filters);
        self.is_woken = true;
        self.look_for_listeners(scene);
    }

    /// Whether somebody listens where it pushes to.
    pub(in crate::simulate::server) fn look_for_listeners(&mut self, scene: &Scene<'_>) {
        if !self.config.is_push() {
            return;
        }
        let is_active = scene.plain.has_exact_interest(&self.config.deliver_subject);
        if is_active != self.is_active {
            self.is_active = is_active;
            self.is_woken = true;
            self.idle_since = scene.now;
            self.said_at = scene.now;
        }
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        subject::any_matches(&self.filters, subject)
    }

    /// Counts anew what is to come, where the count cannot be right: whoever asks for information has that effect.
    /// Source: `checkNumPending`.
    pub(in crate::simulate::server) fn count_again(&mut self, log: &Log) {
        let most = log.len().min((log.last_seq() + 1).saturating_sub(self.sseq));
        if self.npc > most {
            self.npc = log.count_from(self.sseq, &self.filters);
        }
    }

    /// A message was stored.
    pub(in crate::simulate::server) fn stored(&mut self, seq: u64, subject: &str) {
        if self.takes(subject) {
            self.npc += 1;
            self.is_woken |= seq >= self.sseq;
        }
    }

    /// A message has left the stream, not by an acknowledgement of this consumer.
    pub(in crate::simulate::server) fn lost(&mut self, seq: u64, held: &Held) {
        if seq >= self.sseq && self.takes(&held.subject) {
            self.npc = self.npc.saturating_sub(1);
        }
        if let Some(pending) = self.pending.get(&seq).copied() {
            self.settle(seq, pending.dseq);
        }
    }

    /// All before this sequence was purged. Source: `consumer.purge`.
    pub(in crate::simulate::server) fn purged(&mut self, first: u64) {
        self.sseq = self.sseq.max(first);
        if self.pending.is_empty() {
            (self.adflr, self.asflr) = (self.dseq - 1, self.sseq - 1);
        }
    }

    /// It and its stream are gone, or it is: whoever waits is told.
    pub(in crate::simulate::server) fn end_waiting(&mut self, description: &str, scene: &mut Scene<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            scene.out.push_back(Out::status(&waiting.reply, 409, description));
        }
    }

    /// Whoever waited is gone without a word.
    pub(in crate::simulate::server) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// It is read from disk. One that has delivered nothing yet begins no further on than the stream goes.
    pub(in crate::simulate::server) fn read_again(&mut self, log: &Log) {
        if self.dseq == 1 {
            self.sseq = self.sseq.min(log.last_seq() + 1);
        }
    }

    /// The server begins anew, or another one leads: what is pending stays.
    pub(in crate::simulate::server) fn begin_anew(&mut self, scene: &Scene<'_>) {
        self.pin = None;
        self.rdq.clear();
        self.is_active = false;
        self.idle_since = scene.now;
        self.said_at = scene.now;
        self.look_for_listeners(scene);
        self.initial = Some(self.info(scene));
    }

    pub(in crate::simulate::server) const fn is_in_memory(&self) -> bool {
        self.config.mem_storage
    }

    /// What is taken out of a work queue once it is delivered.
    pub(super) const fn acks_by_itself(&self) -> bool {
        matches!(self.config.ack_policy, AckPolicy::None)
    }

    /// Whether nobody has used it for so long that it goes.
    pub(in crate::simulate::server) fn is_over(&self, scene: &Scene<'_>) -> bool {
        self.over_at().is_some_and(|at| at <= scene.now)
    }

    fn over_at(&self) -> Option<Duration> {
        let lives = Duration::from_nanos(self.config.inactive_threshold);
        if lives.is_zero() || self.config.is_push() && self.is_active || !self.waiting.is_empty() {
            return None;
        }
        Some(self.idle_since + lives)
    }

    /// When there is something to do without anybody saying anything.
    pub(in crate::simulate::server) fn next_at(&self) -> Option<Duration> {
        let again = self.pending.iter().filter(|(seq, _)| !self.rdq.contains(seq)).map(|(_, pending)| self.again_at(*pending)).min();
        let waiting = self.waiting.iter().filter_map(Waiting::next_at).min();
        let heartbeat = self.heartbeat_at();
        let pin = self.pin.as_ref().map(|pin| pin.until);
        [again, waiting, heartbeat, pin, self.over_at()].into_iter().flatten().min()
    }

    pub(super) fn again_at(&self, pending: Pending) -> Duration {
        let at = pending.at + i128::from(self.config.ack_wait);
        Duration::from_nanos(u64::try_from(at).unwrap_or_default())
    }

    pub(super) fn heartbeat_at(&self) -> Option<Duration> {
        let every = Duration::from_nanos(self.config.idle_heartbeat);
        (self.config.is_push() && self.is_active && !every.is_zero()).then(|| self.said_at + every)
    }

    /// How many wait for an acknowledgement.
    pub(in crate::simulate::server) fn ack_pending(&self) -> u64 {
        u64::try_from(self.pending.len()).unwrap_or(u64::MAX)
    }
}
