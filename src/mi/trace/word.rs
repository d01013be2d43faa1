//! The words of a trace. Pure.

use serde::Serialize;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepKind {
    /// A phone or a service asked for it.
    Asked,
    /// A phone subscribed, refreshed or left.
    Subscription,
    /// An edge or a bridge waited for a worker.
    Worker,
    /// The worker read the stored state.
    Read,
    /// The route script ran.
    Script,
    /// A responder was asked.
    Responder,
    /// The change was stored.
    Store,
    /// A feature was changed, or its change refused.
    Change,
    /// A NOTIFY job, from when it was made to when it was sent on.
    Job,
    /// A NOTIFY, from when it was sent to its answer.
    Notify,
    /// Something was refused before a worker saw it.
    Refused,
}

impl StepKind {
    /// The word in JSON and for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Subscription => "subscription",
            Self::Worker => "worker",
            Self::Read => "read",
            Self::Script => "script",
            Self::Responder => "responder",
            Self::Store => "store",
            Self::Change => "change",
            Self::Job => "job",
            Self::Notify => "notify",
            Self::Refused => "refused",
        }
    }
}

/// What came of a step, the worse the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was done.
    Ok,
    /// The phone knows it from a NOTIFY of something later.
    Covered,
    /// It is still under way.
    Waiting,
    /// Somebody refused it.
    Refused,
    /// Nobody answered in time.
    Expired,
    /// It failed.
    Failed,
}

impl Outcome {
    /// The word in JSON and for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Covered => "covered",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    /// Whether the way ended there.
    pub(crate) const fn is_stop(self) -> bool {
        matches!(self, Self::Refused | Self::Expired | Self::Failed)
    }
}
