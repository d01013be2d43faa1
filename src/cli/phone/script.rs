//! What the simulated phone does and when: the full state, the keys in order, staying, leaving. Pure.
//!
//! ```text
//!   Settling ──▶ Pressing ──▶ … ──▶ Staying ──▶ Leaving ──▶ Over
//!      │ no NOTIFY for SETTLE   │ 200 and a NOTIFY       │ 200 and the NOTIFY that ends it
//!      └──────── a refusal or silence ends it early, after unsubscribing where there is a dialog ──┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::input::{Asked, Event, Input};
use super::notification::{Notification, ShownFeature};
use super::subscriber::{ends_dialog, refresh_after};
use crate::cli::args::Press;
use crate::cli::exit::Failure;
use crate::cli::output::printable;
use crate::feature::Status;

/// The full state is complete when no NOTIFY follows within this time.
const SETTLE: Duration = Duration::from_millis(300);
/// A NOTIFY follows each SUBSCRIBE within 64 T1 (RFC 6665 §4.1.2.4, Timer N).
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(32);
/// Longest wait for the NOTIFY that ends the subscription, once it was asked for.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Keys that may wait for the one before them to be confirmed.
const MAX_WAITING_PRESSES: usize = 8;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Tell the subscriber.
    Tell(Input),
    /// A key was confirmed; `is_taken` tells whether the feature is as it was asked for.
    Confirmed { press: Press, is_taken: bool },
    /// The phone is done.
    Finish(Result<(), Failure>),
}

#[derive(Debug)]
enum Step {
    Settling {
        is_notified: bool,
        until: Instant,
    },
    Pressing {
        press: Press,
        is_accepted: bool,
        /// What the phone showed of the feature before.
        before: Option<ShownFeature>,
        shown: Option<Notification>,
        until: Instant,
    },
    Staying,
    Leaving {
        is_terminated: bool,
        until: Instant,
    },
    Over,
}

/// When the phone unsubscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    WhenTold,
    /// When the last key is confirmed.
    AfterPresses,
    /// Then, or when the last key is confirmed, whichever is later.
    At(Instant),
    /// Never: it asked for no lifetime, so the server ends the subscription.
    Fetched,
    Now,
}

/// The plan of one phone.
#[derive(Debug)]
pub(super) struct Script {
    presses: VecDeque<Press>,
    leave: Leave,
    step: Step,
    /// A request of the phone waits for its answer; it gets one, or Timer F ends it.
    is_asking: bool,
    refresh_at: Option<Instant>,
    failure: Option<Failure>,
    orders: VecDeque<Order>,
    /// What the phone was shown last, by feature.
    lamps: BTreeMap<String, ShownFeature>,
    /// Interactive: a refused key is shown, and the phone keeps running.
    is_live: bool,
}

impl Script {
    /// A phone that subscribes now.
    pub(super) fn new(presses: Vec<Press>, leave: Leave, now: Instant) -> Self {
        Self {
            presses: presses.into(),
            leave,
            step: Step::Settling { is_notified: false, until: now + NOTIFY_TIMEOUT },
            is_asking: true,
            refresh_at: None,
            failure: None,
            orders: [Order::Tell(Input::Subscribe)].into(),
            lamps: BTreeMap::new(),
            is_live: false,
        }
    }

    /// A phone whose keys someone presses, until they leave.
    pub(super) fn live(now: Instant) -> Self {
        Self { is_live: true, ..Self::new(Vec::new(), Leave::WhenTold, now) }
    }

