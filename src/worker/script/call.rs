//! What a route script is told and what it changes: the fields of `dfks`, as in `handle`. Pure.
//!
//! It is `$dfks(field)` of OpenSIPS's `presence_dfks`. Each write is checked at once, so that an error names the script's line.

use std::sync::Arc;
use std::time::SystemTime;

use rhai::{Dynamic, EvalAltResult, ImmutableString, Position};

use crate::bus::message::{AlsoChange, Origin};
use crate::bus::service::reason_text;
use crate::feature::{FeatureError, FeatureSpec, FeatureState, FeatureTable, Presentity, Status, Values};
use crate::worker::change::Change;
use crate::worker::route::Route;

/// The fields of `dfks`, for the error that names them.
const FIELDS: &str =
    "presentity, domain, user, feature, status, assigned, notify, param, origin, watcher, value.FIELD, old.status, old.value.FIELD";

/// One run of a route: what the script is told, and what it has changed so far.
#[derive(Debug)]
pub struct Call {
    route: Route,
    table: Arc<FeatureTable>,
    presentity: ImmutableString,
    param: Option<ImmutableString>,
    /// Who asks for the change; `None` in a get.
    origin: Option<Origin>,
    /// The phone's user, where a phone asks.
    watcher: Option<ImmutableString>,
    /// When it runs; `None` until somebody has asked.
    pub(super) moment: Option<SystemTime>,
    /// The state before the change, where that is another than the one before the script.
    old: Option<FeatureState>,
    /// The state before the script.
    base: FeatureState,
    /// The state with what the script has changed; `None`: as before.
    state: Option<FeatureState>,
    pub(super) change: Change,
    pub(super) denied: Option<String>,
    pub(super) log_lines: u32,
}

/// What the script decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub(crate) change: Change,
    /// Why it refused the change.
    pub(crate) denied: Option<String>,
}

impl Call {
    /// A run of `route` for the feature of `base`.
    #[must_use]
    pub fn new(route: Route, table: Arc<FeatureTable>, presentity: &str, param: Option<&str>, base: FeatureState) -> Self {
        Self {
            route,
            table,
            presentity: presentity.into(),
            param: param.map(Into::into),
            origin: None,
            watcher: None,
            moment: None,
            old: None,
            state: None,
            base,
            change: Change::default(),
            denied: None,
            log_lines: 0,
        }
    }

    /// As asked for by somebody: `watcher` is the user of a phone.
    pub(crate) fn asked_by(self, origin: Origin, watcher: Option<&str>) -> Self {
        Self { origin: Some(origin), watcher: watcher.map(Into::into), ..self }
    }

    /// A change of `old`.
    pub(crate) fn instead_of(self, old: FeatureState) -> Self {
        Self { old: Some(old), ..self }
    }

    /// At another moment than now.
    pub(crate) fn at(self, moment: SystemTime) -> Self {
        Self { moment: Some(moment), ..self }
    }

    pub(super) fn old(&self) -> &FeatureState {
        self.old.as_ref().unwrap_or(&self.base)
    }

    pub(super) fn read(&self, field: &str) -> Result<Dynamic, FieldError> {
        let presentity = || Presentity::parse(&self.presentity).ok();
        let text = |text: Option<&ImmutableString>| text.cloned().map_or(Dynamic::UNIT, Into::into);
        match field {
            "presentity" => Ok(self.presentity.clone().into()),
            "feature" => Ok(self.base.feature.clone().into()),
            "status" => Ok(i64::from(self.state().status.is_on()).into()),
            "param" => Ok(text(self.param.as_ref())),
            "watcher" => Ok(text(self.watcher.as_ref())),
            "origin" => Ok(self.origin.map_or(Dynamic::UNIT, |origin| origin.as_str().into())),
            "domain" => Ok(presentity().map_or(Dynamic::UNIT, |presentity| presentity.domain().to_owned().into())),
            "user" => Ok(presentity().map_or(Dynamic::UNIT, |presentity| presentity.user().to_owned().into())),
            "assigned" | "notify" => Err(FieldError::new(field, "can be written, not read")),
            _ => Err(FieldError::unknown(field)),
        }
    }

    pub(super) fn write(&mut self, field: &str, value: &Dynamic) -> Result<(), FieldError> {
        match field {
            "status" => {
                let before = self.change.status.replace(Status(switch(field, value)?));
                self.accept().map_err(|error| {
                    self.change.status = before;
                    refused(field, &error)
                })
            }
            "assigned" => {
                self.change.assigned = Some(switch(field, value)?);
                Ok(())
            }
            "notify" => {
                self.change.notify = Some(switch(field, value)?);
                Ok(())
            }
            "presentity" | "domain" | "user" | "feature" | "param" | "origin" | "watcher" | "old" => {
                Err(FieldError::new(field, "is read-only"))
            }
            "value" => Err(FieldError::new(field, "is written field by field, e.g. dfks.value.forwardTo = \"…\"")),
            _ => Err(FieldError::unknown(field)),
        }
    }

    /// `()` for a value that nobody has set; a field that the feature does not have is an error.
    pub(super) fn read_value(&self, state: &FeatureState, field: &str) -> Result<Dynamic, FieldError> {
        if let Some(value) = state.values.get(field) {
            return Ok(value.clone().into());
        }
        let spec = self.table.require(&self.base.feature).map_err(|e| FieldError::new("feature", &e.to_string()))?;
        if spec.has_field(field) { Ok(Dynamic::UNIT) } else { Err(self.no_such_value(field)) }
    }

