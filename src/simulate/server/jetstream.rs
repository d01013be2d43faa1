//! All streams, and which of them a message is for. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::simulate::server::config::AckPolicy;
use crate::simulate::server::consumer::{AckSubject, Scene};
use crate::simulate::server::fault::{self, ApiError};
use crate::simulate::server::moment;
use crate::simulate::server::plain::Plain;
use crate::simulate::server::stream::Stream;
use crate::simulate::server::wire::{Out, Publication};

/// JetStream of one account.
#[derive(Debug)]
pub(super) struct JetStream {
    pub(super) streams: BTreeMap<String, Stream>,
    /// Nanoseconds from 1970 to the server's start.
    pub(super) epoch: u64,
    pub(super) now: Duration,
    pub(super) is_leaderless: bool,
    pub(super) is_full: bool,
    /// Names of consumers that have none, and calls so far.
    pub(super) made: u64,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) out: VecDeque<Out>,
}

impl JetStream {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            streams: BTreeMap::new(),
            epoch,
            now: Duration::ZERO,
            is_leaderless: false,
            is_full: false,
            made: 0,
            calls: 0,
            errors: 0,
            out: VecDeque::new(),
        }
    }

    pub(super) fn wall(&self) -> u64 {
        self.epoch + moment::nanos(self.now)
    }

    /// Whether a message is for a stream or the API, where it is carried out.
    pub(super) fn take(&mut self, plain: &Plain, publication: &Publication) -> bool {
        if let Some(rest) = publication.subject.strip_prefix("$JS.") {
            return self.take_call(plain, rest, publication);
        }
        let wall = self.wall();
        let Some(stream) = self.streams.values_mut().find(|stream| stream.takes(&publication.subject)) else { return false };
        if self.is_leaderless {
            return true;
        }
        let answer = stream.take(publication, wall, self.is_full);
        if let Some(reply) = &publication.reply {
            self.out.push_back(Out::answer(reply, answer));
        }
        let name = stream.config.name.clone();
        self.serve(plain, &name);
        true
    }

    fn take_call(&mut self, plain: &Plain, rest: &str, publication: &Publication) -> bool {
        if let Some(rest) = rest.strip_prefix("ACK.") {
            return self.acknowledge(plain, rest, publication);
        }
        let Some(call) = rest.strip_prefix("API.") else { return rest.starts_with("FC.") };
        if let Some(rest) = call.strip_prefix("CONSUMER.MSG.NEXT.") {
            return self.next(plain, rest, publication);
        }
        if let Some(rest) = call.strip_prefix("DIRECT.GET.") {
            return self.direct_get(rest, publication);
        }
        if self.is_leaderless {
            return true;
        }
        self.call(plain, call, publication);
        true
    }

    fn next(&mut self, plain: &Plain, rest: &str, publication: &Publication) -> bool {
        let Some((name, consumer)) = rest.split_once('.') else { return false };
        let (now, epoch, is_leaderless) = (self.now, self.epoch, self.is_leaderless);
        let Some(stream) = self.streams.get_mut(name) else { return false };
        let Some(consumer) = stream.consumers.get_mut(consumer) else { return false };
        if is_leaderless {
            return true;
        }
        if let Some(reply) = &publication.reply {
            let mut scene = Scene { plain, now, epoch, out: &mut self.out };
            consumer.ask(reply, &publication.payload, &mut scene);
        }
        self.serve(plain, name);
        true
    }

    fn acknowledge(&mut self, plain: &Plain, rest: &str, publication: &Publication) -> bool {
        let mut tokens = rest.splitn(3, '.');
        let (Some(name), Some(consumer), Some(numbers)) = (tokens.next(), tokens.next(), tokens.next()) else { return false };
        let (now, epoch, is_leaderless) = (self.now, self.epoch, self.is_leaderless);
        let Some(stream) = self.streams.get_mut(name) else { return false };
        let Some(consumer) = stream.consumers.get_mut(consumer) else { return false };
        if consumer.config.ack_policy == AckPolicy::None {
            return false;
        }
        if is_leaderless {
            return true;
        }
        let Some(subject) = AckSubject::read(numbers) else { return true };
        let mut scene = Scene { plain, now, epoch, out: &mut self.out };
        let acked = consumer.acknowledge(subject, &publication.payload, &scene);
        if let Some(reply) = &publication.reply {
            if acked.is_answered {
                scene.out.push_back(Out::answer(reply, ""));
            }
            if acked.wants_next {
                consumer.ask(reply, b"", &mut scene);
            }
        }
        if let Some(seq) = acked.done {
            stream.done(seq);
        }
        self.serve(plain, name);
        true
    }

    /// Has the consumers of a stream do what they can.
    pub(super) fn serve(&mut self, plain: &Plain, name: &str) {
        if self.is_leaderless {
            return;
        }
        let (now, epoch) = (self.now, self.epoch);
        if let Some(stream) = self.streams.get_mut(name) {
            stream.serve(&mut Scene { plain, now, epoch, out: &mut self.out });
        }
    }

    pub(super) fn serve_all(&mut self, plain: &Plain) {
        let (now, epoch) = (self.now, self.epoch);
        for stream in self.streams.values_mut() {
            stream.serve(&mut Scene { plain, now, epoch, out: &mut self.out });
        }
    }

    /// Somebody listens, or no longer.
    pub(super) fn listeners_changed(&mut self, plain: &Plain) {
        let (now, epoch) = (self.now, self.epoch);
        for stream in self.streams.values_mut() {
            let mut scene = Scene { plain, now, epoch, out: &mut self.out };
            for consumer in stream.consumers.values_mut().filter(|consumer| consumer.config.is_push()) {
                consumer.look_for_listeners(&scene);
            }
            if !self.is_leaderless {
                stream.serve(&mut scene);
            }
        }
    }

    pub(super) fn advance(&mut self, plain: &Plain, now: Duration) {
        self.now = self.now.max(now);
        if self.is_leaderless {
            return;
        }
        let (wall, now, epoch) = (self.wall(), self.now, self.epoch);
        for stream in self.streams.values_mut().filter(|stream| stream.next_at().is_some_and(|at| at <= now)) {
            stream.advance(wall);
            stream.serve(&mut Scene { plain, now, epoch, out: &mut self.out });
        }
    }

    pub(super) fn next_at(&self) -> Option<Duration> {
        if self.is_leaderless {
            return None;
        }
        self.streams.values().filter_map(Stream::next_at).min()
    }

    /// The server ends and begins anew: what is on disk is there.
    pub(super) fn restart(&mut self, plain: &Plain) {
        let (now, epoch, wall) = (self.now, self.epoch, self.wall());
        for stream in self.streams.values_mut() {
            stream.consumers.retain(|_, consumer| !consumer.is_in_memory());
            stream.ids_from_log(wall);
            for consumer in stream.consumers.values_mut() {
                consumer.forget_waiting();
                consumer.read_again(&stream.log);
                consumer.begin_anew(&Scene { plain, now, epoch, out: &mut self.out });
            }
            stream.look_ahead(epoch);
        }
    }

    /// Another server leads.
    pub(super) fn step_down(&mut self, plain: &Plain) {
        let (now, epoch) = (self.now, self.epoch);
        for stream in self.streams.values_mut() {
            stream.consumers.retain(|_, consumer| !(consumer.is_in_memory() && consumer.config.is_push()));
            let mut scene = Scene { plain, now, epoch, out: &mut self.out };
            for consumer in stream.consumers.values_mut() {
                consumer.end_waiting("Leadership Change", &mut scene);
                consumer.begin_anew(&scene);
            }
            stream.look_ahead(epoch);
        }
    }

    /// Requests for messages are lost.
    pub(super) fn forget_waiting(&mut self) {
        for stream in self.streams.values_mut() {
            for consumer in stream.consumers.values_mut() {
                consumer.forget_waiting();
            }
            stream.look_ahead(self.epoch);
        }
    }

    pub(super) fn stream(&mut self, name: &str) -> Result<&mut Stream, ApiError> {
        self.streams.get_mut(name).ok_or(fault::STREAM_NOT_FOUND)
    }
}
