//! The event packages that the notifier speaks, as a table: data and a body codec each.
//!
//! A SUBSCRIBE names its package, and its subscription is told of that package's features alone. One more package is one more
//! row of [`PACKAGES`], with the four functions of its [`Codec`] and its features in [`FeatureTable::built_in`].

use std::sync::LazyLock;

use crate::feature::body::{BodyError, BodyEvent, FeatureChange};
use crate::feature::error::FeatureError;
use crate::feature::multipart::MULTIPART_TYPE;
use crate::feature::state::{FeatureState, Status, Values};
use crate::feature::table::FeatureTable;
use crate::feature::{csta, csta_write, hoteling};

/// One event package. Source: RFC 6665 §5.
#[derive(Debug)]
pub struct Package {
    /// Its name, in `Event` and `Allow-Events`. Compared without regard to case.
    pub name: &'static str,
    /// Type of a body that has one feature, both ways. Parameters after it are tolerated.
    pub content_type: &'static str,
    /// The features that are its own. What no package claims, and all that an operator adds, is `AS_FEATURE_EVENT`'s.
    pub features: &'static [&'static str],
    /// Whether several features may go as one `multipart/mixed` body.
    pub has_multipart: bool,
    /// Its bodies.
    pub codec: Codec,
}

/// How a package's bodies are read and written: the first two by the notifier, the others by a phone.
#[derive(Debug)]
pub struct Codec {
    /// Reads the body of a SUBSCRIBE.
    pub read_request: fn(&FeatureTable, &[u8]) -> Result<FeatureChange, BodyError>,
    /// Appends the document of a NOTIFY that tells the state of one feature, to the user part of its presentity.
    pub write_event: fn(&FeatureTable, &str, &FeatureState, &mut Vec<u8>) -> Result<(), FeatureError>,
    /// Reads one document of a NOTIFY.
    pub read_event: fn(&FeatureTable, &[u8]) -> Result<BodyEvent, BodyError>,
    /// Appends the document by which a phone asks for a change.
    pub write_request: WriteRequest,
}

/// To the user part of a presentity: its feature, status and values.
pub type WriteRequest = fn(&FeatureTable, &str, &str, Status, &Values, &mut Vec<u8>) -> Result<(), FeatureError>;

/// DND, forwarding, agent state, and the features of `[features.NAME]`.
pub(crate) static AS_FEATURE_EVENT: Package = Package {
    name: "as-feature-event",
    content_type: "application/x-as-feature-event+xml",
    features: &[],
    has_multipart: true,
    codec: Codec {
        read_request: csta::read_request,
        write_event: csta_write::write_event,
        read_event: csta::read_event,
        write_request: csta_write::write_request,
    },
};

/// Which guest uses a phone.
pub(crate) static HOTELING: Package = Package {
    name: "x-broadworks-hoteling",
    content_type: "application/x-broadworks-hoteling+xml",
    features: &[hoteling::FEATURE],
    has_multipart: false,
    codec: Codec {
        read_request: hoteling::read_request,
        write_event: hoteling::write_event,
        read_event: hoteling::read_event,
        write_request: hoteling::write_request,
    },
};

/// Every package, in the order in which they are advertised.
pub static PACKAGES: [&Package; 2] = [&AS_FEATURE_EVENT, &HOTELING];

static NAMES: LazyLock<String> = LazyLock::new(|| PACKAGES.map(|package| package.name).join(", "));
static TYPES: LazyLock<String> = LazyLock::new(|| PACKAGES.map(|package| package.content_type).join(", "));

/// The value of `Allow-Events`.
#[must_use]
pub(crate) fn allow_events() -> &'static str {
    &NAMES
}

/// The types of all bodies that are taken in, for `Accept` where no package is known.
#[must_use]
pub fn accept() -> &'static str {
    &TYPES
}

/// The package of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Package> {
    PACKAGES.into_iter().find(|package| package.name.eq_ignore_ascii_case(name))
}

