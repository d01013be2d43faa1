//! What a subscription needs only while something is under way: most of the time it holds no memory. Pure.

use std::ops::{Deref, DerefMut};

/// What is most often as it began.
pub trait Resting: Default + 'static {
    /// How it begins.
    fn at_rest() -> &'static Self;

    /// Whether it is as it began, and may be let go of.
    fn is_at_rest(&self) -> bool;
}

/// One that is there while something is under way; to be put to [`rest`](Self::rest) after each step.
#[derive(Debug)]
pub struct Underway<T>(Option<Box<T>>);

impl<T> Default for Underway<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Resting> Underway<T> {
    /// One that has begun.
    #[must_use]
    pub fn of(begun: T) -> Self {
        Self(Some(Box::new(begun)))
    }

    /// Lets go of it where nothing is under way.
    pub fn rest(&mut self) {
        self.0.take_if(|one| one.is_at_rest());
    }

    /// Whether it holds memory.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

impl<T: Resting> Deref for Underway<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(held) => held,
            None => T::at_rest(),
        }
    }
}

impl<T: Resting> DerefMut for Underway<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
