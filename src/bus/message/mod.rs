//! Every message on the bus: one Rust type a payload, from which `schemas/` is generated.
//!
//! Each is one JSON object with a `type` (ADR-2 style), written always and optional on the way in. Fields that are not
//! known are ignored. A reply may be an [`ErrorReply`] instead, see [`read_reply`].

mod actor;
mod api;
mod deed;
mod error;
mod event;
mod hand;
mod kind;
mod origin;
mod process;
mod refused;
mod responder;
mod responders;
mod sip;
mod standing;
#[cfg(test)]
mod tests;
mod why;
mod work;

pub(crate) use actor::check_actor;
pub use api::*;
pub use deed::*;
pub use error::*;
pub use event::*;
pub use hand::*;
pub use kind::*;
pub use origin::Origin;
pub use process::*;
pub use refused::{RefusedEvent, RefusedReason};
pub use responder::*;
pub use responders::*;
pub use sip::*;
pub use standing::Standing;
pub use why::*;
pub use work::{Work, WorkPart, WorkStep};

macro_rules! messages {
    ($($name:ident = $type:literal;)*) => { $(
        impl Named for $name { const TYPE: &'static str = $type; }
    )* };
}

messages! {
    SetRequest = "io.dfks.api.v1.set_request";
    SetResponse = "io.dfks.api.v1.set_response";
    GetRequest = "io.dfks.api.v1.get_request";
    GetResponse = "io.dfks.api.v1.get_response";
    RouteSetRequest = "io.dfks.api.v1.route_set_request";
    RouteSetResponse = "io.dfks.api.v1.route_set_response";
    ResponderGetRequest = "io.dfks.api.v1.responder_get_request";
    ResponderSetRequest = "io.dfks.api.v1.responder_set_request";
    ResponderState = "io.dfks.api.v1.responder_state";
    RespondersRequest = "io.dfks.api.v1.responders_request";
    RespondersResponse = "io.dfks.api.v1.responders_response";
    ForgetRequest = "io.dfks.api.v1.forget_request";
    ForgetResponse = "io.dfks.api.v1.forget_response";
    WatchersRequest = "io.dfks.api.v1.watchers_request";
    WatchersResponse = "io.dfks.api.v1.watchers_response";
    ResyncRequest = "io.dfks.api.v1.resync_request";
    ResyncResponse = "io.dfks.api.v1.resync_response";
    EndRequest = "io.dfks.api.v1.end_request";
    EndResponse = "io.dfks.api.v1.end_response";
    WhyRequest = "io.dfks.api.v1.why_request";
    WhyResponse = "io.dfks.api.v1.why_response";
    StatusRequest = "io.dfks.api.v1.status_request";
    StatusResponse = "io.dfks.api.v1.status_response";
    LogRequest = "io.dfks.api.v1.log_request";
    SipRequest = "io.dfks.api.v1.sip_request";
    SipResponse = "io.dfks.api.v1.sip_response";
    AuthRequest = "io.dfks.api.v1.auth_request";
    AuthResponse = "io.dfks.api.v1.auth_response";
    NotifyJob = "io.dfks.api.v1.notify_job";
    EdgeAlive = "io.dfks.api.v1.edge_alive";
    SubscriptionEvent = "io.dfks.event.v1.subscription";
    FeatureEvent = "io.dfks.event.v1.feature";
    NotifyEvent = "io.dfks.event.v1.notify";
    RawEvent = "io.dfks.event.v1.raw";
    RefusedEvent = "io.dfks.event.v1.refused";
    HandEvent = "io.dfks.event.v1.hand";
}
