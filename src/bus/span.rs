//! Spans of what is asked, answered, stored and told: opened by the cause that it is done for, recorded when they end.
//!
//! Where the trace is not recorded a span is its cause and nothing else.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use crate::bus::trace::Cause;
use crate::runtime::clock;
use crate::telemetry::otlp;

pub(crate) use crate::telemetry::otlp::SpanKind;

/// Names of spans.
pub(crate) mod name {
    /// An edge: a SUBSCRIBE, from its arrival to its final response.
    pub(crate) const SUBSCRIBE: &str = "SUBSCRIBE";
    /// An edge: a NOTIFY, from when it was sent to its final response.
    pub(crate) const NOTIFY: &str = "NOTIFY";
    /// A worker: a get, a set, from when it was taken in hand to its answer.
    pub(crate) const GET: &str = "get";
    pub(crate) const SET: &str = "set";
    /// A worker: the route script.
    pub(crate) const SCRIPT: &str = "script";
    /// A worker: a record of states is stored.
    pub(crate) const STORE: &str = "store";
    /// An edge: a record of a subscription is stored, read or removed.
    pub(crate) const STORE_SUBSCRIPTION: &str = "store subscription";
    /// A mi bridge: a command, from when it was read to its answer.
    pub(crate) const COMMAND: &str = "command";
    /// A mi bridge: a change becomes NOTIFY jobs.
    pub(crate) const TELL: &str = "tell";
    /// A NOTIFY job is stored for an edge.
    pub(crate) const JOB: &str = "job";
}

/// A span that is under way.
#[derive(Debug)]
pub(crate) struct Open<'c> {
    cause: Cow<'c, Cause>,
    began: Option<Began>,
}

#[derive(Debug)]
struct Began {
    name: &'static str,
    kind: SpanKind,
    at: SystemTime,
    attributes: Vec<(&'static str, String)>,
}

impl Cause {
    /// Opens a span of what is done for this cause now.
    pub(crate) fn open(&self, name: &'static str, kind: SpanKind) -> Open<'_> {
        if !self.is_recorded() {
            return Open { cause: Cow::Borrowed(self), began: None };
        }
        let began = Began { name, kind, at: clock::utc_now(), attributes: Vec::new() };
        Open { cause: Cow::Owned(self.entered()), began: Some(began) }
    }

    /// The cause of what enters the system here, in a span of its own where its trace is recorded: whoever ends it calls
    /// [`record_since`](Self::record_since).
    pub(crate) fn begin() -> Self {
        let cause = Self::new();
        if cause.is_recorded() { cause.entered() } else { cause }
    }

    /// Records the span that this cause is in, which began at `since` and ends now.
    pub(crate) fn record_since(&self, name: &'static str, kind: SpanKind, since: Instant, told: Told) {
        let (at, now) = (clock::now(), clock::utc_now());
        let ended = self.span(name, kind, (clock::time_of_day(since, at, now), now));
        if let Some(span) = ended.filter(|_| self.is_recorded()) {
            otlp::record(otlp::Span { attributes: told.attributes, error: told.error, ..span });
        }
    }
}

/// What a span tells beside its times.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) error: Option<String>,
}

impl Open<'_> {
    /// The cause of what is done in it.
    pub(crate) fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Tells more of it, where it is recorded.
    pub(crate) fn tell(&mut self, key: &'static str, value: impl FnOnce() -> String) {
        if let Some(began) = &mut self.began {
            began.attributes.push((key, value()));
        }
    }

    /// The same, for whoever keeps it. `None`: it is not recorded.
    pub(crate) fn kept(self) -> Option<Box<Open<'static>>> {
        let began = self.began?;
        Some(Box::new(Open { cause: Cow::Owned(self.cause.into_owned()), began: Some(began) }))
    }

    /// It ends, well or with an error.
    pub(crate) fn end<E: ToString>(self, error: Option<&E>) {
        let Some(began) = self.began else { return };
        if let Some(span) = self.cause.span(began.name, began.kind, (began.at, clock::utc_now())) {
            otlp::record(otlp::Span { attributes: began.attributes, error: error.map(ToString::to_string), ..span });
        }
    }
}
