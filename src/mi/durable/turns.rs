//! Lanes: what belongs to one presentity goes one at a time and in order, what belongs to others goes beside it. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// A lane for each presentity that has something in hand. A ticket stands for what waits.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// A lane that is there is taken; these wait behind the one that has it.
    waiting: HashMap<Box<str>, VecDeque<T>, ahash::RandomState>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { waiting: HashMap::default() }
    }
}

impl<T> Lanes<T> {
    /// Joins a lane. Gives the ticket back when it is its turn at once.
    pub(crate) fn join(&mut self, lane: &str, ticket: T) -> Option<T> {
        match self.waiting.entry(lane.into()) {
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

    /// Whoever had the lane is through. Gives out the ticket whose turn it is now.
    pub(crate) fn leave(&mut self, lane: &str) -> Option<T> {
        let next = self.waiting.get_mut(lane).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.waiting.remove(lane);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presentity_waits_for_its_own_and_for_nobody_else() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.join("alice", 1), Some(1));
        assert_eq!(lanes.join("alice", 2), None);
        assert_eq!(lanes.join("bob", 3), Some(3));
        assert_eq!(lanes.join("alice", 4), None);
        assert_eq!(lanes.leave("bob"), None);
        assert_eq!(lanes.leave("alice"), Some(2));
        assert_eq!(lanes.join("alice", 5), None, "the second has the lane");
        assert_eq!([lanes.leave("alice"), lanes.leave("alice"), lanes.leave("alice")], [Some(4), Some(5), None]);
        assert!(lanes.waiting.is_empty(), "a lane that is left is forgotten");
        assert_eq!(lanes.leave("alice"), None);
    }
}
