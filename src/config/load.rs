//! Layers defaults, the file and the environment into one [`Config`].
//!
//! The tree that the `config` crate layers is walked along the tree of the defaults, so that each key is known, has the kind
//! of its default, and an error names it; only then it becomes a `Config`. (The crate's own conversion would take `"on"` for
//! `true`, cut numbers that are too large, and name no key for an unknown one.)

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat, Source, Value, ValueKind};

use super::error::as_toml;
use super::paths::PATHS;
use super::{Config, ConfigError, NatsConfig, check};
use crate::feature::{FeatureConfig, PackageConfig};

/// Before each key in the environment: `DFKS__NATS__URL`.
const PREFIX: &str = "DFKS";
const SEPARATOR: &str = "__";
/// Takes a table of any keys in place of the name of a file.
const DATA: &str = "routes.data";
/// What the `config` crate calls the origin of a value of [`Environment`].
const FROM_ENVIRONMENT: &str = "the environment";

impl Config {
    /// The configuration of a process: the defaults, over them the file, over it the environment, and all of it checked.
    ///
    /// `env` holds pairs of name and value; the names that do not start with `DFKS__` are ignored. A list is written with commas
    /// there. A relative path in the file is taken from the file's folder, one in the environment, as the default, from the working
    /// directory.
    ///
    /// # Errors
    ///
    /// The first [`ConfigError`]: a file that cannot be read, a key that does not exist, a value that is not allowed, one that
    /// would leave the service open.
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::read(path, env)?;
        check::check(&mut config)?;
        Ok(config)
    }

    /// `[nats]` of a file, for a client: what else the file names may be for other eyes.
    ///
    /// # Errors
    ///
    /// The first [`ConfigError`], as of [`load`](Self::load), where the rest of the file is not looked at beyond its keys.
    pub(crate) fn load_nats(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<NatsConfig, ConfigError> {
        let nats = Self::read(Some(path), env)?.nats;
        nats.check()?;
        Ok(nats)
    }

    /// All layers, unchecked.
    fn read(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let folder = path.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        let mut builder = config::Config::builder();
        if let Some(path) = path {
            let unreadable = |error: std::io::Error| ConfigError::Unreadable { path: path.to_path_buf(), reason: error.to_string() };
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            let source = File::from_str(&text, FileFormat::Toml);
            source
                .collect()
                .map_err(|error| ConfigError::Syntax { path: path.to_path_buf(), reason: first_and_last_line(&error.to_string()) })?;
            builder = builder.add_source(source);
        }
        let env: HashMap<String, String> = env.into_iter().filter(|(name, _)| name.starts_with("DFKS__")).collect();
        // without try_parsing: it would make the number 123 of the password "00123"
        let env = Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR).try_parsing(false).source(Some(env));
        let layered = builder.add_source(env).build().and_then(|layered| layered.collect());
        let layered = layered.map_err(|error| ConfigError::Syntax {
            path: path.unwrap_or(Path::new(FROM_ENVIRONMENT)).to_path_buf(),
            reason: first_and_last_line(&error.to_string()),
        })?;
        Walk { folder }.config(layered)
    }
}

/// The errors of the `config` crate draw the faulty line; ours take one line.
fn first_and_last_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|')).collect();
    lines.join(": ")
}

/// Walks the layered tree along the tree of the defaults.
struct Walk {
    /// Folder of the file.
    folder: PathBuf,
}

impl Walk {
    fn config(&self, layered: config::Map<String, Value>) -> Result<Config, ConfigError> {
        let defaults = toml::Value::try_from(Config::default()).unwrap_or(toml::Value::Table(toml::Table::new()));
        let tree = self.value("", Value::new(None, ValueKind::Table(layered)), Some(&defaults))?;
        tree.clone().try_into().map_err(|error: toml::de::Error| from_serde(&tree, &error))
    }

    /// `default` gives the kind; without one (below `profile`) the value is taken as it is.
    fn value(&self, key: &str, value: Value, default: Option<&toml::Value>) -> Result<toml::Value, ConfigError> {
        let from_environment = value.origin() == Some(FROM_ENVIRONMENT);
        let wrong = |value: ValueKind, expected: &str| Err(ConfigError::value(key, &raw(value), expected));
        Ok(match (default, value.kind) {
            (Some(toml::Value::Table(known)), ValueKind::Table(table)) => return self.table(key, table, known),
            (Some(toml::Value::Table(_)), other) => return wrong(other, "a table"),
            (Some(_), ValueKind::Table(table)) if key == DATA => raw(ValueKind::Table(table)),
            (Some(toml::Value::String(_)), ValueKind::String(text)) => toml::Value::String(self.path(key, text, from_environment)),
            (Some(toml::Value::String(_)), other) => return wrong(other, if key == DATA { "a file or a table" } else { "a string" }),
            (Some(toml::Value::Integer(_)), ValueKind::I64(number)) => toml::Value::Integer(number),
            (Some(toml::Value::Integer(_)), ValueKind::String(text)) if from_environment => match text.trim().parse() {
                Ok(number) => toml::Value::Integer(number),
                Err(_) => return wrong(ValueKind::String(text), "a whole number"),
            },
            (Some(toml::Value::Integer(_)), other) => return wrong(other, "a whole number"),
            (Some(toml::Value::Boolean(_)), ValueKind::Boolean(yes)) => toml::Value::Boolean(yes),
            (Some(toml::Value::Boolean(_)), ValueKind::String(text)) if from_environment => match text.trim() {
                "true" => toml::Value::Boolean(true),
                "false" => toml::Value::Boolean(false),
                _ => return wrong(ValueKind::String(text), "true or false"),
            },
            (Some(toml::Value::Boolean(_)), other) => return wrong(other, "true or false"),
            (Some(toml::Value::Array(_)), ValueKind::Array(items)) if key == "profile" => raw(ValueKind::Array(items)),
            (Some(toml::Value::Array(_)), ValueKind::Array(items)) => {
                let strings: Option<Vec<_>> =
                    items.iter().map(|item| matches!(item.kind, ValueKind::String(_)).then(|| raw(item.kind.clone()))).collect();
                match strings {
                    Some(strings) => toml::Value::Array(strings),
                    None => return wrong(ValueKind::Array(items), "a list of strings"),
                }
            }
            (Some(toml::Value::Array(_)), ValueKind::String(text)) if from_environment && key != "profile" => {
                toml::Value::Array(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(toml::Value::from).collect())
            }
            (Some(toml::Value::Array(_)), other) => return wrong(other, "a list"),
            (_, other) => raw(other),
        })
    }

