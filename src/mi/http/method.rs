//! The MI methods and their parameters, as OpenSIPS has them. Pure.

use serde_json::{Value, json};

use crate::bus::message::{EndRequest, GetRequest};
use crate::feature::error::Shown;
use crate::feature::{FeatureTable, Presentity, Status};
use crate::mi::command::{self, SetCommand};
use crate::mi::hand::Resync;
use crate::mi::http::dead::{self, DeadCall};
use crate::mi::http::hand;
use crate::mi::http::jsonrpc::{Params, RpcError};
use crate::mi::http::log::{self, LogCall};
use crate::mi::http::param::{optional_text, text};

/// A method with its parameters, everything in them checked.
#[derive(Debug, PartialEq)]
pub(crate) enum Method {
    /// `dfks_set_feature`: sets a feature, has the phones notified.
    SetFeature(SetCommand),
    /// `subs_phtable_list`: lists the live subscriptions.
    Subscriptions(Filter),
    /// `dfks_get_feature`: the state of features.
    Features(GetRequest),
    /// `dfks_resync`, `refresh_watchers`: has phones told anew.
    Resync(Resync),
    /// `dfks_end`: ends a subscription.
    End(EndRequest),
    /// `dfks_dead_list`, `dfks_dead_replay`, `dfks_dead_drop`: what was given up on.
    Dead(DeadCall),
    /// `log_level`: the log level of the processes.
    Log(LogCall),
    /// One whose result needs nobody else.
    Own(Own),
}

/// A method that we answer by ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own {
    /// The methods there are.
    Methods,
    /// The parameters of a method: an array for each way to call it.
    ParamsOf(&'static Signature),
    Version,
    Uptime,
}

/// Which subscriptions: patterns with `*` and `?` over the watcher and the presentity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

/// The name of a method, and the sets of parameters that it can be called with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [&'static [&'static str]],
}

const SET: &[&[&str]] = &[
    &["presentity", "feature", "status"],
    &["presentity", "feature", "status", "values"],
    &["presentity", "feature", "status", "route_param"],
    &["presentity", "feature", "status", "route_param", "values"],
];

pub(crate) static SIGNATURES: [Signature; 14] = [
    Signature { name: "dfks_dead_drop", params: &[&["seq"]] },
    Signature { name: "dfks_dead_list", params: &[&[], &["limit"], &["reason"], &["limit", "reason"]] },
    Signature { name: "dfks_dead_replay", params: &[&["seq"]] },
    Signature { name: "dfks_end", params: &[&["subscription"], &["subscription", "reason"]] },
    Signature { name: "dfks_get_feature", params: &[&["presentity"], &["presentity", "feature"]] },
    Signature { name: "dfks_resync", params: &[&["presentity"], &["presentity", "subscription"]] },
    Signature { name: "dfks_set_feature", params: SET },
    Signature { name: "log_level", params: &[&[], &["level"], &["level", "pid"]] },
    Signature { name: "presence_dfks:set_feature", params: SET },
    Signature { name: "refresh_watchers", params: &[&["presentity_uri", "event", "refresh_type"]] },
    Signature { name: "subs_phtable_list", params: &[&[], &["from"], &["to"], &["from", "to"]] },
    Signature { name: "uptime", params: &[&[]] },
    Signature { name: "version", params: &[&[]] },
    Signature { name: "which", params: &[&[], &["command"]] },
];

impl Method {
    /// Whether a method of this name sets a feature.
    pub(crate) fn is_command(name: &str) -> bool {
        matches!(name, "dfks_set_feature" | "presence_dfks:set_feature")
    }

