//! The words of the worker's metric labels: closed sets, each listed to have every series from the start. Pure.

/// `outcome` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// Answered as asked.
    Ok,
    /// A set that a script or responder denied, or a presentity of another domain than its subject's.
    Denied,
    /// No request that can be answered.
    BadRequest,
    /// The script failed, or its change does not fit.
    ScriptError,
    /// The responder failed or was late.
    ResponderFailed,
    /// The store has no answer.
    StoreFailed,
    /// Nobody waited for the answer any more.
    Late,
    /// A durable command that was carried out before.
    Passed,
    Internal,
    /// Too many requests in hand.
    Overloaded,
}

impl RequestOutcome {
    pub(crate) const ALL: [Self; 10] = [
        Self::Ok,
        Self::Denied,
        Self::BadRequest,
        Self::ScriptError,
        Self::ResponderFailed,
        Self::StoreFailed,
        Self::Late,
        Self::Passed,
        Self::Internal,
        Self::Overloaded,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::BadRequest => "bad_request",
            Self::ScriptError => "script_error",
            Self::ResponderFailed => "responder_failed",
            Self::StoreFailed => "store_failed",
            Self::Late => "late",
            Self::Passed => "passed",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
        }
    }
}

/// `outcome` of asking a responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerOutcome {
    Ok,
    /// It refused the change.
    Denied,
    /// It answered something that cannot be used, or an error.
    Failed,
    /// It did not answer in time.
    Timeout,
    None,
    /// Not asked: its circuit breaker is open.
    Open,
    /// Somebody listens and has never answered: gone on without.
    Observer,
}

impl AnswerOutcome {
    pub(crate) const ALL: [Self; 7] = [Self::Ok, Self::Denied, Self::Failed, Self::Timeout, Self::None, Self::Open, Self::Observer];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::None => "none",
            Self::Open => "open",
            Self::Observer => "observer",
        }
    }
}

/// Where a circuit breaker stands: `state`, and `to` of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Closed,
    Open,
    HalfOpen,
}

impl Position {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// From where to where a circuit breaker went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: Position,
    pub(crate) to: Position,
}

/// `reason` why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Too many requests in hand: answered 503 at once.
    Overloaded,
    /// Too many requests wait for one responder: not asked, counted as failed.
    ResponderBusy,
    /// The reply could not be sent.
    ReplyNotSent,
    /// A responder's state could not be stored as the last known one.
    LastKnownNotStored,
    /// That a responder was heard could not be written down; this worker knows it.
    OwnerNotStored,
    /// Too many states wait to be asked for again.
    NotAskedAgain,
    /// A responder's state differs again, more often than is learnt: the last known one counts.
    ResponderFlaps,
}

impl DropReason {
    pub(crate) const ALL: [Self; 7] = [
        Self::Overloaded,
        Self::ResponderBusy,
        Self::ReplyNotSent,
        Self::LastKnownNotStored,
        Self::OwnerNotStored,
        Self::NotAskedAgain,
        Self::ResponderFlaps,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::ResponderBusy => "responder_busy",
            Self::ReplyNotSent => "reply_not_sent",
            Self::LastKnownNotStored => "last_known_not_stored",
            Self::OwnerNotStored => "owner_not_stored",
            Self::NotAskedAgain => "not_asked_again",
            Self::ResponderFlaps => "responder_flaps",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_listed_in_the_order_they_are_looked_up() {
        assert_eq!(RequestOutcome::ALL.map(|word| word as usize), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(AnswerOutcome::ALL.map(|word| word as usize), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(Position::ALL.map(|word| word as usize), [0, 1, 2]);
        assert_eq!(DropReason::ALL.map(|word| word as usize), [0, 1, 2, 3, 4, 5, 6]);
    }
}
