//! Single parameters of a method. Pure.

use serde_json::{Map, Value};

use crate::mi::http::jsonrpc::RpcError;

/// A text that has to be there.
pub(super) fn text(bound: &mut Map<String, Value>, name: &str) -> Result<String, RpcError> {
    optional_text(bound, name)?.ok_or_else(|| RpcError::bad_type(name))
}

/// A text that may be left out.
pub(super) fn optional_text(bound: &mut Map<String, Value>, name: &str) -> Result<Option<String>, RpcError> {
    match bound.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(RpcError::bad_type(name)),
    }
}
