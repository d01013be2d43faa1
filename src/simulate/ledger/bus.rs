//! What the bucket of feature states held, version by version.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::feature::{Status, Values};

/// Every state of every feature.
#[derive(Debug, Default)]
pub(crate) struct History {
    features: BTreeMap<(String, String), Vec<Version>>,
    /// The last revision that was looked at.
    pub(crate) looked_at: u64,
}

/// One state of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) at: Duration,
    /// In the bucket.
    pub(crate) revision: u64,
    pub(crate) number: u64,
    pub(crate) status: Status,
    pub(crate) values: Values,
}

/// What is read of a record.
#[derive(Deserialize)]
struct Record {
    presentity: String,
    #[serde(default)]
    features: BTreeMap<String, Stored>,
}

#[derive(Deserialize)]
struct Stored {
    status: Status,
    #[serde(default)]
    values: Values,
    version: u64,
}

impl History {
    /// Takes in a record as it was stored; what went wrong with it.
    pub(crate) fn stored(&mut self, at: Duration, revision: u64, payload: &[u8]) -> Vec<String> {
        let mut wrong = Vec::new();
        // markers and fences have no value
        if payload.is_empty() {
            return wrong;
        }
        let record: Record = match serde_json::from_slice(payload) {
            Ok(record) => record,
            Err(error) => return vec![format!("revision {revision} is no record: {error}")],
        };
        for (feature, Stored { status, values, version }) in record.features {
            let known = self.features.entry((record.presentity.clone(), feature.clone())).or_default();
            match known.last() {
                Some(last) if last.number == version && last.status == status && last.values == values => continue,
                Some(last) if version != last.number + 1 => {
                    wrong.push(format!("{feature} of {} went from version {} to {version}", record.presentity, last.number));
                }
                _ => {}
            }
            known.push(Version { at, revision, number: version, status, values });
        }
        wrong
    }

    /// The version of a feature that a phone shows: the first that is not older than `last`. `Err`: there is none, but an older one;
    /// or none at all.
    pub(crate) fn version_of(
        &self,
        presentity: &str,
        feature: &str,
        status: Status,
        values: &Values,
        last: u64,
    ) -> Result<u64, Option<u64>> {
        // before its first change a feature is off
        let is_blank = status == Status::OFF && values.values().all(String::is_empty);
        let Some(known) = self.versions(presentity, feature) else { return if is_blank { Ok(0) } else { Err(None) } };
        let mut fitting = known.iter().filter(|one| one.status == status && is_shown(values, &one.values)).map(|one| one.number).peekable();
        let first = fitting.peek().copied();
        match fitting.find(|version| *version >= last) {
            Some(version) => Ok(version),
            None if is_blank && last == 0 => Ok(0),
            None => Err(first.or(is_blank.then_some(0))),
        }
    }

    /// All states of a feature, oldest first.
    pub(crate) fn versions(&self, presentity: &str, feature: &str) -> Option<&[Version]> {
        self.features.get(&(presentity.to_owned(), feature.to_owned())).map(Vec::as_slice)
    }

    /// The features of a presentity as they are now.
    pub(crate) fn now<'a>(&'a self, presentity: &'a str) -> impl Iterator<Item = (&'a str, &'a Version)> {
        let of = self.features.iter().filter(move |((whose, _), _)| whose == presentity);
        of.filter_map(|((_, feature), versions)| Some((feature.as_str(), versions.last()?)))
    }

    /// Changes in all.
    pub(crate) fn changes(&self) -> usize {
        self.features.values().map(Vec::len).sum()
    }
}

/// Whether a body shows these values: an off forward has none on the wire.
pub(crate) fn is_shown(shown: &Values, stored: &Values) -> bool {
    shown.iter().filter(|(_, value)| !value.is_empty()).all(|(name, value)| stored.get(name) == Some(value))
}
