//! Turns: the commands of one presentity go one at a time and in order, those of others go at the same time. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Who waits for whom, by presentity. A ticket stands for what waits.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    /// A presentity that is there has one in hand; these wait behind it, in order.
    waiting: HashMap<Box<str>, VecDeque<T>, ahash::RandomState>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: HashMap::default() }
    }
}

impl<T> Turns<T> {
    /// Joins the queue of a presentity. Gives the ticket back when it is its turn at once.
    pub(crate) fn join(&mut self, presentity: &str, ticket: T) -> Option<T> {
        match self.waiting.entry(presentity.into()) {
            Entry::Occupied(mut taken) => {
                taken.get_mut().push_back(ticket);
                None
            }
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                Some(ticket)
            }
        }
    }

    /// The one in hand is done. Returns the next ticket.
    pub(crate) fn leave(&mut self, presentity: &str) -> Option<T> {
        let next = self.waiting.get_mut(presentity).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.waiting.remove(presentity);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presentity_waits_for_its_own_and_for_nobody_else() {
        let mut turns = Turns::default();
        assert_eq!(turns.join("alice", 1), Some(1));
        assert_eq!(turns.join("alice", 2), None);
        assert_eq!(turns.join("bob", 3), Some(3));
        assert_eq!(turns.join("alice", 4), None);
        assert_eq!(turns.leave("bob"), None);
        assert_eq!(turns.leave("alice"), Some(2));
        assert_eq!(turns.join("alice", 5), None, "the second is in hand");
        assert_eq!([turns.leave("alice"), turns.leave("alice"), turns.leave("alice")], [Some(4), Some(5), None]);
        assert!(turns.waiting.is_empty(), "a presentity with nothing in hand is forgotten");
        assert_eq!(turns.leave("alice"), None);
    }
}
