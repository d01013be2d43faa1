//! How the parts of the document name one another. Pure.

use crate::bus::asyncapi::shape::Reference;
use crate::bus::subject::Pattern;

/// The channel of a subject in the document; `None` for what is no subject that others use: buckets, timers, the JetStream API, the question whether anybody looks on.
#[must_use]
pub(crate) const fn channel_id(pattern: Pattern) -> Option<&'static str> {
    match pattern {
        Pattern::Set => Some("set"),
        Pattern::Get => Some("get"),
        Pattern::SetDomain => Some("setDomain"),
        Pattern::GetDomain => Some("getDomain"),
        Pattern::RouteSet => Some("routeSet"),
        Pattern::CommandSet => Some("commandSet"),
        Pattern::CommandSetDomain => Some("commandSetDomain"),
        Pattern::ResponderGet => Some("responderGet"),
        Pattern::ResponderSet => Some("responderSet"),
        Pattern::ResponderAuth => Some("responderAuth"),
        Pattern::Responders => Some("responders"),
        Pattern::RespondersForget => Some("respondersForget"),
        Pattern::Notify => Some("notify"),
        Pattern::EdgeAlive => Some("edgeAlive"),
        Pattern::Watchers => Some("watchers"),
        Pattern::Resync => Some("resync"),
        Pattern::End => Some("end"),
        Pattern::Why => Some("why"),
        Pattern::Status => Some("status"),
        Pattern::Log => Some("log"),
        Pattern::Sip => Some("sip"),
        Pattern::EdgeResync => Some("edgeResync"),
        Pattern::EdgeEnd => Some("edgeEnd"),
        Pattern::EventSubscription => Some("eventSubscription"),
        Pattern::EventFeature => Some("eventFeature"),
        Pattern::EventNotify => Some("eventNotify"),
        Pattern::Dead => Some("dead"),
        Pattern::EventRaw => Some("eventRaw"),
        Pattern::EventRefused => Some("eventRefused"),
        Pattern::EventHand => Some("eventHand"),
        Pattern::SubscriptionBucket
        | Pattern::FeatureBucket
        | Pattern::EdgeBucket
        | Pattern::ResponderBucket
        | Pattern::ResponderAnybody
        | Pattern::Timer
        | Pattern::JetStreamApi
        | Pattern::WorkerPing => None,
    }
}

pub(super) fn reference(path: &str) -> Reference {
    Reference { path: format!("#/{path}") }
}
