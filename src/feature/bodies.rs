//! The packages of a feature table, and the bodies of each: which codec reads and writes them. Pure.

use crate::feature::body::{BodyError, BodyEvent, FeatureChange};
use crate::feature::error::FeatureError;
use crate::feature::package::{AS_FEATURE_EVENT, Codec, Package};
use crate::feature::state::{FeatureState, Status, Values};
use crate::feature::table::FeatureTable;
use crate::feature::{csta, csta_write, hoteling, raw};

/// Its packages.
impl FeatureTable {
    /// Every package, in the order in which they are advertised.
    #[must_use]
    pub fn packages(&self) -> &[&'static Package] {
        &self.packages.all
    }

    /// The value of `Allow-Events`.
    #[must_use]
    pub(crate) fn allow_events(&self) -> &str {
        &self.packages.names
    }

    /// The types of all bodies that are taken in, for `Accept` where no package is known.
    #[must_use]
    pub fn accept(&self) -> &str {
        &self.packages.types
    }

    /// The package of this name.
    #[must_use]
    pub fn package(&self, name: &str) -> Option<&'static Package> {
        self.packages.find(name)
    }

    /// The package of this name.
    ///
    /// # Errors
    ///
    /// [`FeatureError::UnknownPackage`] with the names there are, answered 400.
    pub fn require_package(&self, name: &str) -> Result<&'static Package, FeatureError> {
        let expected = || self.packages().iter().map(|package| package.name.to_owned()).collect();
        self.package(name).ok_or_else(|| FeatureError::UnknownPackage { name: name.to_owned(), expected: expected() })
    }

    /// The package that a feature belongs to; `as-feature-event` for one that is not in the table.
    #[must_use]
    pub fn package_of(&self, feature: &str) -> &'static Package {
        self.find(feature).map_or(&AS_FEATURE_EVENT, |spec| spec.package)
    }

    /// The packages of several features, each once.
    pub(crate) fn packages_of<'f>(&self, features: impl IntoIterator<Item = &'f str>) -> Vec<&'static Package> {
        let wanted: Vec<_> = features.into_iter().map(|feature| self.package_of(feature)).collect();
        self.packages().iter().copied().filter(|package| wanted.contains(package)).collect()
    }

    /// The packages of states that go out together. No state (the feature is not assigned) means all packages.
    #[must_use]
    pub fn packages_of_states(&self, states: &[FeatureState]) -> Vec<&'static Package> {
        if states.is_empty() { self.packages().to_vec() } else { self.packages_of(states.iter().map(|state| state.feature.as_str())) }
    }
}

/// Its bodies: the first two are the notifier's, the others a phone's.
impl Package {
    /// Reads the body of a SUBSCRIBE.
    ///
    /// # Errors
    ///
    /// [`BodyError`], answered 400.
    pub fn read_request(&self, table: &FeatureTable, body: &[u8]) -> Result<FeatureChange, BodyError> {
        match self.codec {
            Codec::Csta => csta::read_request(table, body),
            Codec::Hoteling => hoteling::read_request(table, body),
            Codec::Raw => raw::read_request(self, body),
        }
    }

    /// Appends the document of a NOTIFY that tells the state of one feature, to the user part of its presentity. Of a raw feature
    /// without a document nothing is appended.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Unknown`] for a feature that is not of this package; nothing is appended.
    pub fn write_event(&self, table: &FeatureTable, user: &str, state: &FeatureState, out: &mut Vec<u8>) -> Result<(), FeatureError> {
        if raw::write_event(self, table, state, out) {
            return Ok(());
        }
        match self.codec {
            Codec::Csta => csta_write::write_event(table, user, state, out),
            Codec::Hoteling => hoteling::write_event(table, user, state, out),
            Codec::Raw => Err(raw::not_of(self, table, &state.feature)),
        }
    }

    /// Reads one document of a NOTIFY.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: not one of ours.
    pub fn read_event(&self, table: &FeatureTable, body: &[u8]) -> Result<BodyEvent, BodyError> {
        let read = match self.codec {
            Codec::Csta => csta::read_event(table, body),
            Codec::Hoteling => hoteling::read_event(table, body),
            Codec::Raw => return raw::read_event(self, table, body),
        };
        match read {
            Err(error) if error.unknown_root().is_some() && raw::has_any(self, table) => raw::read_event(self, table, body),
            read => read,
        }
    }

    /// Appends the document by which a phone asks for a change: to the user part of a presentity, its feature, status and values.
    ///
    /// # Errors
    ///
    /// [`FeatureError`]: a phone cannot ask for that; nothing is appended.
    pub fn write_request(
        &self,
        table: &FeatureTable,
        user: &str,
        (feature, status): (&str, Status),
        values: &Values,
        out: &mut Vec<u8>,
    ) -> Result<(), FeatureError> {
        raw::refuse_request(table, feature)?;
        match self.codec {
            Codec::Csta => csta_write::write_request(table, user, feature, status, values, out),
            Codec::Hoteling => hoteling::write_request(table, user, feature, status, values, out),
            Codec::Raw => Err(raw::not_of(self, table, feature)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::package::HOTELING;

    #[test]
    fn a_package_is_found_by_its_name_in_any_case() {
        let table = FeatureTable::built_in();
        for (name, want) in [
            ("as-feature-event", Some(&AS_FEATURE_EVENT)),
            ("AS-Feature-Event", Some(&AS_FEATURE_EVENT)),
            ("X-BroadWorks-Hoteling", Some(&HOTELING)),
            ("presence", None),
            ("", None),
        ] {
            assert_eq!(table.package(name), want, "{name}");
        }
        let unknown = table.require_package("presence").unwrap_err();
        assert_eq!((unknown.reason(), unknown.field().as_str()), ("unknown_package", "package"));
        assert_eq!(unknown.to_string(), "unknown package 'presence': expected as-feature-event, x-broadworks-hoteling");
        assert_eq!(table.allow_events(), "as-feature-event, x-broadworks-hoteling");
        assert_eq!(table.accept(), "application/x-as-feature-event+xml, application/x-broadworks-hoteling+xml");
    }

    #[test]
    fn every_feature_has_one_package_that_can_write_it_and_no_other_can() {
        let table = FeatureTable::built_in();
        for spec in table.iter() {
            for package in table.packages() {
                let written = package.write_event(&table, "alice", &spec.default_state(), &mut Vec::new());
                assert_eq!(written.is_ok(), *package == table.package_of(spec.name()), "{} in {}", spec.name(), package.name);
            }
        }
        assert_eq!(table.package_of("Hoteling"), &HOTELING);
        assert_eq!(table.package_of("CallWaiting"), &AS_FEATURE_EVENT);
        assert_eq!(table.packages_of(["Hoteling", "DoNotDisturb", "Hoteling"]), [&AS_FEATURE_EVENT, &HOTELING]);
    }
}
