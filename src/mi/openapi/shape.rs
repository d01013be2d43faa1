//! What an OpenAPI document looks like, as far as ours needs it. Pure.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bus::asyncapi::Ordered;

/// The whole document.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    pub(super) openapi: &'static str,
    pub(super) info: Info,
    pub(super) servers: Vec<Server>,
    pub(super) security: Vec<Value>,
    pub(super) tags: Vec<Tag>,
    pub(super) paths: Ordered<Value>,
    pub(super) components: Components,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Info {
    pub(super) title: &'static str,
    pub(super) version: &'static str,
    pub(super) description: &'static str,
    pub(super) contact: Value,
    pub(super) license: Value,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Server {
    pub(super) url: &'static str,
    pub(super) description: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Tag {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Components {
    pub(super) security_schemes: Value,
    pub(super) parameters: Ordered<Value>,
    pub(super) headers: Ordered<Value>,
    pub(super) responses: Ordered<Value>,
    pub(super) schemas: Map<String, Value>,
}
