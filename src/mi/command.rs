//! Reads a set command field by field, so that each fault gets an answer that names it. Pure.

use serde_json::{Map, Value};

use crate::bus::message::{Asked, ErrorBody, Origin, PRESENTITY_EXPECTED, check_actor, shown};
use crate::feature::error::Shown;
use crate::feature::{self, FeatureSpec, FeatureState, FeatureTable, Presentity, Status, Values};
use crate::mi::lasts::Lasts;

/// Most `field/value` strings of one command, as in the array of the OpenSIPS command.
pub(crate) const MAX_LIST_VALUES: usize = 8;

const STATUS_EXPECTED: &str = "0, 1, true, false, \"0\" or \"1\"";

/// A command to set one feature, with everything in it checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCommand {
    /// Whose feature.
    pub presentity: Presentity,
    /// Which feature, by its name in the table.
    pub feature: String,
    /// On or off.
    pub status: Status,
    /// Values to set; what is left out stays as it is.
    pub values: Values,
    /// Handed to the set route as `param`.
    pub param: Option<String>,
    /// Who asks for it.
    pub actor: Option<String>,
    /// For how long.
    pub lasts: Lasts,
    /// The version that the feature must still have.
    pub if_version: Option<u64>,
    /// Where it comes from.
    pub origin: Origin,
    /// The state of the feature where nobody has set it.
    pub unset: FeatureState,
}

/// Reads the payload of `dfks.set` or `dfks.command.set`. Fields that are not known are ignored.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","feature":"CallForwardingBusy","status":1,"values":["forwardTo/sip:bob@h"]}`
///
/// # Errors
///
/// An [`ErrorBody`] of code 400: the field, what was sent and what is allowed.
pub fn read(table: &FeatureTable, payload: &[u8]) -> Result<SetCommand, ErrorBody> {
    let json: Value = serde_json::from_slice(payload).map_err(|error| ErrorBody::bad(None, format!("not JSON: {error}")))?;
    let Value::Object(fields) = json else {
        return Err(ErrorBody::bad(None, format!("invalid command '{}': expected a JSON object", shown(&json))));
    };
    let presentity = presentity(&fields)?;
    let spec = feature(table, &fields)?;
    read_of(spec, presentity, &fields)
}

/// Reads what a command says beside whose feature it is about, and which.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_of(spec: &FeatureSpec, presentity: Presentity, fields: &Map<String, Value>) -> Result<SetCommand, ErrorBody> {
    let status = status(spec, fields)?;
    let values = match fields.get("values") {
        None | Some(Value::Null) => Values::new(),
        Some(Value::Object(object)) => values_of_object(object)?,
        Some(Value::Array(list)) => values_of_list(spec, list)?,
        Some(other) => {
            let expected = "an object of field and text, or an array of \"field/value\" strings";
            return Err(ErrorBody::invalid("values", other, expected));
        }
    };
    let status = status.or_else(|| feature::implied_status(spec, &values)).ok_or_else(|| no_status(spec))?;
    let param = match fields.get("route_param") {
        None | Some(Value::Null) => None,
        Some(Value::String(param)) => Some(param.clone()),
        Some(other) => return Err(ErrorBody::invalid("route_param", other, "a string")),
    };
    let actor = actor(fields)?;
    let lasts = Lasts::read(fields)?;
    if lasts != Lasts::Always && !status.is_on() {
        let field = if matches!(lasts, Lasts::For(_)) { "for_seconds" } else { "until" };
        return Err(ErrorBody::bad(Some(field), format!("{field} goes with status 1: what is off stays off")));
    }
    Ok(SetCommand { actor, lasts, ..SetCommand::checked(spec, presentity, status, values, param)? })
}

impl SetCommand {
    /// The command, if it is of the domain in its subject; one without a domain takes every command.
    ///
    /// # Errors
    ///
    /// An [`ErrorBody`] of code 403 for a presentity of another domain.
    pub(crate) fn within(self, domain: Option<&str>) -> Result<Self, ErrorBody> {
        match domain {
            Some(domain) if self.presentity.domain_token() != domain => Err(ErrorBody::other_domain(&self.presentity, domain)),
            _ => Ok(self),
        }
    }

    /// A command whose parts were read elsewhere; its values are checked here.
    ///
    /// # Errors
    ///
    /// An [`ErrorBody`] of code 400 for a value that is not allowed, or a status that contradicts the agent state.
    pub fn checked(
        spec: &FeatureSpec,
        presentity: Presentity,
        status: Status,
        values: Values,
        param: Option<String>,
    ) -> Result<Self, ErrorBody> {
        let unset = spec.default_state();
        feature::merge(spec, &unset, Some(status), &values)?;
        Ok(Self {
            presentity,
            feature: spec.name().to_owned(),
            status,
            values,
            param,
            actor: None,
            lasts: Lasts::Always,
            if_version: None,
            origin: Origin::Mi,
            unset,
        })
    }