    /// Reads a method and its parameters.
    ///
    /// # Errors
    ///
    /// [`RpcError`]: -32601 for another name, -32602 for parameters that do not fit, 400 for what they say.
    pub(crate) fn read(table: &FeatureTable, name: &str, params: Params) -> Result<Self, RpcError> {
        match name {
            _ if Self::is_command(name) => set_feature(table, params).map(Self::SetFeature),
            "subs_phtable_list" => {
                if matches!(&params, Params::Listed(list) if list.len() == 1) {
                    return Err(RpcError::invalid_params("Ambiguous call"));
                }
                let mut bound = params.bind(&[], &["from", "to"])?;
                Ok(Self::Subscriptions(Filter { from: optional_text(&mut bound, "from")?, to: optional_text(&mut bound, "to")? }))
            }
            "dfks_get_feature" => hand::features(table, params).map(Self::Features),
            "dfks_resync" => hand::resync(table, params).map(Self::Resync),
            "refresh_watchers" => hand::refresh_watchers(table, params).map(Self::Resync),
            "dfks_end" => hand::end(params).map(Self::End),
            "log_level" => log::read(params).map(Self::Log),
            "dfks_dead_list" => dead::list(params).map(Self::Dead),
            "dfks_dead_replay" => dead::seq(params).map(|seq| Self::Dead(DeadCall::Replay(seq))),
            "dfks_dead_drop" => dead::seq(params).map(|seq| Self::Dead(DeadCall::Drop(seq))),
            "uptime" => params.bind(&[], &[]).map(|_none| Self::Own(Own::Uptime)),
            "version" => params.bind(&[], &[]).map(|_none| Self::Own(Own::Version)),
            "which" => match optional_text(&mut params.bind(&[], &["command"])?, "command")? {
                None => Ok(Self::Own(Own::Methods)),
                Some(name) => {
                    let found = SIGNATURES.iter().find(|signature| signature.name == name);
                    found.map(|signature| Self::Own(Own::ParamsOf(signature))).ok_or_else(|| RpcError::new(404, "unknown MI command"))
                }
            },
            _ => Err(RpcError::unknown_method()),
        }
    }
}

impl Own {
    /// The result. `up` says since when, and for how long.
    pub(crate) fn result(&self, up: impl FnOnce() -> Value) -> Value {
        match self {
            Self::Methods => SIGNATURES.iter().map(|signature| signature.name).collect(),
            Self::ParamsOf(signature) => json!(signature.params),
            Self::Version => json!({ "Server": concat!("dfks (", env!("CARGO_PKG_VERSION"), ")") }),
            Self::Uptime => up(),
        }
    }
}

/// `presentity, feature, status` [, `values`] | [, `route_param`] | [, `route_param`, `values`]. The fourth by position is
/// `values` where it is a list, else `route_param`.
fn set_feature(table: &FeatureTable, params: Params) -> Result<SetCommand, RpcError> {
    let optional: &[&str] = match &params {
        Params::Listed(list) if list.len() == 4 && list.get(3).is_some_and(Value::is_array) => &["values"],
        _ => &["route_param", "values"],
    };
    let mut bound = params.bind(&["presentity", "feature", "status"], optional)?;
    let presentity = text(&mut bound, "presentity")?;
    let feature = text(&mut bound, "feature")?;
    let status = status(bound.get("status"))?;
    let param = optional_text(&mut bound, "route_param")?;
    let refused = |message: &str, data: String| RpcError { data: Some(data), ..RpcError::new(400, message) };
    let spec = table.require(&feature).map_err(|error| refused("Unknown feature", error.to_string()))?;
    let presentity =
        Presentity::parse(&presentity).map_err(|error| refused("Invalid presentity", format!("'{}': {error}", Shown(&presentity))))?;
    let values = match bound.remove("values") {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one @ Value::String(_)) => vec![one],
        Some(_) => return Err(RpcError::bad_type("values")),
    };
    let values = command::values_of_list(spec, &values)?;
    Ok(SetCommand::checked(spec, presentity, status, values, param)?)
}

