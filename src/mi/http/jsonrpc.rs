//! JSON-RPC 2.0 as the OpenSIPS Management Interface speaks it: requests in, answers out. Pure.
//!
//! Source: <https://www.jsonrpc.org/specification>; codes and texts of OpenSIPS 3.6.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bus::message::ErrorBody;
use crate::feature::Presentity;

/// Most requests of one batch.
pub(crate) const MAX_BATCH: usize = 32;

/// A body: one request, or an array of them. What is no request has its answer already.
#[derive(Debug, PartialEq)]
pub(crate) enum Document {
    One(Result<Call, Answer>),
    Batch(Vec<Result<Call, Answer>>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// `None`: a notification, which is carried out without an answer.
    pub(crate) id: Option<Value>,
    pub(crate) method: String,
    pub(crate) params: Params,
}

/// Parameters by name or by position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Params {
    Named(Map<String, Value>),
    Listed(Vec<Value>),
}

impl Params {
    /// The presentity that they name, by the name or the place that it has in a command.
    pub(crate) fn presentity(&self) -> Option<Presentity> {
        let named = match self {
            Self::Named(named) => named.get("presentity"),
            Self::Listed(list) => list.first(),
        };
        named.and_then(Value::as_str).and_then(|text| Presentity::parse(text).ok())
    }
}

/// `{"jsonrpc":"2.0","result":"OK","id":1}`, or `error` in place of `result`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Answer {
    jsonrpc: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
    id: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Result(Value),
    Error(RpcError),
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RpcError {
    pub(crate) code: i32,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
}

impl Document {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// The answer to a body that is no JSON, an empty batch, or one of more than [`MAX_BATCH`].
    pub(crate) fn read(body: &[u8]) -> Result<Self, Answer> {
        match serde_json::from_slice(body) {
            Err(_) => Err(Answer::error(Value::Null, RpcError::new(-32700, "Parse error"))),
            Ok(Value::Array(requests)) if requests.is_empty() => Err(Answer::error(Value::Null, RpcError::invalid_request())),
            Ok(Value::Array(requests)) if requests.len() > MAX_BATCH => {
                let data = format!("{} requests in one batch: expected at most {MAX_BATCH}", requests.len());
                Err(Answer::error(Value::Null, RpcError { data: Some(data), ..RpcError::invalid_request() }))
            }
            Ok(Value::Array(requests)) => Ok(Self::Batch(requests.into_iter().map(Call::read).collect())),
            Ok(request) => Ok(Self::One(Call::read(request))),
        }
    }

    /// Whether nobody waits for an answer.
    pub(crate) fn is_notification(&self) -> bool {
        self.calls().all(|call| call.as_ref().is_ok_and(|call| call.id.is_none()))
    }

    /// The same answer to each request that waits for one.
    pub(crate) fn refused(&self, error: &RpcError) -> Vec<Answer> {
        let answer = |call: &Result<Call, Answer>| match call {
            Ok(call) => call.id.clone().map(|id| Answer::error(id, error.clone())),
            Err(answer) => Some(answer.clone()),
        };
        self.calls().filter_map(answer).collect()
    }

    fn calls(&self) -> impl Iterator<Item = &Result<Call, Answer>> {
        match self {
            Self::One(call) => std::slice::from_ref(call).iter(),
            Self::Batch(calls) => calls.iter(),
        }
    }
}

impl Call {
    fn read(request: Value) -> Result<Self, Answer> {
        let invalid = |id: Value| Answer::error(id, RpcError::invalid_request());
        let Value::Object(mut fields) = request else { return Err(invalid(Value::Null)) };
        let id = match fields.remove("id") {
            None => None,
            Some(id @ (Value::Null | Value::String(_) | Value::Number(_))) => Some(id),
            Some(_) => return Err(invalid(Value::Null)),
        };
        let told = || id.clone().unwrap_or_default();
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid(told()));
        }
        let Some(Value::String(method)) = fields.remove("method") else { return Err(invalid(told())) };
        let params = match fields.remove("params") {
            None | Some(Value::Null) => Params::Listed(Vec::new()),
            Some(Value::Array(list)) => Params::Listed(list),
            Some(Value::Object(named)) => Params::Named(named),
            Some(_) => return Err(invalid(told())),
        };
        Ok(Self { id, method, params })
    }
}

impl Params {
    /// The parameters by name. `required` come first by position, then `optional`; a null in place of one that is optional
    /// is none.
    ///
    /// # Errors
    ///
    /// -32602 with the `data` that OpenSIPS gives.
    pub(crate) fn bind(self, required: &[&str], optional: &[&str]) -> Result<Map<String, Value>, RpcError> {
        let all = || required.iter().chain(optional);
        let mut bound = match self {
            Self::Listed(list) if (required.len()..=required.len() + optional.len()).contains(&list.len()) => {
                all().map(|name| (*name).to_owned()).zip(list).collect()
            }
            Self::Listed(_) => return Err(RpcError::invalid_params("Too few or too many parameters")),
            Self::Named(named) => {
                if named.keys().any(|name| !all().any(|known| known == name)) {
                    return Err(RpcError::invalid_params("Named parameters do not match"));
                }
                if required.iter().any(|name| !named.contains_key(*name)) {
                    return Err(RpcError::invalid_params("Too few or too many parameters"));
                }
                named
            }
        };
        for name in optional {
            if bound.get(*name).is_some_and(Value::is_null) {
                bound.remove(*name);
            }
        }
        Ok(bound)
    }
}

impl Answer {
    pub(crate) fn new(id: Value, outcome: Result<Value, RpcError>) -> Self {
        let outcome = match outcome {
            Ok(result) => Outcome::Result(result),
            Err(error) => Outcome::Error(error),
        };
        Self { jsonrpc: "2.0", outcome, id }
    }

