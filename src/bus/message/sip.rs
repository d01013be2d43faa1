//! The last SIP messages of a subscription.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// Asks for the last SIP messages of a subscription: `dfks.sip`.
///
/// Shape: `{"subscription":"0c7d4bd54b5f90fb3d3b5eb9"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SipRequest {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SipRequest>,
    /// Which one: its id.
    pub subscription: String,
}

/// What the edge through which they passed has kept of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SipResponse {
    /// The message's type name.
    #[serde(rename = "type", default)]
    pub kind: Kind<SipResponse>,
    /// The edge that answers.
    pub edge_id: String,
    /// Which subscription.
    pub subscription: String,
    /// The messages, the oldest first.
    pub messages: Vec<SipMessage>,
    /// Older ones that are kept and found no room in this answer.
    #[serde(default)]
    pub left_off: u64,
}

/// One SIP message as it was on the wire. Stars stand in place of credentials and nonces, one for each byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SipMessage {
    /// When it passed: RFC 3339 UTC.
    pub at: String,
    /// Which way it went.
    pub direction: SipDirection,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`; of the last three, the text is what was inside.
    pub transport: String,
    /// The edge's address and port.
    pub local: String,
    /// The other side's.
    pub remote: String,
    /// The whole message.
    pub text: String,
    /// Whether it is no UTF-8: each character of `text` is one byte then. Left out where it is.
    #[serde(default, rename = "latin1", skip_serializing_if = "std::ops::Not::not")]
    pub is_latin1: bool,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SipDirection {
    /// To the edge.
    In,
    /// From the edge.
    Out,
}

impl SipMessage {
    /// Its bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        if self.is_latin1 { self.text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect() } else { self.text.as_bytes().to_vec() }
    }
}
