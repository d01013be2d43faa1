//! `[packages.NAME]`: event packages that an operator adds, whose documents services write.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::feature::error::Shown;
use crate::feature::package::{Codec, Package, Packages};

/// One row of `[packages.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct PackageConfig {
    /// Name of the package, as in `Event`.
    pub event: String,
    /// Type of its documents.
    pub content_type: String,
}

/// Why a row of `[packages.NAME]` makes no package. Found at start: exit 78.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A column says nothing usable.
    #[error("packages.{name}.{column}: invalid value '{}', expected {expected}", Shown(value))]
    Value {
        /// The row.
        name: String,
        /// The column.
        column: &'static str,
        /// What it says.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// No feature is of it.
    #[error("packages.{name}: has no feature, expected a [features.NAME] with kind = \"raw\" and package = \"{name}\"")]
    Empty {
        /// The row.
        name: String,
    },
}

/// The configured packages, each by the name of its row.
pub(super) type ByName<'a> = BTreeMap<&'a str, &'static Package>;

/// Adds the rows to the built-in packages. What is made lives as long as the process.
///
/// # Errors
///
/// [`PackageError`], which names the key, its value and what is allowed.
pub(super) fn with_rows(rows: &BTreeMap<String, PackageConfig>) -> Result<(Packages, ByName<'_>), PackageError> {
    let (mut packages, mut by_name) = (Packages::built_in(), ByName::new());
    for (name, row) in rows {
        let refused =
            |column, value: &str, expected| Err(PackageError::Value { name: name.clone(), column, value: value.to_owned(), expected });
        if !is_event(&row.event) {
            return refused("event", &row.event, "the name of an event package: at most 64 letters, digits and -!%*_+`'~");
        }
        if packages.find(&row.event).is_some() {
            return refused("event", &row.event, "the name of no other package");
        }
        if !is_media_type(&row.content_type) {
            return refused("content_type", &row.content_type, "a media type without parameters, no multipart");
        }
        let package: &'static Package = Box::leak(Box::new(Package {
            name: row.event.clone().leak(),
            content_type: row.content_type.clone().leak(),
            has_multipart: false,
            codec: Codec::Raw,
        }));
        packages = packages.with(package);
        by_name.insert(name, package);
    }
    Ok((packages, by_name))
}

/// A `token-nodot`, or several with dots between them. Source: RFC 6665 §8.4.
fn is_event(text: &str) -> bool {
    text.len() <= 64 && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| is_token(b) && b != b'.'))
}

fn is_media_type(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_token);
    let parts = text.split_once('/').filter(|(main, sub)| is_part(main) && is_part(sub));
    text.len() <= 128 && parts.is_some_and(|(main, _)| !main.eq_ignore_ascii_case("multipart"))
}

/// Source: RFC 3261 §25.1.
const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}
