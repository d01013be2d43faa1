//! The OpenAPI document of what `mi.http` serves: what `schemas/openapi.yaml` holds, `dfks schemas` writes and `/openapi.json` answers. Pure.
//!
//! Source: OpenAPI 3.1.1. Its schemas are those of the Rust types, so that it cannot speak of others.

mod operation;
mod shape;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::bus::message::{GetResponse, ResyncRequest, ResyncResponse, SetRequest, SetResponse};
use crate::mi::http::v1::listing::WatcherList;
use crate::mi::http::v1::problem::Problem;
pub use crate::mi::openapi::shape::Document;
use crate::mi::openapi::shape::{Components, Info, Server, Tag};

/// Name of the file, beside those of the JSON Schemas.
pub const FILE_NAME: &str = "openapi.yaml";

const DESCRIPTION: &str = "\
Reads and sets the feature keys of SIP phones (Do Not Disturb, call forwarding, …) for whoever speaks no NATS, such as a PBX that asks for each call.

* A presentity is `sip:user@host` or `tel:+31201234567`, in any spelling, percent-encoded: `sip:alice@10.0.0.11` may stand as it is, `/`, `?`, `#` and `%` in it may not.
* A feature may be named as people call it: `DND`, `CFA`, `CFB`, `CFNA`, or its name in any case. Answers have its name.
* Errors are `application/problem+json` (RFC 9457). After a 503 try again, in `Retry-After` seconds at the soonest.
* Fields that are not known are ignored.
* Keep the connection: a question costs little then.";

/// The document of this version.
#[must_use]
pub fn document() -> Document {
    Document {
        openapi: "3.1.1",
        info: Info {
            title: "dfks",
            version: env!("CARGO_PKG_VERSION"),
            description: DESCRIPTION,
            contact: json!({ "name": "dfks", "url": env!("CARGO_PKG_REPOSITORY") }),
            license: json!({ "name": env!("CARGO_PKG_LICENSE"), "url": "https://www.apache.org/licenses/LICENSE-2.0" }),
        },
        servers: vec![Server { url: "http://127.0.0.1:8888", description: "What `mi.http` says." }],
        // a bridge without mi.token_file asks for none
        security: vec![json!({ "token": [] }), json!({})],
        tags: TAGS.map(|(name, description)| Tag { name, description }).into(),
        paths: operation::all(),
        components: Components {
            security_schemes: json!({ "token": { "type": "http", "scheme": "bearer", "description": "The token in `mi.token_file`." } }),
            parameters: operation::parameters(),
            headers: operation::headers(),
            responses: operation::responses(),
            schemas: schemas(),
        },
    }
}

/// The document as YAML.
///
/// # Errors
///
/// None in practice: every value in it can be written.
pub fn to_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&document())
}

/// The document as JSON.
#[must_use]
pub(crate) fn to_json() -> Vec<u8> {
    serde_json::to_vec_pretty(&document()).unwrap_or_default()
}

const TAGS: [(&str, &str); 3] = [
    ("document", "This document."),
    ("features", "What is switched on, and with which values."),
    ("phones", "Who watches, and is told again."),
];

/// The schemas that the operations refer to, by name.
fn schemas() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = SchemaGenerator::new(settings);
    refer::<GetResponse>(&mut generator);
    refer::<SetResponse>(&mut generator);
    refer::<ResyncResponse>(&mut generator);
    refer::<WatcherList>(&mut generator);
    refer::<Problem>(&mut generator);
    let set = of_body::<SetRequest>(&mut generator, "What is to be set. What is left out stays as it is.", &["feature"]);
    let resync = of_body::<ResyncRequest>(&mut generator, "Which of its phones, and who asks for it.", &["domain"]);
    let mut schemas = generator.take_definitions(true);
    schemas.extend([("FeatureChange".to_owned(), set), ("Resync".to_owned(), resync)]);
    schemas
}

fn refer<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _reference = generator.subschema_for::<T>();
}

/// The schema of a request on the bus, without what its path over HTTP says.
fn of_body<T: JsonSchema>(generator: &mut SchemaGenerator, description: &str, also: &[&str]) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    without(&mut schema, &[&["type", "presentity"], also].concat());
    operation::with(schema, "description", description.into())
}

/// Takes properties out of a schema, and out of what it is any of.
fn without(schema: &mut Value, names: &[&str]) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !names.contains(&name.as_str()));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name.as_str().is_none_or(|name| !names.contains(&name)));
        if required.is_empty() {
            schema.remove("required");
        }
    }
    for one in schema.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten() {
        without(one, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_path_says_is_not_in_the_body() {
        let schemas = schemas();
        let change = &schemas["FeatureChange"];
        let fields: Vec<_> = change["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert!(!fields.iter().any(|field| ["type", "presentity", "feature"].contains(field)), "{fields:?}");
        assert!(["status", "values", "actor", "route_param"].iter().all(|field| fields.contains(field)), "{fields:?}");
        assert!(change.get("required").is_none());
        assert!(schemas["Resync"]["properties"].get("domain").is_none());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_slice(&to_json()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
    }
}
