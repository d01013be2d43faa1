//! The keys of `[routes]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `[routes]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutesConfig {
    /// Rhai file; empty: no script.
    pub script: PathBuf,
    /// Function run for get.
    pub get_route: String,
    /// Function run for set.
    pub set_route: String,
    /// How long a responder may take, in milliseconds.
    pub responder_timeout_ms: u64,
    /// Whether responders are asked.
    pub responders: Responders,
    /// `<domain>.<Feature>`, `*` for either: a set of these needs the approval of a responder, heard before or not.
    pub required: Vec<String>,
    /// How long a responder that was heard owns its subject after its last answer, in days.
    pub responder_memory_days: u32,
    /// IANA name of the time zone of `now()`.
    pub time_zone: String,
    /// What scripts see as `data`.
    pub data: RouteData,
}

impl Default for RoutesConfig {
    fn default() -> Self {
        Self {
            script: PathBuf::new(),
            get_route: "dfks_get".into(),
            set_route: "dfks_set".into(),
            responder_timeout_ms: 500,
            responders: Responders::Auto,
            required: Vec::new(),
            responder_memory_days: 30,
            time_zone: "UTC".into(),
            data: RouteData::default(),
        }
    }
}

/// `routes.responders`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Responders {
    /// Asked; where none listens, asked again after at least 5 s.
    #[default]
    Auto,
    /// Never asked.
    Off,
}

/// `routes.data`: a file, or a table in the configuration itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RouteData {
    /// TOML, JSON or CSV file; empty: no data.
    File(PathBuf),
    /// `[routes.data]`
    Table(toml::Table),
}

impl RouteData {
    /// The file, where one is named.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) if !path.as_os_str().is_empty() => Some(path),
            _ => None,
        }
    }
}

impl Default for RouteData {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}
