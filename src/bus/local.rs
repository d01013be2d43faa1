//! The way to a worker of the same process: requests are handed over in memory, with no JSON made.
//!
//! ```text
//! Bus::{get, route_set}, edge ─▶ Local ─(the worker here has room)─▶ worker ─▶ answer
//!                                     └─(none, full, stopping, off, NATS away)─▶ NATS
//! ```
//! A request carries the same and means the same either way: its cause with the trace context, and in it until when it is wanted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;

use crate::bus::message::{ErrorBody, GetRequest, GetResponse, RouteSetRequest, RouteSetResponse};
use crate::bus::trace::Cause;
use crate::runtime::clock;

/// A request on its way to a worker of this process. Dropped unanswered, its asker gets no answer.
pub(crate) struct Asked<Q, A> {
    pub(crate) request: Q,
    /// What led to it, as the headers of a message would say.
    pub(crate) cause: Cause,
    /// When it was handed over.
    pub(crate) since: Instant,
    answer: Box<dyn FnOnce(Result<A, ErrorBody>) + Send>,
}

/// `dfks.get`, handed over.
pub(crate) type AskedGet = Asked<Box<GetRequest>, GetResponse>;
/// `dfks.route.set`, handed over.
pub(crate) type AskedSet = Asked<Box<RouteSetRequest>, RouteSetResponse>;

impl<Q, A> Asked<Q, A> {
    /// `answer` is called once, on any thread, and must not block.
    pub(crate) fn new(request: Q, cause: Cause, answer: impl FnOnce(Result<A, ErrorBody>) + Send + 'static) -> Self {
        Self { request, cause, since: clock::now(), answer: Box::new(answer) }
    }

    /// The answer's way back, apart from the request.
    pub(crate) fn into_parts(self) -> (Q, Cause, impl FnOnce(Result<A, ErrorBody>) + Send) {
        (self.request, self.cause, self.answer)
    }
}

impl<Q: fmt::Debug, A> fmt::Debug for Asked<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("request", &self.request).field("cause", &self.cause).finish_non_exhaustive()
    }
}

/// A worker that takes requests of its own process. Each gives back what it has no room for.
pub(crate) trait LocalWorker: Send + Sync {
    /// Takes a get.
    fn get(&self, asked: AskedGet) -> Result<(), AskedGet>;

    /// Takes a set.
    fn route_set(&self, asked: AskedSet) -> Result<(), AskedSet>;
}

/// The worker of this process, while there is one that takes requests.
#[derive(Default)]
pub(crate) struct Local {
    is_allowed: AtomicBool,
    worker: ArcSwapOption<Box<dyn LocalWorker>>,
}

impl Local {
    /// `run.local`: whether a worker may be asked in memory. Without this it never is.
    pub(crate) fn allow(&self) {
        self.is_allowed.store(true, Ordering::Release);
    }

    /// A worker takes requests from now on, if it may.
    pub(crate) fn open(&self, worker: Box<dyn LocalWorker>) {
        if self.is_allowed.load(Ordering::Acquire) {
            self.worker.store(Some(Arc::new(worker)));
        }
    }

    /// Hands a request to the worker; gives it back where there is none, or it has no room.
    pub(crate) fn hand<T>(&self, asked: T, hand: impl FnOnce(&dyn LocalWorker, T) -> Result<(), T>) -> Result<(), T> {
        match &*self.worker.load() {
            Some(worker) => hand(&***worker, asked),
            None => Err(asked),
        }
    }

    /// The worker takes in nothing new: requests go over NATS, to others.
    pub(crate) fn close(&self) {
        self.worker.store(None);
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("is_open", &self.worker.load().is_some()).finish_non_exhaustive()
    }
}
