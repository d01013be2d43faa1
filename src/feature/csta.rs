//! CSTA XML in: what a phone asks for, and (for the simulated phone) what it is told.
//!
//! Elements are found by their local name, in any order; `device` is never believed, the SUBSCRIBE says whose feature it is.
//! Source: WIRE "Requests a phone sends", "Events the server sends".

use crate::feature::error::{FeatureError, Shown};
use crate::feature::state::{Status, Values};
use crate::feature::table::{
    AGENT_REASON, AGENT_STATES, Direction, FeatureSpec, FeatureTable, LOGGED_OFF, REASON, STATE, Wire, agent_event_root,
};
use crate::feature::xml::{Document, XmlError};

/// A change that a phone asks for. What it leaves out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureChange {
    /// Which feature, by its name in the table.
    pub feature: String,
    /// On or off.
    pub status: Status,
    /// The values that the phone gave; empty ones count as not given.
    pub values: Values,
}

/// The state of a feature as a phone is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CstaEvent {
    /// User part of the presentity.
    pub device: String,
    /// Which feature, by its name in the table.
    pub feature: String,
    /// On or off.
    pub status: Status,
    /// The values that are known.
    pub values: Values,
}

/// Why a body is refused: answered 400 with this text in a `Warning`. Nothing changes.
///
/// The text has no control character, double quote or backslash, so that it fits a `quoted-string` as it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}")]
pub struct CstaError {
    /// What is wrong.
    pub kind: CstaErrorKind,
    feature: Option<String>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CstaErrorKind {
    /// No document that is read at all.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Well-formed, but nobody registered its root: the one that `features.passthrough` hands to the bus.
    #[error("unknown root element '{}'{}", Shown(root), if *is_csta { "" } else { " in a namespace that is not that of CSTA" })]
    UnknownRoot {
        /// Its local name.
        root: String,
        /// Whether it is in one of the CSTA namespaces, or in none.
        is_csta: bool,
    },
    /// The element that tells features with this root apart is missing.
    #[error("{element} is missing: expected {}", expected.join(", "))]
    NoType {
        /// `forwardingType`, or as configured.
        element: String,
        /// Its values.
        expected: Vec<String>,
    },
    /// The element that tells features with this root apart has an unknown value.
    #[error("unknown {element} '{}': expected {}", Shown(value), expected.join(", "))]
    UnknownType {
        /// `forwardingType`, or as configured.
        element: String,
        /// What was given.
        value: String,
        /// Its values.
        expected: Vec<String>,
    },
    /// The status element is missing.
    #[error("{0} is missing")]
    NoStatus(String),
    /// The status element says nothing that is known.
    #[error("unreadable {element} '{}': expected {expected}", Shown(value))]
    Status {
        /// The status element.
        element: String,
        /// What was given.
        value: String,
        /// `true or false`, or the agent states.
        expected: String,
    },
    /// An element that decides something is there twice, and does not say the same.
    #[error("{0} is given twice, with two values")]
    Ambiguous(String),
    /// A value is out of its range.
    #[error(transparent)]
    Value(#[from] FeatureError),
}

impl CstaError {
    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match &self.kind {
            CstaErrorKind::Xml(XmlError::TooLong(_)) => "body_too_long",
            CstaErrorKind::Xml(XmlError::TooDeep) => "too_deep",
            CstaErrorKind::Xml(XmlError::Doctype) => "doctype",
            CstaErrorKind::Xml(_) => "malformed",
            CstaErrorKind::UnknownRoot { .. } => "unknown_root",
            CstaErrorKind::NoType { .. } | CstaErrorKind::UnknownType { .. } => "unknown_type",
            CstaErrorKind::NoStatus(_) => "no_status",
            CstaErrorKind::Status { .. } => "unreadable_status",
            CstaErrorKind::Ambiguous(_) => "ambiguous",
            CstaErrorKind::Value(error) => error.reason(),
        }
    }

    /// The feature that was meant, where it can be told: its state goes to the phone after the 400.
    #[must_use]
    pub fn feature(&self) -> Option<&str> {
        self.feature.as_deref()
    }

    /// Whether the root is one that nobody registered.
    #[must_use]
    pub const fn is_unknown_root(&self) -> bool {
        matches!(self.kind, CstaErrorKind::UnknownRoot { .. })
    }
}

/// Reads the body of a SUBSCRIBE: `SetDoNotDisturb`, `SetForwarding`, `SetAgentState` or a configured root.
///
/// # Errors
///
/// [`CstaError`], answered 400.
pub fn read_request(table: &FeatureTable, body: &[u8]) -> Result<FeatureChange, CstaError> {
    read(table, body, Direction::Request).map(|(_document, change)| change)
}

/// Reads one document of a NOTIFY, as a phone does.
///
/// # Errors
///
/// [`CstaError`]: not one of ours.
pub fn read_event(table: &FeatureTable, body: &[u8]) -> Result<CstaEvent, CstaError> {
    let (document, FeatureChange { feature, status, values }) = read(table, body, Direction::Event)?;
    Ok(CstaEvent { device: document.child("device").unwrap_or_default().to_owned(), feature, status, values })
}

fn read(table: &FeatureTable, body: &[u8], direction: Direction) -> Result<(Document, FeatureChange), CstaError> {
    let document = Document::read(body).map_err(|(error, partial)| CstaError {
        kind: error.into(),
        feature: find_spec(table, &partial, direction).ok().map(|spec| spec.name.clone()),
    })?;
    let spec = find_spec(table, &document, direction).map_err(|kind| CstaError { kind, feature: None })?;
    match status_and_values(spec, &document, direction) {
        Ok((status, values)) => Ok((document, FeatureChange { feature: spec.name.clone(), status, values })),
        Err(kind) => Err(CstaError { kind, feature: Some(spec.name.clone()) }),
    }
}

/// The feature that a document is about: by its root, and by the type element where several share the root.
fn find_spec<'t>(table: &'t FeatureTable, document: &Document, direction: Direction) -> Result<&'t FeatureSpec, CstaErrorKind> {
    let root = document.root().unwrap_or_default();
    let mut expected = Vec::new();
    let mut type_element = None;
    for spec in table.iter().filter(|spec| spec.has_root(root, direction)) {
        let (selector, any_namespace) = match &spec.wire {
            Wire::Elements(elements) => (elements.selector.as_ref(), elements.any_namespace),
            Wire::Agent => (None, false),
        };
        match selector {
            _ if !document.is_csta && !any_namespace => {}
            None => return Ok(spec),
            Some((element, value)) if one(document, element)? == Some(value.as_str()) => return Ok(spec),
            Some((element, value)) => {
                type_element = Some(element.clone());
                expected.push(value.clone());
            }
        }
    }
    let Some(element) = type_element else {
        return Err(CstaErrorKind::UnknownRoot { root: root.to_owned(), is_csta: document.is_csta });
    };
    match document.child(&element).filter(|value| !value.is_empty()) {
        Some(value) => Err(CstaErrorKind::UnknownType { value: value.to_owned(), element, expected }),
        None => Err(CstaErrorKind::NoType { element, expected }),
    }
}

