//! Writes CSTA XML: events for phones and, for the simulated phone, requests.
//!
//! Always the ISO-8859-1 declaration, the default namespace without a prefix (the reason of an agent state apart), and no blank
//! between elements.
//! Source: ECMA-323 (CSTA XML), third edition, in the spelling that phones in the field read; XML 1.0 §2.2 for the characters.

use crate::feature::error::FeatureError;
use crate::feature::rule::{LOGGED_OFF, LOGGED_ON};
use crate::feature::state::{FeatureState, Status, Values};
use crate::feature::table::{
    AGENT_REASON, Direction, Elements, FeatureSpec, FeatureTable, Names, REASON, SET_AGENT_STATE, STATE, Wire, agent_event_root,
};
use crate::feature::tree::Tree;
use crate::feature::xml_write::{DECLARATION, close, element, extend, text};

/// The only CSTA namespace that is ever sent: a phone that gets none may crash, one that gets another stops reading.
const NAMESPACE: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";
/// Namespace of the reason of an agent state, inside `extensions/privateData/private`.
const PRIVATE_NAMESPACE: &str = "http://schema.broadsoft.com/CSTAPrivateData";

/// Appends the document that tells a phone the state of one feature.
///
/// `user` is the user part of the presentity. Values that are not known, or empty, are left out.
///
/// # Errors
///
/// [`FeatureError::Unknown`]: the table has no such feature; nothing is appended.
pub fn write_event(table: &FeatureTable, user: &str, state: &FeatureState, out: &mut Vec<u8>) -> Result<(), FeatureError> {
    let spec = table.require(&state.feature)?;
    match &spec.wire {
        Wire::Elements(elements) => {
            write_elements(spec, elements, Direction::Event, user, (state.status, &state.values), out);
        }
        Wire::Agent => {
            let root = agent_event_root(agent_state(state.status, &state.values));
            open_document(root, user, out);
            write_reason(&state.values, out);
            close(root, out);
        }
        Wire::Raw | Wire::OwnBody => return Err(not_of_csta(table, &state.feature)),
    }
    Ok(())
}

/// Appends the document by which a phone asks for a change.
///
/// # Errors
///
/// [`FeatureError::Unknown`]: the table has no such feature; nothing is appended.
pub fn write_request(
    table: &FeatureTable,
    user: &str,
    feature: &str,
    status: Status,
    values: &Values,
    out: &mut Vec<u8>,
) -> Result<(), FeatureError> {
    let spec = table.require(feature)?;
    match &spec.wire {
        Wire::Elements(elements) => {
            write_elements(spec, elements, Direction::Request, user, (status, values), out);
        }
        Wire::Agent => {
            open_document(SET_AGENT_STATE, user, out);
            element("requestedAgentState", agent_state(status, values), out);
            write_reason(values, out);
            close(SET_AGENT_STATE, out);
        }
        Wire::Raw | Wire::OwnBody => return Err(not_of_csta(table, feature)),
    }
    Ok(())
}

/// The document that confirms a phone's change in the 200 to it, as Cisco's enterprise firmware wants it: an empty element,
/// named for the request. `None` for a feature whose request is not one of CSTA with a response that is known.
#[must_use]
pub fn response(table: &FeatureTable, feature: &str) -> Option<Vec<u8>> {
    match &table.require(feature).ok()?.wire {
        Wire::Elements(elements) if elements.names.is_none() => {
            let mut out = Vec::with_capacity(160);
            extend(&mut out, &[DECLARATION, "<", &elements.request_root, "Response xmlns=\"", NAMESPACE, "\"/>"]);
            Some(out)
        }
        Wire::Elements(_) | Wire::Agent | Wire::Raw | Wire::OwnBody => None,
    }
}

/// A feature of another package has no CSTA document.
fn not_of_csta(table: &FeatureTable, feature: &str) -> FeatureError {
    FeatureError::unknown(feature, table.iter().filter(|spec| !matches!(spec.wire, Wire::Raw | Wire::OwnBody)).map(FeatureSpec::name))
}

/// The agent state to show: `state` where it is known, else what the status says.
fn agent_state(status: Status, values: &Values) -> &str {
    values.get(STATE).map_or(if status.is_on() { LOGGED_ON } else { LOGGED_OFF }, String::as_str)
}

fn write_elements(
    spec: &FeatureSpec,
    elements: &Elements,
    direction: Direction,
    user: &str,
    (status, values): (Status, &Values),
    out: &mut Vec<u8>,
) {
    let root = elements.root(direction);
    if let Some(names) = &elements.names {
        return write_tree(spec, elements, names, direction, user, (status, values), out);
    }
    open_document(root, user, out);
    if let Some((type_element, type_value)) = &elements.selector {
        element(type_element, type_value, out);
    }
    element(elements.status(direction), if status.is_on() { "true" } else { "false" }, out);
    for field in &spec.fields {
        if let Some(value) = values.get(&field.name).filter(|value| !value.is_empty()) {
            element(field.element(direction), value, out);
        }
    }
    close(root, out);
}

/// An operator's document: its own namespaces and prefixes, and elements inside others.
fn write_tree(
    spec: &FeatureSpec,
    elements: &Elements,
    names: &Names,
    direction: Direction,
    user: &str,
    (status, values): (Status, &Values),
    out: &mut Vec<u8>,
) {
    let known = spec.fields.iter().filter_map(|field| {
        let value = values.get(&field.name).filter(|value| !value.is_empty())?;
        Some((field.element(direction), value.as_str()))
    });
    let selector = elements.selector.iter().map(|(element, value)| (element.as_str(), value.as_str()));
    let status = (elements.status(direction), if status.is_on() { "true" } else { "false" });
    let leaves: Vec<_> = [("device", user)].into_iter().chain(selector).chain([status]).chain(known).collect();
    out.extend_from_slice(DECLARATION.as_bytes());
    Tree { names, csta: NAMESPACE }.write(elements.root(direction), &leaves, out);
}

/// With the literal prefix that clients of the field look for.
fn write_reason(values: &Values, out: &mut Vec<u8>) {
    if let Some(reason) = values.get(REASON).filter(|reason| !reason.is_empty()) {
        extend(out, &["<extensions><privateData><private xmlns:pri=\"", PRIVATE_NAMESPACE, "\"><pri:", AGENT_REASON, ">"]);
        text(reason, out);
        extend(out, &["</pri:", AGENT_REASON, "></private></privateData></extensions>"]);
    }
}

fn open_document(root: &str, user: &str, out: &mut Vec<u8>) {
    extend(out, &[DECLARATION, "<", root, " xmlns=\"", NAMESPACE, "\">"]);
    element("device", user, out);
}

#[cfg(test)]
#[path = "tests/csta_write.rs"]
mod tests;
