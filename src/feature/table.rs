//! The feature table: the features, their values, and the XML elements of each.

use crate::feature::document::check_document;
use crate::feature::error::FeatureError;
use crate::feature::package::{Package, Packages};
use crate::feature::rule::{AGENT_STATES, LOGGED_ON, MAX_TEXT_CHARS, Rule, is_ring_count, is_seconds};
use crate::feature::state::{FeatureState, Values};
use crate::feature::xml_write::is_xml_character;

/// The value of `AgentState` that decides its status.
pub(super) const STATE: &str = "state";
/// The value by which the owner of `Hoteling` asks for a password.
pub(super) const NONCE: &str = "nonce";
/// The value of a raw feature.
pub(super) const DOCUMENT: &str = "document";
/// The value of `AgentState` that says why.
pub(super) const REASON: &str = "reason";

/// Every feature of this deployment, in the order of a full state.
///
/// Built in: the four of `presence_dfks` in its order, then `AgentState`, then those of other packages; `[features.NAME]` adds
/// more after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureTable {
    pub(super) specs: Vec<FeatureSpec>,
    pub(super) packages: Packages,
    /// Whether a guest's visit ends by itself.
    pub(super) visits_end: bool,
}

/// One row of the table: a feature, its fields, and its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSpec {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// A subscription to it is told of the feature, and none to another.
    pub(super) package: &'static Package,
    pub(super) wire: Wire,
}

/// One extra value of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) rule: Rule,
    pub(super) request_element: String,
    pub(super) event_element: String,
}

/// How a feature is written in XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    /// One root each way, with a status element that is a boolean.
    Elements(Elements),
    /// `SetAgentState`, and an event root for each state.
    Agent,
    /// A document that somebody else writes: its value `document`, sent as it is.
    Raw,
    /// Not in CSTA: the codec of its package knows its documents.
    OwnBody,
}

/// The columns of [`Wire::Elements`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elements {
    pub(super) request_root: String,
    pub(super) event_root: String,
    pub(super) status_request: String,
    pub(super) status_event: String,
    /// Element and value that tell features with one root apart.
    pub(super) selector: Option<(String, String)>,
    /// Of an operator's row: its request may be in any namespace, its event has these. `None`: CSTA both ways.
    pub(super) names: Option<Box<Names>>,
}

/// The namespaces of an operator's event. Empty: that of CSTA, of the elements around, no prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) namespace: String,
    pub(super) prefix: String,
    /// Of the last element of a path.
    pub(super) value_namespace: String,
    pub(super) value_prefix: String,
}

/// Which way a document goes, and so which of the two columns names its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Event,
}

impl Elements {
    pub(super) fn root(&self, direction: Direction) -> &str {
        match direction {
            Direction::Request => &self.request_root,
            Direction::Event => &self.event_root,
        }
    }

    pub(super) fn status(&self, direction: Direction) -> &str {
        match direction {
            Direction::Request => &self.status_request,
            Direction::Event => &self.status_event,
        }
    }
}

/// Root of the request that sets an agent's state.
pub(super) const SET_AGENT_STATE: &str = "SetAgentState";
/// Where the reason of an agent state is, inside `extensions/privateData/private`.
pub(super) const AGENT_REASON: &str = "AgentNotReadyReasonValue";

impl FeatureTable {
    /// The same table, where a guest's visit ends by itself after its `expires`, or does not.
    #[must_use]
    pub(crate) fn with_visits_that_end(self, visits_end: bool) -> Self {
        Self { visits_end, ..self }
    }

    /// The features, in table order.
    pub fn iter(&self) -> impl Iterator<Item = &FeatureSpec> {
        self.specs.iter()
    }

    /// Place of a feature in the table: its number in what a phone has confirmed. One that is not in it has the last number.
    #[must_use]
    pub(crate) fn index_of(&self, feature: &str) -> u8 {
        self.names().position(|name| name == feature).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }

    /// The names of the features, in table order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.specs.iter().map(FeatureSpec::name)
    }

    /// The feature of this name. Names are compared with regard to case, as OpenSIPS does.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&FeatureSpec> {
        self.specs.iter().find(|spec| spec.name == name)
    }

    /// The feature of this name.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Unknown`] with the names there are, answered 400.
    pub fn require(&self, name: &str) -> Result<&FeatureSpec, FeatureError> {
        self.find(name).ok_or_else(|| FeatureError::unknown(name, self.names()))
    }
}

