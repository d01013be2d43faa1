//! What responders are asked, and what they answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::origin::Origin;
use crate::feature::{Status, Values};

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
