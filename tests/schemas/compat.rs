//! What was released stays: messages of every released version are read by the types of this one and fit its schemas, and
//! schemas change by addition only.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use dfks::bus::{asyncapi, schema};
use serde_json::{Value, json};

use crate::{TYPES, directory, json_files, read_json};

/// What `make freeze` kept, by version.
pub(crate) fn releases() -> Vec<PathBuf> {
    let found: Vec<_> = fs::read_dir(directory().join("compat")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!found.is_empty(), "no release is kept");
    found
}

#[test]
fn messages_of_every_release_are_read_and_fit() {
    for release in releases() {
        let mut read = 0;
        for folder in fs::read_dir(release.join("messages")).unwrap().map(|entry| entry.unwrap().path()) {
            let name = folder.file_name().unwrap().to_str().unwrap();
            let (_, round_trip) = TYPES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is gone"));
            let validator = jsonschema::draft202012::new(&read_json(&directory().join(format!("{name}.json")))).unwrap();
            for path in json_files(&folder) {
                let message = read_json(&path);
                let faults: Vec<_> = validator.iter_errors(&message).map(|error| error.to_string()).collect();
                assert!(faults.is_empty(), "{}: {faults:?}", path.display());
                let written = round_trip(&message).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_kept(&message, &written, &path.display().to_string());
                read += 1;
            }
        }
        assert!(read >= 40, "{}: {read} messages", release.display());
    }
}

/// What a type knows of a message it writes again as it was.
pub(crate) fn assert_kept(message: &Value, written: &Value, at: &str) {
    let (Some(message), Some(written)) = (message.as_object(), written.as_object()) else { return };
    for (key, value) in message {
        let Some(now) = written.get(key) else { continue };
        match value {
            Value::Object(_) => assert_kept(value, now, &format!("{at}/{key}")),
            // 0 and 1 may be written as words, and an object as a list
            Value::String(_) if key != "status" => assert_eq!(value, now, "{at}/{key}"),
            _ => {}
        }
    }
}

#[test]
fn schemas_change_by_addition_only() {
    let sent = sent();
    let current = schema::all();
    for release in releases() {
        for path in json_files(&release.join("schemas")) {
            let file = path.file_name().unwrap().to_str().unwrap();
            let (_, now) = current.iter().find(|(name, _)| name == file).unwrap_or_else(|| panic!("{file} is gone"));
            let faults = faults(&read_json(&path), now, sent.contains(file));
            assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
        }
    }
}

