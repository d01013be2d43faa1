//! What a responder is asked, and what came of it. Pure.

use std::time::Duration;

use bytes::Bytes;

use crate::bus::RequestError;
use crate::bus::trace::Cause;
use crate::feature::Presentity;
use crate::worker::responder::answer::{Answer, AnswerError};
use crate::worker::responder::breaker::Input;
use crate::worker::route::Route;

/// One question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) route: Route,
    pub(super) subject: Box<str>,
    pub(super) feature: Box<str>,
    pub(super) presentity: Presentity,
    pub(super) payload: Bytes,
    pub(super) cause: Cause,
}

/// What came on its inbox.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) answer: Result<Answer, AnswerError>,
    /// What was wrong with it.
    pub(super) trouble: Option<String>,
    pub(super) took: Duration,
}

impl Put {
    /// Whether a responder answered, whatever it said.
    pub(super) fn is_heard(&self) -> bool {
        match &self.answer {
            Ok(answer) => matches!(answer, Answer::Change(_) | Answer::Denied(_)),
            Err(error) => !matches!(error, AnswerError::Bus(_)),
        }
    }

    /// What it says about the responder's health. An error below 500 is about the request, so the responder is healthy.
    /// While the bus is away nothing is known.
    pub(super) fn shows(&self) -> Option<Input> {
        match &self.answer {
            Ok(Answer::Timeout) | Err(AnswerError::Bus(RequestError::Unreadable(_))) => Some(Input::Failed),
            Ok(_) => Some(Input::Answered),
            Err(AnswerError::Bus(_)) => None,
            Err(AnswerError::Error(error)) if error.code < 500 => Some(Input::Answered),
            Err(_) => Some(Input::Failed),
        }
    }
}

/// The outcome of a question.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answer: Answer,
    /// What was wrong.
    pub(super) said: Option<Box<str>>,
}

impl From<Answer> for Asked {
    fn from(answer: Answer) -> Self {
        Self { answer, said: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn garbage_counts_against_the_responder_and_a_bus_that_is_away_against_nobody() {
        let garbage = RequestError::Unreadable(Arc::new(serde_json::from_str::<u8>("x").unwrap_err()));
        for (answer, want, is_heard) in [
            (Err(AnswerError::Bus(garbage)), Some(Input::Failed), false),
            (Err(AnswerError::Bus(RequestError::Disconnected)), None, false),
            (Err(AnswerError::TooManyAlso(9)), Some(Input::Failed), true),
            (Ok(Answer::Denied("no".into())), Some(Input::Answered), true),
            (Ok(Answer::Timeout), Some(Input::Failed), false),
            (Ok(Answer::None), Some(Input::Answered), false),
        ] {
            let put = Put { answer, trouble: None, took: Duration::ZERO };
            assert_eq!((put.shows(), put.is_heard()), (want, is_heard), "{put:?}");
        }
    }
}
