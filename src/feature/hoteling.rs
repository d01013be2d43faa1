//! The bodies of `x-broadworks-hoteling`: which guest uses a phone.
//!
//! Publicly known, from vendors' guides to finding faults and what phones send: `SetHoteling` with `guestAddress`, which is empty
//! when the guest leaves; `HotelingEvent` with `guestAddress` and `expires`, or, where nobody is in, an empty `guestAddress` alone.
//! With a password, `HotelingEvent` has `authenticationData` with a `nonce`, and the phone asks again with `nonce`, `algorithm` and
//! `response` (MD5 of `nonce:password`) in there: whether that is right is for the responder to say, which holds the password.
//! Assumed: `expires` counts whole seconds from the event, and `DEFAULT_EXPIRES_SECONDS` is told where none is set.

use crate::feature::body::{BodyError, BodyErrorKind, BodyEvent, FeatureChange};
use crate::feature::error::FeatureError;
use crate::feature::package::HOTELING;
use crate::feature::rule::Rule;
use crate::feature::state::{FeatureState, Status, Values};
use crate::feature::table::{FeatureSpec, FeatureTable, Field, NONCE, Wire};
use crate::feature::xml::Document;
use crate::feature::xml_write::{DECLARATION, close, element, extend};

/// The feature, by its name in the table.
pub(crate) const FEATURE: &str = "Hoteling";
/// The only namespace that is ever sent, and taken beside none.
pub(crate) const NAMESPACE: &str = "http://schema.broadsoft.com/hoteling";
/// `expires` of an event when none is set.
pub(crate) const DEFAULT_EXPIRES_SECONDS: u32 = 12 * 3600;

const GUEST_ADDRESS: &str = "guestAddress";
/// The value that says for how many seconds a guest is in.
pub(crate) const EXPIRES: &str = "expires";
const AUTHENTICATION: &str = "authenticationData";
/// What a phone answers a challenge with.
const PROOF: [&str; 3] = [NONCE, "algorithm", "response"];
const REQUEST_ROOT: &str = "SetHoteling";
const EVENT_ROOT: &str = "HotelingEvent";

impl FeatureTable {
    /// Whether what this feature is switched on for ends by itself after its value `expires`.
    #[must_use]
    pub(crate) fn is_visit_that_ends(&self, spec: &FeatureSpec) -> bool {
        self.visits_end && spec.name == FEATURE
    }
}

/// Its row of the table.
pub(super) fn spec() -> FeatureSpec {
    let proof = PROOF.map(|field| Field::new(field, Rule::Passing, "", ""));
    let fields = [Field::new(GUEST_ADDRESS, Rule::Text, "", ""), Field::new(EXPIRES, Rule::Seconds, "", "")];
    let fields = fields.into_iter().chain(proof).collect();
    FeatureSpec { name: FEATURE.into(), fields, package: &HOTELING, wire: Wire::OwnBody }
}

/// Reads the body of a SUBSCRIBE: on with a guest, off where `guestAddress` is empty.
///
/// # Errors
///
/// [`BodyError`], answered 400.
pub(crate) fn read_request(table: &FeatureTable, body: &[u8]) -> Result<FeatureChange, BodyError> {
    read(table, body, REQUEST_ROOT)
}

/// Reads the document of a NOTIFY, as a phone does. It names no device.
///
/// # Errors
///
/// [`BodyError`]: not one of ours.
pub(crate) fn read_event(table: &FeatureTable, body: &[u8]) -> Result<BodyEvent, BodyError> {
    let FeatureChange { feature, status, values } = read(table, body, EVENT_ROOT)?;
    Ok(BodyEvent { device: String::new(), feature, status, values })
}

fn read(table: &FeatureTable, body: &[u8], root: &str) -> Result<FeatureChange, BodyError> {
    // The package has one feature, so every error is about it.
    let refused = |kind| BodyError::new(kind, Some(FEATURE.to_owned()));
    let document = Document::read(body).map_err(|(error, _partial)| refused(error.into()))?;
    let root_of = document.root().unwrap_or_default();
    let not_of = (!document.is_in(|namespace| namespace == NAMESPACE)).then_some("hoteling");
    if root_of != root || not_of.is_some() {
        return Err(refused(BodyErrorKind::UnknownRoot { root: root_of.to_owned(), not_of }));
    }
    let spec = table.require(FEATURE).map_err(|error| refused(error.into()))?;
    change(spec, &document).map_err(refused)
}

