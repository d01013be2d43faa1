//! Reads CSTA XML: requests of phones and, for the simulated phone, events.
//!
//! Elements are found by their local name, in any order. `device` is ignored: the SUBSCRIBE says whose feature it is.
//! Source: ECMA-323 (CSTA XML), third edition; the tolerance is for what phones in the field send.

use crate::feature::body::{BodyError, BodyErrorKind, BodyEvent, FeatureChange};
use crate::feature::rule::{AGENT_STATES, LOGGED_OFF};
use crate::feature::state::{Status, Values};
use crate::feature::table::{AGENT_REASON, Direction, FeatureSpec, FeatureTable, REASON, STATE, Wire, agent_event_root};
use crate::feature::xml::Document;

/// Reads the body of a SUBSCRIBE: `SetDoNotDisturb`, `SetForwarding`, `SetAgentState` or a configured root.
///
/// # Errors
///
/// [`BodyError`], answered 400.
pub fn read_request(table: &FeatureTable, body: &[u8]) -> Result<FeatureChange, BodyError> {
    read(table, body, Direction::Request).map(|(_document, change)| change)
}

/// Reads one document of a NOTIFY, as a phone does.
///
/// # Errors
///
/// [`BodyError`]: not one of ours.
pub fn read_event(table: &FeatureTable, body: &[u8]) -> Result<BodyEvent, BodyError> {
    let (document, FeatureChange { feature, status, values }) = read(table, body, Direction::Event)?;
    Ok(BodyEvent { device: document.child("device").unwrap_or_default().to_owned(), feature, status, values })
}

fn read(table: &FeatureTable, body: &[u8], direction: Direction) -> Result<(Document, FeatureChange), BodyError> {
    let document = Document::read(body).map_err(|(error, partial)| {
        let meant = find_spec(table, &partial, direction).ok().map(|spec| spec.name.clone());
        BodyError::new(error, meant)
    })?;
    let spec = find_spec(table, &document, direction).map_err(|kind| BodyError::new(kind, None))?;
    match status_and_values(spec, &document, direction) {
        Ok((status, values)) => Ok((document, FeatureChange { feature: spec.name.clone(), status, values })),
        Err(kind) => Err(BodyError::new(kind, Some(spec.name.clone()))),
    }
}

/// The feature that a document is about: by its root, and by the type element where several share the root.
fn find_spec<'t>(table: &'t FeatureTable, document: &Document, direction: Direction) -> Result<&'t FeatureSpec, BodyErrorKind> {
    let root = document.root().unwrap_or_default();
    let is_csta = document.is_in(is_csta);
    let mut expected = Vec::new();
    let mut type_element = None;
    for spec in table.iter().filter(|spec| spec.has_root(root, direction)) {
        let (selector, any_namespace) = match &spec.wire {
            Wire::Elements(elements) => (elements.selector.as_ref(), elements.names.is_some()),
            Wire::Agent | Wire::Raw | Wire::OwnBody => (None, false),
        };
        match selector {
            _ if !is_csta && !any_namespace => {}
            None => return Ok(spec),
            Some((element, value)) if document.one(element)? == Some(value.as_str()) => return Ok(spec),
            Some((element, value)) => {
                type_element = Some(element.clone());
                expected.push(value.clone());
            }
        }
    }
    let Some(element) = type_element else {
        return Err(BodyErrorKind::UnknownRoot { root: root.to_owned(), not_of: (!is_csta).then_some("CSTA") });
    };
    match document.child(&element).filter(|value| !value.is_empty()) {
        Some(value) => Err(BodyErrorKind::UnknownType { value: value.to_owned(), element, expected }),
        None => Err(BodyErrorKind::NoType { element, expected }),
    }
}

fn status_and_values(spec: &FeatureSpec, document: &Document, direction: Direction) -> Result<(Status, Values), BodyErrorKind> {
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
        // No document has it: the table says so of every root.
        Wire::Raw | Wire::OwnBody => Err(BodyErrorKind::UnknownRoot { root: document.root().unwrap_or_default().to_owned(), not_of: None }),
    }
}

/// Any edition of CSTA, with or without the hyphen that some phones forget.
fn is_csta(namespace: &str) -> bool {
    ["http://www.ecma-international.org/", "http://www.ecmainternational.org/"]
        .iter()
        .any(|host| namespace.strip_prefix(host).is_some_and(|rest| rest.starts_with("standards/ecma-323/csta/")))
}

/// `true`, `false`, `1` or `0`, in any case.
fn boolean(document: &Document, element: &str) -> Result<Status, BodyErrorKind> {
    match document.one(element)? {
        None => Err(BodyErrorKind::NoStatus(element.to_owned())),
        Some(text) if text == "1" || text.eq_ignore_ascii_case("true") => Ok(Status::ON),
        Some(text) if text == "0" || text.eq_ignore_ascii_case("false") => Ok(Status::OFF),
        Some(text) => {
            Err(BodyErrorKind::Status { element: element.to_owned(), value: text.to_owned(), expected: "true or false".to_owned() })
        }
    }
}

fn requested_agent_state(document: &Document) -> Result<&'static str, BodyErrorKind> {
    const ELEMENT: &str = "requestedAgentState";
    let text = document.one(ELEMENT)?.ok_or_else(|| BodyErrorKind::NoStatus(ELEMENT.to_owned()))?;
    AGENT_STATES.into_iter().find(|state| *state == text).ok_or_else(|| BodyErrorKind::Status {
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
fn values(spec: &FeatureSpec, document: &Document, direction: Direction) -> Result<Values, BodyErrorKind> {
    let mut values = Values::new();
    for field in &spec.fields {
        if let Some(text) = document.one(field.element(direction))?.filter(|text| !text.is_empty()) {
            spec.check_value(&field.name, text)?;
            values.insert(field.name.clone(), text.to_owned());
        }
    }
    Ok(values)
}

#[cfg(test)]
#[path = "tests/csta.rs"]
mod tests;
