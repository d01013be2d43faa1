//! Why a feature, or one of its values, is refused.

use std::fmt::{self, Write};

use crate::feature::nearest::nearest;
use crate::feature::rule::{AGENT_STATES, MAX_RING_COUNT, MAX_TEXT_CHARS};
use crate::feature::target::{EXPECTED, FORWARD_TO, Target};

/// Why a feature, or a value of one, is refused: from a phone, a command, a script or a responder alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The table has no feature of this name. Names are compared with regard to case.
    #[error("unknown feature '{}': {}expected {}", Shown(name), Nearest(nearest.as_deref()), expected.join(", "))]
    Unknown {
        /// The name that was given.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// The names there are.
        expected: Vec<String>,
    },
    /// There is no event package of this name.
    #[error("unknown package '{}': expected {}", Shown(name), expected.join(", "))]
    UnknownPackage {
        /// The name that was given.
        name: String,
        /// The names there are.
        expected: Vec<String>,
    },
    /// The feature has no field of this name.
    #[error("unknown field '{}' of {feature}: {}", Shown(field), Fields(allowed))]
    UnknownField {
        /// The feature.
        feature: String,
        /// The field that was given.
        field: String,
        /// The fields that the feature has.
        allowed: Vec<String>,
    },
    /// `ringCount` is no whole number within its range.
    #[error("invalid ringCount '{}': expected a whole number from 0 to {}", Shown(value), MAX_RING_COUNT)]
    RingCount {
        /// What was given.
        value: String,
    },
    /// `state` is none of the agent states.
    #[error("invalid state '{}': expected {}", Shown(value), AGENT_STATES.join(", "))]
    AgentState {
        /// What was given.
        value: String,
    },
    /// A number of seconds is none.
    #[error("invalid {field} '{}': expected whole seconds from 0 to {}", Shown(value), u32::MAX)]
    Seconds {
        /// The field.
        field: String,
        /// What was given.
        value: String,
    },
    /// The target of a forward is neither a number nor a URI.
    #[error("invalid forwardTo '{}': expected {EXPECTED} (features.target is {})", Shown(value), rule.as_str())]
    Target {
        /// What was given.
        value: String,
        /// What the configuration asks for.
        rule: Target,
    },
    /// A forward would lead to the presentity that it is of.
    #[error("invalid forwardTo '{}': it is the presentity itself (features.target is strict)", Shown(value))]
    OwnTarget {
        /// What was given.
        value: String,
    },
    /// A forward would be switched on without a target.
    #[error("forwardTo is missing: {feature} is switched on with {EXPECTED} (features.target is strict)")]
    NoTarget {
        /// The feature.
        feature: String,
    },
    /// A text is longer than 512 characters.
    #[error("{field} has {chars} characters: expected at most {}", MAX_TEXT_CHARS)]
    TooLong {
        /// The field.
        field: String,
        /// Its length, in characters.
        chars: usize,
    },
    /// A phone cannot set it.
    #[error("{feature} is raw: a command or a responder sets it, no phone does")]
    Raw {
        /// The feature.
        feature: String,
    },
    /// A document is none that a phone could be sent.
    #[error("invalid {field}: {why}")]
    Document {
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A text has a control character, or one that XML forbids.
    #[error("{field} has the control character U+{code:04X}: expected none")]
    ControlCharacter {
        /// The field.
        field: String,
        /// The character.
        code: u32,
    },
    /// `status` and the agent state contradict each other.
    #[error("status {status} contradicts state '{state}': expected status {}", u8::from(*status == 0))]
    Contradiction {
        /// The status that was given.
        status: u8,
        /// The state that was given.
        state: String,
    },
}

