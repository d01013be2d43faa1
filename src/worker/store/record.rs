//! The record of a presentity in the bucket `dfks-features`: the states of its features. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bus::message::RouteSetResponse;
use crate::feature::{FeatureSpec, FeatureState, Presentity, Source, Status, Values, yes};

/// The stored states of one presentity's features.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","features":{"DoNotDisturb":{"assigned":true,"status":1,"values":{},"version":3}}}`.
/// A feature that the table does not know (any more) is kept as it is. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    presentity: String,
    #[serde(default)]
    features: BTreeMap<String, Stored>,
    /// The last durable command. Stored with its change in one write, so that a redelivered command is recognized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Box<Done>>,
}

/// A durable command that was carried out, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    command: String,
    answer: RouteSetResponse,
}

/// The stored state of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    #[serde(default = "yes")]
    assigned: bool,
    status: Status,
    #[serde(default)]
    values: Values,
    version: u64,
}

impl Record {
    /// The record of a presentity of which nothing is stored.
    pub(crate) fn new(presentity: &Presentity) -> Self {
        Self { presentity: presentity.as_str().to_owned(), features: BTreeMap::new(), done: None }
    }

    /// The stored state of a feature, else its default.
    pub(crate) fn state(&self, spec: &FeatureSpec) -> FeatureState {
        match self.features.get(spec.name()) {
            Some(stored) => FeatureState {
                feature: spec.name().to_owned(),
                assigned: stored.assigned,
                status: stored.status,
                values: stored.values.clone(),
                version: stored.version,
                source: Source::Store,
                notify: true,
            },
            None => spec.default_state(),
        }
    }

    /// What a durable command was answered, if it was the last that was carried out.
    pub(crate) fn answer_to(&self, command: &str) -> Option<&RouteSetResponse> {
        self.done.as_ref().filter(|done| done.command == command).map(|done| &done.answer)
    }

    /// A durable command is carried out with this record.
    pub(crate) fn put_done(&mut self, command: String, answer: RouteSetResponse) {
        self.done = Some(Box::new(Done { command, answer }));
    }

    /// Puts in the state of a feature, with its version.
    pub(crate) fn put(&mut self, state: &FeatureState) {
        let stored = Stored { assigned: state.assigned, status: state.status, values: state.values.clone(), version: state.version };
        self.features.insert(state.feature.clone(), stored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FeatureTable;

    #[test]
    fn keeps_states_versions_and_features_that_the_table_does_not_know() {
        let table = FeatureTable::built_in();
        let spec = table.require("CallForwardingNoAnswer").unwrap();
        let text = r#"{"presentity":"sip:alice@h","new":1,"features":{"Parking":{"status":1,"version":2}}}"#;
        let mut record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.state(spec), spec.default_state());
        let state = FeatureState {
            status: Status::ON,
            values: [("ringCount".to_owned(), "4".to_owned())].into(),
            version: 7,
            source: Source::Store,
            ..spec.default_state()
        };
        record.put(&state);
        let again: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(again, record);
        assert_eq!(again.state(spec), state);
        assert!(serde_json::to_string(&again).unwrap().contains("Parking"));
    }
}
