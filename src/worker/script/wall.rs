//! `now()` in a script: what a clock on the wall shows, in the zone of the configuration or in another. Pure.

use std::time::SystemTime;

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext};

use crate::runtime::zone::{WallClock, Zone};
use crate::worker::script::call::{FieldError, ScriptResult};
use crate::worker::script::handle::current;

const FIELDS: &str = "year, month, day, hour, minute, weekday, date";

/// Makes `now()` known to `engine`; without the name of a zone it is of `zone`.
///
/// It shows the same in a whole run, however long that takes.
pub(super) fn register(engine: &mut Engine, zone: Zone) {
    engine.register_type_with_name::<WallClock>("now()");
    engine.register_indexer_get(|clock: &mut WallClock, field: &str| -> ScriptResult<Dynamic> { Ok(read(clock, field)?) });
    engine.register_indexer_set(|_: &mut WallClock, field: &str, _: Dynamic| -> ScriptResult<()> {
        Err(FieldError::function("now", &format!("is read-only: {field} cannot be written")).into())
    });
    engine.register_fn("to_string", |clock: &mut WallClock| clock.to_string());
    engine.register_fn("to_debug", |clock: &mut WallClock| clock.to_string());
    engine.register_fn("now", move |context: NativeCallContext| -> ScriptResult<WallClock> { Ok(zone.wall_clock(moment(&context)?)) });
    engine.register_fn("now", |context: NativeCallContext, name: &str| -> ScriptResult<WallClock> {
        let unknown = || FieldError::function("now", &format!("takes an IANA time zone, e.g. \"Europe/Berlin\", not \"{name}\""));
        Ok(Zone::find(name).ok_or_else(unknown)?.wall_clock(moment(&context)?))
    });
}

/// The moment of the run.
fn moment(context: &NativeCallContext<'_>) -> Result<SystemTime, Box<EvalAltResult>> {
    Ok(current(context, "now")?.moment())
}

fn read(clock: &WallClock, field: &str) -> Result<Dynamic, FieldError> {
    Ok(match field {
        "year" => clock.year().into(),
        "month" => clock.month().into(),
        "day" => clock.day().into(),
        "hour" => clock.hour().into(),
        "minute" => clock.minute().into(),
        "weekday" => clock.weekday().into(),
        "date" => clock.date().into(),
        _ => return Err(FieldError::function("now", &format!("has no {field}: expected {FIELDS}"))),
    })
}
