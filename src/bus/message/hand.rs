//! What somebody has done by hand: phones told anew, a subscription ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor;
use super::event::EndReason;
use super::kind::Kind;

/// Has phones told the full state again, those of a presentity or of a domain: `dfks.resync`, `dfks.edge.resync.<edge_id>`.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","actor":"helpdesk"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ResyncRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ResyncRequest>,
    /// Whose phones, in any spelling of a presentity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presentity: Option<String>,
    /// In place of a presentity: all phones of this domain, as in a presentity or as in subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Of the presentity's phones, the one of this subscription alone; left out or null: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Of these, those alone that subscribed to this event package; left out or null: whatever they subscribed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Who asks for it, for the event: at most 128 characters, none of them a control character.
    #[serde(default, deserialize_with = "actor::read", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub actor: Option<String>,
}

/// How many phones are told anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResyncResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<ResyncResponse>,
    /// Live subscriptions whose phones are told the full state, one after another from now on.
    pub phones: u64,
}

/// Ends a subscription: `dfks.end`, `dfks.edge.end.<edge_id>`.
///
/// Shape: `{"subscription":"5f3a…","reason":"rejected","actor":"helpdesk"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<EndRequest>,
    /// Which one.
    pub subscription: String,
    /// What its phone is told; left out: `deactivated`.
    #[serde(default)]
    pub reason: Dismissal,
    /// Who asks for it, for the event: at most 128 characters, none of them a control character.
    #[serde(default, deserialize_with = "actor::read", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub actor: Option<String>,
}

/// The `reason` in the last NOTIFY of a subscription that somebody ended. Source: RFC 6665 §4.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dismissal {
    /// The phone should subscribe again at once.
    #[default]
    Deactivated,
    /// The phone should not subscribe again.
    Rejected,
}

impl Dismissal {
    /// The word in `Subscription-State`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deactivated => "deactivated",
            Self::Rejected => "rejected",
        }
    }

    /// The word of the event.
    #[must_use]
    pub const fn end_reason(self) -> EndReason {
        match self {
            Self::Deactivated => EndReason::Deactivated,
            Self::Rejected => EndReason::Rejected,
        }
    }
}

/// Which subscription was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<EndResponse>,
    /// Its id.
    pub subscription: String,
    /// Whose features it watched.
    pub presentity: String,
}
