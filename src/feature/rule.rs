//! What a value of a feature may be.

use crate::feature::target::Target;

/// Largest `ringCount`.
pub(super) const MAX_RING_COUNT: u8 = 100;
/// Longest text value (`forwardTo`, `reason`, …), in characters.
pub(super) const MAX_TEXT_CHARS: usize = 512;
/// The values of `state` of `AgentState`, as in `requestedAgentState` of a phone's request.
pub(super) const AGENT_STATES: [&str; 5] = [LOGGED_OFF, LOGGED_ON, "ready", "notReady", "workingAfterCall"];

/// The agent state that is off; every other one is on.
pub(super) const LOGGED_OFF: &str = "loggedOff";
/// The agent state that a status alone switches on.
pub(super) const LOGGED_ON: &str = "loggedOn";

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A text without control characters and what else XML forbids, of at most [`MAX_TEXT_CHARS`].
    Text,
    /// A text that says where a forward leads.
    Target(Target),
    /// A whole number up to [`MAX_RING_COUNT`].
    RingCount,
    /// One of [`AGENT_STATES`].
    AgentState,
    /// Whole seconds, a `u32`.
    Seconds,
    /// A text that is for the owner of the feature alone: it is neither stored nor told.
    Passing,
    /// One small XML document, as phones' bodies may be.
    Document,
}

/// One to three digits: leading zeros cannot make the text long.
pub(super) fn is_ring_count(value: &str) -> bool {
    value.len() <= 3
        && value.bytes().all(|byte| byte.is_ascii_digit())
        && value.parse::<u8>().is_ok_and(|ring_count| ring_count <= MAX_RING_COUNT)
}

/// Up to ten digits that are a `u32`.
pub(super) fn is_seconds(value: &str) -> bool {
    value.len() <= 10 && value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u32>().is_ok()
}
