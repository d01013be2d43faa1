use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::bus::schema;
use crate::bus::subject::Pattern;

#[test]
fn every_subject_of_ours_has_a_channel_with_a_message_and_an_operation() {
    let document = document();
    let ids: Vec<_> = Pattern::ALL.into_iter().filter_map(name::channel_id).collect();
    for id in &ids {
        let channel = document.channels.get(id).unwrap_or_else(|| panic!("no channel {id}"));
        assert!(channel.messages.iter().next().is_some(), "{id}");
        let path = format!("#/channels/{id}");
        assert!(document.operations.iter().any(|(_, operation)| operation.channel.path == path), "no operation on {id}");
    }
    let subjects = document.channels.iter().filter(|(_, channel)| channel.address.is_some()).count();
    assert_eq!(subjects, ids.len());
    let responder = document.channels.get("responderGet").unwrap();
    assert_eq!(responder.address.as_deref(), Some("{prefix}.responder.get.{domain}.{feature}"));
    assert_eq!(responder.parameters.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["prefix", "domain", "feature"]);
}

#[test]
fn every_schema_is_referred_to_and_every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        if let Some(pointer) = reference.strip_prefix('#') {
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
    let files: BTreeSet<_> = found.iter().filter_map(|reference| reference.strip_prefix("./")).map(str::to_owned).collect();
    assert_eq!(files, schema::all().into_iter().map(|(name, _)| name).collect());
}
