//! The rows of the feature table that every deployment has.

use crate::feature::hoteling;
use crate::feature::package::{AS_FEATURE_EVENT, Packages};
use crate::feature::rule::Rule;
use crate::feature::table::{AGENT_REASON, Elements, FeatureSpec, FeatureTable, Field, REASON, STATE, Wire};
use crate::feature::target::{FORWARD_TO, Target};

impl FeatureTable {
    /// `DoNotDisturb`, `CallForwardingAlways`, `CallForwardingBusy`, `CallForwardingNoAnswer`, `AgentState`, `Hoteling`.
    #[must_use]
    pub fn built_in() -> Self {
        let forward_to = || Field::new(FORWARD_TO, Rule::Target(Target::Any), "forwardDN", "forwardTo");
        let ring_count = || Field::new("ringCount", Rule::RingCount, "ringCount", "ringCount");
        Self {
            specs: vec![
                FeatureSpec {
                    name: "DoNotDisturb".into(),
                    fields: Vec::new(),
                    package: &AS_FEATURE_EVENT,
                    wire: Wire::Elements(Elements {
                        request_root: "SetDoNotDisturb".into(),
                        event_root: "DoNotDisturbEvent".into(),
                        status_request: "doNotDisturbOn".into(),
                        status_event: "doNotDisturbOn".into(),
                        selector: None,
                        names: None,
                    }),
                },
                forwarding("CallForwardingAlways", "forwardImmediate", vec![forward_to()]),
                forwarding("CallForwardingBusy", "forwardBusy", vec![forward_to()]),
                forwarding("CallForwardingNoAnswer", "forwardNoAns", vec![forward_to(), ring_count()]),
                FeatureSpec {
                    name: "AgentState".into(),
                    fields: vec![
                        Field::new(STATE, Rule::AgentState, "requestedAgentState", ""),
                        Field::new(REASON, Rule::Text, AGENT_REASON, AGENT_REASON),
                    ],
                    package: &AS_FEATURE_EVENT,
                    wire: Wire::Agent,
                },
                hoteling::spec(),
            ],
            packages: Packages::built_in(),
            visits_end: false,
        }
    }
}

impl Default for FeatureTable {
    fn default() -> Self {
        Self::built_in()
    }
}

fn forwarding(name: &str, forwarding_type: &str, fields: Vec<Field>) -> FeatureSpec {
    FeatureSpec {
        name: name.into(),
        fields,
        package: &AS_FEATURE_EVENT,
        wire: Wire::Elements(Elements {
            request_root: "SetForwarding".into(),
            event_root: "ForwardingEvent".into(),
            status_request: "activateForward".into(),
            status_event: "forwardStatus".into(),
            selector: Some(("forwardingType".into(), forwarding_type.into())),
            names: None,
        }),
    }
}
