//! Durable commands: takes `dfks.command.set` and `dfks.command.set.<domain>` from the work queue and carries each out once, in order
//! for each presentity. I/O. Other subjects of the queue (`dfks.command.>`) become dead letters.
//!
//! ```text
//! DFKS_COMMANDS ─▶ the one bridge that is active ─▶ one turn after the other for each presentity ─▶ carried out ─▶ ack
//!                                                                                └─ 503 ─▶ again, after a while
//!                                                                                └─ cannot be ─▶ dfks.dead.command
//! ```
//! - One bridge at a time is active, the others stand by: that keeps the order. It runs many commands at once, those of one
//!   presentity one after the other; a retry delays its own presentity alone.
//! - A command is acknowledged when its NOTIFY jobs are stored. If a bridge crashes before that, the next one waits until
//!   everything that was in flight is redelivered, so that the order is kept.
//! - A worker stores the command's id with the change, so that a redelivered command gets the first answer again.

mod redelivery;
mod turns;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::bus::message::{CommandPlace, ErrorBody};
use crate::bus::pull::{BURY_AGAIN_AFTER, Delivery, EXPIRES, Held, Pull, PullConfig, PullError, REOPEN};
use crate::bus::subject::{Subjects, UnknownSubject};
use crate::feature::FeatureTable;
use crate::mi::bridge::{Bridge, Fanout, Order};
use crate::mi::command::{self, SetCommand};
use crate::mi::durable::redelivery::Redelivery;
use crate::mi::durable::turns::Turns;
use crate::mi::error::Failure;
use crate::mi::limit::MAX_DURABLE_IN_HAND;
use crate::mi::metrics::{Outcome, Way};
use crate::mi::refused::Who;
use crate::runtime::{Backoff, clock};

/// Name of the consumer.
pub(crate) const DURABLE: &str = "mi";
/// `dfks.dead.<stage>`
const STAGE: &str = "command";
/// What a worker answers where a durable command, or one that was sent after it, was carried out before.
const ALREADY_DONE: u16 = 409;

/// How long commands are held, and how often they are tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Time without a keep-alive after which a command is redelivered.
    pub ack_wait: Duration,
    /// Time without a pull request after which another bridge becomes active: twice `ack_wait`, so that redelivery comes first.
    pub silent_for: Duration,
    /// Waits between attempts at one command.
    pub retry: Backoff,
    /// Most attempts while bus, workers or the responder that owns the feature are away.
    pub attempts_away: u32,
    /// Most attempts while the responder fails.
    pub attempts: u32,
    /// Most deliveries of one command; each redelivery means that a bridge did not finish it.
    pub max_deliveries: u64,
}

impl Default for Patience {
    /// About 15 minutes while bus, workers or the owner of the feature are away, half a minute while a responder fails.
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(5),
            silent_for: Duration::from_secs(10),
            retry: Backoff::new(Duration::from_millis(250), Duration::from_secs(30)),
            attempts_away: 40,
            attempts: 8,
            max_deliveries: 20,
        }
    }
}

impl Patience {
    /// Interval of the keep-alive of a command in hand.
    fn tell_every(&self) -> Duration {
        self.ack_wait / 4
    }

    fn consumer(&self, subjects: &Subjects) -> PullConfig {
        PullConfig {
            stream: subjects.stream("COMMANDS"),
            durable: DURABLE.to_owned(),
            filter: subjects.all_commands(),
            ack_wait: self.ack_wait,
            max_ack_pending: i64::try_from(MAX_DURABLE_IN_HAND).unwrap_or(i64::MAX),
            // given up by us: the server would leave the command in the stream
            max_deliver: -1,
            inactive_threshold: Duration::ZERO,
            expires: EXPIRES,
            exclusive: Some(self.silent_for),
        }
    }
}

/// Carries out durable commands until `stopping`, then finishes the attempts in flight and gives the rest back.
pub async fn run<F: Fanout>(bridge: Arc<Bridge<F>>, table: Arc<FeatureTable>, patience: Patience, stopping: CancellationToken) {
    let config = patience.consumer(bridge.bus().subjects());
    let carrier = Carrier { bridge, table, patience, stopping };
    let mut retry = REOPEN;
    loop {
        let opened = async {
            carrier.bridge.bus().connected().await;
            Pull::open(carrier.bridge.bus(), config.clone()).await
        };
        let error = match carrier.stopping.run_until_cancelled(opened).await {
            None => return,
            Some(Err(error)) => error,
            Some(Ok(mut pull)) => {
                retry.reset();
                match carrier.serve(&mut pull).await {
                    Ok(undone) => return pull.give_back(undone).await,
                    Err(error) => error,
                }
            }
        };
        carrier.bridge.metrics().commands_interrupted(&error);
        if carrier.stopping.run_until_cancelled(tokio::time::sleep(retry.next(rand::random()))).await.is_none() {
            return;
        }
    }
}

