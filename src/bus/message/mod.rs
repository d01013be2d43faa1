//! Every message on the bus: one Rust type a payload, from which `schemas/` is generated.
//!
//! Each is one JSON object with a `type` (ADR-2 style), written always and optional on the way in. Fields that are not
//! known are ignored. A reply may be an [`ErrorReply`] instead, see [`read_reply`].

mod api;
mod error;
mod event;
mod responder;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use api::*;
pub use error::*;
pub use event::*;
pub use responder::*;

/// A message that has a type name, which is also the title of its schema.
pub trait Named {
    /// `io.dfks.api.v1.get_request` and the like.
    const TYPE: &'static str;
}

/// The `type` field of the message `M`.
pub struct Kind<M>(PhantomData<fn() -> M>);

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
    WatchersRequest = "io.dfks.api.v1.watchers_request";
    WatchersResponse = "io.dfks.api.v1.watchers_response";
    AuthRequest = "io.dfks.api.v1.auth_request";
    AuthResponse = "io.dfks.api.v1.auth_response";
    NotifyJob = "io.dfks.api.v1.notify_job";
    EdgeAlive = "io.dfks.api.v1.edge_alive";
    SubscriptionEvent = "io.dfks.event.v1.subscription";
    FeatureEvent = "io.dfks.event.v1.feature";
    NotifyEvent = "io.dfks.event.v1.notify";
    RawEvent = "io.dfks.event.v1.raw";
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A key press on a phone: a SUBSCRIBE with a body.
    Phone,
    /// A command: `dfks.set`, `dfks.command.set` or MI.
    Mi,
}

impl Origin {
    /// The word on the bus and in the metric label `origin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Mi => "mi",
        }
    }
}

impl<M> Default for Kind<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
impl<M> Clone for Kind<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Kind<M> {}
impl<M> PartialEq for Kind<M> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<M> Eq for Kind<M> {}
impl<M: Named> std::fmt::Debug for Kind<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(M::TYPE)
    }
}
impl<M: Named> Serialize for Kind<M> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(M::TYPE)
    }
}
impl<'de, M> Deserialize<'de> for Kind<M> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self::default())
    }
}
impl<M: Named> JsonSchema for Kind<M> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        M::TYPE.into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": M::TYPE })
    }
}
