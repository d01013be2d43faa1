//! Why the worker cannot run, and why it refuses a request.

use crate::bus::message::ErrorBody;
use crate::feature::{FeatureError, PresentityError};
use crate::worker::call::reason_text;
use crate::worker::script::{RouteError, ScriptError};

/// Why the worker does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The script is missing or does not compile.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The bucket of feature states cannot be opened.
    #[error("the bucket of feature states cannot be opened")]
    Bucket(#[source] async_nats::Error),
    /// The service cannot be registered on the bus.
    #[error("the worker service cannot be registered")]
    Service(#[source] async_nats::Error),
    /// A task of the worker ended by itself.
    #[error("the worker's task {0} ended early")]
    EndedEarly(&'static str),
}

/// Why the store has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No connection, no answer in time, or no such bucket.
    #[error("the feature store is away: {0}")]
    Away(String),
    /// Other workers changed the record each time.
    #[error("the presentity's record changed {0} times meanwhile")]
    Conflict(u32),
    /// The record is not one of ours. It is left as it is.
    #[error("the presentity's record is unreadable: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// The record cannot be written as JSON.
    #[error("the presentity's record cannot be written: {0}")]
    Unwritable(#[source] serde_json::Error),
}

/// Why a request is answered with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not the message that belongs on this subject.
    #[error("unreadable request: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// No presentity.
    #[error("Invalid presentity: {0}")]
    Presentity(#[from] PresentityError),
    /// An unknown feature, or a value that it cannot have.
    #[error("{0}")]
    Feature(#[from] FeatureError),
    /// The script's set route failed.
    #[error("{0}")]
    Script(#[from] RouteError),
    /// What script or responder changed does not fit the state that is stored.
    #[error("the route's change does not fit: {0}")]
    Route(#[source] FeatureError),
    /// The responder of the feature failed or was late.
    #[error("the responder for {feature} gave no usable answer ({outcome})")]
    Responder {
        /// The feature.
        feature: String,
        /// `failed` or `timeout`.
        outcome: &'static str,
    },
    /// The store has no answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The reply cannot be written as JSON.
    #[error("the reply cannot be written: {0}")]
    Unwritable(#[source] serde_json::Error),
    /// Too many requests in hand.
    #[error("{0} requests are in hand already")]
    Overloaded(usize),
}

impl Refusal {
    /// The values of [`reason`](Self::reason), to have every metric series from the start.
    pub(crate) const REASONS: [&'static str; 6] =
        ["bad_request", "script_error", "responder_failed", "store_failed", "internal", "overloaded"];

    /// Word for the log field `reason` and the metric label `outcome`.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::Presentity(_) | Self::Feature(_) => "bad_request",
            Self::Script(_) | Self::Route(_) => "script_error",
            Self::Responder { .. } => "responder_failed",
            Self::Store(_) => "store_failed",
            Self::Unwritable(_) => "internal",
            Self::Overloaded(_) => "overloaded",
        }
    }

    /// Whether it is for the operator to know, not only for whoever asked.
    pub(crate) const fn is_ours(&self) -> bool {
        !matches!(self, Self::Unreadable(_) | Self::Presentity(_) | Self::Feature(_))
    }

    const fn code(&self) -> u16 {
        match self {
            Self::Unreadable(_) | Self::Presentity(_) | Self::Feature(_) => 400,
            Self::Script(_) | Self::Route(_) | Self::Unwritable(_) | Self::Store(StoreError::Unreadable(_) | StoreError::Unwritable(_)) => {
                500
            }
            Self::Responder { .. } | Self::Store(_) | Self::Overloaded(_) => 503,
        }
    }

    /// The reply's body. `in_list`: the feature was named in the field `features`.
    pub(crate) fn into_body(self, in_list: bool) -> ErrorBody {
        let (code, description) = (self.code(), reason_text(&self.to_string()));
        let field = match self {
            Self::Presentity(_) => Some("presentity".to_owned()),
            Self::Feature(FeatureError::Unknown { .. }) if in_list => Some("features".to_owned()),
            Self::Feature(error) => Some(error.field()),
            Self::Script(error) => error.field,
            _ => None,
        };
        ErrorBody { code, description, field }
    }
}
