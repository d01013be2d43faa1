//! `[features.NAME]`: rows that an operator adds to the feature table, and what makes one unusable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::feature::error::Shown;
use crate::feature::package::{AS_FEATURE_EVENT, Package};
use crate::feature::package_config::{self, ByName, PackageConfig, PackageError};
use crate::feature::rule::Rule;
use crate::feature::table::{DOCUMENT, Direction, Elements, FeatureSpec, FeatureTable, Field, Names, Wire};
use crate::feature::target::{FORWARD_TO, Target};
use crate::feature::xml::MAX_DEPTH;

/// `kind` of `[features.NAME]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A status and values, each in an element.
    #[default]
    Fields,
    /// A document that a responder or command brings, sent as it is.
    Raw,
}

/// One row of `[features.NAME]`: the XML elements that stand for a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureConfig {
    /// What its document is made of; a raw one has no other column but `package`.
    pub kind: FeatureKind,
    /// The `[packages.NAME]` of a raw feature; empty: `as-feature-event`.
    pub package: String,
    /// Root element of the phone's request.
    pub request_root: String,
    /// Root element of our event.
    pub event_root: String,
    /// Status element in the request.
    pub status_request: String,
    /// Status element in the event.
    pub status_event: String,
    /// Element that tells features with one root apart; empty: none.
    pub type_element: String,
    /// Its value for this feature.
    pub type_value: String,
    /// `field = ["requestElement", "eventElement"]`; an element may be a path: `extensions/privateData/private/Reason`.
    pub values: BTreeMap<String, (String, String)>,
    /// Namespace of our event; empty: that of CSTA.
    pub namespace: String,
    /// Prefix of its elements; empty: the namespace is the default one.
    pub prefix: String,
    /// Namespace of the last element of a path; empty: that of the others.
    pub value_namespace: String,
    /// Prefix of the last element of a path.
    pub value_prefix: String,
}

/// Why a row of `[features.NAME]` cannot join the table. Found at start: exit 78.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The name is no token of a subject.
    #[error("features: invalid name '{}': expected a letter, then letters, digits, '-' or '_', at most 64", Shown(name))]
    Name {
        /// The name.
        name: String,
    },
    /// A feature of that name is built in.
    #[error("features.{name}: is built in, expected another name")]
    BuiltIn {
        /// The name.
        name: String,
    },
    /// A column is empty that must not be.
    #[error("features.{name}.{column}: is missing, expected an XML element name")]
    Missing {
        /// The feature.
        name: String,
        /// The column.
        column: String,
    },
    /// A column is no XML element name without a prefix.
    #[error("features.{name}.{column}: invalid value '{}', expected an XML element name without a prefix", Shown(value))]
    ElementName {
        /// The feature.
        name: String,
        /// The column.
        column: String,
        /// What it says.
        value: String,
    },
    /// `type_value` is long, or has a character that could break the message which lists it.
    #[error("features.{name}.type_value: invalid value '{}', expected at most 64 letters, digits and signs without quotes", Shown(value))]
    TypeValue {
        /// The feature.
        name: String,
        /// What it says.
        value: String,
    },
    /// `type_element` without `type_value`, or the other way round.
    #[error("features.{name}: expected both type_element and type_value, or neither")]
    HalfSelector {
        /// The feature.
        name: String,
    },
    /// Two elements of one document have one name.
    #[error("features.{name}.{column}: '{value}' stands for something else in the same document, expected another name")]
    SameElement {
        /// The feature.
        name: String,
        /// The column.
        column: String,
        /// The element.
        value: String,
    },
    /// A row of `[packages.NAME]`.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// It is of a package that there is not, or that has no such features.
    #[error("features.{name}.package: invalid value '{}', expected {expected}", Shown(value))]
    NoPackage {
        /// The feature.
        name: String,
        /// What it says.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A raw feature has a column.
    #[error("features.{name}: kind = \"raw\" takes no other column but package, its document is sent as it is")]
    RawColumn {
        /// The feature.
        name: String,
    },
    /// A namespace is no URI that could stand in an attribute.
    #[error(
        "features.{name}.{column}: invalid value '{}', expected a URI of at most 256 characters without quotes and blanks",
        Shown(value)
    )]
    Namespace {
        /// The feature.
        name: String,
        /// The column.
        column: &'static str,
        /// What it says.
        value: String,
    },
    /// A prefix without the namespace that it stands for, or one that stands for two.
    #[error("features.{name}.{column}: '{}' {why}", Shown(value))]
    Prefix {
        /// The feature.
        name: String,
        /// The column.
        column: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another feature's document could not be told from this one's.
    #[error(
        "features.{name}.{column}: '{value}' is taken by {other}, expected another root, or another type_value of the same type_element"
    )]
    Clash {
        /// The feature.
        name: String,
        /// The column.
        column: &'static str,
        /// The root element.
        value: String,
        /// The feature that has it.
        other: String,
    },
}

