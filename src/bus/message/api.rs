//! What is asked and answered between services, edges and workers, and the jobs between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor;
use super::kind::Kind;
use super::origin::Origin;
use super::standing::Standing;
use super::work::Work;
use crate::bus::trace::Cause;
use crate::feature::{FeatureState, Status, Values, package, yes};

/// A command to set one feature: `dfks.set`, `dfks.command.set`.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","feature":"CallForwardingNoAnswer","status":1,"route_param":"1","values":["ringCount/4"]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("anyOf" = [has_status(), has_agent_state()]))]
pub struct SetRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SetRequest>,
    /// Whose feature, in any spelling of a presentity.
    pub presentity: String,
    /// Which feature.
    pub feature: String,
    /// On or off; left out or null only for `AgentState` with `values.state`, which decides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Handed to the set route as `param`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_param: Option<String>,
    /// Extra values; what is left out stays as it is.
    #[serde(default)]
    pub values: CommandValues,
    /// Who asks for it, for the event: at most 128 characters, none of them a control character.
    #[serde(default, deserialize_with = "actor::read", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub actor: Option<String>,
    /// When the feature goes off by itself, unless something changes it before: RFC 3339. Only with status 1, and not with `for_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub until: Option<String>,
    /// The same, in so many seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_622_400))]
    pub for_seconds: Option<u64>,
}

fn has_status() -> serde_json::Value {
    let status = serde_json::json!({ "not": { "type": "null" }, "description": "Given." });
    serde_json::json!({ "required": ["status"], "properties": { "status": status } })
}

fn has_agent_state() -> serde_json::Value {
    let object = serde_json::json!({ "type": "object", "required": ["state"] });
    let list = serde_json::json!({ "type": "array", "contains": { "type": "string", "pattern": "^state/" } });
    serde_json::json!({ "required": ["values"], "properties": {
        "feature": { "const": "AgentState", "description": "The feature whose state decides its status." },
        "values": { "anyOf": [object, list], "description": "With the state." },
    } })
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
    /// Other features of the presentity that changed along with it, as they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<FeatureState>,
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
    /// Of all, only those of this event package; left out or null: of every package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Subscription of the phone that the answer is for: what is learnt from a responder is told to the others alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Whether to answer only what a quorum of the store's replicas confirms. Without it, in the first second after a NATS node
    /// that was cut off is back, the answer may be of before. Costs one write where there are replicas.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
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
    /// Who asks: the phone's user, or whom a command names. It is stored with the change. Left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Id of this request, from whoever asks: the change is stored with it, so that a change whose answer was lost is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Subscription of the phone that asks: its edge tells it itself. Left out from MI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Past this nobody waits for the answer, and the change is not made: RFC 3339 UTC. Left out: it is made whenever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// Id of a durable command. The one that was carried out last is not carried out again: it gets the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where a durable command stands in its stream: none is carried out that is not younger than the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<CommandPlace>,
    /// When the feature goes off by itself: RFC 3339 UTC. Left out: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The change is made only while the feature has this version. Left out: whatever version it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
    /// Id of what led to this.
    #[serde(default)]
    pub cause: Cause,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde's skip_serializing_if asks for")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Where a durable command stands in its stream, and the id that its sender gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandPlace {
    /// Its sequence.
    pub sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub stored_at_nanos: u64,
    /// Its `Nats-Msg-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<String>,
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
    /// Whether the duty to tell the watchers is stored with the change. Left out when `false`: whoever asked has them told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub logged: bool,
    /// How the worker came to it, for the event. Left out by a worker of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Work>>,
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
    /// The edge whose job it was: it concerns only the subscriptions that were taken over from there. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
    /// Past this the job is given up: RFC 3339 UTC.
    pub not_after: String,
    /// Id of what led to this.
    #[serde(default)]
    pub cause: Cause,
}

/// An edge shows that it lives: `dfks.edge.alive`, several times within `sip.takeover_seconds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeAlive {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<EdgeAlive>,
    /// The edge.
    pub edge_id: String,
    /// Its process: another after each start.
    pub instance: String,
    /// How often this process has said so.
    pub beat: u64,
    /// Whether it can take over subscriptions over UDP.
    pub udp: bool,
    /// Sequence in the bucket of feature states. Of what was stored after it, the phones of this edge may know nothing when it
    /// falls silent: jobs on their way to it may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<u64>,
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
    /// Those of the presentities of one domain alone, as it stands in subjects; null: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Whether to say as well what each phone is still to be told. Left out: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub details: bool,
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
    /// Its event package.
    #[serde(default = "package::first_name")]
    pub package: String,
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
    /// What it is still to be told; left out where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}
