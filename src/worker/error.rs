//! Why the worker cannot run, and why it refuses a request.

use async_nats::SubscribeError;

use crate::bus::RequestError;
use crate::bus::kv::ReadError;
use crate::bus::message::ErrorBody;
use crate::bus::service::reason_text;
use crate::feature::{FeatureError, PresentityError};
use crate::worker::metrics::label::RequestOutcome;
use crate::worker::responder::answer::Unapproved;
use crate::worker::responder::pattern::PatternError;
use crate::worker::script::{RouteError, ScriptError};

/// Why the worker does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The script is missing or does not compile.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The service cannot be registered on the bus.
    #[error("the worker service cannot be registered")]
    Service(#[source] SubscribeError),
    /// A task of the worker ended by itself.
    #[error("the worker's task {0} ended early")]
    EndedEarly(&'static str),
}

/// Why the store has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No connection, no answer in time, or no such bucket.
    #[error("the feature store is away: {0}")]
    Away(#[source] RequestError),
    /// The bucket's answer to a read cannot be used.
    #[error("the feature store is away: {0}")]
    Read(#[source] ReadError),
    /// A write has no acknowledgement: it may be stored all the same, and whoever follows the bucket tells its phones then.
    #[error("the feature store did not confirm the change ({0}): should it be made all the same, its phones are told")]
    Unconfirmed(#[source] RequestError),
    /// Other workers changed the record each time.
    #[error("the presentity's record changed {0} times meanwhile")]
    Conflict(u32),
    /// The record is not one of ours. It is left as it is.
    #[error("the presentity's record is unreadable at byte {}", .0.column())]
    Unreadable(#[source] serde_json::Error),
    /// The record cannot be written as JSON.
    #[error("the presentity's record cannot be written: {0}")]
    Unwritable(#[source] serde_json::Error),
}

/// Why a request is answered with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not the message of this subject.
    #[error("unreadable request: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A field that is missing, or not of its type.
    #[error("{0}")]
    Field(ErrorBody),
    /// A presentity of another domain than that of the subject.
    #[error("{0}")]
    OtherDomain(ErrorBody),
    /// Not a presentity.
    #[error("Invalid presentity: {0}")]
    Presentity(#[from] PresentityError),
    /// An unknown feature, or a value that it cannot have.
    #[error("{0}")]
    Feature(#[from] FeatureError),
    /// The script's set route failed.
    #[error("{0}")]
    Script(#[from] RouteError),
    /// The change of script or responder does not fit the stored state.
    #[error("the route's change does not fit: {0}")]
    Route(#[source] FeatureError),
    /// Whoever owns the feature has not approved the change.
    #[error("{0}")]
    Responder(Box<Unapproved>),
    /// What names responders names none.
    #[error("invalid subject: {0}")]
    Pattern(#[from] PatternError),
    /// The bucket of responders has no answer.
    #[error("the memory of responders is away: {0}")]
    Memory(#[source] RequestError),
    /// The store has no answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Nobody waits for the answer any more.
    #[error("the request came after its time: nothing was changed")]
    Late,
    /// A durable command that was carried out before, or sent before one that was.
    #[error("this command, or one that was sent after it, was carried out before")]
    Passed,
    /// The feature has not the version any more that the change is for.
    #[error("the feature has changed meanwhile: nothing was changed")]
    Changed,
    /// The reply cannot be written as JSON.
    #[error("the reply cannot be written: {0}")]
    Unwritable(#[source] serde_json::Error),
    /// Too many requests in hand.
    #[error("{0} requests are in hand already")]
    Overloaded(usize),
}

impl Refusal {
    /// Word for the log field `reason` and the metric label `outcome`.
    pub(crate) const fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Unreadable(_) | Self::Field(_) | Self::Presentity(_) | Self::Feature(_) | Self::Pattern(_) => RequestOutcome::BadRequest,
            Self::OtherDomain(_) => RequestOutcome::Denied,
            Self::Script(_) | Self::Route(_) => RequestOutcome::ScriptError,
            Self::Responder(_) => RequestOutcome::ResponderFailed,
            Self::Store(_) | Self::Memory(_) => RequestOutcome::StoreFailed,
            Self::Late => RequestOutcome::Late,
            Self::Passed | Self::Changed => RequestOutcome::Passed,
            Self::Unwritable(_) => RequestOutcome::Internal,
            Self::Overloaded(_) => RequestOutcome::Overloaded,
        }
    }

    /// Whether the operator should know, not only the requester. Script errors are logged where they happen.
    pub(crate) const fn is_ours(&self) -> bool {
        !matches!(
            self,
            Self::Unreadable(_)
                | Self::Field(_)
                | Self::OtherDomain(_)
                | Self::Presentity(_)
                | Self::Feature(_)
                | Self::Pattern(_)
                | Self::Script(_)
                | Self::Changed
        )
    }

    const fn code(&self) -> u16 {
        match self {
            Self::Unreadable(_) | Self::Field(_) | Self::Presentity(_) | Self::Feature(_) | Self::Pattern(_) => 400,
            Self::Script(_) | Self::Route(_) | Self::Unwritable(_) | Self::Store(StoreError::Unreadable(_) | StoreError::Unwritable(_)) => {
                500
            }
            Self::OtherDomain(_) => 403,
            Self::Passed => 409,
            Self::Changed => 412,
            Self::Responder(_) | Self::Memory(_) | Self::Store(_) | Self::Late | Self::Overloaded(_) => 503,
        }
    }

    /// The reply's body. `in_list`: the feature was named in the field `features`.
    pub(crate) fn into_body(self, in_list: bool) -> ErrorBody {
        // what came from a responder is cut and escaped already
        let description = if let Self::Responder(unapproved) = &self { unapproved.to_string() } else { reason_text(&self.to_string()) };
        let code = self.code();
        let field = match self {
            Self::Presentity(_) => Some("presentity".to_owned()),
            Self::Feature(FeatureError::Unknown { .. }) if in_list => Some("features".to_owned()),
            Self::Feature(error) => Some(error.field()),
            Self::Script(error) => error.field,
            Self::Field(body) | Self::OtherDomain(body) => body.field,
            Self::Pattern(_) => Some("subject".to_owned()),
            _ => None,
        };
        ErrorBody { code, description, field }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{FeatureTable, Presentity};
    use crate::worker::metrics::label::AnswerOutcome;

    #[test]
    fn each_refusal_has_its_code_field_and_word() {
        let table = FeatureTable::built_in();
        let unknown = || Refusal::Feature(table.require("Foo").unwrap_err());
        let value = [("ringCount".to_owned(), "x".to_owned())].into();
        let bad_value = table.require("CallForwardingNoAnswer").unwrap().check_values(&value).unwrap_err();
        let json = || serde_json::from_str::<u8>("x\n").unwrap_err();
        let script = RouteError {
            function: "dfks_set".into(),
            line: 3,
            field: Some("presentity".into()),
            message: "dfks.presentity is read-only".into(),
        };
        for (refusal, in_list, code, field, word, text) in [
            (Refusal::Unreadable(json()), false, 400, None, "bad_request", "unreadable request"),
            (
                Refusal::Presentity(Presentity::parse("x").unwrap_err()),
                false,
                400,
                Some("presentity"),
                "bad_request",
                "Invalid presentity: a presentity is",
            ),
            (
                Refusal::OtherDomain(ErrorBody::other_domain(&Presentity::parse("sip:bob@b.example").unwrap(), "a_example")),
                false,
                403,
                Some("presentity"),
                "denied",
                "'sip:bob@b.example' is of the domain b_example, and not of a_example",
            ),
            (unknown(), false, 400, Some("feature"), "bad_request", "unknown feature 'Foo'"),
            (unknown(), true, 400, Some("features"), "bad_request", "unknown feature 'Foo'"),
            (Refusal::Feature(bad_value.clone()), true, 400, Some("values.ringCount"), "bad_request", "invalid ringCount"),
            (
                Refusal::Script(script),
                false,
                500,
                Some("presentity"),
                "script_error",
                "script error in dfks_set, line 3: dfks.presentity is read-only",
            ),
            (Refusal::Route(bad_value), false, 500, None, "script_error", "the route's change does not fit"),
            (
                Refusal::Responder(Box::new(Unapproved {
                    feature: "DoNotDisturb".into(),
                    subject: "dfks.responder.set.a_example.DoNotDisturb".into(),
                    outcome: AnswerOutcome::Timeout,
                    said: None,
                    last_heard: None,
                    is_required: false,
                })),
                false,
                503,
                None,
                "responder_failed",
                "the responder for DoNotDisturb",
            ),
            (
                StoreError::Away(RequestError::Disconnected).into(),
                false,
                503,
                None,
                "store_failed",
                "the feature store is away: not connected to NATS",
            ),
            (StoreError::Conflict(64).into(), false, 503, None, "store_failed", "changed 64 times"),
            (StoreError::Unreadable(json()).into(), false, 500, None, "store_failed", "unreadable"),
            (Refusal::Unwritable(json()), false, 500, None, "internal", "cannot be written"),
            (Refusal::Overloaded(1024), false, 503, None, "overloaded", "1024 requests"),
        ] {
            assert_eq!(refusal.outcome().as_str(), word, "{refusal}");
            let body = refusal.into_body(in_list);
            assert_eq!((body.code, body.field.as_deref()), (code, field), "{}", body.description);
            assert!(body.description.contains(text) && !body.description.contains(char::is_control), "{}", body.description);
        }
    }
}
