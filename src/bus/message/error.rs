//! What stands in place of a reply when something was wrong.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::feature::Presentity;
use crate::feature::error::{FeatureError, Shown};

/// In place of any reply: what was wrong. Beside it the headers of ADR-32.
///
/// Shape: `{"error":{"code":400,"description":"unknown feature 'Foo': expected …","field":"feature"}}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{description}")]
pub struct ErrorBody {
    /// 400 bad request, 403 denied, 404 unknown, 500 our fault, 503 try again later.
    pub code: u16,
    /// What was wrong and what is allowed.
    pub description: String,
    /// The field that was wrong, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// How the description of a 503 begins where the responder of a feature is not there at all: it may come back.
pub(crate) const OWNER_ABSENT: &str = "nobody listens on ";

/// What the field `presentity` has to be.
pub(crate) const PRESENTITY_EXPECTED: &str = "sip:user@host or tel:number";

impl From<FeatureError> for ErrorBody {
    /// 400, with the field at fault.
    fn from(error: FeatureError) -> Self {
        Self::bad(Some(&error.field()), error.to_string())
    }
}

impl ErrorBody {
    /// An error that is of no field.
    #[must_use]
    pub fn new(code: u16, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), field: None }
    }

    /// 400: a field that has to be there.
    #[must_use]
    pub fn missing(field: &str, expected: &str) -> Self {
        Self::bad(Some(field), format!("{field} is missing: expected {expected}"))
    }

    /// 400: a field that cannot be what was sent.
    #[must_use]
    pub fn invalid(field: &str, sent: &Value, expected: &str) -> Self {
        Self::bad(Some(field), format!("invalid {field} '{}': expected {expected}", shown(sent)))
    }

    /// 403: a tenant's subject, and a presentity of another domain; both as tokens of subjects.
    #[must_use]
    pub(crate) fn other_domain(presentity: &Presentity, domain: &str) -> Self {
        let description = format!(
            "'{}' is of the domain {}, and not of {}: the subject of this request is for presentities of {} alone",
            Shown(presentity.as_str()),
            Shown(&presentity.domain_token()),
            Shown(domain),
            Shown(domain)
        );
        Self { code: 403, description, field: Some("presentity".to_owned()) }
    }

    /// 400
    #[must_use]
    pub fn bad(field: Option<&str>, description: String) -> Self {
        Self { code: 400, description, field: field.map(str::to_owned) }
    }
}

/// A text as it is, anything else as JSON; short and harmless either way.
#[must_use]
pub fn shown(sent: &Value) -> String {
    sent.as_str().map_or_else(|| Shown(&sent.to_string()).to_string(), |text| Shown(text).to_string())
}

/// Header with the code of an [`ErrorReply`]. Source: ADR-32.
pub const ERROR_CODE_HEADER: &str = "Nats-Service-Error-Code";
/// Header with the description of an [`ErrorReply`]. Source: ADR-32.
pub const ERROR_HEADER: &str = "Nats-Service-Error";

/// Reads a reply: the message, or the error that stands in its place.
///
/// # Errors
///
/// The peer's [`ErrorBody`], or one of code 502 when the reply is neither.
pub fn read_reply<M: DeserializeOwned>(payload: &[u8]) -> Result<M, ErrorBody> {
    #[derive(Deserialize)]
    struct MaybeError {
        error: ErrorBody,
    }
    // The error first: a message whose fields are all optional would read it as itself.
    if memchr::memmem::find(payload, b"\"error\"").is_some()
        && let Ok(reply) = serde_json::from_slice::<MaybeError>(payload)
    {
        return Err(reply.error);
    }
    let unreadable = |error| ErrorBody::new(502, format!("unreadable reply: {error}"));
    serde_json::from_slice(payload).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FeatureTable;

    #[test]
    fn a_feature_error_is_400_with_its_field() {
        let table = FeatureTable::built_in();
        let value = [("ringCount".to_owned(), "x".to_owned())].into();
        let bad_value = table.require("CallForwardingNoAnswer").unwrap().check_values(&value).unwrap_err();
        for (error, field) in [(table.require("Foo").unwrap_err(), "feature"), (bad_value, "values.ringCount")] {
            let text = error.to_string();
            assert_eq!(ErrorBody::from(error), ErrorBody { code: 400, description: text, field: Some(field.into()) });
        }
    }
}
