//! The object `dfks` that a route script sees, and the global functions beside it. Pure, but for the clock where nobody says when it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rhai::{Dynamic, Engine, NativeCallContext};

use crate::runtime::clock;
use crate::worker::script::call::{Call, FieldError, ScriptResult, Verdict};
use crate::worker::script::said::{Line, say};

/// Those that are directly below `dfks`.
const NAMES: [&str; 12] =
    ["presentity", "domain", "user", "feature", "status", "assigned", "notify", "param", "origin", "watcher", "value", "old"];
/// Most lines that one run may log; the rest is dropped, so that a loop cannot flood the log.
const MAX_LOG_LINES: u32 = 32;

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

    fn read(&self, field: &str) -> ScriptResult<Dynamic> {
        match field {
            "value" => Ok(Dynamic::from(DfksValue(self.clone()))),
            "old" => Ok(Dynamic::from(DfksOld(self.clone()))),
            _ => Ok(self.with(|call| call.read(field))?),
        }
    }

    fn write(&self, field: &str, value: &Dynamic) -> ScriptResult<()> {
        // After `dfks.value.x = …` Rhai hands the changed `dfks.value` back: nothing is left to do.
        let is_handed_back = field == "value" && value.is::<DfksValue>();
        if is_handed_back { Ok(()) } else { Ok(self.with(|call| call.write(field, value))?) }
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

/// Makes `dfks` and the global functions known to `engine`.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Dfks>("dfks").register_type_with_name::<DfksValue>("dfks.value");
    engine.register_type_with_name::<FieldError>("field error");
    engine.register_fn("to_string", |error: &mut FieldError| error.to_string());
    engine.register_fn("to_debug", |error: &mut FieldError| error.to_string());
    register_fields(engine);
    engine.register_indexer_get(|value: &mut DfksValue, field: &str| -> ScriptResult<Dynamic> {
        Ok(value.0.with(|call| call.read_value(call.state(), field))?)
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

/// The fields of `dfks`. Rhai asks for a property's own function first, of the very types, and only then for the one of all names: that
/// costs several times as much, so each field that there is has its own.
fn register_fields(engine: &mut Engine) {
    for field in NAMES {
        engine.register_get(field, move |dfks: &mut Dfks| dfks.read(field));
        engine.register_set(field, move |dfks: &mut Dfks, value: i64| dfks.write(field, &value.into()));
        engine.register_set(field, move |dfks: &mut Dfks, value: bool| dfks.write(field, &value.into()));
        engine.register_set(field, move |dfks: &mut Dfks, value: Dynamic| dfks.write(field, &value));
    }
    engine.register_set("value", |dfks: &mut Dfks, value: DfksValue| dfks.write("value", &Dynamic::from(value)));
    engine.register_indexer_get(|dfks: &mut Dfks, field: &str| dfks.read(field));
    engine.register_indexer_set(|dfks: &mut Dfks, field: &str, value: Dynamic| dfks.write(field, &value));
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
