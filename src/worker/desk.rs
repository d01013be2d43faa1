//! Answers whoever operates the responders: what this worker knows of them (`dfks.responders`), and that some are gone for good
//! (`dfks.responders.forget`). I/O.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::bus::Bus;
use crate::bus::message::{ErrorBody, ForgetRequest, ForgetResponse, Kind, ResponderReport, RespondersRequest, RespondersResponse};
use crate::bus::service::{self, Endpoint, EndpointSpec, Request};
use crate::bus::subject::Pattern;
use crate::bus::trace::new_id;
use crate::worker::error::{Refusal, WorkerError};
use crate::worker::metrics::WorkerMetrics;
use crate::worker::metrics::label::DropReason;
use crate::worker::responder::Responders;
use crate::worker::responder::pattern;

/// Subjects in one message: well below the 1 MiB that a server takes.
const PER_MESSAGE: usize = 500;
/// Most requests in hand. One more is answered 503 at once.
const MAX_IN_HAND: usize = 16;

/// Subscribes to both questions: the first is answered by every worker, the second by one.
///
/// # Errors
///
/// [`WorkerError::Service`]
pub(crate) async fn endpoints(bus: &Bus) -> Result<[Endpoint; 2], WorkerError> {
    let subjects = bus.subjects();
    let told =
        EndpointSpec::new::<RespondersRequest, RespondersResponse>("responders", Pattern::Responders, subjects.responders(), MAX_IN_HAND);
    let forgotten =
        EndpointSpec::new::<ForgetRequest, ForgetResponse>("forget", Pattern::RespondersForget, subjects.responders_forget(), MAX_IN_HAND);
    let told = Endpoint::open(bus, told).await.map_err(WorkerError::Service)?;
    let forgotten = Endpoint::open(bus, forgotten.in_group(subjects.worker_service())).await.map_err(WorkerError::Service)?;
    Ok([told, forgotten])
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// What is known of responders.
    Report,
    /// To forget some.
    Forget,
}

/// Where one of the questions is answered.
#[derive(Debug)]
pub(crate) struct Desk {
    bus: Bus,
    responders: Arc<Responders>,
    metrics: Arc<WorkerMetrics>,
    question: Question,
    /// Id of this worker.
    worker: String,
}

impl Desk {
    pub(crate) fn new(bus: Bus, responders: Arc<Responders>, metrics: Arc<WorkerMetrics>, question: Question) -> Self {
        Self { bus, responders, metrics, question, worker: new_id() }
    }

    /// Sends all but the last message of the answer, and returns that.
    fn report(&self, request: &Request) -> Result<Bytes, ErrorBody> {
        let mut reports = self.responders.report();
        loop {
            let rest = reports.split_off(reports.len().min(PER_MESSAGE));
            let more = !rest.is_empty();
            let part = self.part(std::mem::replace(&mut reports, rest), more)?;
            if !more {
                return Ok(part);
            }
            if request.respond_in_part(part, request.cause()).is_err() {
                self.metrics.dropped(DropReason::ReplyNotSent);
            }
        }
    }

    fn part(&self, responders: Vec<ResponderReport>, more: bool) -> Result<Bytes, ErrorBody> {
        written(&RespondersResponse { kind: Kind::default(), worker: self.worker.clone(), responders, more })
    }

    async fn forget(&self, request: &Request) -> Result<Bytes, ErrorBody> {
        let refused = |refusal: Refusal| refusal.into_body(false);
        let asked: ForgetRequest = serde_json::from_slice(request.payload()).map_err(|error| refused(error.into()))?;
        let pattern = pattern::Pattern::parse(self.bus.subjects(), &asked.subject).map_err(|error| refused(error.into()))?;
        let forgotten = self.responders.forget(&pattern, request.cause()).await.map_err(|error| refused(Refusal::Memory(error)))?;
        written(&ForgetResponse { kind: Kind::default(), forgotten })
    }
}

impl service::Handler for Desk {
    async fn handle(&self, request: Request) {
        let reply = match self.question {
            Question::Report => self.report(&request),
            Question::Forget => self.forget(&request).await,
        };
        if !request.respond(reply, request.cause()).await {
            self.metrics.dropped(DropReason::ReplyNotSent);
        }
    }

    fn turn_away(&self) -> ErrorBody {
        self.metrics.dropped(DropReason::Overloaded);
        Refusal::Overloaded(MAX_IN_HAND).into_body(false)
    }

    fn reply_not_sent(&self) {
        self.metrics.dropped(DropReason::ReplyNotSent);
    }
}

fn written<M: Serialize>(message: &M) -> Result<Bytes, ErrorBody> {
    serde_json::to_vec(message).map(Into::into).map_err(|error| Refusal::Unwritable(error).into_body(false))
}
