//! The reply that says what was wrong: in the body, and in the headers of ADR-32. No I/O.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;

use crate::bus::message::{ERROR_CODE_HEADER, ERROR_HEADER, ErrorBody, ErrorReply};
use crate::bus::trace::{Cause, headers};

/// Longest reason that is passed on.
const MAX_REASON_CHARS: usize = 256;

/// A reason or log text on one line and cut to a sane length: a header ends at a line break.
pub(crate) fn reason_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS).collect()
}

/// Headers and body of an error reply.
pub(super) fn error(error: ErrorBody, cause: &Cause) -> (HeaderMap, Bytes) {
    let mut headers = headers(cause);
    if let Ok(description) = reason_text(&error.description).parse::<HeaderValue>() {
        headers.insert(ERROR_HEADER, description);
    }
    headers.insert(ERROR_CODE_HEADER, HeaderValue::from(u64::from(error.code)));
    // numbers and texts: there is always a JSON form
    (headers, serde_json::to_vec(&ErrorReply { error }).unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_in_the_body_and_in_the_headers() {
        let body = ErrorBody { code: 400, description: "unknown\r\nfeature".into(), field: Some("feature".into()) };
        let cause = Cause::new();
        let (headers, body) = error(body, &cause);
        assert_eq!(body, "{\"error\":{\"code\":400,\"description\":\"unknown\\r\\nfeature\",\"field\":\"feature\"}}");
        assert_eq!(headers.get(ERROR_CODE_HEADER).map(HeaderValue::as_str), Some("400"));
        assert_eq!(headers.get(ERROR_HEADER).map(HeaderValue::as_str), Some("unknown  feature"));
        assert_eq!(Cause::of_headers(Some(&headers)), cause);
    }

    #[test]
    fn a_reason_stays_on_one_line_and_short() {
        assert_eq!(reason_text("no\r\nway\t!"), "no  way !");
        assert_eq!(reason_text(&"ü".repeat(300)).chars().count(), 256);
    }
}
