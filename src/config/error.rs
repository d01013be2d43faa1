//! Why a configuration is refused.

use std::path::PathBuf;

use serde::Serialize;

/// Why a configuration is refused: one line that names the key, the value and what is allowed. Exit code 78.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file '{}' cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is no TOML.
    #[error("configuration file '{}' is no TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected there.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{key} = {value}: unknown key, expected {expected}")]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// Its value, as TOML.
        value: String,
        /// The keys that exist beside it.
        expected: String,
    },
    /// A value that the key does not take.
    #[error("{key} = {value}: expected {expected}")]
    Value {
        /// The key, dotted.
        key: String,
        /// Its value, as TOML.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A file that is named and cannot be opened.
    #[error("{key} = {value}: expected a file that can be read: {reason}")]
    File {
        /// The key, dotted.
        key: String,
        /// Its value, as TOML.
        value: String,
        /// What the system said.
        reason: String,
    },
    /// A combination that would leave the service open to everyone.
    #[error("{key} = {value}: refused: {reason}")]
    Insecure {
        /// The key, dotted.
        key: String,
        /// Its value, as TOML.
        value: String,
        /// Why, and what is allowed instead.
        reason: String,
    },
    /// A row of `[features.NAME]` that cannot join the feature table.
    #[error(transparent)]
    Feature(#[from] crate::feature::TableError),
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, value: &(impl Serialize + ?Sized), expected: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: as_toml(value), expected: expected.into() }
    }
}

/// A value as TOML on one line, with the user part of a URL hidden.
pub(crate) fn as_toml(value: &(impl Serialize + ?Sized)) -> String {
    toml::Value::try_from(value).map_or_else(|_| "?".to_owned(), |value| super::show::one_line(&value))
}