fn change(spec: &FeatureSpec, document: &Document) -> Result<FeatureChange, BodyErrorKind> {
    let guest = document.one(GUEST_ADDRESS)?.ok_or_else(|| BodyErrorKind::NoStatus(GUEST_ADDRESS.to_owned()))?;
    let mut values = Values::new();
    for (field, text) in [(GUEST_ADDRESS, Some(guest)), (EXPIRES, document.one(EXPIRES)?)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            spec.check_value(field, text)?;
            values.insert(field.to_owned(), text.to_owned());
        }
    }
    for field in PROOF {
        if let Some(text) = document.one(&format!("{AUTHENTICATION}/{field}"))?.filter(|text| !text.is_empty()) {
            spec.check_value(field, text)?;
            values.insert(field.to_owned(), text.to_owned());
        }
    }
    Ok(FeatureChange { feature: FEATURE.to_owned(), status: Status(!guest.is_empty()), values })
}

/// Appends the document that tells a phone who its guest is. `user` is not told: the document has no place for it.
///
/// # Errors
///
/// [`FeatureError::Unknown`] for any other feature; nothing is appended.
pub(crate) fn write_event(table: &FeatureTable, _user: &str, state: &FeatureState, out: &mut Vec<u8>) -> Result<(), FeatureError> {
    check(table, &state.feature)?;
    open(EVENT_ROOT, out);
    if state.status.is_on() {
        element(GUEST_ADDRESS, value(&state.values, GUEST_ADDRESS).unwrap_or_default(), out);
        let default = DEFAULT_EXPIRES_SECONDS.to_string();
        element(EXPIRES, value(&state.values, EXPIRES).unwrap_or(&default), out);
    } else {
        extend(out, &["<", GUEST_ADDRESS, "/>"]);
        authentication(&state.values, out);
    }
    close(EVENT_ROOT, out);
    Ok(())
}

/// Appends the document by which a guest comes, or leaves.
///
/// # Errors
///
/// [`FeatureError::Unknown`] for any other feature; nothing is appended.
pub(crate) fn write_request(
    table: &FeatureTable,
    _user: &str,
    feature: &str,
    status: Status,
    values: &Values,
    out: &mut Vec<u8>,
) -> Result<(), FeatureError> {
    check(table, feature)?;
    open(REQUEST_ROOT, out);
    match value(values, GUEST_ADDRESS).filter(|_| status.is_on()) {
        Some(guest) => element(GUEST_ADDRESS, guest, out),
        None => extend(out, &["<", GUEST_ADDRESS, "/>"]),
    }
    authentication(values, out);
    close(REQUEST_ROOT, out);
    Ok(())
}

/// Appends the challenge, or the proof.
fn authentication(values: &Values, out: &mut Vec<u8>) {
    if value(values, NONCE).is_none() {
        return;
    }
    extend(out, &["<", AUTHENTICATION, ">"]);
    for field in PROOF {
        if let Some(text) = value(values, field) {
            element(field, text, out);
        }
    }
    close(AUTHENTICATION, out);
}

fn check(table: &FeatureTable, feature: &str) -> Result<(), FeatureError> {
    if feature == FEATURE {
        return Ok(());
    }
    table.require(feature)?;
    Err(FeatureError::unknown(feature, [FEATURE]))
}

fn value<'v>(values: &'v Values, field: &str) -> Option<&'v str> {
    values.get(field).map(String::as_str).filter(|value| !value.is_empty())
}

fn open(root: &str, out: &mut Vec<u8>) {
    extend(out, &[DECLARATION, "<", root, " xmlns=\"", NAMESPACE, "\">"]);
}

#[cfg(test)]
#[path = "tests/hoteling.rs"]
mod tests;
