//! `[features.NAME]`: rows that an operator adds to the feature table, and what makes one unusable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::feature::error::Shown;
use crate::feature::rule::Rule;
use crate::feature::table::{Direction, Elements, FeatureSpec, FeatureTable, Field, Wire};
use crate::feature::target::{FORWARD_TO, Target};

/// One row of `[features.NAME]`: the XML elements that stand for a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureConfig {
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
    /// `field = ["requestElement", "eventElement"]`
    pub values: BTreeMap<String, (String, String)>,
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
    /// The built-in features, and after them those of `[features.NAME]` in the order of their names.
    ///
    /// # Errors
    ///
    /// [`TableError`], which names the key, its value and what is allowed.
    pub fn with_config(rows: &BTreeMap<String, FeatureConfig>) -> Result<Self, TableError> {
        let mut table = Self::built_in();
        for (name, row) in rows {
            let spec = spec(&table, name, row)?;
            table.specs.push(spec);
        }
        Ok(table)
    }
}

fn spec(table: &FeatureTable, name: &str, row: &FeatureConfig) -> Result<FeatureSpec, TableError> {
    let is_name = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !is_name {
        return Err(TableError::Name { name: name.to_owned() });
    }
    if table.find(name).is_some() {
        return Err(TableError::BuiltIn { name: name.to_owned() });
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
        check_element(name, &column, request_element)?;
        check_element(name, &column, event_element)?;
        let rule = match field.as_str() {
            "ringCount" => Rule::RingCount,
            FORWARD_TO => Rule::Target(Target::Any),
            _ => Rule::Text,
        };
        fields.push(Field::new(field, rule, request_element, event_element));
    }
    check_elements_differ(name, row, &fields)?;
    let elements = Elements {
        request_root: row.request_root.clone(),
        event_root: row.event_root.clone(),
        status_request: row.status_request.clone(),
        status_event: row.status_event.clone(),
        selector,
        any_namespace: true,
    };
    check_roots_free(table, name, &elements)?;
    Ok(FeatureSpec { name: name.to_owned(), fields, wire: Wire::Elements(elements) })
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
            if seen.contains(&element) {
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
            Wire::Agent | Wire::OwnBody => false,
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
mod tests {
    use super::*;

    fn row() -> FeatureConfig {
        FeatureConfig {
            request_root: "SetCallWaiting".into(),
            event_root: "CallWaitingEvent".into(),
            status_request: "callWaitingOn".into(),
            status_event: "callWaitingOn".into(),
            ..FeatureConfig::default()
        }
    }

    fn with(name: &str, change: impl FnOnce(&mut FeatureConfig)) -> Result<FeatureTable, TableError> {
        let mut row = row();
        change(&mut row);
        FeatureTable::with_config(&BTreeMap::from([(name.to_owned(), row)]))
    }

    #[test]
    fn rows_come_after_the_built_in_ones() {
        let table = with("CallWaiting", |row| {
            row.values = BTreeMap::from([
                ("ringCount".into(), ("rings".into(), "ringsOut".into())),
                ("tone".into(), ("tone".into(), "tone".into())),
            ]);
        })
        .unwrap();
        assert_eq!(table.names().last(), Some("CallWaiting"));
        let spec = table.find("CallWaiting").unwrap();
        assert!(spec.default_state().assigned);
        assert!(spec.check_value("ringCount", "101").is_err());
        assert!(spec.check_value("tone", "soft").is_ok());
    }

    #[test]
    fn a_forwarding_type_of_ones_own_shares_the_root() {
        let table = with("CallForwardingNotReachable", |row| {
            row.request_root = "SetForwarding".into();
            row.event_root = "ForwardingEvent".into();
            row.type_element = "forwardingType".into();
            row.type_value = "forwardNotReachable".into();
            row.status_request = "activateForward".into();
            row.status_event = "forwardStatus".into();
        });
        assert!(table.is_ok(), "{table:?}");
    }

    #[test]
    fn an_unusable_row_is_refused_with_its_key() {
        type Change = fn(&mut FeatureConfig);
        let cases: [(&str, Change, &str); 12] = [
            (
                "Call.Waiting",
                |_| {},
                "features: invalid name 'Call.Waiting': expected a letter, then letters, digits, '-' or '_', at most 64",
            ),
            ("DoNotDisturb", |_| {}, "features.DoNotDisturb: is built in, expected another name"),
            ("X", |row| row.request_root.clear(), "features.X.request_root: is missing, expected an XML element name"),
            (
                "X",
                |row| row.event_root = "a:b".into(),
                "features.X.event_root: invalid value 'a:b', expected an XML element name without a prefix",
            ),
            ("X", |row| row.type_element = "kind".into(), "features.X: expected both type_element and type_value, or neither"),
            ("X", |row| row.type_value = "kind".into(), "features.X: expected both type_element and type_value, or neither"),
            (
                "X",
                |row| (row.type_element, row.type_value) = ("kind".into(), "a\"b".into()),
                "features.X.type_value: invalid value 'a?b', expected at most 64 letters, digits and signs without quotes",
            ),
            (
                "X",
                |row| row.values = BTreeMap::from([("tone".into(), ("tone".into(), "callWaitingOn".into()))]),
                "features.X.values.tone: 'callWaitingOn' stands for something else in the same document, expected another name",
            ),
            (
                "X",
                |row| row.status_request = "device".into(),
                "features.X.status: 'device' stands for something else in the same document, expected another name",
            ),
            (
                "X",
                |row| row.request_root = "SetDoNotDisturb".into(),
                "features.X.request_root: 'SetDoNotDisturb' is taken by DoNotDisturb, expected another root, or another type_value of the same type_element",
            ),
            (
                "X",
                |row| row.event_root = "ForwardingEvent".into(),
                "features.X.event_root: 'ForwardingEvent' is taken by CallForwardingAlways, expected another root, or another type_value of the same type_element",
            ),
            (
                "X",
                |row| row.event_root = "AgentReadyEvent".into(),
                "features.X.event_root: 'AgentReadyEvent' is taken by AgentState, expected another root, or another type_value of the same type_element",
            ),
        ];
        for (name, change, want) in cases {
            assert_eq!(with(name, change).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn two_rows_with_one_root_clash() {
        let rows = BTreeMap::from([("A".to_owned(), row()), ("B".to_owned(), row())]);
        let error = FeatureTable::with_config(&rows).unwrap_err();
        assert!(error.to_string().starts_with("features.B.request_root: 'SetCallWaiting' is taken by A"), "{error}");
    }
}