    /// What it asks for, as its event tells it.
    pub(crate) fn asked(&self, table: &FeatureTable) -> Asked {
        let lasting = |values| table.find(&self.feature).map_or_else(Values::new, |spec| spec.lasting(values));
        Asked { status: self.status, values: lasting(self.values.clone()) }
    }
}

/// Reads the `field/value` strings of the OpenSIPS command: `["ringCount/4","forwardTo/sip:bob@10.0.0.11"]`. The value
/// goes to the end of the string; of a field that is given twice, the last counts. Whether the feature has the field, and
/// whether the value is allowed, [`SetCommand::checked`] says.
///
/// # Errors
///
/// An [`ErrorBody`] of code 400 for more than [`MAX_LIST_VALUES`], or one that is no such string.
pub(crate) fn values_of_list(spec: &FeatureSpec, list: &[Value]) -> Result<Values, ErrorBody> {
    if list.len() > MAX_LIST_VALUES {
        return Err(ErrorBody::bad(Some("values"), format!("values has {} elements: expected at most {MAX_LIST_VALUES}", list.len())));
    }
    let pair = |element: &Value| {
        let text = element.as_str().and_then(|text| text.split_once('/')).map(|(field, value)| (field.to_owned(), value.to_owned()));
        text.ok_or_else(|| {
            let fields: Vec<_> = spec.fields().map(|field| format!("\"{field}/…\"")).collect();
            let expected = if fields.is_empty() { format!("none, {} has no values", spec.name()) } else { fields.join(" or ") };
            ErrorBody::invalid("values", element, &expected)
        })
    };
    list.iter().map(pair).collect()
}

fn presentity(fields: &Map<String, Value>) -> Result<Presentity, ErrorBody> {
    match fields.get("presentity") {
        None | Some(Value::Null) => Err(ErrorBody::missing("presentity", PRESENTITY_EXPECTED)),
        Some(Value::String(text)) => read_presentity(text),
        Some(other) => Err(ErrorBody::invalid("presentity", other, PRESENTITY_EXPECTED)),
    }
}

/// Reads a presentity in any spelling.
///
/// # Errors
///
/// An [`ErrorBody`] of code 400, "Invalid presentity …".
pub(crate) fn read_presentity(text: &str) -> Result<Presentity, ErrorBody> {
    Presentity::parse(text).map_err(|error| ErrorBody::bad(Some("presentity"), format!("Invalid presentity '{}': {error}", Shown(text))))
}

fn feature<'t>(table: &'t FeatureTable, fields: &Map<String, Value>) -> Result<&'t FeatureSpec, ErrorBody> {
    let names = || table.names().collect::<Vec<_>>().join(", ");
    match fields.get("feature") {
        None | Some(Value::Null) => Err(ErrorBody::missing("feature", &names())),
        Some(Value::String(name)) => Ok(table.require(name)?),
        Some(other) => Err(ErrorBody::invalid("feature", other, &names())),
    }
}

/// Who asks; an empty text is nobody.
fn actor(fields: &Map<String, Value>) -> Result<Option<String>, ErrorBody> {
    let text = match fields.get("actor") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => return Err(ErrorBody::invalid("actor", other, "a string")),
    };
    check_actor(text).map_err(|error| ErrorBody::bad(Some("actor"), error.to_string()))?;
    Ok(Some(text.clone()).filter(|text| !text.is_empty()))
}

/// `None` where the agent's state may decide it.
fn status(spec: &FeatureSpec, fields: &Map<String, Value>) -> Result<Option<Status>, ErrorBody> {
    match fields.get("status") {
        None | Some(Value::Null) if spec.is_agent() => Ok(None),
        None | Some(Value::Null) => Err(no_status(spec)),
        Some(status) => serde_json::from_value(status.clone()).map(Some).map_err(|_| ErrorBody::invalid("status", status, STATUS_EXPECTED)),
    }
}

fn no_status(spec: &FeatureSpec) -> ErrorBody {
    let or_state = if spec.is_agent() { ", or values.state" } else { "" };
    ErrorBody::missing("status", &format!("{STATUS_EXPECTED}{or_state}"))
}

