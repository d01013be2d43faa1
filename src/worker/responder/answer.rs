//! What a responder's answer comes to. Pure.

use serde_json::{Map, Value};

use crate::bus::RequestError;
use crate::bus::message::{ErrorBody, ResponderState};
use crate::bus::service::reason_text;
use crate::feature::{FeatureError, FeatureSpec, FeatureTable};
use crate::worker::change::Change;
use crate::worker::metrics::label::AnswerOutcome;
use crate::worker::route::Route;

/// What came of asking a responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Change(Change),
    /// It refused, and says why.
    Denied(String),
    /// It answered something that cannot be used, or an error.
    Failed,
    /// It did not answer in time.
    Timeout,
    None,
    /// It failed again and again: not asked for a while.
    Open,
}

impl Answer {
    /// Word for the metric label `outcome`.
    pub(crate) const fn outcome(&self) -> AnswerOutcome {
        match self {
            Self::Change(_) => AnswerOutcome::Ok,
            Self::Denied(_) => AnswerOutcome::Denied,
            Self::Failed => AnswerOutcome::Failed,
            Self::Timeout => AnswerOutcome::Timeout,
            Self::None => AnswerOutcome::None,
            Self::Open => AnswerOutcome::Open,
        }
    }
}

/// Why a responder's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// Not the message that was expected.
    #[error("unreadable answer: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A status or value that the feature cannot have.
    #[error("{0}")]
    Feature(#[from] FeatureError),
    /// More entries in `also` than there are features.
    #[error("also has {0} entries, more than there are features")]
    TooManyAlso(usize),
    /// It answered with an error other than 403.
    #[error("answered with error {}: {}", .0.code, .0.description)]
    Error(ErrorBody),
    /// The bus has no answer.
    #[error("{0}")]
    Bus(RequestError),
}

impl AnswerError {
    /// Word for the log field `reason`.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Feature(error) => error.reason(),
            Self::TooManyAlso(_) => "too_many_also",
            Self::Error(_) => "error_reply",
            Self::Bus(error) => error.reason(),
        }
    }
}

/// Reads a reply that is no error.
///
/// It must be an object: a list would pass as a state in which everything is left out.
///
/// # Errors
///
/// [`AnswerError`]: the responder failed.
pub(crate) fn read(table: &FeatureTable, spec: &FeatureSpec, route: Route, reply: Map<String, Value>) -> Result<Answer, AnswerError> {
    let state: ResponderState = serde_json::from_value(Value::Object(reply))?;
    let mut change = Change::from(state);
    change.apply(spec, &spec.default_state())?;
    if route == Route::Get {
        change.also.clear();
    }
    if change.also.len() > table.names().count() {
        return Err(AnswerError::TooManyAlso(change.also.len()));
    }
    for also in &change.also {
        let other = table.require(&also.feature)?;
        Change::from(also).apply(other, &other.default_state())?;
    }
    Ok(Answer::Change(change))
}

/// What the lack of a reply comes to: 403 is a refusal with its reason.
///
/// # Errors
///
/// [`AnswerError`]: the responder failed.
pub(crate) fn missing(error: RequestError) -> Result<Answer, AnswerError> {
    match error {
        RequestError::NoResponders => Ok(Answer::None),
        RequestError::Timeout(_) => Ok(Answer::Timeout),
        RequestError::Refused(error) if error.code == 403 => Ok(Answer::Denied(reason_text(&error.description))),
        RequestError::Refused(error) => Err(AnswerError::Error(error)),
        error => Err(AnswerError::Bus(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::Status;

    fn read_text(route: Route, text: &str) -> Result<Answer, String> {
        let table = FeatureTable::built_in();
        let spec = table.require("CallForwardingNoAnswer").unwrap();
        let reply = serde_json::from_str(text).map_err(|error| error.to_string())?;
        read(&table, spec, route, reply).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_what_the_contract_allows() {
        let also = r#"{"status":0,"also":[{"feature":"DoNotDisturb","status":0}]}"#;
        for (route, text, status, values, assigned, notify, others) in [
            (Route::Get, "{}", None, 0, None, None, 0),
            (Route::Get, r#"{"type":"x","more":[1],"error":null,"status":"1"}"#, Some(true), 0, None, None, 0),
            (Route::Get, r#"{"values":{"forwardTo":"sip:bob@h","ringCount":"4"},"assigned":false}"#, None, 2, Some(false), None, 0),
            (Route::Set, r#"{"status":true,"notify":false}"#, Some(true), 0, None, Some(false), 0),
            (Route::Set, also, Some(false), 0, None, None, 1),
            (Route::Get, also, Some(false), 0, None, None, 0),
        ] {
            let Ok(Answer::Change(change)) = read_text(route, text) else { panic!("{text}") };
            let seen = (change.status.map(Status::is_on), change.values.len(), change.assigned, change.notify, change.also.len());
            assert_eq!(seen, (status, values, assigned, notify, others), "{text}");
        }
    }

    #[test]
    fn whatever_else_it_says_is_a_failure() {
        for (text, want) in [
            ("[]", "invalid type"),
            ("\"on\"", "invalid type"),
            (r#"{"status":2}"#, "unreadable answer"),
            (r#"{"values":{"ringCount":4}}"#, "unreadable answer"),
            (r#"{"values":{"ringCount":"101"}}"#, "invalid ringCount '101'"),
            (r#"{"values":{"colour":"red"}}"#, "unknown field 'colour'"),
            (r#"{"assigned":"no"}"#, "unreadable answer"),
            (r#"{"also":[{"feature":"Foo"}]}"#, "unknown feature 'Foo'"),
            (r#"{"also":[{"feature":"AgentState","status":0,"values":{"state":"ready"}}]}"#, "contradicts"),
            (r#"{"also":[{"feature":"DoNotDisturb","values":{"x":"y"}}]}"#, "unknown field 'x'"),
        ] {
            let error = read_text(Route::Set, text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
        let many = format!(r#"{{"also":[{}]}}"#, [r#"{"feature":"DoNotDisturb"}"#; 7].join(","));
        assert!(read_text(Route::Set, &many).unwrap_err().contains("7 entries"));
    }

    #[test]
    fn a_missing_reply_is_told_apart() {
        let refused = |code: u16| RequestError::Refused(ErrorBody { code, description: "no\r\nway".into(), field: None });
        for (error, want) in [
            (RequestError::NoResponders, Some(Answer::None)),
            (RequestError::Timeout(std::time::Duration::from_millis(5)), Some(Answer::Timeout)),
            (refused(403), Some(Answer::Denied("no  way".into()))),
            (refused(404), None),
            (refused(500), None),
            (RequestError::Disconnected, None),
        ] {
            assert_eq!(missing(error).ok(), want);
        }
    }
}
