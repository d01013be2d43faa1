//! What phones do and hear.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::cli::phone::input::{Asked, Event as Heard, Input, Output};
use crate::cli::phone::notification::Notification;
use crate::cli::phone::subscriber::ends_dialog;
use crate::simulate::event::Event;
use crate::simulate::ledger::target;
use crate::simulate::phone::{Act, press, refreshes_after};
use crate::simulate::world::State;

/// How long a phone waits before it subscribes anew: shortest and longest.
const ANEW_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// A phone that has something under way does the next thing later.
const BUSY: Duration = Duration::from_secs(1);

impl State {
    /// A phone does something.
    pub(in crate::simulate) fn phone_acts(&mut self, at: usize, act: Act) {
        let (now, seed) = (self.now, self.number());
        let moment = self.time.instant(now);
        let Some(phone) = self.phones.get_mut(at) else { return };
        if let Some(until) = phone.off_until {
            if now < until {
                return;
            }
            phone.off_until = None;
        }
        let is_done = match &act {
            Act::Subscribe if phone.is_subscribed => true,
            Act::Subscribe => {
                phone.begin(seed, moment);
                phone.handle(Input::Subscribe, moment)
            }
            Act::Refresh(dialog) if phone.dialog != *dialog || !phone.is_subscribed => return,
            // another request has refreshed it meanwhile
            Act::Refresh(_) if phone.refresh_at.is_some_and(|at| now < at) => return,
            Act::Refresh(_) => phone.handle(Input::Refresh, moment),
            Act::Press(_) | Act::Forward(_) | Act::Leave if !phone.is_subscribed => true,
            Act::Press(is_on) => phone.handle(press("DoNotDisturb", *is_on, None), moment),
            Act::Forward(number) => phone.handle(press("CallForwardingBusy", true, Some(&target(*number))), moment),
            Act::Leave => phone.handle(Input::Unsubscribe, moment),
            Act::PowerCut(lasts) => {
                (phone.is_subscribed, phone.granted_until, phone.off_until) = (false, None, Some(now + *lasts));
                let lasts = *lasts;
                self.after(lasts, Event::Phone(at, Act::Subscribe));
                return;
            }
        };
        self.story.phone(now, at, &act, is_done);
        if !is_done {
            self.after(BUSY, Event::Phone(at, act));
        }
        self.phone_goes_on(at);
    }

    /// A timer of a phone.
    pub(in crate::simulate) fn phone_timer(&mut self, at: usize) {
        let now = self.now;
        let moment = self.time.instant(now);
        let Some(phone) = self.phones.get_mut(at) else { return };
        if phone.timer_at.is_none_or(|due| due > now) {
            return;
        }
        phone.timer_at = None;
        if phone.off_until.is_none_or(|until| now >= until) {
            let _fits = phone.handle(Input::Timeout, moment);
        }
        self.phone_goes_on(at);
    }

    /// A datagram has reached a phone.
    pub(in crate::simulate) fn phone_hears(&mut self, at: usize, packet: Bytes, source: SocketAddr) {
        let now = self.now;
        let moment = self.time.instant(now);
        let Some(phone) = self.phones.get_mut(at).filter(|phone| phone.off_until.is_none_or(|until| now >= until)) else { return };
        let _fits = phone.handle(Input::Packet { bytes: packet, source }, moment);
        self.phone_goes_on(at);
    }

    /// Carries out what a phone wants.
    fn phone_goes_on(&mut self, at: usize) {
        let any = self.pick(1024);
        while let Some(output) = self.phones.get_mut(at).and_then(|phone| phone.poll_output().map(|output| (phone.address(), output))) {
            let (address, output) = output;
            match output {
                Output::Send(packet) => {
                    let server = self.phones.get(at).and_then(|phone| phone.server_of(&packet, any));
                    if let Some(server) = server {
                        self.send(address, server, packet);
                    }
                }
                Output::Answer(packet, to) => self.send(address, to, packet),
                Output::Event(heard) => self.phone_heard(at, heard),
            }
        }
        let (now, time) = (self.now, self.time);
        let Some(phone) = self.phones.get_mut(at) else { return };
        if let Some(due) = phone.poll_timeout() {
            // a tick of the runtime's clock later it has passed for sure
            let due = due.saturating_duration_since(time.instant(Duration::ZERO)).max(now) + Duration::from_millis(1);
            if phone.timer_at.is_none_or(|before| due < before || before < now) {
                phone.timer_at = Some(due);
                self.at(due, Event::PhoneTimer(at));
            }
        }
    }

    fn phone_heard(&mut self, at: usize, heard: Heard) {
        let now = self.now;
        self.story.heard(now, at, &heard);
        match heard {
            Heard::Accepted { asked: Asked::Unsubscribe, .. } => {
                let Some(phone) = self.phones.get_mut(at) else { return };
                (phone.is_subscribed, phone.granted_until, phone.has_left) = (false, None, true);
                let delay = self.between(Duration::from_secs(5), Duration::from_mins(1));
                self.after(delay, Event::Phone(at, Act::Subscribe));
            }
            Heard::Accepted { expires_seconds, .. } => {
                let Some(phone) = self.phones.get_mut(at) else { return };
                (phone.is_subscribed, phone.granted_until) = (true, Some(now + Duration::from_secs(expires_seconds.into())));
                let dialog = phone.dialog;
                phone.refresh_at = Some(now + refreshes_after(expires_seconds));
                self.ledger.granted += 1;
                self.after(refreshes_after(expires_seconds), Event::Phone(at, Act::Refresh(dialog)));
            }
            Heard::Refused { asked: Asked::Subscribe, .. } => self.phone_begins_anew(at),
            Heard::Refused { asked, status, .. } => {
                if ends_dialog(status) {
                    return self.phone_begins_anew(at);
                }
                self.phone_tries_again(at, &asked);
            }
            Heard::NoAnswer(_) => {
                if let Some(phone) = self.phones.get_mut(at) {
                    phone.turn_away();
                }
                self.phone_begins_anew(at);
            }
            Heard::Notified(notification) => self.phone_is_told(at, &notification),
        }
    }

    fn phone_is_told(&mut self, at: usize, notification: &Notification) {
        let Some(phone) = self.phones.get_mut(at) else { return };
        phone.learn(notification);
        let presentity = phone.presentity.clone();
        for feature in &notification.features {
            self.ledger.shown(self.now, at, presentity.as_str(), feature);
        }
        self.ledger.unreadable(self.now, at, &notification.unreadable);
        if notification.is_terminated {
            let Some(phone) = self.phones.get(at) else { return };
            if !phone.has_left && phone.is_subscribed {
                self.phone_begins_anew(at);
            }
        }
    }

    /// A request of a dialog was refused, which goes on: it is refreshed soon.
    fn phone_tries_again(&mut self, at: usize, asked: &Asked) {
        let Some(phone) = self.phones.get_mut(at) else { return };
        let act = if *asked == Asked::Unsubscribe { Act::Leave } else { Act::Refresh(phone.dialog) };
        phone.refresh_at = None;
        let delay = self.between(ANEW_AFTER.0, ANEW_AFTER.1);
        self.after(delay, Event::Phone(at, act));
    }

    fn phone_begins_anew(&mut self, at: usize) {
        let Some(phone) = self.phones.get_mut(at) else { return };
        (phone.is_subscribed, phone.granted_until) = (false, None);
        let delay = self.between(ANEW_AFTER.0, ANEW_AFTER.1);
        self.after(delay, Event::Phone(at, Act::Subscribe));
    }
}
