//! What goes wrong in the mi bridge, and what the sender of a command is told of it.

use crate::bus::message::{ErrorBody, OWNER_ABSENT};
use async_nats::SubscribeError;

use crate::bus::RequestError;

/// Why the mi bridge cannot run, or stopped early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiError {
    /// The NATS service could not be registered.
    #[error("the mi service could not be registered")]
    Service(#[source] SubscribeError),
    /// The subscription to `dfks.set` ended though nobody stopped it.
    #[error("the subscription of the mi service ended")]
    EndedEarly,
}

/// The step of a command that the bus failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Asking a worker to run the set route.
    Route,
    /// Looking up who watches: the change is made already.
    Watchers,
    /// Storing the NOTIFY jobs: the change is made already.
    Jobs,
}

impl Step {
    /// Word for the log field `step`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Watchers => "watchers",
            Self::Jobs => "jobs",
        }
    }
}

/// A command that was not carried out, or not in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What its sender is told. 503: another attempt may succeed.
    pub(crate) body: ErrorBody,
    /// Whether bus, workers or the responder that owns the feature are away: it may be made later.
    pub(crate) is_away: bool,
    /// Whether the event of the refusal is still to be published.
    pub(crate) is_untold: bool,
}

impl Failure {
    pub(crate) fn new(step: Step, error: &RequestError) -> Self {
        let is_answer =
            step == Step::Route && matches!(error, RequestError::Refused(refused) if !refused.description.starts_with(OWNER_ABSENT));
        let body = error_body(step, error);
        Self { is_away: body.code == 503 && !is_answer, is_untold: step == Step::Route, body }
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Self { body, is_away: false, is_untold: false }
    }
}

/// The error reply for a failed step: the worker's refusal unchanged, 503 where a retry may succeed, else 500.
fn error_body(step: Step, error: &RequestError) -> ErrorBody {
    let what = match step {
        Step::Route => "it is not known whether the change was made; should it be, its phones are told",
        Step::Watchers | Step::Jobs => "the change is made, but its phones may not have been notified",
    };
    match error {
        RequestError::Refused(body) if step == Step::Route => body.clone(),
        RequestError::NoResponders if step == Step::Route => ErrorBody::new(503, "no worker answers: the change was not made"),
        error @ (RequestError::NotSent(_) | RequestError::Overloaded(_)) if step == Step::Route => {
            ErrorBody::new(503, format!("{error}: the change was not made"))
        }
        error if error.is_away() || matches!(error, RequestError::NoResponders | RequestError::Stream { .. }) => {
            ErrorBody::new(503, format!("{error}: {what}"))
        }
        error => ErrorBody::new(500, format!("{error}: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::PublishError;

    #[test]
    fn a_responder_that_fails_is_not_the_bus_that_is_away() {
        let busy = ErrorBody { code: 503, description: "the responder gave no usable answer".into(), field: None };
        for (step, error, is_away) in [
            (Step::Route, RequestError::NoResponders, true),
            (Step::Route, RequestError::Refused(busy), false),
            (Step::Jobs, RequestError::Timeout(Duration::from_secs(1)), true),
            (Step::Route, RequestError::Refused(ErrorBody::new(503, format!("{OWNER_ABSENT}dfks.responder.set.a.B: …"))), true),
            (Step::Route, RequestError::Refused(ErrorBody::new(400, format!("{OWNER_ABSENT}x"))), false),
        ] {
            assert_eq!(Failure::new(step, &error).is_away, is_away, "{error}");
        }
    }

    #[test]
    fn what_may_succeed_later_is_503() {
        let refused = ErrorBody { code: 400, description: "no".into(), field: Some("feature".into()) };
        let unreadable = RequestError::Unreadable(std::sync::Arc::new(serde_json::from_str::<u8>("x").unwrap_err()));
        for (step, error, code, description) in [
            (Step::Route, RequestError::Refused(refused.clone()), 400, "no"),
            (Step::Route, RequestError::NoResponders, 503, "no worker answers: the change was not made"),
            (
                Step::Route,
                RequestError::Timeout(Duration::from_secs(1)),
                503,
                "no answer within 1s: it is not known whether the change was made; should it be, its phones are told",
            ),
            (
                Step::Route,
                RequestError::Disconnected,
                503,
                "not connected to NATS: it is not known whether the change was made; should it be, its phones are told",
            ),
            (Step::Route, RequestError::NotSent(PublishError::QueueFull), 503, "the request was not sent: the change was not made"),
            (
                Step::Route,
                unreadable,
                500,
                "unreadable answer: it is not known whether the change was made; should it be, its phones are told",
            ),
            (
                Step::Watchers,
                RequestError::NoResponders,
                503,
                "nobody listens on the subject: the change is made, but its phones may not have been notified",
            ),
            (
                Step::Jobs,
                RequestError::Stream { code: 10077, description: "maximum messages exceeded".into() },
                503,
                "the stream refused the message with 10077: maximum messages exceeded: the change is made, but its phones may not have been notified",
            ),
            (Step::Jobs, RequestError::Refused(refused), 500, "refused: no: the change is made, but its phones may not have been notified"),
        ] {
            let body = error_body(step, &error);
            assert_eq!((body.code, body.description.as_str()), (code, description));
        }
    }
}