impl FeatureError {
    /// An unknown feature, with the names that there are.
    pub(super) fn unknown<'n>(name: &str, expected: impl IntoIterator<Item = &'n str>) -> Self {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        let nearest = nearest(name, expected.iter().map(String::as_str)).map(str::to_owned);
        Self::Unknown { name: name.to_owned(), nearest, expected }
    }

    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_feature",
            Self::UnknownPackage { .. } => "unknown_package",
            Self::UnknownField { .. } => "unknown_field",
            Self::RingCount { .. } => "ring_count",
            Self::AgentState { .. } => "agent_state",
            Self::Seconds { .. } => "seconds",
            Self::Target { .. } => "target",
            Self::OwnTarget { .. } => "own_target",
            Self::NoTarget { .. } => "no_target",
            Self::TooLong { .. } => "too_long",
            Self::Raw { .. } => "raw",
            Self::Document { .. } => "document",
            Self::ControlCharacter { .. } => "control_character",
            Self::Contradiction { .. } => "contradiction",
        }
    }

    /// The field of a request that is at fault: `feature`, `status` or `values.<field>`.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::Unknown { .. } | Self::Raw { .. } => "feature".to_owned(),
            Self::UnknownPackage { .. } => "package".to_owned(),
            Self::UnknownField { field, .. }
            | Self::Seconds { field, .. }
            | Self::TooLong { field, .. }
            | Self::Document { field, .. }
            | Self::ControlCharacter { field, .. } => {
                format!("values.{}", Shown(field))
            }
            Self::RingCount { .. } => "values.ringCount".to_owned(),
            Self::Target { .. } | Self::OwnTarget { .. } | Self::NoTarget { .. } => format!("values.{FORWARD_TO}"),
            Self::AgentState { .. } => "values.state".to_owned(),
            Self::Contradiction { .. } => "status".to_owned(),
        }
    }
}

/// A text of the peer's inside an error message: at most 64 characters of it, and none that a SIP `quoted-string`
/// or a log line could be broken with (`?` stands for those).
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST_CHARS: usize = 64;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(LONGEST_CHARS) {
            f.write_char(if character.is_control() || matches!(character, '"' | '\\') { '?' } else { character })?;
        }
        if characters.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// `did you mean DoNotDisturb? `, or nothing.
struct Nearest<'a>(Option<&'a str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, "did you mean {name}? "))
    }
}

/// `expected ringCount, forwardTo`, or that there are none.
struct Fields<'a>(&'a [String]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("it has no values") } else { write!(f, "expected {}", self.0.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{FeatureTable, Values};

    #[test]
    fn every_message_names_what_was_given_and_what_is_allowed() {
        let table = FeatureTable::built_in();
        let unknown = table.require("Foo").unwrap_err();
        let check = |feature: &str, field: &str, value: &str| {
            table.require(feature).unwrap().check_values(&Values::from([(field.to_owned(), value.to_owned())])).unwrap_err()
        };
        for (error, reason, field, text) in [
            (
                unknown,
                "unknown_feature",
                "feature",
                "unknown feature 'Foo': expected DoNotDisturb, CallForwardingAlways, CallForwardingBusy, CallForwardingNoAnswer, AgentState, Hoteling",
            ),
            (
                check("CallForwardingNoAnswer", "ringcount", "4"),
                "unknown_field",
                "values.ringcount",
                "unknown field 'ringcount' of CallForwardingNoAnswer: expected forwardTo, ringCount",
            ),
            (check("DoNotDisturb", "x", "4"), "unknown_field", "values.x", "unknown field 'x' of DoNotDisturb: it has no values"),
            (
                check("CallForwardingNoAnswer", "ringCount", "101"),
                "ring_count",
                "values.ringCount",
                "invalid ringCount '101': expected a whole number from 0 to 100",
            ),
            (
                check("AgentState", "state", "gone"),
                "agent_state",
                "values.state",
                "invalid state 'gone': expected loggedOff, loggedOn, ready, notReady, workingAfterCall",
            ),
            (
                check("CallForwardingBusy", "forwardTo", &"é".repeat(513)),
                "too_long",
                "values.forwardTo",
                "forwardTo has 513 characters: expected at most 512",
            ),
            (
                check("CallForwardingBusy", "forwardTo", "a\u{7}b"),
                "control_character",
                "values.forwardTo",
                "forwardTo has the control character U+0007: expected none",
            ),
            (
                FeatureError::Contradiction { status: 1, state: "loggedOff".into() },
                "contradiction",
                "status",
                "status 1 contradicts state 'loggedOff': expected status 0",
            ),
        ] {
            assert_eq!((error.reason(), error.field().as_str(), error.to_string().as_str()), (reason, field, text));
        }
    }

    #[test]
    fn a_peers_text_is_shown_short_and_harmless() {
        assert_eq!(Shown("a\"b\\c\r\nd").to_string(), "a?b?c??d");
        assert_eq!(Shown(&"x".repeat(64)).to_string(), "x".repeat(64));
        assert_eq!(Shown(&"x".repeat(65)).to_string(), format!("{}…", "x".repeat(64)));
    }
}
