//! The methods that ask for features, have phones told anew, and end subscriptions. Pure.

use serde_json::{Value, json};

use crate::bus::message::{EndRequest, GetRequest, Kind, ResyncRequest};
use crate::feature::FeatureTable;
use crate::feature::error::Shown;
use crate::mi::hand::{self, Resync};
use crate::mi::http::jsonrpc::{Params, RpcError};
use crate::mi::http::param::{optional_text, text};

/// `presentity` [, `feature`]
pub(super) fn features(table: &FeatureTable, params: Params) -> Result<GetRequest, RpcError> {
    let mut bound = params.bind(&["presentity"], &["feature"])?;
    let presentity = hand::presentity_of(&text(&mut bound, "presentity")?)?;
    let feature = optional_text(&mut bound, "feature")?;
    if let Some(feature) = &feature {
        let unknown =
            |error: crate::feature::FeatureError| RpcError { data: Some(error.to_string()), ..RpcError::new(400, "Unknown feature") };
        table.require(feature).map_err(unknown)?;
    }
    Ok(GetRequest {
        kind: Kind::default(),
        presentity: presentity.as_str().to_owned(),
        features: feature.map(|feature| vec![feature]),
        package: None,
        subscription: None,
        strict: false,
    })
}

/// `presentity` [, `subscription`]
pub(super) fn resync(table: &FeatureTable, params: Params) -> Result<Resync, RpcError> {
    let mut bound = params.bind(&["presentity"], &["subscription"])?;
    let (presentity, subscription) = (Some(text(&mut bound, "presentity")?), optional_text(&mut bound, "subscription")?);
    Ok(Resync::read(table, ResyncRequest { presentity, subscription, ..ResyncRequest::default() })?)
}

/// `presentity_uri`, `event`, `refresh_type`, as OpenSIPS's presence has it: an event package that this notifier speaks, and whatever
/// kind of refresh, for either is the full state.
pub(super) fn refresh_watchers(table: &FeatureTable, params: Params) -> Result<Resync, RpcError> {
    let mut bound = params.bind(&["presentity_uri", "event", "refresh_type"], &[])?;
    let (presentity, package) = (Some(text(&mut bound, "presentity_uri")?), Some(text(&mut bound, "event")?));
    let is_number = match bound.get("refresh_type") {
        Some(Value::Number(number)) => number.is_u64() || number.is_i64(),
        Some(Value::String(number)) => number.trim().parse::<i64>().is_ok(),
        _ => false,
    };
    if !is_number {
        return Err(RpcError::bad_type("refresh_type"));
    }
    Ok(Resync::read(table, ResyncRequest { presentity, package, ..ResyncRequest::default() })?)
}

/// `subscription` [, `reason`]
pub(super) fn end(params: Params) -> Result<EndRequest, RpcError> {
    let mut bound = params.bind(&["subscription"], &["reason"])?;
    let subscription = text(&mut bound, "subscription")?;
    let reason = optional_text(&mut bound, "reason")?.unwrap_or_else(|| "deactivated".to_owned());
    let unknown = |_| RpcError::new(400, format!("invalid reason '{}': expected deactivated or rejected", Shown(&reason)));
    let reason = serde_json::from_value(json!(reason)).map_err(unknown)?;
    Ok(EndRequest { kind: Kind::default(), subscription, reason, actor: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::Dismissal;
    use crate::mi::hand::Whose;

    fn params(params: &Value) -> Params {
        match params.clone() {
            Value::Array(list) => Params::Listed(list),
            Value::Object(named) => Params::Named(named),
            other => panic!("{other}"),
        }
    }

    type Read = fn(&FeatureTable, Params) -> Result<Resync, RpcError>;

    #[test]
    fn phones_are_told_anew_as_opensips_asks_for_it_and_as_we_do() {
        let named = json!({"presentity_uri": "sip:alice@h", "event": "as-feature-event", "refresh_type": "1"});
        let cases: [(Read, Value, Option<&str>, Option<&str>); 4] = [
            (resync, json!(["sips:alice@H"]), None, None),
            (resync, json!({"presentity": "sip:alice@h", "subscription": "ab"}), None, Some("ab")),
            (refresh_watchers, json!(["sip:alice@h", "AS-Feature-Event", 0]), Some("as-feature-event"), None),
            (refresh_watchers, named, Some("as-feature-event"), None),
        ];
        for (read, given, package, subscription) in cases {
            let resync = read(&FeatureTable::built_in(), params(&given)).unwrap();
            let Whose::Presentity(of) = &resync.whose else { panic!("of a presentity") };
            assert_eq!((of.as_str(), resync.package, resync.subscription.as_deref()), ("sip:alice@h", package, subscription), "{given}");
        }
        let faults: [(Read, Value, i64); 5] = [
            (resync, json!(["alice"]), 400),
            (resync, json!([]), -32602),
            (refresh_watchers, json!(["sip:alice@h", "presence", 0]), 400),
            (refresh_watchers, json!(["sip:alice@h", "as-feature-event", "x"]), -32602),
            (refresh_watchers, json!(["sip:alice@h", "as-feature-event"]), -32602),
        ];
        for (read, given, code) in faults {
            assert_eq!(read(&FeatureTable::built_in(), params(&given)).map_err(|error| i64::from(error.code)), Err(code), "{given}");
        }
    }

    #[test]
    fn a_subscription_is_ended_with_a_reason_that_there_is() {
        for (given, want) in [
            (json!(["ab"]), Ok(Dismissal::Deactivated)),
            (json!(["ab", "rejected"]), Ok(Dismissal::Rejected)),
            (json!({"subscription": "ab", "reason": "deactivated"}), Ok(Dismissal::Deactivated)),
            (json!(["ab", "bored"]), Err(400)),
            (json!([7]), Err(-32602)),
        ] {
            assert_eq!(end(params(&given)).map(|request| request.reason).map_err(|error| i64::from(error.code)), want, "{given}");
        }
    }

    #[test]
    fn one_feature_or_all_are_asked_for() {
        for (given, want) in [
            (json!(["sip:alice@h"]), Ok(None)),
            (json!(["sip:alice@h", "DoNotDisturb"]), Ok(Some(vec!["DoNotDisturb".to_owned()]))),
            (json!({"presentity": "sip:alice@h", "feature": "Foo"}), Err(400)),
            (json!(["alice"]), Err(400)),
        ] {
            let read = features(&FeatureTable::built_in(), params(&given)).map(|request| request.features);
            assert_eq!(read.map_err(|error| i64::from(error.code)), want, "{given}");
        }
    }
}