    pub(crate) fn error(id: Value, error: RpcError) -> Self {
        Self::new(id, Err(error))
    }
}

impl RpcError {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn invalid_params(data: impl Into<String>) -> Self {
        Self { data: Some(data.into()), ..Self::new(-32602, "Invalid params") }
    }

    pub(crate) fn bad_type(name: &str) -> Self {
        Self::invalid_params(format!("Bad type for parameter '{name}'"))
    }

    pub(crate) fn unknown_method() -> Self {
        Self::new(-32601, "Method not found")
    }

    fn invalid_request() -> Self {
        Self::new(-32600, "Invalid Request")
    }
}

impl From<ErrorBody> for RpcError {
    fn from(error: ErrorBody) -> Self {
        Self::new(i32::from(error.code), error.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(body: &str) -> Result<Call, String> {
        match Document::read(body.as_bytes()) {
            Ok(Document::One(Ok(call))) => Ok(call),
            Ok(Document::One(Err(answer))) | Err(answer) => Err(serde_json::to_string(&answer).unwrap()),
            Ok(batch @ Document::Batch(_)) => panic!("{batch:?}"),
        }
    }

    #[test]
    fn reads_a_request_by_name_and_by_position_and_a_notification() {
        let call = one(r#"{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":"7"}"#).unwrap();
        assert_eq!((call.id, call.method.as_str()), (Some(json!("7")), "m"));
        assert_eq!(call.params, Params::Named(json!({"a": 1}).as_object().unwrap().clone()));
        let call = one(r#"{"jsonrpc":"2.0","method":"m","params":[1],"id":null}"#).unwrap();
        assert_eq!((call.id, call.params), (Some(Value::Null), Params::Listed(vec![json!(1)])));
        for body in [r#"{"jsonrpc":"2.0","method":"m"}"#, r#"{"jsonrpc":"2.0","method":"m","params":null}"#] {
            let call = one(body).unwrap();
            assert_eq!((&call.id, &call.params), (&None, &Params::Listed(Vec::new())));
            assert!(Document::One(Ok(call)).is_notification());
        }
    }

    #[test]
    fn what_is_no_request_has_its_answer() {
        let invalid = |id: &str| format!(r#"{{"jsonrpc":"2.0","error":{{"code":-32600,"message":"Invalid Request"}},"id":{id}}}"#);
        let parse_error = r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#.to_owned();
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for (body, want) in [
            ("", parse_error.clone()),
            ("{", parse_error.clone()),
            ("\u{feff}{}", parse_error.clone()),
            (deep.as_str(), parse_error),
            ("[]", invalid("null")),
            ("1", invalid("null")),
            (r#"{"method":"m","id":3}"#, invalid("3")),
            (r#"{"jsonrpc":"1.0","method":"m","id":3}"#, invalid("3")),
            (r#"{"jsonrpc":2.0,"method":"m","id":3}"#, invalid("3")),
            (r#"{"jsonrpc":"2.0","id":"x"}"#, invalid("\"x\"")),
            (r#"{"jsonrpc":"2.0","method":1}"#, invalid("null")),
            (r#"{"jsonrpc":"2.0","method":"m","id":{}}"#, invalid("null")),
            (r#"{"jsonrpc":"2.0","method":"m","params":"x","id":3}"#, invalid("3")),
        ] {
            assert_eq!(one(body).unwrap_err(), want, "{body}");
        }
    }

    #[test]
    fn a_batch_is_bounded_and_each_of_it_stands_for_itself() {
        let Ok(document) = Document::read(br#"[{"jsonrpc":"2.0","method":"a","id":1},7,{"jsonrpc":"2.0","method":"b"}]"#) else { panic!() };
        let Document::Batch(calls) = &document else { panic!() };
        assert!(calls[0].is_ok() && calls[1].is_err() && calls[2].as_ref().is_ok_and(|call| call.id.is_none()));
        assert!(!document.is_notification());
        assert_eq!(document.refused(&RpcError::new(503, "no")).len(), 2, "and the notification gets none");
        let many = json!(vec![json!({"jsonrpc": "2.0", "method": "a"}); MAX_BATCH + 1]).to_string();
        let answer = serde_json::to_value(Document::read(many.as_bytes()).unwrap_err()).unwrap();
        let data = "33 requests in one batch: expected at most 32";
        assert_eq!(answer, json!({"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request", "data": data}, "id": null}));
    }

    #[test]
    fn parameters_are_bound_by_name_and_by_position() {
        let (count, unknown) = ("Too few or too many parameters", "Named parameters do not match");
        for (params, want) in [
            (json!(["x"]), Ok(json!({"a": "x"}))),
            (json!(["x", "y"]), Ok(json!({"a": "x", "b": "y"}))),
            (json!(["x", null]), Ok(json!({"a": "x"}))),
            (json!({"b": "y", "a": "x"}), Ok(json!({"a": "x", "b": "y"}))),
            (json!({"b": null, "a": null}), Ok(json!({"a": null}))),
            (json!([]), Err(count)),
            (json!(["x", "y", "z"]), Err(count)),
            (json!({}), Err(count)),
            (json!({"b": "y"}), Err(count)),
            (json!({"a": "x", "c": "z"}), Err(unknown)),
        ] {
            let given = match params.clone() {
                Value::Array(list) => Params::Listed(list),
                Value::Object(named) => Params::Named(named),
                _ => panic!(),
            };
            let bound = given.bind(&["a"], &["b"]).map(Value::Object);
            assert_eq!(bound, want.map_err(RpcError::invalid_params), "{params}");
        }
    }
}
