//! Every message on the bus: one Rust type a payload, from which `schemas/` is generated.
//!
//! Each is one JSON object with a `type` (ADR-2 style), written always and optional on the way in. Fields that are not
//! known are ignored. A reply may be an [`ErrorReply`] instead, see [`read_reply`].

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Status, Values};

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
    SubscriptionEvent = "io.dfks.event.v1.subscription";
    FeatureEvent = "io.dfks.event.v1.feature";
    NotifyEvent = "io.dfks.event.v1.notify";
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

/// A command to set one feature: `dfks.set`, `dfks.command.set`.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","feature":"CallForwardingNoAnswer","status":1,"route_param":"1","values":["ringCount/4"]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SetRequest>,
    /// Whose feature, in any spelling of a presentity.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
    /// On or off.
    pub status: Status,
    /// Handed to the set route as `param`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_param: Option<String>,
    /// Extra values; what is left out stays as it is.
    #[serde(default)]
    pub values: CommandValues,
}

/// Extra values of a command: an object, or the `field/value` strings of the OpenSIPS command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CommandValues {
    /// `{"ringCount":"4","forwardTo":"sip:bob@10.0.0.11"}`
    Fields(Values),
    /// `["ringCount/4","forwardTo/sip:bob@10.0.0.11"]`
    List(Vec<String>),
}

impl Default for CommandValues {
    fn default() -> Self {
        Self::Fields(Values::new())
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SetResponse>,
    /// Whose feature, canonical.
    pub presentity: String,
    /// The state after the command.
    pub state: FeatureState,
    /// Live subscriptions that will be notified; 0 is a success.
    pub watchers: u64,
    /// Whether a NOTIFY goes out; `false` where the route suppressed it.
    pub notify: bool,
}

/// Asks for the state of features: `dfks.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<GetRequest>,
    /// Whose features, in any spelling of a presentity.
    pub presentity: String,
    /// Which features; left out or null: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
}

/// The states asked for, in the order of the feature table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GetResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<GetResponse>,
    /// Whose features, canonical.
    pub presentity: String,
    /// Their states.
    pub features: Vec<FeatureState>,
}

/// Has a worker run the set route: `dfks.route.set`, from the edge or the mi bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<RouteSetRequest>,
    /// Whose feature, in any spelling of a presentity.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
    /// The status asked for.
    pub status: Status,
    /// The values asked for; what is left out stays as it is.
    #[serde(default)]
    pub values: Values,
    /// Who asks.
    pub origin: Origin,
    /// `route_param` of the command; null when it gave none or a phone asked.
    #[serde(default)]
    pub param: Option<String>,
    /// URI of the phone's user; null from MI.
    #[serde(default)]
    pub watcher: Option<String>,
    /// Id of a durable command. The one that was carried out last is not carried out again: it gets the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Id of what led to this.
    #[serde(default)]
    pub cause: Cause,
}

/// What the set route made of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSetResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<RouteSetResponse>,
    /// Whose feature, canonical.
    pub presentity: String,
    /// The state now; where the change was denied, the state as it is.
    pub state: FeatureState,
    /// The state before.
    pub previous: FeatureState,
    /// Other features of the presentity that changed along with it.
    #[serde(default)]
    pub also: Vec<FeatureState>,
    /// What those were before, in the same order.
    #[serde(default)]
    pub also_previous: Vec<FeatureState>,
    /// Whether watchers are told; `false` where the route suppressed it.
    #[serde(default = "yes")]
    pub notify: bool,
    /// Whether anything changed.
    pub changed: bool,
    /// Why the change was denied; null when it was not.
    #[serde(default)]
    pub denied: Option<String>,
}

const fn yes() -> bool {
    true
}

/// Asks a responder for the state of one feature: `dfks.responder.get.<domain>.<Feature>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponderGetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ResponderGetRequest>,
    /// Whose feature, canonical.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
}

