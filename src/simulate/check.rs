//! What must hold when a run is over: everything was whole for a while, and one more change of everybody was made since.

use std::time::Duration;

use crate::simulate::ledger::{Invariant, Way, is_shown, target};
use crate::simulate::world::State;

/// A phone whose lifetime ends within this has other things to do than to show anything.
const MARGIN: Duration = Duration::from_secs(5);
/// Consumers of one stream, at most: those of roles, and feeds that were given up a moment ago.
const MOST_CONSUMERS: usize = 40;
/// Subscriptions of one connection, at most.
const MOST_SUBSCRIPTIONS: usize = 200;
/// NOTIFYs a change and phone that watches it, and a SUBSCRIBE, at most.
const MOST_NOTIFIES: u64 = 3;

impl State {
    /// Looks at everything.
    pub(crate) fn check(&mut self) {
        self.check_phones();
        self.check_commands();
        self.check_bounds();
    }

    fn check_phones(&mut self) {
        let now = self.now;
        let mut found = Vec::new();
        for (at, phone) in self.phones.iter().enumerate() {
            if phone.off_until.is_some_and(|until| now < until) || phone.has_left {
                continue;
            }
            if !phone.is_subscribed {
                found.push((Invariant::Served, format!("phone {at} has no subscription although nothing is broken")));
                continue;
            }
            let is_given_up = self.ledger.sip.has_given_up(&phone.call_id);
            if is_given_up || phone.granted_until.is_none_or(|until| until < now + MARGIN) {
                continue;
            }
            for (feature, stored) in self.ledger.history.now(phone.presentity.as_str()) {
                let shown = phone.shown.get(feature);
                let fits = shown.is_some_and(|(status, values)| *status == stored.status && is_shown(values, &stored.values));
                if !fits {
                    let what = format!(
                        "phone {at} of {} shows {feature} as {shown:?}, stored is version {} {:?} {:?} since {:.3} s",
                        phone.presentity.as_str(),
                        stored.number,
                        stored.status,
                        stored.values,
                        stored.at.as_secs_f64(),
                    );
                    found.push((Invariant::Converged, what));
                }
            }
        }
        for (invariant, what) in found {
            self.ledger.broken(now, invariant, what);
        }
    }

    fn check_commands(&mut self) {
        let now = self.now;
        let dead: Vec<String> =
            self.server.messages("DFKS_DEAD").map(|stored| String::from_utf8_lossy(stored.payload).into_owned()).collect();
        let mut found = Vec::new();
        let mut order: Vec<(String, &str, u64, u64)> = Vec::new();
        for (number, command) in &self.ledger.commands {
            let target = target(*number);
            let versions = self.ledger.history.versions(&command.presentity, command.feature).unwrap_or_default();
            let made: Vec<_> = versions.iter().filter(|one| one.values.get("forwardTo") == Some(&target)).collect();
            if made.len() > 1 {
                found.push((Invariant::Once, format!("{number} ({:?}) was carried out {} times", command.way, made.len())));
            }
            let (Way::Durable, Some(place)) = (command.way, command.answered) else { continue };
            match made.first() {
                Some(one) => order.push((command.presentity.clone(), command.feature, place, one.revision)),
                None if dead.iter().any(|letter| letter.contains(&target)) => {}
                None => found.push((Invariant::Once, format!("{number} was acknowledged at {place} and never carried out"))),
            }
        }
        order.sort();
        for pair in order.windows(2) {
            if let [(presentity, _, place, revision), (next, _, after, then)] = pair
                && presentity == next
                && place < after
                && revision > then
            {
                found.push((Invariant::InOrder, format!("of {presentity}, {after} was carried out before {place}")));
            }
        }
        for (invariant, what) in found {
            self.ledger.broken(now, invariant, what);
        }
    }

    fn check_bounds(&mut self) {
        let now = self.now;
        let mut found = Vec::new();
        for (name, stream) in self.server.streams() {
            if matches!(name, "DFKS_NOTIFY" | "DFKS_COMMANDS") && stream.messages > 0 {
                found.push((Invariant::Bounded, format!("{name} still holds {} messages", stream.messages)));
            }
            if stream.consumers > MOST_CONSUMERS {
                found.push((Invariant::Bounded, format!("{name} has {} consumers", stream.consumers)));
            }
        }
        for line in self.lines.iter().filter(|line| !line.is_closed) {
            if line.subscriptions.len() > MOST_SUBSCRIPTIONS {
                found.push((Invariant::Bounded, format!("{} has {} subscriptions", line.name, line.subscriptions.len())));
            }
        }
        let watching = u64::try_from(self.phones.len().div_ceil(self.presentities.max(1))).unwrap_or(1);
        let changes = u64::try_from(self.ledger.history.changes()).unwrap_or(u64::MAX);
        let most = MOST_NOTIFIES * (changes * watching + self.ledger.granted + self.ledger.sip.moved) + 100;
        if self.ledger.sip.first > most {
            found.push((Invariant::NoStorm, format!("{} NOTIFYs, at most {most} were expected", self.ledger.sip.first)));
        }
        for (invariant, what) in found {
            self.ledger.broken(now, invariant, what);
        }
    }
}
