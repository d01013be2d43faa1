//! The methods about dead letters: `dfks_dead_list`, `dfks_dead_replay`, `dfks_dead_drop`. I/O.

use serde_json::{Value, json};

use crate::bus::Bus;
use crate::bus::dead::{DeadFilter, DeadList};
use crate::mi::http::jsonrpc::{Params, RpcError};
use crate::mi::http::param::optional_text;

/// Letters of a list, where no limit is given.
const LISTED: u64 = 50;
/// Most letters of one list.
const MOST_LISTED: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeadCall {
    List(DeadFilter, usize),
    Replay(u64),
    Drop(u64),
}

/// [`limit` [, `reason`]]
pub(super) fn list(params: Params) -> Result<DeadCall, RpcError> {
    let mut bound = params.bind(&[], &["limit", "reason"])?;
    let limit = bound.remove("limit").map_or(Ok(LISTED), |limit| number("limit", &limit))?;
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=MOST_LISTED).contains(limit));
    let limit = limit.ok_or_else(|| RpcError::new(400, format!("invalid limit: expected 1 to {MOST_LISTED}")))?;
    Ok(DeadCall::List(DeadFilter { reason: optional_text(&mut bound, "reason")?, ..DeadFilter::default() }, limit))
}

/// `seq`
pub(super) fn seq(params: Params) -> Result<u64, RpcError> {
    let mut bound = params.bind(&["seq"], &[])?;
    number("seq", &bound.remove("seq").unwrap_or_default())
}

/// A number, or one as a string: opensips-cli sends either.
fn number(name: &str, given: &Value) -> Result<u64, RpcError> {
    let read = given.as_u64().or_else(|| given.as_str()?.trim().parse().ok());
    read.ok_or_else(|| RpcError::bad_type(name))
}

/// Does it. Who asked is in the event.
pub(super) async fn answer(bus: &Bus, call: DeadCall, actor: &str) -> Result<Value, RpcError> {
    match call {
        DeadCall::List(filter, limit) => {
            let listed = bus.dead_letters(&filter, limit).await;
            let DeadList { letters, has_more } = listed.map_err(|error| RpcError::new(503, format!("stream of dead letters: {error}")))?;
            Ok(json!({ "letters": letters, "more": has_more }))
        }
        DeadCall::Replay(seq) => {
            let letter = bus.replay_dead(seq, Some(actor)).await.map_err(|error| RpcError::from(error.body()))?;
            Ok(json!({ "seq": seq, "subject": letter.subject }))
        }
        DeadCall::Drop(seq) => {
            let letter = bus.drop_dead(seq, Some(actor)).await.map_err(|error| RpcError::from(error.body()))?;
            Ok(json!({ "seq": seq, "subject": letter.subject }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(params: &Value) -> Params {
        match params.clone() {
            Value::Array(list) => Params::Listed(list),
            Value::Object(named) => Params::Named(named),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_list_has_a_limit_and_a_letter_its_number() {
        let all = |reason: Option<&str>| DeadFilter { reason: reason.map(str::to_owned), ..DeadFilter::default() };
        for (given, want) in [
            (json!([]), Ok(DeadCall::List(all(None), 50))),
            (json!(["7"]), Ok(DeadCall::List(all(None), 7))),
            (json!({"reason": "denied"}), Ok(DeadCall::List(all(Some("denied")), 50))),
            (json!([0]), Err(400)),
            (json!([1001]), Err(400)),
            (json!(["many"]), Err(-32602)),
        ] {
            assert_eq!(list(params(&given)).map_err(|error| i64::from(error.code)), want, "{given}");
        }
        for (given, want) in [(json!([17]), Ok(17)), (json!({"seq": "17"}), Ok(17)), (json!([-1]), Err(-32602)), (json!([]), Err(-32602))] {
            assert_eq!(seq(params(&given)).map_err(|error| i64::from(error.code)), want, "{given}");
        }
    }
}