/// Files of the schemas of messages that dfks itself sends, as the AsyncAPI document says.
fn sent() -> BTreeSet<String> {
    let document = serde_json::to_value(asyncapi::document()).unwrap();
    let mut found = BTreeSet::new();
    for operation in document["operations"].as_object().unwrap().values() {
        let is_sent = operation["action"] == "send";
        let messages = if is_sent { &operation["messages"] } else { &operation["reply"]["messages"] };
        for message in messages.as_array().into_iter().flatten() {
            let name = message["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            let payload = document["components"]["messages"][name]["payload"]["$ref"].as_str();
            found.extend(payload.map(|file| file.trim_start_matches("./").to_owned()));
        }
    }
    assert!(found.contains("set_response.json") && found.contains("event_feature.json") && !found.contains("set_request.json"));
    found
}

/// Why whoever goes by the old schema would not get on with the new one.
fn faults(old: &Value, new: &Value, is_sent: bool) -> Vec<String> {
    let mut faults = Vec::new();
    compare("", (old, old), (new, new), is_sent, &mut faults);
    faults
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(schema, |pointer| root.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")))
}

fn words(schema: &Value, key: &str) -> BTreeSet<String> {
    match &schema[key] {
        Value::Array(words) => words.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect(),
        Value::String(word) => [word.clone()].into(),
        _ => BTreeSet::new(),
    }
}

fn compare(at: &str, (old_root, old): (&Value, &Value), (new_root, new): (&Value, &Value), is_sent: bool, faults: &mut Vec<String>) {
    let (old, new) = (resolved(old_root, old), resolved(new_root, new));
    for (key, property) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(key) {
            Some(now) => compare(&format!("{at}/{key}"), (old_root, property), (new_root, now), is_sent, faults),
            None => faults.push(format!("{at}/{key} is gone")),
        }
    }
    let (was, is) = (words(old, "required"), words(new, "required"));
    faults.extend(is.difference(&was).map(|key| format!("{at}/{key} is required now")));
    if is_sent {
        faults.extend(was.difference(&is).map(|key| format!("{at}/{key} may be missing now")));
    }
    let (was, is) = (words(old, "type"), words(new, "type"));
    let grows = |word: &String| word == "number" && was.contains("integer");
    if !is.is_empty() {
        faults.extend(was.difference(&is).filter(|_| !is.iter().any(grows)).map(|word| format!("{at} is no {word} any more")));
    }
    for (key, says) in [("const", "is another constant"), ("format", "has another format"), ("pattern", "has another pattern")] {
        if new[key] != old[key] && !new[key].is_null() {
            faults.push(format!("{at} {says}"));
        }
    }
    let (was, is) = (alternatives(old), alternatives(new));
    if was.is_empty() && !is.is_empty() && old["anyOf"].is_null() && old["oneOf"].is_null() {
        faults.push(format!("{at} takes only some words now"));
    }
    faults.extend(was.difference(&is).map(|word| format!("{at} has no {word} any more")));
    for key in ["items", "additionalProperties"] {
        match (&old[key], &new[key]) {
            (Value::Null | Value::Bool(true), Value::Null | Value::Bool(true)) => {}
            (Value::Null | Value::Bool(true), _) => faults.push(format!("{at} takes less {key}")),
            (was, is) => compare(&format!("{at}/{key}"), (old_root, was), (new_root, is), is_sent, faults),
        }
    }
    for key in ["anyOf", "oneOf"] {
        let branches = |schema: &Value| schema[key].as_array().cloned().unwrap_or_default();
        let now = branches(new);
        for branch in branches(old).iter().filter(|branch| branch["const"].is_null()) {
            let fits = |candidate: &Value| {
                let mut found = Vec::new();
                compare(at, (old_root, branch), (new_root, candidate), is_sent, &mut found);
                found.is_empty()
            };
            if !now.iter().any(fits) {
                faults.push(format!("{at}: nothing fits {branch} any more"));
            }
        }
    }
}

/// The words of an `enum`, and of a `oneOf` of constants.
fn alternatives(schema: &Value) -> BTreeSet<String> {
    let constants = ["oneOf", "anyOf"].iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
    words(schema, "enum").into_iter().chain(constants.filter_map(|branch| branch.get("const").map(Value::to_string))).collect()
}

#[test]
fn the_guard_tells_what_breaks_from_what_adds() {
    let old = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string"}, "b": {"$ref": "#/$defs/B"}, "c": {"type": ["integer", "null"]}, "d": {"type": "array", "items": {"type": "string"}},
        "e": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]}},
        "$defs": {"B": {"oneOf": [{"const": "x"}, {"const": "y"}]}}});
    let changed = |pointer: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        new
    };
    let mut added = changed("/$defs/B/oneOf", json!([{"const": "x"}, {"const": "y"}, {"const": "z"}]));
    added["properties"]["f"] = json!({"type": "string"});
    assert_eq!(faults(&old, &added, true), Vec::<String>::new());
    assert_eq!(faults(&old, &changed("/required", json!([])), false), Vec::<String>::new());
    for (new, want) in [
        (changed("/required", json!(["a", "c"])), "/c is required now"),
        (changed("/required", json!([])), "/a may be missing now"),
        (changed("/properties/a", json!({"type": "integer"})), "/a is no string any more"),
        (changed("/properties/c/type", json!("integer")), "/c is no null any more"),
        (changed("/$defs/B/oneOf", json!([{"const": "x"}])), "/b has no \"y\" any more"),
        (changed("/properties/d/items", json!({"type": "integer"})), "/d/items is no string any more"),
        (changed("/properties/e/anyOf", json!([{"$ref": "#/$defs/B"}])), "/e: nothing fits {\"type\":\"null\"} any more"),
        (changed("/properties", json!({"a": {"type": "string"}})), "/b is gone"),
    ] {
        assert!(faults(&old, &new, true).iter().any(|fault| fault == want), "{want}: {:?}", faults(&old, &new, true));
    }
}