impl FeatureTable {
    /// The built-in features and packages, and after them those of `[features.NAME]` and `[packages.NAME]` in the order of their
    /// names.
    ///
    /// # Errors
    ///
    /// [`TableError`], which names the key, its value and what is allowed.
    pub fn with_config(rows: &BTreeMap<String, FeatureConfig>, packages: &BTreeMap<String, PackageConfig>) -> Result<Self, TableError> {
        let (packages, by_name) = package_config::with_rows(packages)?;
        let mut table = Self { packages, ..Self::built_in() };
        for (name, row) in rows {
            let package = package(name, row, &by_name)?;
            let spec = spec(&table, name, row, package)?;
            table.specs.push(spec);
        }
        let is_empty = |package: &Package| table.iter().all(|spec| spec.package != package);
        match by_name.iter().find(|(_, package)| is_empty(package)) {
            Some((name, _)) => Err(PackageError::Empty { name: (*name).to_owned() }.into()),
            None => Ok(table),
        }
    }
}

/// The package of a row.
fn package(name: &str, row: &FeatureConfig, by_name: &ByName<'_>) -> Result<&'static Package, TableError> {
    if row.package.is_empty() || row.package == AS_FEATURE_EVENT.name {
        return Ok(&AS_FEATURE_EVENT);
    }
    let refused = |expected| Err(TableError::NoPackage { name: name.to_owned(), value: row.package.clone(), expected });
    match by_name.get(row.package.as_str()) {
        Some(package) if row.kind == FeatureKind::Raw => Ok(package),
        Some(_) => refused("kind = \"raw\" in one of [packages]".to_owned()),
        None => {
            let names: Vec<_> = by_name.keys().copied().chain([AS_FEATURE_EVENT.name]).collect();
            refused(names.join(", "))
        }
    }
}

fn spec(table: &FeatureTable, name: &str, row: &FeatureConfig, package: &'static Package) -> Result<FeatureSpec, TableError> {
    let is_name = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !is_name {
        return Err(TableError::Name { name: name.to_owned() });
    }
    if table.find(name).is_some() {
        return Err(TableError::BuiltIn { name: name.to_owned() });
    }
    if row.kind == FeatureKind::Raw {
        let has_others = *row != FeatureConfig { kind: FeatureKind::Raw, package: row.package.clone(), ..FeatureConfig::default() };
        let fields = vec![Field::new(DOCUMENT, Rule::Document, "", "")];
        let spec = FeatureSpec { name: name.to_owned(), fields, package, wire: Wire::Raw };
        return if has_others { Err(TableError::RawColumn { name: name.to_owned() }) } else { Ok(spec) };
    }
    for (column, value) in [
        ("request_root", &row.request_root),
        ("event_root", &row.event_root),
        ("status_request", &row.status_request),
        ("status_event", &row.status_event),
    ] {
        check_element(name, column, value)?;
    }
    let selector = match (row.type_element.as_str(), row.type_value.trim()) {
        ("", "") => None,
        ("", _) | (_, "") => return Err(TableError::HalfSelector { name: name.to_owned() }),
        (element, value) => {
            check_element(name, "type_element", element)?;
            check_type_value(name, value)?;
            Some((element.to_owned(), value.to_owned()))
        }
    };
    let mut fields = Vec::with_capacity(row.values.len());
    for (field, (request_element, event_element)) in &row.values {
        let column = format!("values.{field}");
        check_element(name, &column, field)?;
        check_path(name, &column, request_element)?;
        check_path(name, &column, event_element)?;
        let rule = match field.as_str() {
            "ringCount" => Rule::RingCount,
            FORWARD_TO => Rule::Target(Target::Any),
            _ => Rule::Text,
        };
        fields.push(Field::new(field, rule, request_element, event_element));
    }
    check_elements_differ(name, row, &fields)?;
    let names = names(name, row)?;
    let elements = Elements {
        request_root: row.request_root.clone(),
        event_root: row.event_root.clone(),
        status_request: row.status_request.clone(),
        status_event: row.status_event.clone(),
        selector,
        names: Some(Box::new(names)),
    };
    check_roots_free(table, name, &elements)?;
    Ok(FeatureSpec { name: name.to_owned(), fields, package, wire: Wire::Elements(elements) })
}

fn check_element(name: &str, column: &str, value: &str) -> Result<(), TableError> {
    if value.is_empty() {
        return Err(TableError::Missing { name: name.to_owned(), column: column.to_owned() });
    }
    let is_element = value.len() <= 64
        && value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if is_element {
        Ok(())
    } else {
        Err(TableError::ElementName { name: name.to_owned(), column: column.to_owned(), value: value.to_owned() })
    }
}

/// An element, or several, each inside the one before: `extensions/privateData/private/Reason`.
fn check_path(name: &str, column: &str, value: &str) -> Result<(), TableError> {
    let too_deep = value.split('/').count() >= MAX_DEPTH;
    if too_deep || value.split('/').any(|element| check_element(name, column, element).is_err()) && value.contains('/') {
        return Err(TableError::ElementName { name: name.to_owned(), column: column.to_owned(), value: value.to_owned() });
    }
    value.split('/').try_for_each(|element| check_element(name, column, element))
}

/// The namespaces and prefixes of a row, which can stand in one document.
fn names(name: &str, row: &FeatureConfig) -> Result<Names, TableError> {
    let refused = |column, value: &str, why| TableError::Prefix { name: name.to_owned(), column, value: value.to_owned(), why };
    for (column, namespace) in [("namespace", &row.namespace), ("value_namespace", &row.value_namespace)] {
        let is_uri =
            namespace.len() <= 256 && namespace.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'&'));
        if !is_uri {
            return Err(TableError::Namespace { name: name.to_owned(), column, value: namespace.clone() });
        }
    }
    for (column, prefix, namespace) in [("prefix", &row.prefix, &row.namespace), ("value_prefix", &row.value_prefix, &row.value_namespace)]
    {
        if prefix.is_empty() {
            continue;
        }
        check_element(name, column, prefix)?;
        if prefix.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("xml")) {
            return Err(refused(column, prefix, "is kept for XML, expected another prefix"));
        }
        if namespace.is_empty() {
            return Err(refused(column, prefix, "has no namespace that it stands for"));
        }
    }
    if !row.prefix.is_empty() && row.prefix == row.value_prefix && row.namespace != row.value_namespace {
        return Err(refused("value_prefix", &row.value_prefix, "stands for another namespace already"));
    }
    Ok(Names {
        namespace: row.namespace.clone(),
        prefix: row.prefix.clone(),
        value_namespace: row.value_namespace.clone(),
        value_prefix: row.value_prefix.clone(),
    })
}

