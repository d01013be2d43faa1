//! What a script sees as `data`: a TOML, JSON or CSV file, or a table of the configuration. Read once, never written.
//!
//! A script goes down into it step by step and holds only where it is, so that a large table costs nothing until it is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult};
use serde_json::Value;

use crate::config::RouteData;

/// The variable that it is.
pub(super) const NAME: &str = "data";
/// Largest file, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Most lists, tables and values in it, all together.
const MAX_ENTRIES: usize = 200_000;

/// Why data is not used. At start it is a bad configuration; at a reload what was there before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("routes.data {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("routes.data {}: {bytes} bytes, at most {MAX_BYTES} are allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
    },
    /// There is too much in it.
    #[error("routes.data {}: it has more than {MAX_ENTRIES} entries", path.display())]
    TooMany {
        /// The file, `[routes.data]` for the table of the configuration.
        path: PathBuf,
    },
    /// The file's name does not say what it is.
    #[error("routes.data {}: expected a name that ends in .toml, .json or .csv", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what its name says.
    #[error("routes.data {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
}

/// A place in the data.
#[derive(Debug, Clone)]
pub(crate) struct Data(Arc<Node>);

#[derive(Debug)]
enum Node {
    Leaf(Dynamic),
    List(Vec<Data>),
    Map(BTreeMap<String, Data>),
}

impl Data {
    /// What `source` holds; `None` where nothing is configured.
    ///
    /// # Errors
    ///
    /// [`DataError`].
    pub(crate) fn load(source: &RouteData) -> Result<Option<Self>, DataError> {
        let (path, value) = match source {
            RouteData::Table(table) => (Path::new("[routes.data]"), of_toml(toml::Value::Table(table.clone()))),
            RouteData::File(path) if path.as_os_str().is_empty() => return Ok(None),
            RouteData::File(path) => (path.as_path(), read(path)?),
        };
        let mut left = MAX_ENTRIES;
        Self::of(value, &mut left).map(Some).ok_or_else(|| DataError::TooMany { path: path.to_owned() })
    }

    /// `None` once no more entries are `left`.
    fn of(value: Value, left: &mut usize) -> Option<Self> {
        *left = left.checked_sub(1)?;
        let node = match value {
            Value::Array(items) => Node::List(items.into_iter().map(|item| Self::of(item, left)).collect::<Option<_>>()?),
            Value::Object(fields) => {
                Node::Map(fields.into_iter().map(|(name, value)| Some((name, Self::of(value, left)?))).collect::<Option<_>>()?)
            }
            Value::Null => Node::Leaf(Dynamic::UNIT),
            Value::Bool(yes) => Node::Leaf(yes.into()),
            Value::String(text) => Node::Leaf(text.into()),
            Value::Number(number) => Node::Leaf(match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, Some(real)) => real.into(),
                (None, None) => Dynamic::UNIT,
            }),
        };
        Some(Self(Arc::new(node)))
    }

    /// As a script sees it: a value, or a place to go on from.
    fn shown(&self) -> Dynamic {
        match &*self.0 {
            Node::Leaf(value) => value.clone(),
            _ => Dynamic::from(self.clone()),
        }
    }

    /// `()` where there is none.
    fn field(&self, name: &str) -> Dynamic {
        match &*self.0 {
            Node::Map(fields) => fields.get(name).map_or(Dynamic::UNIT, Self::shown),
            _ => Dynamic::UNIT,
        }
    }

    /// The entry at a place in a list, from its end where that is negative; `()` where there is none.
    fn item(&self, at: i64) -> Dynamic {
        let Node::List(items) = &*self.0 else { return Dynamic::UNIT };
        let at = if at < 0 {
            usize::try_from(at.unsigned_abs()).ok().and_then(|back| items.len().checked_sub(back))
        } else {
            usize::try_from(at).ok()
        };
        at.and_then(|at| items.get(at)).map_or(Dynamic::UNIT, Self::shown)
    }

    /// Whether a list has this value, or a table this name.
    fn contains(&self, value: &Dynamic) -> bool {
        match &*self.0 {
            Node::List(items) => items.iter().any(|item| item.is(value)),
            Node::Map(fields) => value.as_immutable_string_ref().is_ok_and(|name| fields.contains_key(name.as_str())),
            Node::Leaf(_) => false,
        }
    }

    /// The first table of a list whose `field` is `value`; `()` where there is none.
    fn find(&self, field: &str, value: &Dynamic) -> Dynamic {
        let Node::List(rows) = &*self.0 else { return Dynamic::UNIT };
        let is_it = |row: &&Self| matches!(&*row.0, Node::Map(fields) if fields.get(field).is_some_and(|found| found.is(value)));
        rows.iter().find(is_it).map_or(Dynamic::UNIT, Self::shown)
    }

    /// Whether it is this text, number or truth value.
    fn is(&self, value: &Dynamic) -> bool {
        let Node::Leaf(leaf) = &*self.0 else { return false };
        if let (Ok(ours), Ok(theirs)) = (leaf.as_immutable_string_ref(), value.as_immutable_string_ref()) {
            return *ours == *theirs;
        }
        match (leaf.as_int(), value.as_int(), leaf.as_bool(), value.as_bool()) {
            (Ok(ours), Ok(theirs), ..) => ours == theirs,
            (.., Ok(ours), Ok(theirs)) => ours == theirs,
            _ => false,
        }
    }

    fn len(&self) -> i64 {
        let count = match &*self.0 {
            Node::List(items) => items.len(),
            Node::Map(fields) => fields.len(),
            Node::Leaf(_) => 0,
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn keys(&self) -> Vec<Dynamic> {
        match &*self.0 {
            Node::Map(fields) => fields.keys().map(|name| Dynamic::from(name.clone())).collect(),
            _ => Vec::new(),
        }
    }

    fn values(&self) -> Vec<Dynamic> {
        match &*self.0 {
            Node::Map(fields) => fields.values().map(Self::shown).collect(),
            Node::List(items) => items.iter().map(Self::shown).collect(),
            Node::Leaf(_) => Vec::new(),
        }
    }
}

/// `for row in data`: the entries of a list, the names of a table.
impl IntoIterator for Data {
    type Item = Dynamic;
    type IntoIter = std::vec::IntoIter<Dynamic>;

    fn into_iter(self) -> Self::IntoIter {
        let entries = if matches!(&*self.0, Node::Map(_)) { self.keys() } else { self.values() };
        entries.into_iter()
    }
}

impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if matches!(&*self.0, Node::Map(_)) { "table" } else { "list" };
        write!(f, "[{kind} of {}]", self.len())
    }
}