/// `{"ringCount":"4"}`; a whole number counts as its text, for `{"ringCount":4}`.
fn values_of_object(object: &Map<String, Value>) -> Result<Values, ErrorBody> {
    let pair = |(field, value): (&String, &Value)| match value {
        Value::String(text) => Ok((field.clone(), text.clone())),
        Value::Number(number) if field == "ringCount" && (number.is_u64() || number.is_i64()) => Ok((field.clone(), number.to_string())),
        other => Err(ErrorBody::invalid(&format!("values.{}", Shown(field)), other, "a string")),
    };
    object.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(json: &Value) -> Result<SetCommand, ErrorBody> {
        read(&FeatureTable::built_in(), json.to_string().as_bytes())
    }

    /// A good command with one field changed; null takes the field away.
    fn with(field: &str, value: Value) -> Value {
        let mut json = json!({"presentity": "sip:alice@10.0.0.11", "feature": "CallForwardingNoAnswer", "status": 1});
        json[field] = value;
        json
    }

    fn agent(more: &Value) -> Value {
        let mut json = json!({"presentity": "sip:alice@10.0.0.11", "feature": "AgentState"});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json
    }

    #[test]
    fn reads_the_commands_of_the_contract() {
        let text = r#"{"presentity":"sip:alice@10.0.0.11","feature":"CallForwardingNoAnswer","status":1,"route_param":"1",
                       "values":["ringCount/4","forwardTo/sip:bob@10.0.0.11"]}"#;
        let command = read(&FeatureTable::built_in(), text.as_bytes()).unwrap();
        assert_eq!(
            command,
            SetCommand {
                presentity: Presentity::parse("sip:alice@10.0.0.11").unwrap(),
                feature: "CallForwardingNoAnswer".into(),
                status: Status::ON,
                values: [("ringCount", "4"), ("forwardTo", "sip:bob@10.0.0.11")].map(|(f, v)| (f.to_owned(), v.to_owned())).into(),
                param: Some("1".into()),
                actor: None,
                lasts: Lasts::Always,
                if_version: None,
                origin: Origin::Mi,
                unset: FeatureState::new("CallForwardingNoAnswer"),
            }
        );
        for (given, want) in
            [(json!("crm"), Some("crm")), (json!(""), None), (json!(null), None), (json!("é".repeat(128)), Some(&*"é".repeat(128)))]
        {
            assert_eq!(read_json(&with("actor", given)).unwrap().actor.as_deref(), want);
        }
        let object = with("values", json!({"ringCount": "4", "forwardTo": "sip:bob@10.0.0.11"}));
        assert_eq!(read_json(&object).unwrap().values, command.values);
    }

    #[test]
    fn takes_every_spelling_that_is_allowed() {
        for (name, json, on, values) in [
            ("true", with("status", json!(true)), true, vec![]),
            ("\"0\"", with("status", json!("0")), false, vec![]),
            ("type and unknown fields", with("type", json!(["whatever"])), true, vec![]),
            ("number for ringCount", with("values", json!({"ringCount": 4})), true, vec![("ringCount", "4")]),
            ("slash in a value", with("values", json!(["forwardTo/sip:a/b@h"])), true, vec![("forwardTo", "sip:a/b@h")]),
            ("cleared", with("values", json!(["forwardTo/"])), true, vec![("forwardTo", "")]),
            ("the last of two", with("values", json!(["ringCount/1", "ringCount/2"])), true, vec![("ringCount", "2")]),
            ("no values", with("values", json!([])), true, vec![]),
            ("state in place of status", agent(&json!({"values": {"state": "ready"}})), true, vec![("state", "ready")]),
            ("null status", agent(&json!({"status": null, "values": ["state/loggedOff"]})), false, vec![("state", "loggedOff")]),
            ("another spelling of the presentity", with("presentity", json!("<SIPS:alice@10.0.0.11:5061>")), true, vec![]),
        ] {
            let command = read_json(&json).unwrap();
            let values: Values = values.into_iter().map(|(field, value)| (field.to_owned(), value.to_owned())).collect();
            assert_eq!(
                (command.presentity.as_str(), command.status.is_on(), command.values),
                ("sip:alice@10.0.0.11", on, values),
                "{name}"
            );
        }
        assert_eq!(read_json(&with("route_param", Value::Null)).unwrap().param, None);
    }

    #[test]
    fn each_fault_names_the_field_what_was_sent_and_what_is_allowed() {
        let names = "DoNotDisturb, CallForwardingAlways, CallForwardingBusy, CallForwardingNoAnswer, AgentState, Hoteling";
        let uri = "sip:user@host or tel:number";
        let fields = "\"forwardTo/…\" or \"ringCount/…\"";
        let nine: Vec<_> = (0..9).map(|n| format!("ringCount/{n}")).collect();
        let contradiction = agent(&json!({"status": 0, "values": {"state": "ready"}}));
        let mut stateless = with("values", json!({"state": "ready"}));
        stateless["status"] = Value::Null;
        let dnd = json!({"presentity": "sip:alice@h", "feature": "DoNotDisturb", "status": 0, "values": ["x"]});
        for (json, field, text) in [
            (json!([]), None, "invalid command '[]': expected a JSON object".to_owned()),
            (with("presentity", Value::Null), Some("presentity"), format!("presentity is missing: expected {uri}")),
            (with("presentity", json!(7)), Some("presentity"), format!("invalid presentity '7': expected {uri}")),
            (
                with("presentity", json!("garbage\"\n")),
                Some("presentity"),
                "Invalid presentity 'garbage??': a presentity is sip:user@host or tel:number".into(),
            ),
            (with("feature", Value::Null), Some("feature"), format!("feature is missing: expected {names}")),
            (with("feature", json!({})), Some("feature"), format!("invalid feature '{{}}': expected {names}")),
            (
                with("feature", json!("donotdisturb")),
                Some("feature"),
                format!("unknown feature 'donotdisturb': did you mean DoNotDisturb? expected {names}"),
            ),
            (with("status", Value::Null), Some("status"), format!("status is missing: expected {STATUS_EXPECTED}")),
            (with("status", json!(2)), Some("status"), format!("invalid status '2': expected {STATUS_EXPECTED}")),
            (with("status", json!(-1)), Some("status"), format!("invalid status '-1': expected {STATUS_EXPECTED}")),
            (with("status", json!("on")), Some("status"), format!("invalid status 'on': expected {STATUS_EXPECTED}")),
            (with("status", json!("true")), Some("status"), format!("invalid status 'true': expected {STATUS_EXPECTED}")),
            (with("status", json!(1.0)), Some("status"), format!("invalid status '1.0': expected {STATUS_EXPECTED}")),
            (
                with("values", json!("ringCount/4")),
                Some("values"),
                "invalid values 'ringCount/4': expected an object of field and text, or an array of \"field/value\" strings".into(),
            ),
            (with("values", json!(nine)), Some("values"), "values has 9 elements: expected at most 8".into()),
            (with("values", json!(["ringCount"])), Some("values"), format!("invalid values 'ringCount': expected {fields}")),
            (with("values", json!([4])), Some("values"), format!("invalid values '4': expected {fields}")),
            (dnd, Some("values"), "invalid values 'x': expected none, DoNotDisturb has no values".into()),
            (
                with("values", json!({"ringCount": 4.5})),
                Some("values.ringCount"),
                "invalid values.ringCount '4.5': expected a string".into(),
            ),
            (with("values", json!({"forwardTo": 4})), Some("values.forwardTo"), "invalid values.forwardTo '4': expected a string".into()),
            (
                with("values", json!({"forwardTo": null})),
                Some("values.forwardTo"),
                "invalid values.forwardTo 'null': expected a string".into(),
            ),
            (
                with("values", json!(["ringCount/400"])),
                Some("values.ringCount"),
                "invalid ringCount '400': expected a whole number from 0 to 100".into(),
            ),
            (
                with("values", json!({"forwardDN": "1"})),
                Some("values.forwardDN"),
                "unknown field 'forwardDN' of CallForwardingNoAnswer: expected forwardTo, ringCount".into(),
            ),
            (stateless, Some("status"), format!("status is missing: expected {STATUS_EXPECTED}")),
            (
                agent(&json!({"values": {"reason": "lunch"}})),
                Some("status"),
                format!("status is missing: expected {STATUS_EXPECTED}, or values.state"),
            ),
            (
                agent(&json!({"values": {"state": "asleep"}})),
                Some("values.state"),
                "invalid state 'asleep': expected loggedOff, loggedOn, ready, notReady, workingAfterCall".into(),
            ),
            (contradiction, Some("status"), "status 0 contradicts state 'ready': expected status 1".into()),
            (with("route_param", json!(1)), Some("route_param"), "invalid route_param '1': expected a string".into()),
            (with("actor", json!(["crm"])), Some("actor"), "invalid actor '[?crm?]': expected a string".into()),
            (with("actor", json!("é".repeat(129))), Some("actor"), "actor has 129 characters: expected at most 128".into()),
            (with("actor", json!("a\tb")), Some("actor"), "actor has the control character U+0009: expected none".into()),
        ] {
            let error = read_json(&json).unwrap_err();
            assert_eq!((error.code, error.field.as_deref(), error.description), (400, field, text), "{json}");
        }
        let error = read(&FeatureTable::built_in(), b"{").unwrap_err();
        assert_eq!((error.code, error.field), (400, None));
        assert!(error.description.starts_with("not JSON: "), "{}", error.description);
    }
}
