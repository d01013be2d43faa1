//! What the bodies of every package are read into, and why one is refused.

use std::fmt;

use crate::feature::error::{FeatureError, Shown};
use crate::feature::state::{Status, Values};
use crate::feature::xml::XmlError;

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

/// The state of a feature, as an event shows it to a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyEvent {
    /// User part of the presentity.
    pub device: String,
    /// Which feature, by its name in the table.
    pub feature: String,
    pub status: Status,
    /// The values that are known.
    pub values: Values,
}

/// Why a body is refused: answered 400 with this text in a `Warning`. Nothing changes.
///
/// The text has no control character, double quote or backslash, so that it fits a `quoted-string` as it is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}")]
pub struct BodyError {
    /// What is wrong.
    pub kind: BodyErrorKind,
    feature: Option<String>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// No document that is read at all.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Well-formed, but the root is unknown: what `features.passthrough` publishes on the bus.
    #[error("unknown root element '{}'{}", Shown(root), Elsewhere(*not_of))]
    UnknownRoot {
        root: String,
        /// Whose namespace it would have to be in, where it is in one that is not.
        not_of: Option<&'static str>,
    },
    /// A document of a package whose documents come from services alone.
    #[error("'{}' changes nothing: phones only hear in {package}", Shown(root))]
    OfServices {
        root: String,
        /// The package.
        package: &'static str,
    },
    /// The element that tells features with this root apart is missing.
    #[error("{element} is missing: expected {}", expected.join(", "))]
    NoType {
        /// `forwardingType`, or as configured.
        element: String,
        expected: Vec<String>,
    },
    /// The element that tells features with this root apart has an unknown value.
    #[error("unknown {element} '{}': expected {}", Shown(value), expected.join(", "))]
    UnknownType {
        /// `forwardingType`, or as configured.
        element: String,
        value: String,
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
        value: String,
        /// `true or false`, or the agent states.
        expected: String,
    },
    /// A value is out of its range.
    #[error(transparent)]
    Value(#[from] FeatureError),
}

impl BodyError {
    pub(super) fn new(kind: impl Into<BodyErrorKind>, feature: Option<String>) -> Self {
        Self { kind: kind.into(), feature }
    }

    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match &self.kind {
            BodyErrorKind::Xml(XmlError::TooLong(_)) => "body_too_long",
            BodyErrorKind::Xml(XmlError::TooDeep) => "too_deep",
            BodyErrorKind::Xml(XmlError::Doctype) => "doctype",
            BodyErrorKind::Xml(XmlError::Ambiguous(_)) => "ambiguous",
            BodyErrorKind::Xml(_) => "malformed",
            BodyErrorKind::UnknownRoot { .. } | BodyErrorKind::OfServices { .. } => "unknown_root",
            BodyErrorKind::NoType { .. } | BodyErrorKind::UnknownType { .. } => "unknown_type",
            BodyErrorKind::NoStatus(_) => "no_status",
            BodyErrorKind::Status { .. } => "unreadable_status",
            BodyErrorKind::Value(error) => error.reason(),
        }
    }

    /// The feature that was meant, where it can be told: its state goes to the phone after the 400.
    #[must_use]
    pub fn feature(&self) -> Option<&str> {
        self.feature.as_deref()
    }

    /// The local name of the root, if it asks for nothing that is known.
    #[must_use]
    pub(crate) fn unknown_root(&self) -> Option<&str> {
        match &self.kind {
            BodyErrorKind::UnknownRoot { root, .. } | BodyErrorKind::OfServices { root, .. } => Some(root),
            _ => None,
        }
    }
}

/// ` in a namespace that is not that of CSTA`, or nothing.
struct Elsewhere(Option<&'static str>);

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |not_of| write!(f, " in a namespace that is not that of {not_of}"))
    }
}
