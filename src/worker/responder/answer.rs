//! What a responder's answer comes to. Pure.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::bus::RequestError;
use crate::bus::message::{ErrorBody, OWNER_ABSENT, ResponderState};
use crate::bus::service::reason_text;
use crate::feature::{FeatureError, FeatureSpec, FeatureTable, Presentity};
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
    /// Somebody listens and has never answered: it looks on.
    Observer,
}

/// What a set may do after its responder was asked.
#[derive(Debug)]
pub(crate) enum Approval {
    /// It is approved with this change.
    Change(Change),
    /// It is nobody's: the store decides.
    Nobody,
    /// It is denied, and why.
    Denied(String),
    /// Its owner has not approved it.
    Missing(Box<Unapproved>),
}

impl Approval {
    /// The word for what came of it.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Change(_) => AnswerOutcome::Ok.as_str(),
            Self::Nobody => AnswerOutcome::None.as_str(),
            Self::Denied(_) => AnswerOutcome::Denied.as_str(),
            Self::Missing(unapproved) => unapproved.outcome.as_str(),
        }
    }
}

/// Why a set that needs a responder's approval has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unapproved {
    pub(crate) feature: Box<str>,
    pub(crate) subject: Box<str>,
    /// `failed`, `timeout`, `open` or `none`.
    pub(crate) outcome: AnswerOutcome,
    /// What came, or what came last.
    pub(crate) said: Option<Box<str>>,
    /// When it was heard last: RFC 3339 UTC.
    pub(crate) last_heard: Option<Box<str>>,
    /// `routes.required` asks for its approval.
    pub(crate) is_required: bool,
}

impl fmt::Display for Unapproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feature, subject, outcome, said, last_heard, is_required } = self;
        if *outcome == AnswerOutcome::None {
            write!(f, "{OWNER_ABSENT}{subject}: the responder for {feature} is not there ({})", outcome.as_str())?;
        } else {
            write!(f, "the responder for {feature} gave no usable answer ({}", outcome.as_str())?;
            match said {
                Some(said) if *outcome == AnswerOutcome::Open => write!(f, ": its circuit breaker is open, last: {said})")?,
                Some(said) => write!(f, ": {said})")?,
                None => f.write_str(")")?,
            }
        }
        match last_heard {
            Some(last_heard) => {
                write!(f, "; {subject} was last heard {last_heard}; if it is gone for good: dfks responders forget {subject}")
            }
            None if *is_required => write!(f, "; {subject} was never heard, and routes.required asks for its approval"),
            None => f.write_str("; nothing was changed"),
        }
    }
}

/// Longest text of what came, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// What came, on one line: control characters escaped, cut to 200 characters.
pub(crate) fn shown(payload: &[u8]) -> String {
    // more bytes than that are not looked at
    let text = String::from_utf8_lossy(payload.get(..4 * MAX_SHOWN_CHARS).unwrap_or(payload));
    if text.is_empty() {
        return "nothing".to_owned();
    }
    cut(&text)
}

fn cut(text: &str) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == MAX_SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// Why there is no usable answer, with what came.
pub(crate) fn trouble(answer: &Result<Answer, AnswerError>, came: Option<&[u8]>, timeout: Duration) -> Option<String> {
    match (answer, came) {
        (Ok(Answer::Timeout), None) => Some(format!("no answer within {timeout:?}")),
        (Ok(Answer::Timeout), Some(came)) => Some(format!("no answer within {timeout:?}, what came is none: {}", shown(came))),
        (Ok(_), _) => None,
        (Err(error @ AnswerError::Error(_)), _) => Some(cut(&error.to_string())),
        (Err(error), Some(came)) if !matches!(error, AnswerError::Bus(_)) => Some(format!("{error}: {}", shown(came))),
        (Err(error), _) => Some(error.to_string()),
    }
}

