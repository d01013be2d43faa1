//! Phones to be told anew because somebody asked for it: a whole domain may be meant, so one after another. Pure.
//!
//! ```text
//!  wanted ─▶ (waiting) ─ next ─▶ told        one timer while any waits
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashSet;

use crate::edge::notifier::io::Order;
use crate::edge::subscription::SubscriptionId;
use crate::runtime::wheel::TICK;

/// Pause between two turns.
pub(crate) const TURN: Duration = TICK;
/// Phones told in one turn: 500 a second, as after a take-over.
pub(crate) const PER_TURN: usize = 8;
/// Pause while nothing can be asked of the workers.
pub(crate) const NOT_NOW: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(crate) struct Resyncs {
    waiting: VecDeque<(SubscriptionId, Arc<Order>)>,
    /// Those of `waiting`: whoever waits already does not wait twice.
    known: AHashSet<SubscriptionId>,
}

impl Resyncs {
    /// These are to be told, before all others or after them. `true`: none waited before, the timer is to be set.
    pub(crate) fn want(&mut self, ids: Vec<SubscriptionId>, by: &Arc<Order>, is_first: bool) -> bool {
        let was_empty = self.waiting.is_empty();
        for id in ids {
            if self.known.insert(id) {
                if is_first {
                    self.waiting.push_front((id, Arc::clone(by)));
                } else {
                    self.waiting.push_back((id, Arc::clone(by)));
                }
            }
        }
        was_empty && !self.waiting.is_empty()
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Option<(SubscriptionId, Arc<Order>)> {
        let next = self.waiting.pop_front()?;
        self.known.remove(&next.0);
        if self.waiting.is_empty() {
            // Empty, it holds no memory.
            *self = Self::default();
        }
        Some(next)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::trace::Cause;

    #[test]
    fn each_waits_once_and_one_phone_comes_before_a_domain() {
        let mut resyncs = Resyncs::default();
        let by = Arc::new(Order { cause: Cause::new(), actor: None });
        let [a, b, c] = [(); 3].map(|()| SubscriptionId::random());
        assert!(!resyncs.want(Vec::new(), &by, false), "nobody to wait for");
        assert!(resyncs.want(vec![a, b, a], &by, false) && !resyncs.want(vec![c, b], &by, true));
        let order: Vec<_> = std::iter::from_fn(|| resyncs.next()).map(|next| next.0).collect();
        assert_eq!(order, [c, a, b]);
        assert!(resyncs.is_empty() && resyncs.want(vec![a], &by, false), "it may be told once more");
    }
}