/// Asks a responder to apply or deny a change: `dfks.responder.set.<domain>.<Feature>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponderSetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ResponderSetRequest>,
    /// Whose feature, canonical.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
    /// The status after the change.
    pub status: Status,
    /// The values after the change.
    #[serde(default)]
    pub values: Values,
    /// Who asks.
    pub origin: Origin,
    /// `route_param` of the command; null when it gave none or a phone asked.
    #[serde(default)]
    pub param: Option<String>,
}

/// A responder's answer. What is left out stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponderState {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ResponderState>,
    /// On or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Values that differ.
    #[serde(default)]
    pub values: Values,
    /// `false`: phones are not told of the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<bool>,
    /// `false`: no NOTIFY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<bool>,
    /// Set only: other features of this presentity that change with it.
    #[serde(default)]
    pub also: Vec<AlsoChange>,
}

/// Another feature that changes along with the one asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlsoChange {
    /// Which feature.
    pub feature: String,
    /// On or off; left out: as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Values that differ.
    #[serde(default)]
    pub values: Values,
    /// Left out: as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<bool>,
}

/// Asks a responder for what stands for a user's password: `dfks.responder.auth.<domain>`.
///
/// A user who is not known is an error of code 404.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<AuthRequest>,
    /// The username that the phone gave.
    pub username: String,
    /// The realm that it was asked for.
    pub realm: String,
    /// The hash that it chose of those offered: `SHA-256` or `MD5`.
    pub algorithm: String,
}

/// What stands for a user's password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<AuthResponse>,
    /// The hash of `username:realm:password` in hexadecimal, made with the algorithm asked for. As secret as the password.
    pub ha1: String,
}

/// Never shows the secret.
impl std::fmt::Debug for AuthResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthResponse").finish_non_exhaustive()
    }
}

/// Has one edge notify its watchers of a presentity: `dfks.notify.<edge_id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyJob {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<NotifyJob>,
    /// Id of the job, and its `Nats-Msg-Id`.
    pub id: String,
    /// Whose watchers, canonical.
    pub presentity: String,
    /// The states that they are told.
    pub states: Vec<FeatureState>,
    /// `false`: a NOTIFY with an empty body.
    #[serde(default = "yes")]
    pub assigned: bool,
    /// Subscription that knows already.
    #[serde(default)]
    pub skip: Option<String>,
    /// Past this the job is given up: RFC 3339 UTC.
    pub not_after: String,
    /// Id of what led to this.
    #[serde(default)]
    pub cause: Cause,
}

/// Asks every edge for its live subscriptions: `dfks.watchers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WatchersRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<WatchersRequest>,
    /// Whose watchers; null: all.
    #[serde(default)]
    pub presentity: Option<String>,
}

/// One edge's live subscriptions, in one or more of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WatchersResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<WatchersResponse>,
    /// The edge that answers.
    pub edge_id: String,
    /// Its subscriptions.
    pub watchers: Vec<Watcher>,
    /// Whether this edge sends another answer after this one.
    pub more: bool,
}

/// One live subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watcher {
    /// Its id.
    pub subscription: String,
    /// Whose features it watches.
    pub presentity: String,
    /// URI of the phone's user.
    pub watcher: String,
    /// Call-ID of its dialog.
    pub call_id: String,
    /// The phone's Contact.
    pub contact: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: String,
    /// The phone's User-Agent; empty where it sent none.
    pub user_agent: String,
    /// When it expires: RFC 3339 UTC.
    pub expires_at: String,
    /// Version of each feature that it was last told.
    pub versions: std::collections::BTreeMap<String, u64>,
}

/// A subscription came, was refreshed or ended: `dfks.event.subscription.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SubscriptionEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// The edge that holds it.
    pub edge_id: String,
    /// Its id.
    pub subscription: String,
    /// Whose features it watches.
    pub presentity: String,
    /// URI of the phone's user.
    pub watcher: String,
    /// What happened.
    pub what: SubscriptionChange,
    /// Why it ended; null otherwise.
    #[serde(default)]
    pub reason: Option<EndReason>,
    /// When it expires: RFC 3339 UTC.
    pub expires_at: String,
    /// The phone's User-Agent; empty where it sent none.
    pub user_agent: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: String,
    /// Call-ID of its dialog.
    pub call_id: String,
}