    /// A key is pressed. `false` when too many wait already.
    pub(super) fn press(&mut self, press: Press, now: Instant) -> bool {
        if self.presses.len() >= MAX_WAITING_PRESSES {
            return false;
        }
        self.presses.push_back(press);
        self.go_on(now);
        true
    }

    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`timeout`](Self::timeout) is due. While a request waits for its answer only the end of a limited stay is.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_asking {
            return self.unanswered_until();
        }
        match &self.step {
            Step::Settling { until, .. } | Step::Pressing { until, .. } | Step::Leaving { until, .. } => Some(*until),
            Step::Staying => {
                let leave_at = if let Leave::At(at) = self.leave { Some(at) } else { None };
                leave_at.into_iter().chain(self.refresh_at).min()
            }
            Step::Over => None,
        }
    }

    pub(super) fn stop(&mut self, now: Instant) {
        self.leave = Leave::Now;
        self.go_on(now);
    }

    pub(super) fn event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Accepted { asked, expires_seconds } => {
                self.is_asking = false;
                self.refresh_at = (*expires_seconds > 0).then(|| now + refresh_after(*expires_seconds));
                match (&mut self.step, asked) {
                    (Step::Pressing { is_accepted, .. }, Asked::Press(_)) => *is_accepted = true,
                    (Step::Leaving { until, .. }, Asked::Unsubscribe) => *until = now + LEAVE_TIMEOUT,
                    _ => {}
                }
            }
            Event::Refused { asked, status, reason } => {
                self.is_asking = false;
                if self.is_live && matches!(asked, Asked::Press(_)) && !ends_dialog(*status) {
                    self.step = Step::Staying;
                    return self.go_on(now);
                }
                self.fail(Failure::Refused(format!("{} refused: {status} {reason}", request_name(asked))));
                if matches!(asked, Asked::Subscribe | Asked::Unsubscribe) {
                    return self.finish();
                }
            }
            Event::NoAnswer(asked) => {
                self.fail(Failure::NobodyAnswered(format!("no answer to {}", request_name(asked))));
                return self.finish();
            }
            Event::Notified(notification) => self.notified(notification, now),
        }
        self.go_on(now);
    }

    /// The subscriber did not take what it was told: a key that no phone has, a dialog that has ended.
    pub(super) fn not_taken(&mut self, reason: String, now: Instant) {
        self.is_asking = false;
        if self.is_live && matches!(self.step, Step::Pressing { .. }) {
            self.step = Step::Staying;
            return self.go_on(now);
        }
        self.fail(Failure::Refused(reason));
        if matches!(self.step, Step::Leaving { .. }) { self.finish() } else { self.go_on(now) }
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        self.go_on(now);
    }

    fn notified(&mut self, notification: &Notification, now: Instant) {
        self.lamps.extend(notification.features.iter().map(|shown| (shown.feature.clone(), shown.clone())));
        match &mut self.step {
            Step::Settling { is_notified, until } => {
                *is_notified = true;
                *until = now + SETTLE;
            }
            Step::Pressing { press, shown, .. } if notification.answers_for(&press.feature) => *shown = Some(notification.clone()),
            Step::Leaving { is_terminated, .. } => *is_terminated |= notification.is_terminated,
            _ => {}
        }
        if notification.is_terminated && !matches!(self.step, Step::Leaving { .. }) {
            if self.leave != Leave::Fetched {
                self.fail(Failure::Refused(format!("the subscription was ended: {}", notification.subscription_state)));
            }
            self.finish();
        }
    }

    /// A phone that stays for a limited time waits no longer for the answer to its first SUBSCRIBE.
    fn unanswered_until(&self) -> Option<Instant> {
        match (&self.step, self.leave) {
            (Step::Settling { .. }, Leave::At(at)) => Some(at),
            _ => None,
        }
    }

    /// Takes every step that is due.
    fn go_on(&mut self, now: Instant) {
        if self.is_asking {
            if self.unanswered_until().is_some_and(|at| at <= now) {
                self.fail(Failure::NobodyAnswered("no answer to SUBSCRIBE".to_owned()));
                self.finish();
            }
            return;
        }
        let must_leave = self.failure.is_some() || self.leave == Leave::Now;
        match &self.step {
            Step::Leaving { is_terminated: true, .. } => self.finish(),
            Step::Leaving { until, .. } if *until <= now => self.finish(),
            Step::Over | Step::Leaving { .. } => {}
            _ if must_leave => self.unsubscribe(now),
            Step::Settling { is_notified: true, until } if *until <= now => self.press_next(now),
            Step::Settling { until, .. } if *until <= now => self.give_up("no NOTIFY followed the SUBSCRIBE".to_owned(), now),
            Step::Pressing { press, is_accepted: true, before, shown: Some(notification), .. } => {
                let shown = notification.features.iter().find(|shown| shown.feature == press.feature);
                let is_taken = shown.is_some_and(|shown| is_taken(press, before.as_ref(), shown));
                let refusal = shown.filter(|_| !is_taken && !self.is_live).map(|shown| refusal(press, shown));
                self.orders.push_back(Order::Confirmed { press: press.clone(), is_taken });
                match refusal {
                    Some(refusal) => {
                        self.fail(refusal);
                        self.unsubscribe(now);
                    }
                    None => self.press_next(now),
                }
            }
            Step::Pressing { press, until, .. } if self.is_live && *until <= now => {
                self.orders.push_back(Order::Confirmed { press: press.clone(), is_taken: false });
                self.press_next(now);
            }
            Step::Pressing { press, until, .. } if *until <= now => self.give_up(format!("no NOTIFY confirmed {}", press.feature), now),
            Step::Settling { .. } | Step::Pressing { .. } => {}
            Step::Staying if !self.presses.is_empty() => self.press_next(now),
            Step::Staying => self.stay(now),
        }
    }

    fn press_next(&mut self, now: Instant) {
        let Some(press) = self.presses.pop_front() else {
            self.step = Step::Staying;
            return self.stay(now);
        };
        let values = press.values.clone();
        self.ask(Input::Press { feature: press.feature.clone(), status: Status(press.is_on), values });
        let before = self.lamps.get(&press.feature).cloned();
        self.step = Step::Pressing { press, is_accepted: false, before, shown: None, until: now + NOTIFY_TIMEOUT };
    }

    fn stay(&mut self, now: Instant) {
        match self.leave {
            Leave::AfterPresses | Leave::Now => self.unsubscribe(now),
            Leave::At(at) if at <= now => self.unsubscribe(now),
            _ if self.refresh_at.is_some_and(|at| at <= now) => {
                self.refresh_at = None;
                self.ask(Input::Refresh);
            }
            _ => {}
        }
    }

    fn unsubscribe(&mut self, now: Instant) {
        self.ask(Input::Unsubscribe);
        self.step = Step::Leaving { is_terminated: false, until: now + LEAVE_TIMEOUT };
    }

    fn give_up(&mut self, reason: String, now: Instant) {
        self.fail(Failure::NobodyAnswered(reason));
        self.unsubscribe(now);
    }

    fn ask(&mut self, input: Input) {
        self.is_asking = true;
        self.orders.push_back(Order::Tell(input));
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn finish(&mut self) {
        if !matches!(self.step, Step::Over) {
            self.step = Step::Over;
            self.orders.push_back(Order::Finish(self.failure.take().map_or(Ok(()), Err)));
        }
    }
}

/// Whether a feature is as a key asked for it. A route may have made something else of its values: then it has changed at least.
fn is_taken(press: &Press, before: Option<&ShownFeature>, shown: &ShownFeature) -> bool {
    let is_as_asked = press.values.iter().all(|(field, value)| shown.values.get(field) == Some(value));
    shown.status == Status(press.is_on) && (is_as_asked || before != Some(shown))
}

fn refusal(press: &Press, shown: &ShownFeature) -> Failure {
    let word = |is_on: bool| if is_on { "on" } else { "off" };
    let Press { feature, is_on, .. } = press;
    let mut text = format!("{feature}={} was not taken: it is {}", word(*is_on), word(shown.status.is_on()));
    for (field, value) in &shown.values {
        let _infallible = write!(text, " {field}={}", printable(value));
    }
    Failure::Refused(text)
}

fn request_name(asked: &Asked) -> String {
    match asked {
        Asked::Subscribe => "SUBSCRIBE".to_owned(),
        Asked::Refresh => "the refresh".to_owned(),
        Asked::Press(feature) => format!("the change of {feature}"),
        Asked::Unsubscribe => "the unsubscribe".to_owned(),
    }
}
#[cfg(test)]
#[path = "tests/script.rs"]
mod tests;
