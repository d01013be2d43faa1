//! Asking a worker: the one of this process in memory, else one over NATS. Whoever asks does not see which. I/O.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::local::{Asked, AskedGet, AskedSet, LocalWorker};
use crate::bus::message::{ErrorBody, GetRequest, GetResponse, RouteSetRequest, RouteSetResponse};
use crate::bus::span::SpanKind;
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;

impl Bus {
    /// Hands a get to the worker of this process; gives it back where it has to go over NATS.
    pub(crate) fn hand_get(&self, asked: AskedGet) -> Result<(), AskedGet> {
        self.hand(asked, |worker, asked| worker.get(asked))
    }

    /// Hands a set to the worker of this process; gives it back where it has to go over NATS.
    pub(crate) fn hand_set(&self, asked: AskedSet) -> Result<(), AskedSet> {
        self.hand(asked, |worker, asked| worker.route_set(asked))
    }

    /// While NATS is away a request fails the way it does without a worker here: at once.
    fn hand<T>(&self, asked: T, hand: impl FnOnce(&dyn LocalWorker, T) -> Result<(), T>) -> Result<(), T> {
        if self.is_connected() { self.local().hand(asked, hand) } else { Err(asked) }
    }

    /// Asks a worker for states: the one of this process, else over NATS.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub(crate) async fn get(&self, request: GetRequest, cause: &Cause, timeout: Duration) -> Result<GetResponse, RequestError> {
        let span = cause.open(Pattern::Get.as_str(), SpanKind::Client);
        let (answer, answered) = oneshot::channel();
        let asked = Asked::new(Box::new(request), span.cause().clone(), move |got| drop(answer.send(got)));
        let got = match self.hand_get(asked) {
            Ok(()) => self.answered(Pattern::Get, answered, timeout).await,
            Err(asked) => self.request_worker(Pattern::Get, self.subjects().get(), &asked.request, span.cause(), timeout).await,
        };
        span.end(got.as_ref().err());
        got
    }

    /// Has a worker run the set route: the one of this process, else over NATS.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub(crate) async fn route_set(&self, request: &RouteSetRequest, timeout: Duration) -> Result<RouteSetResponse, RequestError> {
        let span = request.cause.open(Pattern::RouteSet.as_str(), SpanKind::Client);
        let (answer, answered) = oneshot::channel();
        let asked = Asked::new(Box::new(request.clone()), span.cause().clone(), move |got| drop(answer.send(got)));
        let came_to = match self.hand_set(asked) {
            Ok(()) => self.answered(Pattern::RouteSet, answered, timeout).await,
            Err(asked) => self.request_worker(Pattern::RouteSet, self.subjects().route_set(), &asked.request, span.cause(), timeout).await,
        };
        span.end(came_to.as_ref().err());
        came_to
    }

    /// Over NATS, unless it is known that no worker is there.
    async fn request_worker<M: Serialize, R: DeserializeOwned>(
        &self,
        pattern: Pattern,
        subject: String,
        message: &M,
        cause: &Cause,
        timeout: Duration,
    ) -> Result<R, RequestError> {
        if !self.is_worker_there().await {
            return self.measured(pattern, std::future::ready(Err(RequestError::NoResponders))).await;
        }
        self.request(pattern, subject, message, cause, timeout).await
    }

    async fn answered<A>(
        &self,
        pattern: Pattern,
        answered: oneshot::Receiver<Result<A, ErrorBody>>,
        timeout: Duration,
    ) -> Result<A, RequestError> {
        let answer = async {
            match tokio::time::timeout(timeout, answered).await {
                Err(_elapsed) => Err(RequestError::Timeout(timeout)),
                Ok(Err(_dropped)) => Err(RequestError::Disconnected),
                Ok(Ok(answer)) => answer.map_err(RequestError::Refused),
            }
        };
        self.measured(pattern, answer).await
    }
}