    pub(super) fn write_value(&mut self, field: &str, value: &Dynamic) -> Result<(), FieldError> {
        let text = text_of(value).ok_or_else(|| FieldError::value(field, &format!("takes a string, not {}", value.type_name())))?;
        let before = self.change.values.insert(field.to_owned(), text);
        self.accept().map_err(|error| {
            match before {
                Some(before) => self.change.values.insert(field.to_owned(), before),
                None => self.change.values.remove(field),
            };
            refused(&format!("value.{field}"), &error)
        })
    }

    /// Whether the changes so far fit the state before the script; the state is what they make of it.
    fn accept(&mut self) -> Result<(), FeatureError> {
        let spec = self.table.require(&self.base.feature)?;
        self.state = Some(self.change.apply(spec, &self.base)?);
        Ok(())
    }

    pub(super) fn state(&self) -> &FeatureState {
        self.state.as_ref().unwrap_or(&self.base)
    }

    fn no_such_value(&self, field: &str) -> FieldError {
        let fields: Vec<_> = self.table.find(&self.base.feature).into_iter().flat_map(FeatureSpec::fields).collect();
        let allowed = if fields.is_empty() { "it has none".to_owned() } else { format!("it has {}", fields.join(", ")) };
        FieldError::value(field, &format!("is no value of {}: {allowed}", self.base.feature))
    }

    pub(super) fn deny(&mut self, why: &str) -> Result<(), FieldError> {
        if self.route == Route::Get {
            return Err(FieldError::function("deny", "has nothing to refuse in a get route"));
        }
        self.denied.get_or_insert_with(|| reason_text(why));
        Ok(())
    }

    pub(super) fn also(&mut self, feature: &str, change: &rhai::Map) -> Result<(), FieldError> {
        let fail = |what: &str| FieldError::function("also", what);
        if self.route == Route::Get {
            return Err(fail("has no effect in a get route: only a set changes other features"));
        }
        if feature == self.base.feature {
            return Err(fail(&format!("is for other features than {feature}: write dfks.status")));
        }
        let spec = self.table.require(feature).map_err(|e| fail(&e.to_string()))?;
        let also = also_change(feature, change)?;
        Change::from(&also).apply(spec, &spec.default_state()).map_err(|e| fail(&format!("{feature}: {e}")))?;
        if self.change.also.len() >= self.table.names().count() {
            return Err(fail("was called more often than there are features"));
        }
        self.change.also.push(also);
        Ok(())
    }
}

fn refused(field: &str, error: &FeatureError) -> FieldError {
    FieldError::new(field, &format!("refused: {error}"))
}

/// Reads `#{status: 0, values: #{forwardTo: "…"}, assigned: 1}`; `value` is taken for `values`.
fn also_change(feature: &str, change: &rhai::Map) -> Result<AlsoChange, FieldError> {
    let mut also = AlsoChange { feature: feature.to_owned(), status: None, values: Values::new(), assigned: None };
    for (key, value) in change {
        match key.as_str() {
            "status" => also.status = Some(Status(switch("also: status", value)?)),
            "assigned" => also.assigned = Some(switch("also: assigned", value)?),
            "values" | "value" => {
                let fields = value.as_map_ref().map_err(|_| FieldError::function("also", "takes values as #{field: \"text\"}"))?;
                for (field, value) in fields.iter() {
                    let text = text_of(value).ok_or_else(|| FieldError::function("also", &format!("takes a string for {field}")))?;
                    also.values.insert(field.to_string(), text);
                }
            }
            other => {
                return Err(FieldError::function("also", &format!("takes status, values and assigned, not '{other}'")));
            }
        }
    }
    Ok(also)
}

/// What is wrong with a field of `dfks` or the use of a function; `throw`n, so that a script may catch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Name of the field or function.
    pub(crate) field: String,
    message: String,
}

impl FieldError {
    pub(super) fn new(field: &str, what: &str) -> Self {
        Self { field: field.to_owned(), message: format!("dfks.{field} {what}") }
    }
    fn value(field: &str, what: &str) -> Self {
        Self::new(&format!("value.{field}"), what)
    }
    pub(super) fn function(name: &str, what: &str) -> Self {
        Self { field: name.to_owned(), message: format!("{name}() {what}") }
    }
    pub(super) fn unknown(field: &str) -> Self {
        Self::new(field, &format!("is unknown: expected {FIELDS}"))
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<FieldError> for Box<EvalAltResult> {
    fn from(error: FieldError) -> Self {
        Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(error), Position::NONE))
    }
}

pub(super) type ScriptResult<T> = Result<T, Box<EvalAltResult>>;

/// 0, 1, false or true.
fn switch(field: &str, value: &Dynamic) -> Result<bool, FieldError> {
    match (value.as_bool(), value.as_int()) {
        (Ok(on), _) => Ok(on),
        (_, Ok(0)) => Ok(false),
        (_, Ok(1)) => Ok(true),
        (_, Ok(number)) => Err(FieldError::new(field, &format!("takes 0, 1, false or true, not {number}"))),
        _ => Err(FieldError::new(field, &format!("takes 0, 1, false or true, not {}", value.type_name()))),
    }
}

/// A string; a whole number is taken as one, for `ringCount`.
fn text_of(value: &Dynamic) -> Option<String> {
    value.as_immutable_string_ref().map(|text| text.to_string()).ok().or_else(|| value.as_int().map(|number| number.to_string()).ok())
}