/// The active bridge.
struct Carrier<F> {
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    patience: Patience,
    stopping: CancellationToken,
}

/// A command that is no longer in hand.
struct Ended {
    stream_seq: u64,
    /// The presentity whose turn it had.
    presentity: Option<Box<str>>,
    rest: Rest,
}

/// A message that cannot be carried out.
struct Unfit {
    /// Reason of the dead letter, a word.
    reason: &'static str,
    /// What is wrong with it.
    error: ErrorBody,
}

enum Rest {
    /// Acknowledged, or a dead letter.
    Done,
    /// Not carried out before the stop.
    Undone(Box<Delivery>),
    /// The keep-alive was too late: the server may have redelivered it.
    Lost,
}

impl<F: Fanout> Carrier<F> {
    /// Takes commands until the stop; returns those not carried out. On an error everything in hand is dropped and will be
    /// redelivered.
    async fn serve(&self, pull: &mut Pull) -> Result<Vec<Delivery>, PullError> {
        let (mut turns, mut in_hand, mut seqs) = (Turns::default(), FuturesUnordered::new(), HashSet::new());
        let mut undone = Vec::new();
        let Some(first) = self.redelivered(pull, &mut undone).await? else { return Ok(undone) };
        for delivery in first {
            seqs.insert(delivery.stream_seq);
            in_hand.push(self.take(delivery, &mut turns));
        }
        let mut left = |ended: Ended, turns: &mut Turns<oneshot::Sender<()>>, seqs: &mut HashSet<u64>| {
            seqs.remove(&ended.stream_seq);
            if let Some(next) = ended.presentity.and_then(|presentity| turns.leave(&presentity)) {
                // it waits in `in_hand`
                let _is_there = next.send(());
            }
            match ended.rest {
                Rest::Done => Ok(()),
                Rest::Undone(delivery) => {
                    undone.push(*delivery);
                    Ok(())
                }
                Rest::Lost => Err(PullError::TakenOver),
            }
        };
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                Some(ended) = in_hand.next(), if !in_hand.is_empty() => left(ended, &mut turns, &mut seqs)?,
                // the server's own bound is `max_ack_pending`; an operator may have set another
                delivery = pull.next(MAX_DURABLE_IN_HAND), if in_hand.len() < 2 * MAX_DURABLE_IN_HAND => {
                    let delivery = delivery?;
                    // a redelivery of what is in hand is ignored
                    if seqs.insert(delivery.stream_seq) {
                        in_hand.push(self.take(delivery, &mut turns));
                    }
                }
            }
        }
        while let Some(ended) = in_hand.next().await {
            left(ended, &mut turns, &mut seqs)?;
        }
        Ok(undone)
    }

    /// Waits for the first command, which makes this bridge the active one, then until everything that the last active bridge
    /// had in flight is redelivered. `None`: stopped before that; what has come is in `undone`.
    async fn redelivered(&self, pull: &mut Pull, undone: &mut Vec<Delivery>) -> Result<Option<Vec<Delivery>>, PullError> {
        let first = match self.stopping.run_until_cancelled(pull.next(MAX_DURABLE_IN_HAND)).await {
            None => return Ok(None),
            Some(first) => first?,
        };
        let tell_every = self.patience.tell_every();
        let mut come = Redelivery::new(pull.pending().await.ok());
        come.add(first.stream_seq, Held::new(first, tell_every, clock::now()));
        // by then the server has redelivered everything that is unacknowledged
        let patience = tokio::time::sleep(self.patience.ack_wait * 3 / 2);
        tokio::pin!(patience);
        let mut tell = tokio::time::interval(tell_every / 2);
        while !come.is_complete() {
            tokio::select! {
                () = self.stopping.cancelled() => {
                    undone.extend(come.in_order().map(Held::into_delivery));
                    return Ok(None);
                }
                () = &mut patience => break,
                _ = tell.tick() => come.each(|held| held.keep(clock::now())),
                delivery = pull.next(MAX_DURABLE_IN_HAND) => {
                    let delivery = delivery?;
                    come.add(delivery.stream_seq, Held::new(delivery, tell_every, clock::now()));
                }
            }
        }
        Ok(Some(come.in_order().map(Held::into_delivery).collect()))
    }

    /// Reads a command and has it carried out when it is its turn.
    fn take<'c>(&'c self, delivery: Delivery, turns: &mut Turns<oneshot::Sender<()>>) -> impl Future<Output = Ended> + use<'c, F> {
        let command = self.read(&delivery);
        let presentity: Option<Box<str>> = command.as_ref().ok().map(|command| command.presentity.as_str().into());
        let turn = presentity.as_deref().and_then(|presentity| {
            let (ticket, turn) = oneshot::channel();
            turns.join(presentity, ticket).is_none().then_some(turn)
        });
        async move {
            let stream_seq = delivery.stream_seq;
            let rest = match command {
                Ok(command) => self.carry(command, delivery, turn).await,
                Err(unfit) => {
                    let Unfit { reason, error } = unfit;
                    self.bridge.metrics().command_ended(Some(&error), Duration::ZERO);
                    self.bridge.refused().note(&error, &Who::in_payload(delivery.payload()), &delivery.cause());
                    let held = Held::new(delivery, self.patience.tell_every(), clock::now());
                    self.bury(held, reason, &error.description).await
                }
            };
            Ended { stream_seq, presentity, rest }
        }
    }

    /// The command, or why it cannot be carried out at all.
    fn read(&self, delivery: &Delivery) -> Result<SetCommand, Unfit> {
        if delivery.deliveries > self.patience.max_deliveries {
            let error = ErrorBody::new(503, "delivered too often without being carried out");
            return Err(Unfit { reason: "max_deliver", error });
        }
        let subjects = self.bridge.bus().subjects();
        let domain = subjects.domain_of_command(delivery.subject()).map_err(|UnknownSubject| {
            let subject = subjects.command_set();
            let description = format!("no command comes on this subject: expected {subject} or {subject}.<domain>");
            Unfit { reason: "unknown_subject", error: ErrorBody::new(404, description) }
        })?;
        command::read(&self.table, delivery.payload())
            .and_then(|command| command.within(domain))
            .map_err(|error| Unfit { reason: Outcome::of_error(&error).as_str(), error })
    }

    /// Waits for its turn, then tries until it is carried out or given up.
    async fn carry(&self, command: SetCommand, delivery: Delivery, turn: Option<oneshot::Receiver<()>>) -> Rest {
        // the same id each time, so that a retry makes the same NOTIFY jobs
        let (id, cause) = (delivery.id(), delivery.cause());
        let sender_id = delivery.sender_id().map(str::to_owned);
        let place = CommandPlace { sequence: delivery.stream_seq, stored_at_nanos: delivery.stored_at_nanos, sender_id };
        let order = Order { id: id.clone(), place: Some(place) };
        let metrics = self.bridge.metrics();
        let started_at = clock::now();
        let _in_flight = metrics.command_started(Way::Queue);
        let mut held = Held::new(delivery, self.patience.tell_every(), started_at);
        if let Some(turn) = turn {
            let _it_is_our_turn = held.during(turn).await;
        }
        let (mut attempts, mut is_made) = (0, false);
        loop {
            if self.stopping.is_cancelled() {
                return Rest::Undone(Box::new(held.into_delivery()));
            }
            if !held.is_ours(clock::now()) {
                return Rest::Lost;
            }
            attempts += 1;
            let failure = match held.during(self.bridge.carry_out(&command, Some(&order), &cause)).await {
                Ok(_response) => None,
                // It was carried out by another bridge while this one stood still, or under another sequence.
                Err(failure) if failure.body.code == ALREADY_DONE => None,
                Err(failure) if self.is_worth_another(&failure, attempts) => {
                    // an event says so, whatever becomes of its NOTIFYs
                    is_made |= !failure.is_untold;
                    let delay = self.patience.retry.delay(attempts, rand::random());
                    metrics.command_retried(&failure.body, delay);
                    let _or_we_stop = held.during(self.stopping.run_until_cancelled(tokio::time::sleep(delay))).await;
                    continue;
                }
                Err(failure) => Some(failure),
            };
            let error = failure.as_ref().map(|failure| &failure.body);
            metrics.command_ended(error, clock::now().saturating_duration_since(started_at));
            let Some(failure) = failure else {
                let _comes_again_anyway = held.into_delivery().ack();
                return Rest::Done;
            };
            self.bridge.refused().note(&failure.body, &Who::of(&command), &cause);
            if !is_made {
                held.during(self.bridge.tell_refused(&command, &failure, Some(&id), &cause)).await;
            }
            return self.bury(held, Outcome::of_error(&failure.body).as_str(), &failure.body.description).await;
        }
    }

    fn is_worth_another(&self, failure: &Failure, attempts: u32) -> bool {
        let most = if failure.is_away { self.patience.attempts_away } else { self.patience.attempts };
        failure.body.code == 503 && attempts < most
    }

    /// Makes it a dead letter, however long that takes. Until then it is its presentity's turn: once a later command is carried out,
    /// this one counts as done, and nobody would ever hear of it.
    async fn bury(&self, mut held: Held, reason: &'static str, detail: &str) -> Rest {
        let letter = held.delivery().letter(STAGE, reason, detail);
        loop {
            match held.during(letter.store(self.bridge.bus())).await {
                Ok(()) => {
                    let _comes_again_anyway = held.into_delivery().terminate();
                    return Rest::Done;
                }
                Err(error) => self.bridge.metrics().not_buried(&error),
            }
            if !held.is_ours(clock::now()) {
                return Rest::Lost;
            }
            if held.during(self.stopping.run_until_cancelled(tokio::time::sleep(BURY_AGAIN_AFTER))).await.is_none() {
                return Rest::Undone(Box::new(held.into_delivery()));
            }
        }
    }
}
