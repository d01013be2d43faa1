//! Commands of services, and what they were answered.

use std::time::Duration;

/// Which way a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `dfks.set`
    Set,
    /// `dfks.command.set`
    Durable,
}

/// Where a forward of this number leads.
pub(crate) fn target(number: u64) -> String {
    format!("sip:{number}@example.com")
}

/// A command that forwards to a number of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) way: Way,
    pub(crate) presentity: String,
    pub(crate) feature: &'static str,
    pub(crate) asked_at: Duration,
    /// The answer: the version that it made, or the place in the stream of commands.
    pub(crate) answered: Option<u64>,
}
