//! The object `dfks` that a route script sees, and the global functions beside it. Pure, but for the clock where nobody says when it is.
//!
//! It is `$dfks(field)` of OpenSIPS's `presence_dfks`. Each write is checked at once, so that an error names the script's line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext, Position};

use crate::bus::message::{AlsoChange, Origin};
use crate::bus::service::reason_text;
use crate::feature::{FeatureError, FeatureSpec, FeatureState, FeatureTable, Presentity, Status, Values};
use crate::runtime::clock;
use crate::worker::change::Change;
use crate::worker::route::Route;
use crate::worker::script::said::{Line, say};

/// The fields of `dfks`, for the error that names them.
const FIELDS: &str =
    "presentity, domain, user, feature, status, assigned, notify, param, origin, watcher, value.FIELD, old.status, old.value.FIELD";
/// Most lines that one run may log; the rest is dropped, so that a loop cannot flood the log.
const MAX_LOG_LINES: u32 = 32;

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
    moment: Option<SystemTime>,
    /// The state before the change, where that is another than the one before the script.
    old: Option<FeatureState>,
    /// The state before the script.
    base: FeatureState,
    /// The state with what the script has changed.
    state: FeatureState,
    change: Change,
    denied: Option<String>,
    log_lines: u32,
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
            state: base.clone(),
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

    fn old(&self) -> &FeatureState {
        self.old.as_ref().unwrap_or(&self.base)
    }

    fn read(&self, field: &str) -> Result<Dynamic, FieldError> {
        let presentity = || Presentity::parse(&self.presentity).ok();
        let text = |text: Option<&ImmutableString>| text.cloned().map_or(Dynamic::UNIT, Into::into);
        match field {
            "presentity" => Ok(self.presentity.clone().into()),
            "feature" => Ok(self.base.feature.clone().into()),
            "status" => Ok(i64::from(self.state.status.is_on()).into()),
            "param" => Ok(text(self.param.as_ref())),
            "watcher" => Ok(text(self.watcher.as_ref())),
            "origin" => Ok(self.origin.map_or(Dynamic::UNIT, |origin| origin.as_str().into())),
            "domain" => Ok(presentity().map_or(Dynamic::UNIT, |presentity| presentity.domain().to_owned().into())),
            "user" => Ok(presentity().map_or(Dynamic::UNIT, |presentity| presentity.user().to_owned().into())),
            "assigned" | "notify" => Err(FieldError::new(field, "can be written, not read")),
            _ => Err(FieldError::unknown(field)),
        }
    }

    fn write(&mut self, field: &str, value: &Dynamic) -> Result<(), FieldError> {
        match field {
            "status" => self.change_to(field, Change { status: Some(Status(switch(field, value)?)), ..self.change.clone() }),
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
    fn read_value(&self, state: &FeatureState, field: &str) -> Result<Dynamic, FieldError> {
        if let Some(value) = state.values.get(field) {
            return Ok(value.clone().into());
        }
        let spec = self.table.require(&self.base.feature).map_err(|e| FieldError::new("feature", &e.to_string()))?;
        if spec.has_field(field) { Ok(Dynamic::UNIT) } else { Err(self.no_such_value(field)) }
    }

    fn write_value(&mut self, field: &str, value: &Dynamic) -> Result<(), FieldError> {
        let text = text_of(value).ok_or_else(|| FieldError::value(field, &format!("takes a string, not {}", value.type_name())))?;
        let mut change = self.change.clone();
        change.values.insert(field.to_owned(), text);
        self.change_to(&format!("value.{field}"), change)
    }

    /// Accepts the changes so far, if they fit the state before the script.
    fn change_to(&mut self, field: &str, change: Change) -> Result<(), FieldError> {
        let refused = |e: FeatureError| FieldError::new(field, &format!("refused: {e}"));
        let spec = self.table.require(&self.base.feature).map_err(refused)?;
        self.state = change.apply(spec, &self.base).map_err(refused)?;
        self.change = change;
        Ok(())
    }

    fn no_such_value(&self, field: &str) -> FieldError {
        let fields: Vec<_> = self.table.find(&self.base.feature).into_iter().flat_map(FeatureSpec::fields).collect();
        let allowed = if fields.is_empty() { "it has none".to_owned() } else { format!("it has {}", fields.join(", ")) };
        FieldError::value(field, &format!("is no value of {}: {allowed}", self.base.feature))
    }

    fn deny(&mut self, why: &str) -> Result<(), FieldError> {
        if self.route == Route::Get {
            return Err(FieldError::function("deny", "has nothing to refuse in a get route"));
        }
        self.denied.get_or_insert_with(|| reason_text(why));
        Ok(())
    }

    fn also(&mut self, feature: &str, change: &rhai::Map) -> Result<(), FieldError> {
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

/// The handle that the script holds: Rhai passes it by value, so what it changes is shared.
#[derive(Debug, Clone)]
pub(crate) struct Dfks(Arc<Mutex<Call>>);

/// `dfks.value`.
#[derive(Debug, Clone)]
struct DfksValue(Dfks);

/// `dfks.old`.
#[derive(Debug, Clone)]
struct DfksOld(Dfks);

/// `dfks.old.value`.
#[derive(Debug, Clone)]
struct DfksOldValue(Dfks);

impl Dfks {
    /// A handle on `call`.
    pub(crate) fn new(call: Call) -> Self {
        Self(Arc::new(Mutex::new(call)))
    }

    /// What the script decided.
    pub(crate) fn verdict(&self) -> Verdict {
        self.with(|call| Verdict { change: std::mem::take(&mut call.change), denied: call.denied.take() })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Call) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When it runs, by the clock's first answer.
    pub(super) fn moment(&self) -> SystemTime {
        self.with(|call| *call.moment.get_or_insert_with(clock::utc_now))
    }

    /// Whether one more line may be logged by this run.
    fn may_log(&self) -> bool {
        self.with(|call| {
            call.log_lines = call.log_lines.saturating_add(1);
            call.log_lines <= MAX_LOG_LINES
        })
    }
}

/// What is wrong with a field of `dfks` or the use of a function; `throw`n, so that a script may catch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Name of the field or function.
    pub(crate) field: String,
    message: String,
}

impl FieldError {
    fn new(field: &str, what: &str) -> Self {
        Self { field: field.to_owned(), message: format!("dfks.{field} {what}") }
    }
    fn value(field: &str, what: &str) -> Self {
        Self::new(&format!("value.{field}"), what)
    }
    pub(super) fn function(name: &str, what: &str) -> Self {
        Self { field: name.to_owned(), message: format!("{name}() {what}") }
    }
    fn unknown(field: &str) -> Self {
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

/// Makes `dfks` and the global functions known to `engine`.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Dfks>("dfks").register_type_with_name::<DfksValue>("dfks.value");
    engine.register_type_with_name::<FieldError>("field error");
    engine.register_fn("to_string", |error: &mut FieldError| error.to_string());
    engine.register_fn("to_debug", |error: &mut FieldError| error.to_string());
    engine.register_indexer_get(|dfks: &mut Dfks, field: &str| -> ScriptResult<Dynamic> {
        match field {
            "value" => Ok(Dynamic::from(DfksValue(dfks.clone()))),
            "old" => Ok(Dynamic::from(DfksOld(dfks.clone()))),
            _ => Ok(dfks.with(|call| call.read(field))?),
        }
    });
    engine.register_indexer_set(|dfks: &mut Dfks, field: &str, value: Dynamic| -> ScriptResult<()> {
        // After `dfks.value.x = …` Rhai hands the changed `dfks.value` back: nothing is left to do.
        let is_handed_back = field == "value" && value.is::<DfksValue>();
        if is_handed_back { Ok(()) } else { Ok(dfks.with(|call| call.write(field, &value))?) }
    });
    engine.register_indexer_get(|value: &mut DfksValue, field: &str| -> ScriptResult<Dynamic> {
        Ok(value.0.with(|call| call.read_value(&call.state, field))?)
    });
    engine.register_indexer_set(|value: &mut DfksValue, field: &str, to: Dynamic| -> ScriptResult<()> {
        Ok(value.0.with(|call| call.write_value(field, &to))?)
    });
    register_old(engine);
    engine.register_fn("deny", |context: NativeCallContext, why: &str| -> ScriptResult<()> {
        Ok(current(&context, "deny")?.with(|call| call.deny(why))?)
    });
    engine.register_fn("also", |context: NativeCallContext, feature: &str, change: rhai::Map| -> ScriptResult<()> {
        Ok(current(&context, "also")?.with(|call| call.also(feature, &change))?)
    });
    engine.register_fn("log", |context: NativeCallContext, text: Dynamic| -> ScriptResult<()> {
        if current(&context, "log")?.may_log() {
            say(Line::Log, &text.to_string());
        }
        Ok(())
    });
}

/// `dfks.old`, which is there to be read.
fn register_old(engine: &mut Engine) {
    engine.register_type_with_name::<DfksOld>("dfks.old").register_type_with_name::<DfksOldValue>("dfks.old.value");
    engine.register_indexer_get(|old: &mut DfksOld, field: &str| -> ScriptResult<Dynamic> {
        match field {
            "status" => Ok(i64::from(old.0.with(|call| call.old().status.is_on())).into()),
            "value" => Ok(Dynamic::from(DfksOldValue(old.0.clone()))),
            _ => Err(FieldError::new(&format!("old.{field}"), "is unknown: expected old.status, old.value.FIELD").into()),
        }
    });
    engine.register_indexer_get(|value: &mut DfksOldValue, field: &str| -> ScriptResult<Dynamic> {
        Ok(value.0.with(|call| call.read_value(call.old(), field))?)
    });
    engine.register_indexer_set(|_: &mut DfksOld, field: &str, _: Dynamic| -> ScriptResult<()> {
        Err(FieldError::new(&format!("old.{field}"), "is read-only").into())
    });
    engine.register_indexer_set(|_: &mut DfksOldValue, field: &str, _: Dynamic| -> ScriptResult<()> {
        Err(FieldError::new(&format!("old.value.{field}"), "is read-only").into())
    });
}

/// The run that a global function belongs to.
pub(super) fn current(context: &NativeCallContext<'_>, function: &str) -> Result<Dfks, FieldError> {
    let run = context.tag().and_then(|tag| tag.read_lock::<Dfks>().map(|dfks| dfks.clone()));
    run.ok_or_else(|| FieldError::function(function, "can be called in a route only"))
}

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
