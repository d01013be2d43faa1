//! What an AsyncAPI document looks like, as far as ours needs it.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A map that is written in the order in which it was made.
#[derive(Debug, Clone)]
pub struct Ordered<V>(Vec<(String, V)>);

impl<V> Ordered<V> {
    /// Its entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V> FromIterator<(K, V)> for Ordered<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// The whole document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    pub(super) asyncapi: &'static str,
    pub(super) id: &'static str,
    pub(super) info: Info,
    pub(super) default_content_type: &'static str,
    pub(super) servers: Ordered<Server>,
    /// The subjects, by `channel_id`, and the replies to them.
    pub channels: Ordered<Channel>,
    /// Who asks whom.
    pub operations: Ordered<Operation>,
    pub(super) components: Components,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Info {
    pub(super) title: &'static str,
    pub(super) version: &'static str,
    pub(super) description: &'static str,
    pub(super) contact: Value,
    pub(super) license: Value,
    pub(super) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Tag {
    pub(super) name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Server {
    pub(super) host: &'static str,
    pub(super) protocol: &'static str,
    pub(super) description: &'static str,
    pub(super) tags: Vec<Tag>,
}

/// `{"$ref": "#/channels/set"}`
#[derive(Debug, Clone, Serialize)]
pub struct Reference {
    #[serde(rename = "$ref")]
    pub(super) path: String,
}

/// A subject, or the replies to one.
#[derive(Debug, Clone, Serialize)]
pub struct Channel {
    /// The subject, `{…}` for what varies; null where it is told with each message: the inbox of a request.
    pub address: Option<String>,
    pub(super) title: String,
    pub(super) description: String,
    /// By name of the message's component.
    pub messages: Ordered<Reference>,
    #[serde(skip_serializing_if = "Ordered::is_empty")]
    pub(super) parameters: Ordered<Parameter>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Parameter {
    pub(super) description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<&'static str>,
    pub(super) examples: &'static [&'static str],
}

/// What dfks receives or sends on a channel.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    pub(super) action: &'static str,
    pub(super) channel: Reference,
    pub(super) title: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) tags: Vec<Tag>,
    pub(super) messages: Vec<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bindings: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Reply>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Reply {
    pub(super) channel: Reference,
    pub(super) messages: Vec<Reference>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Components {
    pub(super) messages: Ordered<Message>,
    pub(super) schemas: Ordered<Value>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) title: &'static str,
    pub(super) summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'static str>,
    pub(super) content_type: &'static str,
    pub(super) headers: Reference,
    /// A reference to the schema's file, never a copy.
    pub(super) payload: Value,
    pub(super) examples: Vec<Value>,
}