/// A text without the presentity, for the log.
pub(crate) fn anonymous(text: &str, presentity: &Presentity) -> String {
    let whole = presentity.as_str();
    let address = whole.split_once(':').map_or(whole, |(_scheme, address)| address);
    text.replace(whole, "<presentity>").replace(address, "<presentity>")
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
            Self::Observer => AnswerOutcome::Observer,
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
    fn what_came_is_told_on_one_line_and_cut() {
        let long = "ü".repeat(300);
        for (payload, want) in [
            (&b"[1,2]"[..], "[1,2]".to_owned()),
            (b"", "nothing".to_owned()),
            (b"a\r\nb\x00", "a\\r\\nb\\u{0}".to_owned()),
            (b"\xff", "\u{fffd}".to_owned()),
            (long.as_bytes(), format!("{}…", "ü".repeat(200))),
        ] {
            assert_eq!(shown(payload), want);
        }
        let after = Duration::from_millis(500);
        let error = |code, description: &str| Err(AnswerError::Error(ErrorBody::new(code, description)));
        for (answer, came, want) in [
            (Ok(Answer::Timeout), None, Some("no answer within 500ms")),
            (Ok(Answer::Timeout), Some(&b"[1]"[..]), Some("no answer within 500ms, what came is none: [1]")),
            (Ok(Answer::Denied("no".into())), None, None),
            (error(500, "database is\ndown"), Some(b"{}"), Some("answered with error 500: database is\\ndown")),
            (
                Err(AnswerError::TooManyAlso(7)),
                Some(b"{\"also\":[]}"),
                Some("also has 7 entries, more than there are features: {\"also\":[]}"),
            ),
            (Err(AnswerError::Bus(RequestError::Disconnected)), None, Some("not connected to NATS")),
        ] {
            assert_eq!(trouble(&answer, came, after).as_deref(), want, "{answer:?}");
        }
        let alice = Presentity::parse("sip:alice@a.example").unwrap();
        let text = "no sip:alice@a.example, nor 'alice@a.example'";
        assert_eq!(anonymous(text, &alice), "no <presentity>, nor '<presentity>'");
    }

    #[test]
    fn a_set_without_approval_says_whose_and_how_to_go_on() {
        let unapproved = |outcome, said: Option<&str>, last_heard: Option<&str>| {
            let (feature, subject) = ("DoNotDisturb".into(), "dfks.responder.set.a_example.DoNotDisturb".into());
            let (said, last_heard) = (said.map(Into::into), last_heard.map(Into::into));
            Unapproved { feature, subject, outcome, said, last_heard, is_required: true }.to_string()
        };
        let heard = Some("2026-11-27T18:00:00.000Z");
        for (text, words) in [
            (
                unapproved(AnswerOutcome::None, None, heard),
                &[
                    "nobody listens on dfks.responder.set.a_example.DoNotDisturb",
                    "(none)",
                    "last heard 2026-11-27T18",
                    "forget dfks.responder.set",
                ][..],
            ),
            (
                unapproved(AnswerOutcome::Failed, Some("answered with error 500: x"), heard),
                &["the responder for DoNotDisturb", "(failed: answered with error 500: x)"],
            ),
            (
                unapproved(AnswerOutcome::Open, Some("no answer within 500ms"), heard),
                &["(open: its circuit breaker is open, last: no answer"],
            ),
            (unapproved(AnswerOutcome::Timeout, None, None), &["(timeout)", "was never heard, and routes.required"]),
        ] {
            for word in words {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }

    #[test]
    fn a_missing_reply_is_told_apart() {
        let refused = |code: u16| RequestError::Refused(ErrorBody { code, description: "no\r\nway".into(), field: None });
        for (error, want) in [
            (RequestError::NoResponders, Some(Answer::None)),
            (RequestError::Timeout(Duration::from_millis(5)), Some(Answer::Timeout)),
            (refused(403), Some(Answer::Denied("no  way".into()))),
            (refused(404), None),
            (refused(500), None),
            (RequestError::Disconnected, None),
        ] {
            assert_eq!(missing(error).ok(), want);
        }
    }
}
