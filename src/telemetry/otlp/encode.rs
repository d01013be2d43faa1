//! Spans in the JSON encoding of OTLP. Pure. Source: OpenTelemetry Protocol 1.7, "JSON Protobuf Encoding".

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::span::Span;

/// `STATUS_CODE_ERROR`
const ERROR: u8 = 2;

/// An `ExportTraceServiceRequest`. `resource`: what the process is.
pub(super) fn request(resource: &[(&'static str, String)], spans: &[Span]) -> Value {
    let scope = json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") });
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(resource) },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

fn span(span: &Span) -> Value {
    let mut json = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.id),
        "flags": 1,
        "name": span.name,
        "kind": span.kind.number(),
        "startTimeUnixNano": nanos(span.began_at),
        "endTimeUnixNano": nanos(span.ended_at.max(span.began_at)),
        "attributes": attributes(&span.attributes),
        "status": {},
    });
    if let Some(fields) = json.as_object_mut() {
        fields.extend(span.parent.map(|parent| ("parentSpanId".to_owned(), json!(format!("{parent:016x}")))));
        fields.extend(span.state.as_ref().map(|state| ("traceState".to_owned(), json!(state))));
        fields.extend(span.error.as_ref().map(|error| ("status".to_owned(), json!({ "code": ERROR, "message": error }))));
    }
    json
}

/// A 64-bit number is a decimal text.
fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn attributes(of: &[(&'static str, String)]) -> Vec<Value> {
    of.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::span::SpanKind;
    use super::*;

    #[test]
    fn a_span_is_as_the_protocol_has_it() {
        let began_at = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let whole = Span {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            id: 7,
            parent: Some(0x00f0_67aa_0ba9_02b7),
            state: Some("v=1".into()),
            name: "dfks.route.set",
            kind: SpanKind::Client,
            began_at,
            ended_at: began_at + Duration::from_millis(1),
            attributes: vec![("dfks.feature", "DoNotDisturb".to_owned())],
            error: Some("no".to_owned()),
        };
        let root = Span { parent: None, state: None, error: None, attributes: Vec::new(), ended_at: UNIX_EPOCH, ..whole.clone() };
        let json = request(&[("service.name", "dfks-edge".to_owned())], &[whole, root]);
        let of = &json["resourceSpans"][0];
        assert_eq!(of["resource"]["attributes"][0], json!({ "key": "service.name", "value": { "stringValue": "dfks-edge" } }));
        let want = json!({
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "0000000000000007", "parentSpanId": "00f067aa0ba902b7", "traceState": "v=1",
            "flags": 1, "name": "dfks.route.set", "kind": 3, "startTimeUnixNano": "1700000000123456789", "endTimeUnixNano": "1700000000124456789",
            "attributes": [{ "key": "dfks.feature", "value": { "stringValue": "DoNotDisturb" } }], "status": { "code": 2, "message": "no" },
        });
        let spans = &of["scopeSpans"][0]["spans"];
        assert_eq!(spans[0], want);
        assert_eq!((&spans[1]["parentSpanId"], &spans[1]["status"]), (&Value::Null, &json!({})));
        assert_eq!(spans[1]["startTimeUnixNano"], spans[1]["endTimeUnixNano"], "it ends no earlier than it begins");
    }
}
