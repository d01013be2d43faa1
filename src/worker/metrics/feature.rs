//! What responders answered, by feature: which responder fails. The features are those of the table, a closed set.

use metrics::{Counter, counter, describe_counter};

use crate::feature::FeatureTable;
use crate::worker::responder::answer::Answer;
use crate::worker::script::Route;

const ANSWERS: &str = "dfks_worker_responder_answers_total";

/// Handles of every feature, in both directions.
#[derive(Debug)]
pub(crate) struct FeatureMetrics(Vec<OfFeature>);

#[derive(Debug)]
struct OfFeature {
    feature: Box<str>,
    get: [Counter; Answer::OUTCOMES.len()],
    set: [Counter; Answer::OUTCOMES.len()],
}

impl FeatureMetrics {
    pub(crate) fn new(table: &FeatureTable) -> Self {
        describe_counter!(ANSWERS, "Requests to responders by feature, kind and outcome: which responder fails");
        let of = |feature: &str, route: Route| {
            Answer::OUTCOMES.map(|outcome| {
                let counter = counter!(ANSWERS, "kind" => route.as_str(), "feature" => feature.to_owned(), "outcome" => outcome);
                counter.increment(0);
                counter
            })
        };
        Self(table.names().map(|name| OfFeature { feature: name.into(), get: of(name, Route::Get), set: of(name, Route::Set) }).collect())
    }

    /// The responder of a feature answered, or did not.
    pub(crate) fn answered(&self, route: Route, feature: &str, answer: &Answer) {
        let Some(of) = self.0.iter().find(|of| &*of.feature == feature) else { return };
        let counters = match route {
            Route::Get => &of.get,
            Route::Set => &of.set,
        };
        let outcome = answer.as_str();
        if let Some((_, counter)) = Answer::OUTCOMES.iter().zip(counters).find(|(known, _)| **known == outcome) {
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
            metrics.answered(Route::Set, "DoNotDisturb", &Answer::Timeout);
            metrics.answered(Route::Set, "NoFeature", &Answer::Timeout);
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
