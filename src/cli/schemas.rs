//! `dfks schemas`: the JSON Schemas, the AsyncAPI and the OpenAPI document that the code generates, for a folder or for stdout.

use std::fmt::Write;
use std::path::Path;

use super::exit::Failure;
use super::output::{print, print_json};
use crate::bus::{asyncapi, schema};
use crate::mi::openapi;

/// Writes the JSON Schemas, the AsyncAPI and the OpenAPI document into `out`, or prints the schemas, one a line.
pub(crate) fn write(out: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = out else {
        return schema::all().iter().try_for_each(|(_, schema)| print_json(schema));
    };
    let failed = |path: &Path, error: &dyn std::fmt::Display| Failure::Refused(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut text = String::new();
    for (name, schema) in schema::all() {
        let path = folder.join(&name);
        let mut pretty = serde_json::to_string_pretty(&schema).map_err(|error| failed(&path, &error))?;
        pretty.push('\n');
        std::fs::write(&path, pretty).map_err(|error| failed(&path, &error))?;
        let _infallible = writeln!(text, "{}", path.display());
    }
    for (name, yaml) in [(asyncapi::FILE_NAME, asyncapi::to_yaml()), (openapi::FILE_NAME, openapi::to_yaml())] {
        let path = folder.join(name);
        let yaml = yaml.map_err(|error| failed(&path, &error))?;
        std::fs::write(&path, yaml).map_err(|error| failed(&path, &error))?;
        let _infallible = writeln!(text, "{}", path.display());
    }
    print(&text)
}