/// The package of this name.
///
/// # Errors
///
/// [`FeatureError::UnknownPackage`] with the names there are, answered 400.
pub fn require(name: &str) -> Result<&'static Package, FeatureError> {
    let expected = || PACKAGES.iter().map(|package| package.name.to_owned()).collect();
    find(name).ok_or_else(|| FeatureError::UnknownPackage { name: name.to_owned(), expected: expected() })
}

/// The package that a feature belongs to.
#[must_use]
pub fn of(feature: &str) -> &'static Package {
    PACKAGES.into_iter().find(|package| package.features.contains(&feature)).unwrap_or(&AS_FEATURE_EVENT)
}

/// The packages of several features, each once, in the order of [`PACKAGES`].
pub(crate) fn of_all<'f>(features: impl IntoIterator<Item = &'f str>) -> Vec<&'static Package> {
    let wanted: Vec<_> = features.into_iter().map(of).collect();
    PACKAGES.into_iter().filter(|package| wanted.contains(package)).collect()
}

/// The packages of states that go out together. No state (the feature is not assigned) means all packages.
#[must_use]
pub(crate) fn of_states(states: &[FeatureState]) -> Vec<&'static Package> {
    if states.is_empty() { PACKAGES.to_vec() } else { of_all(states.iter().map(|state| state.feature.as_str())) }
}

/// Default for records and messages written before packages had a field.
#[must_use]
pub(crate) fn first_name() -> String {
    AS_FEATURE_EVENT.name.to_owned()
}

impl Package {
    /// Whether this feature belongs to it.
    #[must_use]
    pub(crate) fn has(&self, feature: &str) -> bool {
        of(feature) == self
    }

    /// `application` and the rest of its type.
    #[must_use]
    pub(crate) fn media_type(&self) -> (&'static str, &'static str) {
        self.content_type.split_once('/').unwrap_or((self.content_type, ""))
    }

    /// The `Accept` of its phones.
    #[must_use]
    pub(crate) fn accept_of_phones(&self) -> String {
        if self.has_multipart { format!("{}, {MULTIPART_TYPE}", self.content_type) } else { self.content_type.to_owned() }
    }
}

impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Package {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_name_in_any_case() {
        for (name, want) in [
            ("as-feature-event", Some(&AS_FEATURE_EVENT)),
            ("AS-Feature-Event", Some(&AS_FEATURE_EVENT)),
            ("X-BroadWorks-Hoteling", Some(&HOTELING)),
            ("presence", None),
            ("", None),
        ] {
            assert_eq!(find(name), want, "{name}");
        }
        let unknown = require("presence").unwrap_err();
        assert_eq!((unknown.reason(), unknown.field().as_str()), ("unknown_package", "package"));
        assert_eq!(unknown.to_string(), "unknown package 'presence': expected as-feature-event, x-broadworks-hoteling");
        assert_eq!(allow_events(), "as-feature-event, x-broadworks-hoteling");
        assert_eq!(accept(), "application/x-as-feature-event+xml, application/x-broadworks-hoteling+xml");
    }

    #[test]
    fn every_feature_has_one_package_that_can_write_it_and_no_other_can() {
        let table = FeatureTable::built_in();
        for spec in table.iter() {
            let owners: Vec<_> = PACKAGES.into_iter().filter(|package| package.has(spec.name())).collect();
            assert_eq!(owners, [of(spec.name())], "{}", spec.name());
            for package in PACKAGES {
                let written = (package.codec.write_event)(&table, "alice", &spec.default_state(), &mut Vec::new());
                assert_eq!(written.is_ok(), package == of(spec.name()), "{} in {}", spec.name(), package.name);
            }
        }
        assert_eq!(of("Hoteling"), &HOTELING);
        assert_eq!(of("CallWaiting"), &AS_FEATURE_EVENT);
        assert_eq!(of_all(["Hoteling", "DoNotDisturb", "Hoteling"]), [&AS_FEATURE_EVENT, &HOTELING]);
    }

    #[test]
    fn claimed_features_are_in_the_table() {
        let table = FeatureTable::built_in();
        for feature in PACKAGES.into_iter().flat_map(|package| package.features) {
            assert!(table.find(feature).is_some(), "{feature}");
        }
    }
}
