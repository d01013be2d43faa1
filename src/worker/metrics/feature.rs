//! What responders answered, by feature: which responder fails. The features are those of the table, a closed set.

use metrics::{Counter, counter, describe_counter};

use crate::feature::FeatureTable;
use crate::worker::metrics::label::AnswerOutcome;
use crate::worker::route::{PerRoute, Route};

const ANSWERS: &str = "dfks_worker_responder_answers_total";

/// Handles of every feature, in both directions.
#[derive(Debug)]
pub(crate) struct FeatureMetrics(Vec<OfFeature>);

#[derive(Debug)]
struct OfFeature {
    feature: Box<str>,
    outcomes: PerRoute<[Counter; AnswerOutcome::ALL.len()]>,
}

impl FeatureMetrics {
    pub(crate) fn new(table: &FeatureTable) -> Self {
        describe_counter!(ANSWERS, "Requests to responders by feature, kind and outcome: which responder fails");
        let of = |feature: &str, route: Route| {
            AnswerOutcome::ALL.map(|outcome| {
                let counter = counter!(ANSWERS, "kind" => route.as_str(), "feature" => feature.to_owned(), "outcome" => outcome.as_str());
                counter.increment(0);
                counter
            })
        };
        let features = table.names().map(|name| OfFeature { feature: name.into(), outcomes: PerRoute::new(|route| of(name, route)) });
        Self(features.collect())
    }

    /// The responder of a feature answered, or did not.
    pub(crate) fn answered(&self, route: Route, feature: &str, outcome: AnswerOutcome) {
        let of = self.0.iter().find(|of| &*of.feature == feature);
        if let Some(counter) = of.and_then(|of| of.outcomes.of(route).get(outcome as usize)) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_table_has_its_series() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let metrics = FeatureMetrics::new(&FeatureTable::built_in());
            metrics.answered(Route::Set, "DoNotDisturb", AnswerOutcome::Timeout);
            metrics.answered(Route::Set, "NoFeature", AnswerOutcome::Timeout);
        });
        let text = recorder.handle().render();
        for line in [
            "dfks_worker_responder_answers_total{kind=\"set\",feature=\"DoNotDisturb\",outcome=\"timeout\"} 1",
            "dfks_worker_responder_answers_total{kind=\"get\",feature=\"AgentState\",outcome=\"none\"} 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("NoFeature"), "{text}");
    }
}
