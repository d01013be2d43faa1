//! Connections to NATS as clients and servers behave: what is under way arrives in order or not at all, a silent connection is given up by
//! either end in its own time, and a new one subscribes again.

use std::sync::Arc;
use std::time::Duration;

use crate::simulate::event::Event;
use crate::simulate::line::{HeldUp, ToClient, ToServer};
use crate::simulate::server::SubscriptionId;
use crate::simulate::world::State;

/// As the client of the product: a server that answers no PING three times in a row counts as lost.
const CLIENT_GIVES_UP_AFTER: Duration = Duration::from_secs(6);
/// When a server gives up a client whose machine is gone: shortest and longest.
const SERVER_GIVES_UP_AFTER: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(12));
/// Waits between attempts to connect.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Publications that wait for a connection.
const MOST_QUEUED: usize = 65_536;

impl State {
    /// A client tries to connect.
    pub(in crate::simulate) fn connect(&mut self, line: usize, attempt: u32) {
        let is_away = self.faults.is_server_down;
        let Some(this) = self.lines.get_mut(line).filter(|this| !this.is_closed && !this.is_up) else { return };
        if is_away || this.is_cut {
            let delay = self.between(RECONNECT.0, RECONNECT.1.min(RECONNECT.0 * (1 << attempt.min(6))));
            return self.after(delay, Event::Connect { line, attempt: attempt + 1 });
        }
        if let Some(before) = this.at_server.take() {
            // it does not hear of the old one's end before it gives it up, so the server has both for a while
            this.held_up.clear();
            self.server.disconnect(before);
        }
        let connection = self.server.connect();
        let Some(this) = self.lines.get_mut(line) else { return };
        this.epoch += 1;
        this.at_server = Some(connection);
        let epoch = this.epoch;
        self.client_hears_later(line, epoch, ToClient::Welcome);
        self.carry_deliveries();
    }

    /// The client sends something.
    pub(in crate::simulate) fn client_sends(&mut self, line: usize, what: ToServer) {
        let (shortest, longest) = self.faults.bus_delay;
        let delay = self.between(shortest, longest);
        let now = self.now;
        let Some(this) = self.lines.get_mut(line).filter(|this| !this.is_closed) else { return };
        if !this.is_up {
            if matches!(what, ToServer::Publish(_)) && this.queued.len() < MOST_QUEUED {
                this.queued.push(what);
            }
            return;
        }
        this.to_server_at = this.to_server_at.max(now + delay);
        let (at, epoch) = (this.to_server_at, this.epoch);
        self.at(at, Event::ToServer { line, epoch, what });
    }

    fn client_hears_later(&mut self, line: usize, epoch: u64, what: ToClient) {
        let (shortest, longest) = self.faults.bus_delay;
        let delay = self.between(shortest, longest);
        let now = self.now;
        let Some(this) = self.lines.get_mut(line) else { return };
        this.to_client_at = this.to_client_at.max(now + delay);
        let at = this.to_client_at;
        self.at(at, Event::ToClient { line, epoch, what });
    }

    /// What the server wants delivered is under way.
    pub(in crate::simulate) fn carry_deliveries(&mut self) {
        while let Some(delivery) = self.server.poll() {
            let found = self.lines.iter().position(|line| line.at_server == Some(delivery.to));
            let Some(line) = found else { continue };
            let epoch = self.lines.get(line).map_or(0, |line| line.epoch);
            let what = ToClient::Message { subscription: delivery.subscription.0, message: Box::new(delivery.message) };
            self.client_hears_later(line, epoch, what);
        }
        self.look_at_buckets();
    }

    /// Something of a client is at the server.
    pub(in crate::simulate) fn server_hears(&mut self, line: usize, epoch: u64, what: ToServer) {
        let now = self.now;
        let Some(this) = self.lines.get_mut(line).filter(|this| this.epoch == epoch) else { return };
        if this.is_cut {
            return this.held_up.push(HeldUp::ToServer(what));
        }
        let Some(connection) = this.at_server else { return };
        match what {
            ToServer::Subscribe { id, subject, queue } => {
                self.server.subscribe(connection, SubscriptionId(id), &subject, queue.as_deref());
            }
            ToServer::Unsubscribe { id, is_drained } => {
                self.server.unsubscribe(connection, SubscriptionId(id));
                if is_drained {
                    self.client_hears_later(line, epoch, ToClient::Ended { subscription: id });
                }
            }
            ToServer::Publish(publication) => self.server.publish(connection, *publication, now),
            ToServer::Goodbye => {
                this.at_server = None;
                self.server.disconnect(connection);
            }
        }
        self.carry_deliveries();
    }

    /// Something of the server is at a client.
    pub(in crate::simulate) fn client_hears(&mut self, line: usize, epoch: u64, what: ToClient) {
        let Some(this) = self.lines.get_mut(line).filter(|this| this.epoch == epoch && !this.is_closed) else { return };
        if this.is_cut {
            return this.held_up.push(HeldUp::ToClient(what));
        }
        match what {
            ToClient::Message { subscription, message } => {
                let Some(found) = this.subscriptions.get(&subscription) else { return };
                // without room it is lost, as a slow consumer's
                let _lost = found.sender.try_send(*message);
            }
            ToClient::Ended { subscription } => {
                this.subscriptions.remove(&subscription);
            }
            ToClient::Welcome => {
                this.is_up = true;
                let again: Vec<_> = this.subscriptions.iter().map(|(id, one)| (*id, one.subject.clone(), one.queue.clone())).collect();
                let queued = std::mem::take(&mut this.queued);
                let told = Arc::clone(&this.link);
                for (id, subject, queue) in again {
                    self.client_sends(line, ToServer::Subscribe { id, subject, queue });
                }
                for what in queued {
                    self.client_sends(line, what);
                }
                told.handle(async_nats::Event::Connected);
            }
        }
    }