impl FeatureSpec {
    /// The name of the feature on the bus.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of its values, in document order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// Whether it has a value of this name.
    #[must_use]
    pub(crate) fn has_field(&self, name: &str) -> bool {
        self.fields().any(|field| field == name)
    }

    /// The state that it has until a phone, a command, a responder or a script sets it: off, without values, and
    /// assigned, except for `AgentState` and `Hoteling`, which few phones have.
    #[must_use]
    pub(crate) fn default_state(&self) -> FeatureState {
        FeatureState { assigned: self.is_assigned_at_first(), ..FeatureState::new(&self.name) }
    }

    /// Checks a set of values.
    ///
    /// # Errors
    ///
    /// The [`FeatureError`] of the first value that is not allowed.
    pub(crate) fn check_values(&self, values: &Values) -> Result<(), FeatureError> {
        values.iter().try_for_each(|(field, value)| self.check_value(field, value))
    }

    /// Checks one value. It is kept as the text it is: `04` stays `04`.
    ///
    /// # Errors
    ///
    /// [`FeatureError`], which names the field, the value and what is allowed.
    pub(crate) fn check_value(&self, field: &str, value: &str) -> Result<(), FeatureError> {
        let Some(known) = self.fields.iter().find(|known| known.name == field) else {
            let allowed = self.fields().map(str::to_owned).collect();
            return Err(FeatureError::UnknownField { feature: self.name.clone(), field: field.to_owned(), allowed });
        };
        match known.rule {
            Rule::Text | Rule::Passing => check_text(field, value),
            Rule::Target(target) => {
                check_text(field, value)?;
                let error = || FeatureError::Target { value: value.to_owned(), rule: target };
                if target.allows(value) { Ok(()) } else { Err(error()) }
            }
            Rule::RingCount if is_ring_count(value) => Ok(()),
            Rule::RingCount => Err(FeatureError::RingCount { value: value.to_owned() }),
            Rule::AgentState if AGENT_STATES.contains(&value) => Ok(()),
            Rule::AgentState => Err(FeatureError::AgentState { value: value.to_owned() }),
            Rule::Document => check_document(field, value),
            Rule::Seconds if is_seconds(value) => Ok(()),
            Rule::Seconds => Err(FeatureError::Seconds { field: field.to_owned(), value: value.to_owned() }),
        }
    }

    /// The values that are stored and told: without those of a proof or its challenge.
    #[must_use]
    pub(crate) fn lasting(&self, mut values: Values) -> Values {
        for field in self.fields.iter().filter(|field| field.rule == Rule::Passing) {
            values.remove(&field.name);
        }
        values
    }

    /// The state with what is asked of the phone that is told it: the challenge of `said`, if its owner says one and nobody is in.
    #[must_use]
    pub(crate) fn challenging(&self, mut state: FeatureState, said: &Values) -> FeatureState {
        let nonce = said.get(NONCE).filter(|nonce| !nonce.is_empty() && !state.status.is_on());
        if let (Some(nonce), true) = (nonce, self.fields.iter().any(|field| field.rule == Rule::Passing && field.name == NONCE)) {
            state.values.insert(NONCE.to_owned(), nonce.clone());
        }
        state
    }

    /// Whether its values decide its status.
    #[must_use]
    pub(crate) const fn is_agent(&self) -> bool {
        matches!(self.wire, Wire::Agent)
    }

    pub(super) const fn is_assigned_at_first(&self) -> bool {
        matches!(self.wire, Wire::Elements(_))
    }

    /// Whether a CSTA document with this root can be about this feature.
    pub(super) fn has_root(&self, root: &str, direction: Direction) -> bool {
        match (&self.wire, direction) {
            (Wire::Elements(elements), direction) => elements.root(direction) == root,
            (Wire::Raw | Wire::OwnBody, _) => false,
            (Wire::Agent, Direction::Request) => root == SET_AGENT_STATE,
            (Wire::Agent, Direction::Event) => AGENT_STATES.iter().any(|state| agent_event_root(state) == root),
        }
    }
}

impl Field {
    pub(super) fn new(name: &str, rule: Rule, request_element: &str, event_element: &str) -> Self {
        Self { name: name.into(), rule, request_element: request_element.into(), event_element: event_element.into() }
    }

    pub(super) fn element(&self, direction: Direction) -> &str {
        match direction {
            Direction::Request => &self.request_element,
            Direction::Event => &self.event_element,
        }
    }
}