fn status_and_values(spec: &FeatureSpec, document: &Document, direction: Direction) -> Result<(Status, Values), CstaErrorKind> {
    match &spec.wire {
        Wire::Elements(elements) => Ok((boolean(document, elements.status(direction))?, values(spec, document, direction)?)),
        Wire::Agent => {
            let state = match direction {
                Direction::Request => requested_agent_state(document)?,
                Direction::Event => shown_agent_state(document),
            };
            let mut values = Values::from([(STATE.to_owned(), state.to_owned())]);
            if let Some(reason) = document.nested(AGENT_REASON).filter(|reason| !reason.is_empty()) {
                spec.check_value(REASON, reason)?;
                values.insert(REASON.to_owned(), reason.to_owned());
            }
            Ok((Status(state != LOGGED_OFF), values))
        }
    }
}

/// The one text of an element; repeated with the same text it counts once.
fn one<'d>(document: &'d Document, name: &str) -> Result<Option<&'d str>, CstaErrorKind> {
    let mut texts = document.children(name);
    let first = texts.next();
    if texts.any(|text| Some(text) != first) { Err(CstaErrorKind::Ambiguous(name.to_owned())) } else { Ok(first) }
}

/// `true`, `false`, `1` or `0`, in any case.
fn boolean(document: &Document, element: &str) -> Result<Status, CstaErrorKind> {
    match one(document, element)? {
        None => Err(CstaErrorKind::NoStatus(element.to_owned())),
        Some(text) if text == "1" || text.eq_ignore_ascii_case("true") => Ok(Status::ON),
        Some(text) if text == "0" || text.eq_ignore_ascii_case("false") => Ok(Status::OFF),
        Some(text) => {
            Err(CstaErrorKind::Status { element: element.to_owned(), value: text.to_owned(), expected: "true or false".to_owned() })
        }
    }
}

fn requested_agent_state(document: &Document) -> Result<&'static str, CstaErrorKind> {
    const ELEMENT: &str = "requestedAgentState";
    let text = one(document, ELEMENT)?.ok_or_else(|| CstaErrorKind::NoStatus(ELEMENT.to_owned()))?;
    AGENT_STATES.into_iter().find(|state| *state == text).ok_or_else(|| CstaErrorKind::Status {
        element: ELEMENT.to_owned(),
        value: text.to_owned(),
        expected: AGENT_STATES.join(", "),
    })
}

/// The root of the event says it.
fn shown_agent_state(document: &Document) -> &'static str {
    let root = document.root().unwrap_or_default();
    AGENT_STATES.into_iter().find(|state| agent_event_root(state) == root).unwrap_or(LOGGED_OFF)
}

/// The values that are given; an empty element counts as not given.
fn values(spec: &FeatureSpec, document: &Document, direction: Direction) -> Result<Values, CstaErrorKind> {
    let mut values = Values::new();
    for field in &spec.fields {
        if let Some(text) = one(document, field.element(direction))?.filter(|text| !text.is_empty()) {
            spec.check_value(&field.name, text)?;
            values.insert(field.name.clone(), text.to_owned());
        }
    }
    Ok(values)
}

#[cfg(test)]
#[path = "csta_tests.rs"]
mod tests;