    /// The server has heard nothing of a client for too long.
    pub(in crate::simulate) fn given_up(&mut self, line: usize, epoch: u64) {
        let now = self.now;
        let is_silent = |since: Duration| now.saturating_sub(since) >= SERVER_GIVES_UP_AFTER.0;
        let Some(this) = self.lines.get_mut(line).filter(|this| this.epoch == epoch && this.cut_at.is_some_and(is_silent)) else { return };
        let Some(connection) = this.at_server.take() else { return };
        let is_cut = this.is_cut;
        self.server.disconnect(connection);
        if !is_cut {
            // a process that stands still: its kernel hears of the end
            self.after(Duration::from_millis(1), Event::Noticed { line, epoch });
        }
    }

    /// A client notices that its connection is gone.
    pub(in crate::simulate) fn noticed(&mut self, line: usize, epoch: u64) {
        let Some(this) = self.lines.get_mut(line).filter(|this| this.epoch == epoch && this.is_up && !this.is_closed) else { return };
        let heard_until = this.cut_at.unwrap_or(self.now);
        if this.at_server.is_some() && (!this.is_cut || self.now.saturating_sub(heard_until) < CLIENT_GIVES_UP_AFTER) {
            // it has heard something since
            return;
        }
        if self.machines.get(this.name).is_some_and(|machine| machine.is_stopped_now()) {
            // it cannot: once it goes on, it does
            return self.after(Duration::from_millis(20), Event::Noticed { line, epoch });
        }
        this.is_up = false;
        // what was under way of that connection is lost
        this.epoch += 1;
        this.held_up.clear();
        let told = Arc::clone(&this.link);
        self.after(Duration::from_millis(1), Event::Connect { line, attempt: 0 });
        told.handle(async_nats::Event::Disconnected);
    }

    /// Nothing passes between this machine and NATS any more, and both ends still wait.
    pub(in crate::simulate) fn cut_line(&mut self, line: usize) {
        let now = self.now;
        let Some(this) = self.lines.get_mut(line) else { return };
        (this.is_cut, this.cut_at) = (true, Some(now));
        let epoch = this.epoch;
        self.give_up_later(line, epoch);
        self.after(CLIENT_GIVES_UP_AFTER, Event::Noticed { line, epoch });
    }

    /// The server gives a silent client up after a while.
    fn give_up_later(&mut self, line: usize, epoch: u64) {
        let (shortest, longest) = SERVER_GIVES_UP_AFTER;
        let delay = self.between(shortest, longest);
        self.after(delay, Event::GivenUp { line, epoch });
    }

    /// What is held up goes on, if its connection is still there at both ends.
    pub(in crate::simulate) fn mend_line(&mut self, line: usize) {
        let Some(this) = self.lines.get_mut(line) else { return };
        (this.is_cut, this.cut_at) = (false, None);
        let (held_up, is_gone, epoch) = (std::mem::take(&mut this.held_up), this.at_server.is_none() && this.is_up, this.epoch);
        if is_gone {
            // the server has given it up: its first packet is answered so
            return self.after(Duration::from_millis(2), Event::Noticed { line, epoch });
        }
        let now = self.now;
        for held in held_up {
            self.at(
                now,
                match held {
                    HeldUp::ToServer(what) => Event::ToServer { line, epoch, what },
                    HeldUp::ToClient(what) => Event::ToClient { line, epoch, what },
                },
            );
        }
        // the client may have been about to give up: it has heard something now
        if let Some(this) = self.lines.get_mut(line) {
            this.to_server_at = this.to_server_at.max(now);
            this.to_client_at = this.to_client_at.max(now);
        }
    }

    /// The process stands still: after a while the server gives it up.
    pub(in crate::simulate) fn line_stands_still(&mut self, line: usize) {
        let now = self.now;
        let Some(this) = self.lines.get_mut(line) else { return };
        this.cut_at = Some(now);
        let epoch = this.epoch;
        self.give_up_later(line, epoch);
    }

    /// The process goes on.
    pub(in crate::simulate) fn line_goes_on(&mut self, line: usize) {
        if let Some(this) = self.lines.get_mut(line) {
            this.cut_at = None;
        }
    }

    /// The process is gone: the kernel says so to the server, unless nothing passes.
    pub(in crate::simulate) fn end_line(&mut self, line: usize) {
        let Some(this) = self.lines.get_mut(line).filter(|this| !this.is_closed) else { return };
        (this.is_closed, this.is_up) = (true, false);
        this.subscriptions.clear();
        let (at, epoch, is_cut) = (this.to_server_at, this.epoch, this.is_cut);
        if is_cut {
            this.cut_at = this.cut_at.or(Some(self.now));
            self.give_up_later(line, epoch);
        } else {
            let at = at.max(self.now + Duration::from_millis(1));
            self.at(at, Event::ToServer { line, epoch, what: ToServer::Goodbye });
        }
    }

    /// The server has ended all connections.
    pub(in crate::simulate) fn all_lines_end(&mut self) {
        for line in 0..self.lines.len() {
            let Some(this) = self.lines.get_mut(line) else { continue };
            this.at_server = None;
            let epoch = this.epoch;
            let delay = self.between(Duration::from_millis(1), Duration::from_millis(50));
            self.after(delay, Event::Noticed { line, epoch });
        }
    }
}
