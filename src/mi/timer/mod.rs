//! Has features go off whose time is over: takes what comes due from the stream of timers. I/O.
//!
//! ```text
//! dfks.timer.due.> ─▶ any bridge ─▶ the set route, for one version ─▶ ack
//!                        ├─ the feature has changed since ─▶ ack
//!                        ├─ bus or workers away ─▶ again, after a moment
//!                        └─ denied, or its owner is away ─▶ a timer for the next attempt ─ after a day ─▶ dfks.dead.timer
//! ```
//! However often it comes, the change is made once: it is for one version of the feature, and the next change has another.

mod patience;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::message::{ErrorBody, OWNER_ABSENT, Origin};
use crate::bus::pull::{Delivery, EXPIRES, Held, Pull, PullConfig, PullError, REOPEN};
use crate::bus::schedule::{STREAM, Timer};
use crate::bus::subject::Subjects;
use crate::bus::trace::Cause;
use crate::feature::{Presentity, Status, Values};
use crate::mi::bridge::{Bridge, Fanout, Order};
use crate::mi::command::SetCommand;
use crate::mi::error::Failure;
use crate::mi::metrics::{Outcome, TimerOutcome};
use crate::runtime::{Backoff, clock};

/// Name of the consumer.
const DURABLE: &str = "due";
/// `dfks.dead.<stage>`
const STAGE: &str = "timer";
/// A timer whose bridge is silent for so long is delivered to another one.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// How often the server hears of a timer in hand that it is in hand.
const WORKING_EVERY: Duration = Duration::from_millis(1500);
/// Timers in hand at a time.
const MAX_IN_HAND: usize = 64;
/// Timers in hand of all bridges.
const MAX_ACK_PENDING: i64 = 16 * 64;
/// Waits between looks whether the stream is there, and the server holds messages back.
const LOOK_AGAIN: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_mins(1));
/// Waits while bus or workers are away.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// What a worker answers where the feature has changed meanwhile.
const CHANGED: u16 = 412;

fn consumer(subjects: &Subjects) -> PullConfig {
    PullConfig {
        stream: subjects.stream(STREAM),
        durable: DURABLE.to_owned(),
        filter: subjects.timer("due.>"),
        ack_wait: ACK_WAIT,
        max_ack_pending: MAX_ACK_PENDING,
        // given up by us: the server would leave the timer in the stream
        max_deliver: -1,
        inactive_threshold: Duration::ZERO,
        expires: EXPIRES,
        exclusive: None,
    }
}

