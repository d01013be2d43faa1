//! One question to a responder, out of turn: what came, and whether a worker could use it. I/O.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bus::answer::is_acknowledgement;
use crate::bus::message::{Kind, Origin, ResponderGetRequest, ResponderSetRequest};
use crate::bus::request::Screen;
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError};
use crate::feature::{FeatureSpec, FeatureTable, Presentity, Status, Values};
use crate::runtime::clock;
use crate::worker::responder::answer::{self, Answer};
use crate::worker::route::Route;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) presentity: &'a Presentity,
    pub(crate) spec: &'a FeatureSpec,
    /// To change it to this; `None`: how it is.
    pub(crate) change: Option<(Status, Values)>,
    pub(crate) timeout: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) subject: String,
    pub(crate) answer: Answer,
    /// What was wrong.
    pub(crate) trouble: Option<String>,
    /// What came last, answer or not.
    pub(crate) came: Option<String>,
    /// Nothing came, but that streams have kept the question.
    pub(crate) is_silent: bool,
    pub(crate) took: Duration,
}

/// Asks once, and reads the answer as a worker does.
pub(crate) async fn run(bus: &Bus, table: &FeatureTable, trial: Trial<'_>) -> Verdict {
    let Trial { presentity, spec, change, timeout } = trial;
    let (presentity_text, feature) = (presentity.as_str().to_owned(), spec.name().to_owned());
    let (route, asked, payload) = match change {
        None => {
            let subject = bus.subjects().responder_get(presentity, spec.name());
            let request = ResponderGetRequest { kind: Kind::default(), presentity: presentity_text, feature };
            (Route::Get, (Pattern::ResponderGet, subject), json(&request))
        }
        Some((status, values)) => {
            let subject = bus.subjects().responder_set(presentity, spec.name());
            let request = ResponderSetRequest {
                kind: Kind::default(),
                presentity: presentity_text,
                feature,
                status,
                values,
                origin: Origin::Mi,
                param: None,
            };
            (Route::Set, (Pattern::ResponderSet, subject), json(&request))
        }
    };
    let subject = asked.1.clone();
    let started_at = clock::now();
    let mut screen = Screen::of_responders();
    let reply: Result<Map<String, Value>, RequestError> =
        bus.request_responder(asked, payload.into(), &Cause::new(), timeout, &mut screen).await;
    let took = clock::now().saturating_duration_since(started_at);
    let answer = match reply {
        Ok(reply) => answer::read(table, spec, route, reply),
        Err(error) => answer::missing(error),
    };
    let trouble = answer::trouble(&answer, screen.came.as_deref(), timeout);
    let is_silent = matches!(answer, Ok(Answer::Timeout)) && screen.came.as_deref().is_none_or(is_acknowledgement);
    let came = screen.came.as_deref().map(answer::shown);
    Verdict { subject, answer: answer.unwrap_or(Answer::Failed), trouble, came, is_silent, took }
}

fn json(message: &impl Serialize) -> Vec<u8> {
    // texts and numbers: there is always a JSON form
    serde_json::to_vec(message).unwrap_or_default()
}
