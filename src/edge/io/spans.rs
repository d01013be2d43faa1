//! Spans of what the notifier did, made of what it gives out.

use std::time::{Duration, Instant};

use crate::bus::message::{NotifyEvent, NotifyOutcome};
use crate::bus::span::{SpanKind, Told, name};
use crate::bus::trace::Cause;
use crate::edge::event::Event;
use crate::runtime::clock;

/// From this status on a response is an error.
const FIRST_ERROR: u16 = 400;

/// A SUBSCRIBE has its final response.
pub(crate) fn of_subscribe(cause: &Cause, since: Instant, status: u16) {
    let error = (status >= FIRST_ERROR).then(|| status.to_string());
    let attributes = vec![("sip.method", "SUBSCRIBE".to_owned()), ("sip.status", status.to_string())];
    cause.record_since(name::SUBSCRIBE, SpanKind::Server, since, Told { attributes, error });
}

/// A NOTIFY has its final response, or is given up.
pub(crate) fn of_event(event: &Event) {
    let Event::Notify(_, event) = event else { return };
    if !event.cause.is_recorded() {
        return;
    }
    let NotifyEvent { cause, edge_id, features, outcome, status, took_ms, .. } = event;
    let now = clock::now();
    let since = now.checked_sub(Duration::from_millis(*took_ms)).unwrap_or(now);
    let mut attributes = vec![
        ("sip.method", "NOTIFY".to_owned()),
        ("dfks.edge_id", edge_id.clone()),
        ("dfks.features", features.join(",")),
        ("dfks.outcome", outcome.as_str().to_owned()),
    ];
    attributes.extend(status.map(|status| ("sip.status", status.to_string())));
    let error = (*outcome != NotifyOutcome::Delivered).then(|| outcome.as_str().to_owned());
    cause.entered().record_since(name::NOTIFY, SpanKind::Client, since, Told { attributes, error });
}