/// Carries out what comes due until `stopping`: then it finishes what is in hand and gives the rest back.
pub(crate) async fn run<F: Fanout>(bridge: Arc<Bridge<F>>, stopping: CancellationToken) {
    let keeper = Keeper { bridge };
    let (mut retry, mut look_again, mut is_told) = (REOPEN, LOOK_AGAIN, false);
    loop {
        let opened = async {
            let bus = keeper.bridge.bus();
            bus.connected().await;
            match keeper.bridge.schedule().ready().await {
                Ok(()) => Ok(Some(Pull::open(bus, consumer(bus.subjects())).await?)),
                Err(error) => {
                    // once is enough: who sets a feature for a time is told
                    if !std::mem::replace(&mut is_told, true) {
                        keeper.bridge.metrics().not_scheduled(&error);
                    }
                    Ok::<_, PullError>(None)
                }
            }
        };
        let (error, pause) = match stopping.run_until_cancelled(opened).await {
            None => return,
            Some(Ok(None)) => (None, look_again.next(rand::random())),
            Some(Err(error)) => (Some(error), retry.next(rand::random())),
            Some(Ok(Some(mut pull))) => {
                retry.reset();
                match pull.each(MAX_IN_HAND, &stopping, |delivery| keeper.carry(delivery)).await {
                    Ok(()) => return pull.give_back(Vec::new()).await,
                    Err(error) => (Some(error), retry.next(rand::random())),
                }
            }
        };
        if let Some(error) = &error {
            keeper.bridge.metrics().timers_interrupted(error);
            keeper.bridge.schedule().look_again();
        }
        if stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

struct Keeper<F> {
    bridge: Arc<Bridge<F>>,
}

/// What became of an attempt.
enum Attempt {
    /// It is off.
    Ended,
    /// Something has changed it before: nothing is to be done.
    Passed,
    /// Bus or workers are away: it is not known.
    Away,
    /// It stays on for now.
    Refused(ErrorBody),
}

impl<F: Fanout> Keeper<F> {
    async fn carry(&self, delivery: Delivery) {
        let cause = delivery.cause();
        let (timer, command) = match self.read(&delivery) {
            Ok(read) => read,
            Err(error) => return self.bury(delivery, &error).await,
        };
        let order = Order { id: delivery.id(), place: None };
        let deliveries = u32::try_from(delivery.deliveries).unwrap_or(u32::MAX);
        let mut held = Held::new(delivery, WORKING_EVERY, clock::now());
        let attempt = held.during(self.attempt(&command, &order, &cause)).await;
        let delivery = held.into_delivery();
        let metrics = self.bridge.metrics();
        let _comes_again_anyway = match attempt {
            Attempt::Ended => {
                metrics.timer_ended(TimerOutcome::Ended);
                delivery.ack()
            }
            Attempt::Passed => {
                metrics.timer_ended(TimerOutcome::Passed);
                delivery.ack()
            }
            Attempt::Away => delivery.nak_after(RETRY.delay(deliveries, rand::random())),
            Attempt::Refused(error) => {
                let Some(wait) = patience::wait(timer.attempt) else { return self.bury(delivery, &error).await };
                metrics.timer_ended(TimerOutcome::Refused);
                let next = Timer { attempt: timer.attempt.saturating_add(1), ..timer };
                let at = self.bridge.bus().utc_now() + wait;
                match self.bridge.schedule().put(&command.presentity, &next, at, &cause).await {
                    Ok(()) => delivery.ack(),
                    Err(_) => delivery.nak_after(RETRY.delay(deliveries, rand::random())),
                }
            }
        };
    }

    /// The timer, and the command that it comes to.
    fn read(&self, delivery: &Delivery) -> Result<(Timer, SetCommand), ErrorBody> {
        let timer: Timer =
            serde_json::from_slice(delivery.payload()).map_err(|error| ErrorBody::bad(None, format!("no timer: {error}")))?;
        let presentity = Presentity::parse(&timer.presentity).map_err(|error| ErrorBody::bad(Some("presentity"), error.to_string()))?;
        let spec = self.bridge.table().require(&timer.feature)?;
        let command = SetCommand::checked(spec, presentity, Status::OFF, Values::new(), None)?;
        let command = SetCommand { origin: Origin::Timer, if_version: Some(timer.version), ..command };
        Ok((timer, command))
    }

    async fn attempt(&self, command: &SetCommand, order: &Order, cause: &Cause) -> Attempt {
        let failure = match self.bridge.carry_out(command, Some(order), cause).await {
            // with the same version: the route has turned it back
            Ok(response) if response.state.until.is_some() => return Attempt::Refused(ErrorBody::new(403, "the route left it on")),
            Ok(_response) => return Attempt::Ended,
            Err(failure) => failure,
        };
        let is_owner_absent = failure.body.description.starts_with(OWNER_ABSENT);
        match failure {
            Failure { body, .. } if body.code == CHANGED => Attempt::Passed,
            Failure { is_away: true, .. } if !is_owner_absent => Attempt::Away,
            failure => {
                self.bridge.tell_refused(command, &failure, Some(&order.id), cause).await;
                Attempt::Refused(failure.body)
            }
        }
    }

    async fn bury(&self, delivery: Delivery, error: &ErrorBody) {
        self.bridge.metrics().timer_ended(TimerOutcome::Dead);
        if let Err(error) = delivery.bury(STAGE, Outcome::of_error(error).as_str(), &error.description).await {
            self.bridge.metrics().not_buried(&error);
        }
    }
}
