//! What an error looks like over HTTP. Source: RFC 9457.

use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::mi::http::v1::question::Fault;

const MEDIA_TYPE: &str = "application/problem+json";
/// Pause after a 503, in seconds.
const PAUSE_SECONDS: &str = "1";

/// Why a request was not carried out (RFC 9457).
///
/// Shape: `{"type":"about:blank","title":"Not Found","status":404,"detail":"unknown feature 'Foo': expected …","field":"feature"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The phrase of the status.
    title: &'static str,
    /// The status of the response.
    status: u16,
    /// What was wrong and what is allowed.
    detail: String,
    /// The field that was wrong; left out where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// The response to a request that was not carried out.
pub(super) fn response(fault: Fault) -> Response {
    let Fault { body, allow } = fault;
    let status = StatusCode::from_u16(body.code).ok().filter(|status| status.as_u16() >= 400);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = status.canonical_reason().unwrap_or_default();
    let problem = Problem { kind: "about:blank", title, status: status.as_u16(), detail: body.description, field: body.field };
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], json).into_response();
    let more = match status {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
        StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, PAUSE_SECONDS)),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some((ACCEPT, "application/json")),
        _ => allow.map(|methods| (ALLOW, methods)),
    };
    response.headers_mut().extend(more.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