    fn table(&self, key: &str, table: config::Map<String, Value>, known: &toml::Table) -> Result<toml::Value, ConfigError> {
        let mut out = toml::Table::new();
        // in the order of the names, so that the first error is always the same one
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in entries {
            let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let default = known.get(&name);
            let origin = value.origin().map(str::to_owned);
            let is_row = ["features", "packages"].contains(&key) && matches!(value.kind, ValueKind::Table(_));
            if default.is_none() && !is_row {
                let expected = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(ConfigError::UnknownKey { key: below, value: as_toml(&raw(value.kind)), expected });
            }
            let value = match value.kind {
                ValueKind::Table(row) if default.is_none() && key == "features" => self.feature(&below, row)?,
                ValueKind::Table(row) if default.is_none() => {
                    self.table(&below, row, &toml::Table::try_from(PackageConfig::default()).unwrap_or_default())?
                }
                kind => self.value(&below, Value::new(origin.as_ref(), kind), default)?,
            };
            out.insert(name, value);
        }
        Ok(toml::Value::Table(out))
    }

    /// `[features.NAME]`. What serde finds wrong below a flattened table has no key.
    fn feature(&self, key: &str, mut row: config::Map<String, Value>) -> Result<toml::Value, ConfigError> {
        const PAIR: &str = "[\"requestElement\", \"eventElement\"]";
        let known = toml::Table::try_from(FeatureConfig::default()).unwrap_or_default();
        let values = row.remove("values").map(|values| raw(values.kind));
        let mut feature = self.table(key, row, &known)?;
        let is_pair = |value: &toml::Value| value.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(toml::Value::is_str));
        match &values {
            Some(toml::Value::Table(fields)) => {
                if let Some((field, value)) = fields.iter().find(|(_, value)| !is_pair(value)) {
                    return Err(ConfigError::value(format!("{key}.values.{field}"), value, PAIR));
                }
            }
            Some(other) => return Err(ConfigError::value(format!("{key}.values"), other, format!("a table of field = {PAIR}"))),
            None => {}
        }
        if let (Some(values), Some(feature)) = (values, feature.as_table_mut()) {
            feature.insert("values".to_owned(), values);
        }
        Ok(feature)
    }

    fn path(&self, key: &str, text: String, from_environment: bool) -> String {
        if from_environment || text.is_empty() || !PATHS.contains(&key) {
            return text;
        }
        self.folder.join(&text).to_str().map_or(text, str::to_owned)
    }
}

fn raw(kind: ValueKind) -> toml::Value {
    match kind {
        ValueKind::Nil => toml::Value::String(String::new()),
        ValueKind::Boolean(yes) => toml::Value::Boolean(yes),
        ValueKind::I64(number) => toml::Value::Integer(number),
        ValueKind::I128(number) => i64::try_from(number).map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        ValueKind::U64(number) => i64::try_from(number).map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        ValueKind::U128(number) => i64::try_from(number).map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        ValueKind::Float(number) => toml::Value::Float(number),
        ValueKind::String(text) => toml::Value::String(text),
        ValueKind::Table(table) => toml::Value::Table(table.into_iter().map(|(name, value)| (name, raw(value.kind))).collect()),
        ValueKind::Array(items) => toml::Value::Array(items.into_iter().map(|item| raw(item.kind)).collect()),
    }
}

/// What serde found wrong: an enum's word, a number that does not fit, a key of `[[profile]]`.
fn from_serde(tree: &toml::Value, error: &toml::de::Error) -> ConfigError {
    let text = error.to_string();
    let key = text.lines().find_map(|line| line.strip_prefix("in `")).map_or("", |rest| rest.trim_end_matches('`'));
    let value = key.split('.').try_fold(tree, |tree, part| tree.get(part)).cloned().unwrap_or(toml::Value::String(String::new()));
    let message = error.message();
    let expected = message.rsplit_once("expected ").map_or(message, |(_, expected)| expected);
    let expected = match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        other => other,
    };
    ConfigError::value(key, &value, expected)
}

#[cfg(test)]
#[path = "tests/load.rs"]
mod tests;
