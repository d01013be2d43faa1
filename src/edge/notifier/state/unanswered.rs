//! Whose full state no worker gave, and how soon they are to be asked again.
//!
//! Few of them ask often, many seldom, so that some of them soon hears of a worker that is there again. Each answer wakes two.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::edge::subscription::SubscriptionId;

/// Longest pause between two attempts of one subscription.
const LONGEST: Duration = Duration::from_secs(30);
/// The same while few wait: two of these and a request fit into the 5 s in which phones are told after a fault.
const SHORTEST: Duration = Duration::from_secs(2);
/// Most attempts a second of all of them.
const RATE: usize = 500;

#[derive(Debug, Default)]
pub(crate) struct Unanswered(BTreeSet<SubscriptionId>);

impl Unanswered {
    /// A step of this subscription is over.
    pub(crate) fn note(&mut self, id: SubscriptionId, is_unanswered: bool) {
        if is_unanswered {
            self.0.insert(id);
        } else if !self.0.is_empty() {
            self.0.remove(&id);
        }
    }

    /// Longest pause before one of them asks again.
    pub(crate) fn longest_pause(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.len() * 1000 / RATE).unwrap_or(u64::MAX)).clamp(SHORTEST, LONGEST)
    }

    /// Takes out one that is to ask now.
    pub(crate) fn wake(&mut self) -> Option<SubscriptionId> {
        self.0.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ask_often_and_many_seldom() {
        let mut unanswered = Unanswered::default();
        let pauses: Vec<u64> = [0, 1_000, 5_000, 14_000, 40_000]
            .into_iter()
            .map(|count| {
                for number in unanswered.0.len()..count {
                    unanswered.note(format!("{number:024x}").parse().unwrap(), true);
                }
                unanswered.longest_pause().as_secs()
            })
            .collect();
        assert_eq!(pauses, [2, 2, 10, 28, 30]);
        let first = unanswered.wake().unwrap();
        unanswered.note(first, false);
        assert!(unanswered.wake().is_some_and(|next| next != first));
    }
}