/// Any integer or numeric string, 0 is off and anything else is on; `true`, `false`.
fn status(given: Option<&Value>) -> Result<Status, RpcError> {
    let is_on = match given {
        Some(Value::Bool(on)) => Some(*on),
        Some(Value::Number(number)) => number.as_i64().map(|number| number != 0).or_else(|| number.as_u64().map(|_| true)),
        Some(Value::String(text)) => text.trim().parse::<i64>().ok().map(|number| number != 0),
        _ => None,
    };
    is_on.map(Status).ok_or_else(|| RpcError::bad_type("status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "sip:alice@10.0.0.11";
    const CFNA: &str = "CallForwardingNoAnswer";

    fn read(name: &str, params: &Value) -> Result<Method, RpcError> {
        let params = match params.clone() {
            Value::Array(list) => Params::Listed(list),
            Value::Object(named) => Params::Named(named),
            other => panic!("{other}"),
        };
        Method::read(&FeatureTable::built_in(), name, params)
    }

    fn command(params: &Value) -> Result<SetCommand, RpcError> {
        match read("dfks_set_feature", params) {
            Ok(Method::SetFeature(command)) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    }

    fn named(name: &str, value: Value) -> Value {
        let mut params = json!({"presentity": ALICE, "feature": CFNA, "status": 1});
        params[name] = value;
        params
    }

    #[test]
    fn the_seeds_line_means_the_same_by_name_and_by_position() {
        let values = json!(["ringCount/4", "forwardTo/sip:bob@10.0.0.11"]);
        let want = command(&json!([ALICE, CFNA, "1", "1", values])).unwrap();
        assert_eq!(
            (want.presentity.as_str(), want.feature.as_str(), want.status, want.param.as_deref()),
            (ALICE, CFNA, Status::ON, Some("1"))
        );
        assert_eq!((want.values["ringCount"].as_str(), want.values["forwardTo"].as_str()), ("4", "sip:bob@10.0.0.11"));
        let mut params = named("values", values.clone());
        params["route_param"] = json!("1");
        assert_eq!(command(&params), Ok(want.clone()));
        let found = read("presence_dfks:set_feature", &params);
        assert_eq!(found, Ok(Method::SetFeature(want.clone())));
        assert_eq!(command(&json!([ALICE, CFNA, 1, values])), Ok(SetCommand { param: None, ..want.clone() }), "a list is values");
        let param_alone = command(&json!([ALICE, CFNA, 1, "1"])).unwrap();
        assert_eq!((param_alone.param.as_deref(), param_alone.values.len()), (Some("1"), 0), "a string is route_param");
        assert_eq!(command(&named("values", json!("ringCount/4"))).unwrap().values["ringCount"], "4", "a string is one value");
        assert_eq!(command(&json!([ALICE, CFNA, 1, "1", "ringCount/4"])).unwrap().values.len(), 1);
        let spelled = command(&named("presentity", json!("sips:alice@10.0.0.11:5061;x=y"))).unwrap();
        assert_eq!(spelled.presentity.as_str(), ALICE);
    }

    #[test]
    fn a_status_is_any_number_or_a_truth_value() {
        for (status, on) in [
            (json!(0), false),
            (json!(1), true),
            (json!(2), true),
            (json!(-1), true),
            (json!(u64::MAX), true),
            (json!("0"), false),
            (json!("1"), true),
            (json!("-7"), true),
            (json!(" 1"), true),
            (json!(true), true),
            (json!(false), false),
        ] {
            assert_eq!(command(&named("status", status.clone())).unwrap().status, Status(on), "{status}");
        }
        for status in [json!("abc"), json!(""), json!("1x"), json!("true"), json!(1.5), json!(null), json!([1]), json!({})] {
            assert_eq!(command(&named("status", status.clone())), Err(RpcError::bad_type("status")), "{status}");
        }
    }

    #[test]
    fn each_fault_gets_the_error_of_opensips_or_one_that_names_it() {
        let nine: Vec<_> = (0..9).map(|n| format!("ringCount/{n}")).collect();
        let count = "Too few or too many parameters";
        let fields = "expected \"forwardTo/…\" or \"ringCount/…\"";
        for (params, code, message, data) in [
            (json!([ALICE, CFNA]), -32602, "Invalid params", count),
            (json!([ALICE, CFNA, 1, "1", [], 6]), -32602, "Invalid params", count),
            (json!({"presentity": ALICE, "feature": CFNA}), -32602, "Invalid params", count),
            (named("foo", json!(1)), -32602, "Invalid params", "Named parameters do not match"),
            (named("presentity", json!(7)), -32602, "Invalid params", "Bad type for parameter 'presentity'"),
            (named("feature", json!(null)), -32602, "Invalid params", "Bad type for parameter 'feature'"),
            (named("route_param", json!(1)), -32602, "Invalid params", "Bad type for parameter 'route_param'"),
            (named("values", json!(4)), -32602, "Invalid params", "Bad type for parameter 'values'"),
            (
                named("feature", json!("donotdisturb")),
                400,
                "Unknown feature",
                "unknown feature 'donotdisturb': did you mean DoNotDisturb? expected DoNotDisturb, ",
            ),
            (named("feature", json!("Foo")), 400, "Unknown feature", "unknown feature 'Foo'"),
            (named("presentity", json!("garbage")), 400, "Invalid presentity", "'garbage': a presentity is sip:user@host"),
            (named("values", json!(["ringCount"])), 400, fields, ""),
            (named("values", json!("ringCount")), 400, fields, ""),
            (named("values", json!([4])), 400, "invalid values '4'", ""),
            (named("values", json!(["colour/red"])), 400, "unknown field 'colour'", ""),
            (named("values", json!(["ringCount/400"])), 400, "invalid ringCount '400': expected a whole number from 0 to 100", ""),
            (named("values", json!(nine)), 400, "values has 9 elements: expected at most 8", ""),
            (json!([ALICE, "CallForwardingBusy", 1, ["ringCount/4"]]), 400, "unknown field 'ringCount' of CallForwardingBusy", ""),
            (json!([ALICE, "DoNotDisturb", 1, ["forwardTo/sip:b@h"]]), 400, "unknown field 'forwardTo' of DoNotDisturb", ""),
        ] {
            let error = command(&params).unwrap_err();
            assert_eq!(error.code, code, "{params}: {error:?}");
            assert!(error.message.contains(message), "{params}: {error:?}");
            assert!(error.data.as_deref().unwrap_or_default().starts_with(data), "{params}: {error:?}");
        }
    }

    #[test]
    fn the_other_methods_answer_by_themselves() {
        let result = |name: &str, params: Value| match read(name, &params)? {
            Method::Own(own) => Ok::<_, RpcError>(own.result(|| json!("up"))),
            other => panic!("{other:?}"),
        };
        let methods = result("which", json!([])).unwrap();
        let names: Vec<_> = SIGNATURES.iter().map(|signature| signature.name).collect();
        assert!(names.is_sorted() && names.contains(&"dfks_resync"), "{names:?}");
        assert_eq!(methods, json!(names));
        assert_eq!(result("which", json!({"command": "subs_phtable_list"})), Ok(json!([[], ["from"], ["to"], ["from", "to"]])));
        assert_eq!(result("which", json!(["nothing"])).unwrap_err().code, 404);
        assert_eq!(result("version", json!({})), Ok(json!({ "Server": format!("dfks ({})", env!("CARGO_PKG_VERSION")) })));
        assert_eq!(result("uptime", json!([])), Ok(json!("up")));
        assert_eq!(result("uptime", json!([1])), Err(RpcError::invalid_params("Too few or too many parameters")));
        assert_eq!(result("version", json!({"a": 1})), Err(RpcError::invalid_params("Named parameters do not match")));
        assert_eq!(result("ul_dump", json!([])), Err(RpcError::unknown_method()));
        for signature in &SIGNATURES {
            assert_ne!(read(signature.name, &json!([])), Err(RpcError::unknown_method()), "{}", signature.name);
        }
    }

    #[test]
    fn subscriptions_are_chosen_by_name_or_by_both() {
        let filter = |from: Option<&str>, to: Option<&str>| Filter { from: from.map(str::to_owned), to: to.map(str::to_owned) };
        for (params, want) in [
            (json!([]), Ok(filter(None, None))),
            (json!({"to": "sip:a@h"}), Ok(filter(None, Some("sip:a@h")))),
            (json!(["f", "t"]), Ok(filter(Some("f"), Some("t")))),
            (json!(["f"]), Err(RpcError::invalid_params("Ambiguous call"))),
            (json!({"to": 1}), Err(RpcError::bad_type("to"))),
        ] {
            assert_eq!(read("subs_phtable_list", &params), want.map(Method::Subscriptions), "{params}");
        }
    }
}