/// The event root of an agent state. Anything that is no agent state counts as logged off.
pub(super) fn agent_event_root(state: &str) -> &'static str {
    match state {
        LOGGED_ON => "AgentLoggedOnEvent",
        "ready" => "AgentReadyEvent",
        "notReady" => "AgentNotReadyEvent",
        "workingAfterCall" => "AgentWorkingAfterCallEvent",
        _ => "AgentLoggedOffEvent",
    }
}

fn check_text(field: &str, value: &str) -> Result<(), FeatureError> {
    let chars = value.chars().count();
    if chars > MAX_TEXT_CHARS {
        return Err(FeatureError::TooLong { field: field.to_owned(), chars });
    }
    match value.chars().find(|character| character.is_control() || !is_xml_character(*character)) {
        Some(character) => Err(FeatureError::ControlCharacter { field: field.to_owned(), code: u32::from(character) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_features_stand_in_the_order_of_the_seed() {
        let table = FeatureTable::built_in();
        let rows: Vec<_> =
            table.iter().map(|spec| (spec.name(), spec.fields().collect::<Vec<_>>(), spec.default_state().assigned)).collect();
        assert_eq!(
            rows,
            [
                ("DoNotDisturb", vec![], true),
                ("CallForwardingAlways", vec!["forwardTo"], true),
                ("CallForwardingBusy", vec!["forwardTo"], true),
                ("CallForwardingNoAnswer", vec!["forwardTo", "ringCount"], true),
                ("AgentState", vec!["state", "reason"], false),
                ("Hoteling", vec!["guestAddress", "expires", "nonce", "algorithm", "response"], false),
            ]
        );
        for spec in table.iter() {
            let state = spec.default_state();
            assert_eq!((state.status.is_on(), state.values.len(), state.version), (false, 0, 0), "{}", spec.name());
        }
    }

    #[test]
    fn names_are_compared_with_regard_to_case() {
        let table = FeatureTable::built_in();
        assert!(table.find("DoNotDisturb").is_some());
        assert!(table.find("donotdisturb").is_none());
    }

    #[test]
    fn values_are_checked_by_their_rule() {
        let table = FeatureTable::built_in();
        let longest = "é".repeat(MAX_TEXT_CHARS);
        for (feature, field, value, ok) in [
            ("CallForwardingNoAnswer", "ringCount", "0", true),
            ("CallForwardingNoAnswer", "ringCount", "04", true),
            ("CallForwardingNoAnswer", "ringCount", "100", true),
            ("CallForwardingNoAnswer", "ringCount", "101", false),
            ("CallForwardingNoAnswer", "ringCount", "0100", false),
            ("CallForwardingNoAnswer", "ringCount", "", false),
            ("CallForwardingNoAnswer", "ringCount", "+4", false),
            ("CallForwardingNoAnswer", "ringCount", "-1", false),
            ("CallForwardingNoAnswer", "ringCount", "4.0", false),
            ("CallForwardingNoAnswer", "ringCount", " 4", false),
            ("CallForwardingNoAnswer", "ringCount", "٤", false),
            ("CallForwardingBusy", "ringCount", "4", false),
            ("CallForwardingBusy", "forwardTo", "", true),
            ("CallForwardingBusy", "forwardTo", longest.as_str(), true),
            ("CallForwardingBusy", "forwardTo", "a\u{85}", false),
            ("CallForwardingBusy", "forwardTo", "a\tb", false),
            ("DoNotDisturb", "forwardTo", "x", false),
            ("AgentState", "state", "workingAfterCall", true),
            ("AgentState", "state", "WorkingAfterCall", false),
            ("AgentState", "state", "", false),
            ("AgentState", "reason", "lunch & more", true),
            ("Hoteling", "guestAddress", longest.as_str(), true),
            ("Hoteling", "guestAddress", "a\nb", false),
            ("Hoteling", "expires", "0", true),
            ("Hoteling", "expires", "4294967295", true),
            ("Hoteling", "expires", "4294967296", false),
            ("Hoteling", "expires", "00000000001", false),
            ("Hoteling", "expires", "+1", false),
            ("Hoteling", "expires", "1.5", false),
            ("Hoteling", "expires", "", false),
        ] {
            assert_eq!(table.require(feature).unwrap().check_value(field, value).is_ok(), ok, "{feature} {field} {value:?}");
        }
    }
}