/// Makes `data` known to `engine`, where there is some, and what a script may do with it.
pub(super) fn register(engine: &mut Engine, data: Option<Data>) {
    engine.register_type_with_name::<Data>("data");
    engine.register_indexer_get(|data: &mut Data, name: &str| data.field(name));
    engine.register_indexer_get(|data: &mut Data, at: i64| data.item(at));
    engine.register_indexer_set(|_: &mut Data, name: &str, _: Dynamic| -> Result<(), Box<EvalAltResult>> {
        Err(format!("data is read-only: {name} cannot be written").into())
    });
    // By value: what takes `&mut` is held to have changed it, and would be written back.
    engine.register_fn("contains", |data: Data, value: Dynamic| data.contains(&value));
    engine.register_fn("find", |data: Data, field: &str, value: Dynamic| data.find(field, &value));
    engine.register_fn("len", |data: Data| data.len());
    engine.register_fn("is_empty", |data: Data| data.len() == 0);
    engine.register_fn("keys", |data: Data| data.keys());
    engine.register_fn("values", |data: Data| data.values());
    engine.register_fn("to_string", |data: Data| data.to_string());
    engine.register_fn("to_debug", |data: Data| data.to_string());
    engine.register_iterator::<Data>();
    if let Some(data) = data {
        offer(engine, Dynamic::from(data));
    }
}

/// The variable `data`, unless the script has one of its own by that name.
#[expect(deprecated, reason = "rhai marks it as subject to change, not as going away")]
fn offer(engine: &mut Engine, data: Dynamic) {
    engine.on_var(move |name, _, context| {
        let is_ours = name == NAME && !context.scope().contains(name);
        Ok(is_ours.then(|| data.clone()))
    });
}

fn read(path: &Path) -> Result<Value, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    if bytes.len() > MAX_BYTES {
        return Err(DataError::TooLarge { path: path.to_owned(), bytes: bytes.len() });
    }
    let wrong = |reason: String| DataError::Content { path: path.to_owned(), reason };
    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(format!("no UTF-8 at byte {}", error.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    let value = match extension.as_str() {
        "toml" => of_toml(toml::from_str::<toml::Table>(text).map(toml::Value::Table).map_err(|error| wrong(toml_fault(text, &error)))?),
        "json" => serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?,
        "csv" => of_csv(text).map_err(wrong)?,
        _ => return Err(DataError::Kind { path: path.to_owned() }),
    };
    if value.is_array() || value.is_object() { Ok(value) } else { Err(wrong("expected an object or an array".to_owned())) }
}

/// On one line, with its place.
fn toml_fault(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', ", "))
}

/// A moment is its text; what no number is, is `()`.
fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(of_toml).collect(),
        toml::Value::Table(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, of_toml(value))).collect()),
    }
}

/// A list of tables by the names of the first row. All values are texts: a number keeps its zeros.
fn of_csv(text: &str) -> Result<Value, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| csv_fault(&error))?.clone();
    for (at, name) in header.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("line 1: column {} has no name", at + 1));
        }
        if header.iter().take(at).any(|earlier| earlier == name) {
            return Err(format!("line 1: there are two columns '{name}'"));
        }
    }
    let row = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.map_err(|error| csv_fault(&error))?;
        let fields = header.iter().zip(&row).map(|(name, value)| (name.to_owned(), value.into()));
        Ok(Value::Object(fields.collect()))
    };
    reader.into_records().map(row).collect::<Result<Vec<_>, String>>().map(Value::Array)
}

fn csv_fault(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: {len} values, the first line names {expected_len}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[path = "tests/data.rs"]
mod tests;
