//! What a service says of itself: the answers to `$SRV.PING`, `INFO` and `STATS`. Pure. Source: ADR-32.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::reply::reason_text;
use crate::bus::message::ErrorBody;

/// Texts by name, as an instance or an endpoint describes itself.
pub(super) type Metadata = BTreeMap<&'static str, String>;

/// What every answer begins with.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Identity {
    name: String,
    id: String,
    version: &'static str,
    metadata: Metadata,
}

impl Identity {
    pub(super) fn new(name: String, id: String, metadata: Metadata) -> Self {
        Self { name, id, version: env!("CARGO_PKG_VERSION"), metadata }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    pub(super) const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }

    /// The type of its answer.
    const fn answer_type(self) -> &'static str {
        match self {
            Self::Ping => "io.nats.micro.v1.ping_response",
            Self::Info => "io.nats.micro.v1.info_response",
            Self::Stats => "io.nats.micro.v1.stats_response",
        }
    }

    /// Where it is asked: of all services, of those of one name, of one instance.
    pub(super) fn subjects(self, identity: &Identity) -> [String; 3] {
        let (verb, Identity { name, id, .. }) = (self.as_str(), identity);
        [format!("$SRV.{verb}"), format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.{id}")]
    }
}

/// What an endpoint has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    requests: u64,
    errors: u64,
    last_error: String,
    processing_time: Duration,
}

impl Tally {
    /// A request was answered, with this error if with one.
    pub(super) fn request_ended(&mut self, took: Duration, error: Option<&ErrorBody>) {
        self.requests += 1;
        self.processing_time += took;
        if let Some(ErrorBody { code, description, .. }) = error {
            self.errors += 1;
            self.last_error = reason_text(&format!("{code}:{description}"));
        }
    }
}

/// An endpoint at one moment.
#[derive(Debug)]
pub(super) struct EndpointView<'a> {
    pub(super) name: &'a str,
    pub(super) subject: &'a str,
    /// Empty: every instance gets each request.
    pub(super) queue_group: &'a str,
    pub(super) metadata: &'a Metadata,
    pub(super) tally: Tally,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<EndpointAnswer<'a>>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EndpointAnswer<'a> {
    Info {
        name: &'a str,
        subject: &'a str,
        queue_group: &'a str,
        metadata: &'a Metadata,
    },
    Stats {
        name: &'a str,
        subject: &'a str,
        queue_group: &'a str,
        num_requests: u64,
        num_errors: u64,
        last_error: &'a str,
        /// Nanoseconds.
        processing_time: u64,
        /// Nanoseconds.
        average_processing_time: u64,
    },
}

impl<'a> EndpointAnswer<'a> {
    fn info(endpoint: &'a EndpointView<'_>) -> Self {
        let EndpointView { name, subject, queue_group, metadata, tally: _ } = endpoint;
        Self::Info { name, subject, queue_group, metadata }
    }

    fn stats(endpoint: &'a EndpointView<'_>) -> Self {
        let EndpointView { name, subject, queue_group, metadata: _, tally } = endpoint;
        let processing_time = u64::try_from(tally.processing_time.as_nanos()).unwrap_or(u64::MAX);
        Self::Stats {
            name,
            subject,
            queue_group,
            num_requests: tally.requests,
            num_errors: tally.errors,
            last_error: &tally.last_error,
            processing_time,
            average_processing_time: processing_time.checked_div(tally.requests).unwrap_or(0),
        }
    }
}

/// The answer to a question, as JSON.
pub(super) fn answer(verb: Verb, identity: &Identity, description: &str, started: &str, endpoints: &[EndpointView<'_>]) -> Vec<u8> {
    let plain = Answer { kind: verb.answer_type(), identity, description: None, started: None, endpoints: None };
    let answer = match verb {
        Verb::Ping => plain,
        Verb::Info => {
            Answer { description: Some(description), endpoints: Some(endpoints.iter().map(EndpointAnswer::info).collect()), ..plain }
        }
        Verb::Stats => Answer { started: Some(started), endpoints: Some(endpoints.iter().map(EndpointAnswer::stats).collect()), ..plain },
    };
    // numbers and texts: there is always a JSON form
    serde_json::to_vec(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(verb: Verb) -> Value {
        let identity = Identity::new("dfks-edge".into(), "4711".into(), BTreeMap::from([("edge_id", "edge-0".to_owned())]));
        let mut tally = Tally::default();
        tally.request_ended(Duration::from_nanos(100), None);
        let error = ErrorBody { code: 400, description: "no\nwatchers_request".into(), field: None };
        tally.request_ended(Duration::from_nanos(301), Some(&error));
        let metadata = BTreeMap::from([("request", "r".to_owned())]);
        let endpoint = EndpointView { name: "watchers", subject: "dfks.watchers", queue_group: "", metadata: &metadata, tally };
        serde_json::from_slice(&answer(verb, &identity, "tells", "2026-01-02T03:04:05Z", &[endpoint])).unwrap()
    }

    #[test]
    fn answers_have_the_shapes_of_adr_32() {
        let version = env!("CARGO_PKG_VERSION");
        let metadata = json!({"edge_id": "edge-0"});
        assert_eq!(
            said(Verb::Ping),
            json!({"type": "io.nats.micro.v1.ping_response", "name": "dfks-edge", "id": "4711", "version": version, "metadata": metadata})
        );
        assert_eq!(
            said(Verb::Info),
            json!({
                "type": "io.nats.micro.v1.info_response", "name": "dfks-edge", "id": "4711", "version": version, "metadata": metadata,
                "description": "tells",
                "endpoints": [{"name": "watchers", "subject": "dfks.watchers", "queue_group": "", "metadata": {"request": "r"}}],
            })
        );
        assert_eq!(
            said(Verb::Stats),
            json!({
                "type": "io.nats.micro.v1.stats_response", "name": "dfks-edge", "id": "4711", "version": version, "metadata": metadata,
                "started": "2026-01-02T03:04:05Z",
                "endpoints": [{
                    "name": "watchers", "subject": "dfks.watchers", "queue_group": "",
                    "num_requests": 2, "num_errors": 1, "last_error": "400:no watchers_request",
                    "processing_time": 401, "average_processing_time": 200,
                }],
            })
        );
    }

    #[test]
    fn is_asked_of_all_by_name_and_by_id() {
        let identity = Identity::new("dfks-edge".into(), "4711".into(), BTreeMap::new());
        assert_eq!(Verb::Stats.subjects(&identity), ["$SRV.STATS", "$SRV.STATS.dfks-edge", "$SRV.STATS.dfks-edge.4711"]);
    }
}
