//! One JSON Schema a message, generated from the Rust types: what `schemas/` holds and `dfks schemas` writes. Pure.
//!
//! Source: JSON Schema 2020-12. The title is the message's `type`, so is the name that `Named` gives the Rust type.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::bus::message::{
    AuthRequest, AuthResponse, EdgeAlive, EndRequest, EndResponse, ErrorReply, FeatureEvent, ForgetRequest, ForgetResponse, GetRequest,
    GetResponse, HandEvent, LogRequest, Named, NotifyEvent, NotifyJob, RawEvent, RefusedEvent, ResponderGetRequest, ResponderSetRequest,
    ResponderState, RespondersRequest, RespondersResponse, ResyncRequest, ResyncResponse, RouteSetRequest, RouteSetResponse, SetRequest,
    SetResponse, SipRequest, SipResponse, StatusRequest, StatusResponse, SubscriptionEvent, WatchersRequest, WatchersResponse, WhyRequest,
    WhyResponse,
};

/// `title` of the schema of an [`ErrorReply`], which has no `type` on the bus.
pub(crate) const ERROR_TITLE: &str = "io.dfks.api.v1.error";

/// What every `$id` starts with; the file name comes after it.
const ID_BASE: &str = "https://dfks.io/schemas/v1/";

/// Every schema with its file name, in a fixed order: `("set_request.json", {"$id": "https://…", …})`.
#[must_use]
pub fn all() -> Vec<(String, Value)> {
    vec![
        named::<SetRequest>(),
        named::<SetResponse>(),
        named::<GetRequest>(),
        named::<GetResponse>(),
        named::<RouteSetRequest>(),
        named::<RouteSetResponse>(),
        named::<ResponderGetRequest>(),
        named::<ResponderSetRequest>(),
        named::<ResponderState>(),
        named::<AuthRequest>(),
        named::<AuthResponse>(),
        named::<NotifyJob>(),
        named::<EdgeAlive>(),
        named::<RespondersRequest>(),
        named::<RespondersResponse>(),
        named::<ForgetRequest>(),
        named::<ForgetResponse>(),
        named::<WatchersRequest>(),
        named::<WatchersResponse>(),
        named::<ResyncRequest>(),
        named::<ResyncResponse>(),
        named::<EndRequest>(),
        named::<EndResponse>(),
        named::<WhyRequest>(),
        named::<WhyResponse>(),
        named::<StatusRequest>(),
        named::<StatusResponse>(),
        named::<LogRequest>(),
        named::<SipRequest>(),
        named::<SipResponse>(),
        named::<SubscriptionEvent>(),
        named::<FeatureEvent>(),
        named::<NotifyEvent>(),
        named::<RawEvent>(),
        named::<RefusedEvent>(),
        named::<HandEvent>(),
        schema::<ErrorReply>(ERROR_TITLE),
    ]
}

/// The file name of a type name: `io.dfks.api.v1.set_request` is `set_request.json`, `io.dfks.event.v1.feature` is
/// `event_feature.json`.
#[must_use]
pub fn file_name(title: &str) -> String {
    let name = title.rsplit('.').next().unwrap_or(title);
    if title.starts_with("io.dfks.event.") { format!("event_{name}.json") } else { format!("{name}.json") }
}

fn named<M: Named + JsonSchema>() -> (String, Value) {
    schema::<M>(M::TYPE)
}

fn schema<M: JsonSchema>(title: &str) -> (String, Value) {
    let mut schema = SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<M>();
    let file_name = file_name(title);
    schema.insert("title".to_owned(), title.into());
    schema.insert("$id".to_owned(), format!("{ID_BASE}{file_name}").into());
    (file_name, schema.to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_id_title_and_dialect() {
        let schemas = all();
        let (name, set) = &schemas[0];
        assert_eq!(name, "set_request.json");
        assert_eq!(set["$id"], "https://dfks.io/schemas/v1/set_request.json");
        assert_eq!(set["title"], "io.dfks.api.v1.set_request");
        assert_eq!(set["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(set["properties"]["type"]["const"], "io.dfks.api.v1.set_request");
        assert_eq!(set["required"], serde_json::json!(["presentity", "feature"]));
        let names: std::collections::BTreeSet<_> = schemas.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), schemas.len(), "no two share a file");
        assert!(names.contains(&"event_feature.json".to_owned()) && names.contains(&"error.json".to_owned()));
    }

    #[test]
    fn every_property_is_described() {
        fn undescribed(path: &str, schema: &Value, found: &mut Vec<String>) {
            let Value::Object(object) = schema else { return };
            if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                found.extend(properties.iter().filter(|(_, p)| p.get("description").is_none()).map(|(name, _)| format!("{path}/{name}")));
            }
            for (key, value) in object {
                undescribed(&format!("{path}/{key}"), value, found);
            }
        }
        for (name, schema) in all() {
            let mut found = Vec::new();
            undescribed(&name, &schema, &mut found);
            assert!(found.is_empty(), "{found:?}");
            assert!(schema["description"].is_string(), "{name}");
            assert!(!schema.to_string().contains("[`"), "a link of rustdoc in {name}");
        }
    }
}
