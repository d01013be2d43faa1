//! `schemas/openapi.yaml`: the one that the code generates, in order for the tools that read such documents, and its examples fit it.

use std::fs;
use std::path::Path;
use std::process::Output;

use dfks::mi::openapi;
use serde_json::{Value, json};

use crate::asyncapi::{has_node, root, run, said};
use crate::directory;

/// Spectral with the schema of OpenAPI 3.1 and all its rules.
fn lint(file: &Path) -> Output {
    let spectral = root().join(".tools/node/node_modules/.bin/spectral");
    run(spectral, &["lint", "--ruleset", "tools/node/spectral-openapi.yaml", "--fail-severity", "hint", file.to_str().unwrap()])
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let written = fs::read_to_string(directory().join(openapi::FILE_NAME)).unwrap();
    assert_eq!(written, openapi::to_yaml().unwrap(), "write it again with `make schemas`");
}

#[test]
fn spectral_finds_no_fault_and_would_find_one() {
    if !has_node() {
        return;
    }
    let file = directory().join(openapi::FILE_NAME);
    let output = lint(&file);
    assert!(output.status.success(), "{}", said(&output));
    let (text, folder) = (fs::read_to_string(&file).unwrap(), tempfile::tempdir().unwrap());
    for (was, is) in [
        ("in: path", "in: nowhere"),
        ("#/components/schemas/GetResponse", "#/components/schemas/Nothing"),
        ("/v1/watchers/{presentity}", "/v1/watchers/{whose}"),
        ("  license:\n", "  licence:\n"),
    ] {
        assert!(text.contains(was), "{was}");
        let file = folder.path().join(openapi::FILE_NAME);
        fs::write(&file, text.replacen(was, is, 1)).unwrap();
        let output = lint(&file);
        assert!(!output.status.success(), "{is}: {}", said(&output));
    }
}

#[test]
fn the_examples_fit_their_schemas() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut found = Vec::new();
    contents(&document, &mut found);
    let mut checked = 0;
    for content in found {
        let Some(example) = content.get("example") else { continue };
        let schema = json!({ "$ref": content["schema"]["$ref"], "components": document["components"] });
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let faults: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{example}: {faults:?}");
        checked += 1;
    }
    assert!(checked >= 15, "{checked}");
}

/// Everything that has a schema and an example.
fn contents<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key.starts_with("application/") {
                    found.push(value);
                }
                contents(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| contents(value, found)),
        _ => {}
    }
}