/// What happened to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionChange {
    /// It is new.
    Active,
    /// It was refreshed.
    Refreshed,
    /// It ended.
    Terminated,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It was not refreshed in time.
    Timeout,
    /// The phone ended it.
    Unsubscribed,
    /// The phone answered a NOTIFY with a response that ends it.
    Rejected,
    /// The phone did not answer a NOTIFY.
    Unreachable,
    /// Another edge has it now.
    Moved,
}

/// A feature was changed, or a change was refused: `dfks.event.feature.<domain>.<Feature>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<FeatureEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// Whose feature, canonical.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
    /// The state before.
    pub old: FeatureState,
    /// The state now.
    pub new: FeatureState,
    /// Version of the state now.
    pub version: u64,
    /// Who asked for it.
    pub origin: Origin,
    /// What became of it.
    pub outcome: FeatureOutcome,
    /// Why it was refused; null otherwise.
    #[serde(default)]
    pub reason: Option<String>,
    /// Live subscriptions that are notified.
    pub watchers: u64,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureOutcome {
    /// It took effect.
    Applied,
    /// A route, a responder or a check refused it.
    Refused,
}

/// What became of one NOTIFY: `dfks.event.notify.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyEvent {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<NotifyEvent>,
    /// Id of this event.
    pub id: String,
    /// When: RFC 3339 UTC.
    pub time: String,
    /// Id of what led to this.
    pub cause: Cause,
    /// The edge that sent it.
    pub edge_id: String,
    /// The subscription it was for.
    pub subscription: String,
    /// Whose features.
    pub presentity: String,
    /// Which features its body had.
    pub features: Vec<String>,
    /// What became of it.
    pub outcome: NotifyOutcome,
    /// SIP status code of the final response; null when there was none.
    #[serde(default)]
    pub status: Option<u16>,
    /// From the NOTIFY to its final response, in milliseconds.
    pub took_ms: u64,
}

/// What became of a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyOutcome {
    /// The phone answered 2xx.
    Delivered,
    /// The phone answered otherwise, or could not be reached.
    Failed,
    /// No answer in time (Timer F), or the job was too old.
    Expired,
}

/// In place of any reply: what was wrong. Beside it the headers of ADR-32.
///
/// Shape: `{"error":{"code":400,"description":"unknown feature 'Foo': expected …","field":"feature"}}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{description}")]
pub struct ErrorBody {
    /// 400 bad request, 403 denied, 404 unknown, 500 our fault, 503 try again later.
    pub code: u16,
    /// What was wrong and what is allowed.
    pub description: String,
    /// The field that was wrong, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Header with the code of an [`ErrorReply`]. Source: ADR-32.
pub const ERROR_CODE_HEADER: &str = "Nats-Service-Error-Code";
/// Header with the description of an [`ErrorReply`]. Source: ADR-32.
pub const ERROR_HEADER: &str = "Nats-Service-Error";

/// Reads a reply: the message, or the error that stands in its place.
///
/// # Errors
///
/// The peer's [`ErrorBody`], or one of code 502 when the reply is neither.
pub fn read_reply<M: DeserializeOwned>(payload: &[u8]) -> Result<M, ErrorBody> {
    #[derive(Deserialize)]
    struct MaybeError {
        error: ErrorBody,
    }
    // The error first: a message whose fields are all optional would read it as itself.
    if memchr::memmem::find(payload, b"\"error\"").is_some()
        && let Ok(reply) = serde_json::from_slice::<MaybeError>(payload)
    {
        return Err(reply.error);
    }
    let unreadable = |error| ErrorBody { code: 502, description: format!("unreadable reply: {error}"), field: None };
    serde_json::from_slice(payload).map_err(unreadable)
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