fn check_type_value(name: &str, value: &str) -> Result<(), TableError> {
    if value.chars().count() <= 64 && Shown(value).to_string() == value {
        Ok(())
    } else {
        Err(TableError::TypeValue { name: name.to_owned(), value: value.to_owned() })
    }
}

/// `device`, the type, the status and every value have an element of their own, in the request and in the event.
fn check_elements_differ(name: &str, row: &FeatureConfig, fields: &[Field]) -> Result<(), TableError> {
    let mut request = vec!["device"];
    let mut event = vec!["device"];
    let columns = [
        ("type_element".to_owned(), row.type_element.as_str(), row.type_element.as_str()),
        ("status".to_owned(), row.status_request.as_str(), row.status_event.as_str()),
    ];
    let values = fields.iter().map(|f| (format!("values.{}", f.name), f.request_element.as_str(), f.event_element.as_str()));
    for (column, in_request, in_event) in columns.into_iter().chain(values) {
        for (seen, element) in [(&mut request, in_request), (&mut event, in_event)] {
            // What has a text has nothing inside.
            let is_inside = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
            if seen.iter().any(|other| *other == element || is_inside(other, element) || is_inside(element, other)) {
                return Err(TableError::SameElement { name: name.to_owned(), column, value: element.to_owned() });
            }
            if !element.is_empty() {
                seen.push(element);
            }
        }
    }
    Ok(())
}

/// A root may be shared only by features that the same `type_element` tells apart.
fn check_roots_free(table: &FeatureTable, name: &str, new: &Elements) -> Result<(), TableError> {
    for spec in table.iter() {
        let told_apart = match &spec.wire {
            Wire::Agent | Wire::Raw | Wire::OwnBody => false,
            Wire::Elements(old) => match (&old.selector, &new.selector) {
                (Some((old_element, old_value)), Some((element, value))) => old_element == element && old_value != value,
                _ => false,
            },
        };
        for (column, direction) in [("request_root", Direction::Request), ("event_root", Direction::Event)] {
            if !told_apart && spec.has_root(new.root(direction), direction) {
                let (name, value, other) = (name.to_owned(), new.root(direction).to_owned(), spec.name().to_owned());
                return Err(TableError::Clash { name, column, value, other });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/table_config.rs"]
mod tests;
