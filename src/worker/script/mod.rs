//! The route script: a Rhai file, compiled once, run for each get and set in a sandbox. No I/O but reading that file and its data.
//!
//! The sandbox bounds operations, processor time, call depth and every size; there is no `eval`, `import`, `sleep` or file
//! access. No state survives a run, so statements outside of functions run each time: put a table of tenants into a `switch`,
//! which is compiled once.

pub(crate) mod call;
mod data;
mod error;
mod handle;
pub(crate) mod live;
mod names;
mod said;
mod wall;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rhai::packages::{Package, StandardPackage};
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Position, Scope};

use crate::bus::service::reason_text;
use crate::config::RoutesConfig;
use crate::runtime::clock;
use crate::runtime::zone::Zone;
use crate::worker::route::Route;
use crate::worker::script::call::{Call, FieldError, Verdict};
use crate::worker::script::data::Data;
use crate::worker::script::error::MAX_SCRIPT_BYTES;
pub use crate::worker::script::error::{RouteError, ScriptError};
use crate::worker::script::handle::Dfks;
use crate::worker::script::said::{Line, say};

/// Longest run of a route, in processor time, so that waiting for a processor does not count.
pub(crate) const DEADLINE: Duration = Duration::from_millis(50);
/// Most stack that a run may take. The threads of the runtime have 2 MiB, of which a run never sees the start.
///
/// Limits on call and expression depth do not bound it well: stack use per level differs widely between builds.
const MAX_STACK_BYTES: usize = 1 << 20;
const MAX_OPERATIONS: u64 = 100_000;
const MAX_CALL_DEPTH: usize = 32;
const MAX_EXPRESSION_DEPTH: usize = 64;
const MAX_STRING_BYTES: usize = 8 << 10;
const MAX_ELEMENTS: usize = 1024;
const MAX_VARIABLES: usize = 256;
/// The clock is read once in so many operations.
const OPERATIONS_PER_CLOCK_READ: u64 = 64;

thread_local! {
    /// The bounds of the run on this thread. A run never leaves its thread.
    static BOUNDS: Cell<Option<Bounds>> = const { Cell::new(None) };
}

/// At which processor time of its thread a run must end, and where on the stack it began.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    ends_at: Duration,
    stack_start: usize,
}

impl Bounds {
    /// Of a run that begins here, at this processor time of its thread.
    fn from_here(began_at: Duration) -> Self {
        Self { ends_at: began_at + DEADLINE, stack_start: stack_address() }
    }

    /// Why the run must end, after so many operations.
    fn exceeded(self, operations: u64) -> Option<String> {
        if self.stack_start.abs_diff(stack_address()) > MAX_STACK_BYTES {
            return Some("nested too deeply".to_owned());
        }
        let is_late = operations.is_multiple_of(OPERATIONS_PER_CLOCK_READ) && clock::thread_cpu() >= self.ends_at;
        is_late.then(|| format!("took longer than {} ms", DEADLINE.as_millis()))
    }
}

/// Where the stack is now, near enough.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

/// A compiled route script.
#[derive(Debug)]
pub struct Script {
    engine: Engine,
    ast: AST,
    get: Option<Box<str>>,
    set: Option<Box<str>>,
    warnings: Vec<String>,
}

impl Script {
    /// Reads and compiles the script of `config`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`]: `dfks check` and `dfks run` end with 78, a reload keeps the script that is there.
    pub fn load(config: &RoutesConfig) -> Result<Self, ScriptError> {
        let path = &config.script;
        let bytes = std::fs::read(path).map_err(|source| ScriptError::Read { path: path.clone(), source })?;
        if bytes.len() > MAX_SCRIPT_BYTES {
            return Err(ScriptError::TooLarge { path: path.clone(), bytes: bytes.len() });
        }
        Self::compile(config, &String::from_utf8_lossy(&bytes))
    }

    /// Compiles `text`, with the data of `config`; `config.script` stands in errors.
    ///
    /// # Errors
    ///
    /// [`ScriptError`].
    pub(crate) fn compile(config: &RoutesConfig, text: &str) -> Result<Self, ScriptError> {
        let unknown = || ScriptError::Zone { name: config.time_zone.clone() };
        let zone = Zone::find(&config.time_zone).ok_or_else(unknown)?;
        let engine = sandbox(zone, Data::load(&config.data)?);
        let ast = engine.compile(text).map_err(|e| ScriptError::Compile {
            path: config.script.clone(),
            line: e.position().line().unwrap_or(0),
            message: e.err_type().to_string(),
        })?;
        let get = find_route(&ast, &config.get_route, &config.script)?;
        let set = find_route(&ast, &config.set_route, &config.script)?;
        let warnings = names::check(&ast, config)?;
        Ok(Self { engine, ast, get, set, warnings })
    }

    /// What the script lacks and was hardly meant to.
    #[must_use]
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the script has this route; without it there is nothing to run.
    #[must_use]
    pub(crate) fn has(&self, route: Route) -> bool {
        self.function(route).is_some()
    }

    /// Runs a route, for its deadline at most. Without that route in the script it changes nothing.
    ///
    /// # Errors
    ///
    /// [`RouteError`], which names function, line and field.
    pub fn run(&self, route: Route, call: Call) -> Result<Verdict, RouteError> {
        self.run_at(route, call, clock::thread_cpu())
    }

    /// As [`run`](Self::run), from this processor time of the thread on.
    fn run_at(&self, route: Route, call: Call, began_at: Duration) -> Result<Verdict, RouteError> {
        let Some(function) = self.function(route) else { return Ok(Verdict::default()) };
        let dfks = Dfks::new(call);
        let options = CallFnOptions::new().with_tag(dfks.clone());
        BOUNDS.set(Some(Bounds::from_here(began_at)));
        let outcome = self.engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), &self.ast, function, (dfks.clone(),));
        BOUNDS.set(None);
        match outcome {
            Ok(_unused) => Ok(dfks.verdict()),
            Err(error) => Err(route_error(function, &error)),
        }
    }

    /// As [`run`](Self::run), and what the script says meanwhile, which is not logged.
    ///
    /// # Errors
    ///
    /// [`RouteError`].
    pub(crate) fn rehearse(&self, route: Route, call: Call) -> (Result<Verdict, RouteError>, Vec<String>) {
        said::keep(|| self.run(route, call))
    }

    fn function(&self, route: Route) -> Option<&str> {
        match route {
            Route::Get => self.get.as_deref(),
            Route::Set => self.set.as_deref(),
        }
    }
}

fn find_route(ast: &AST, name: &str, path: &Path) -> Result<Option<Box<str>>, ScriptError> {
    let mut parameters = ast.iter_functions().filter(|f| f.name == name).map(|f| f.params.len()).peekable();
    if parameters.peek().is_none() {
        return Ok(None);
    }
    if parameters.any(|count| count == 1) {
        Ok(Some(name.into()))
    } else {
        Err(ScriptError::Parameters { path: path.to_owned(), function: name.to_owned() })
    }
}

fn sandbox(zone: Zone, data: Option<Data>) -> Engine {
    // Raw: no module resolver that reads files, no printing to stdout.
    let mut engine = Engine::new_raw();
    StandardPackage::new().register_into_engine(&mut engine);
    engine
        .disable_symbol("eval")
        .disable_symbol("import")
        .set_max_operations(MAX_OPERATIONS)
        .set_max_call_levels(MAX_CALL_DEPTH)
        .set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH)
        .set_max_string_size(MAX_STRING_BYTES)
        .set_max_array_size(MAX_ELEMENTS)
        .set_max_map_size(MAX_ELEMENTS)
        .set_max_variables(MAX_VARIABLES)
        .set_max_modules(0)
        .on_progress(|operations| BOUNDS.get()?.exceeded(operations).map(Dynamic::from));
    let no_sleep = "sleep() is not available in a route";
    engine.register_fn("sleep", move |_: i64| -> Result<(), Box<EvalAltResult>> { Err(no_sleep.into()) });
    engine.register_fn("sleep", move |_: f64| -> Result<(), Box<EvalAltResult>> { Err(no_sleep.into()) });
    engine.on_print(|text| say(Line::Print, text));
    engine.on_debug(|text, _, _| say(Line::Debug, text));
    handle::register(&mut engine);
    wall::register(&mut engine, zone);
    data::register(&mut engine, data);
    engine
}

/// The innermost error, with the line where it stands.
fn route_error(function: &str, error: &EvalAltResult) -> RouteError {
    let innermost = error.unwrap_inner();
    let position = match innermost.position() {
        Position::NONE => error.position(),
        position => position,
    };
    let mut field = None;
    let message = match innermost {
        EvalAltResult::ErrorRuntime(thrown, _) => match thrown.read_lock::<FieldError>() {
            Some(misuse) => {
                field = Some(misuse.field.clone());
                misuse.to_string()
            }
            None => format!("thrown: {thrown}"),
        },
        EvalAltResult::ErrorVariableNotFound(name, _) if name == data::NAME => "there is no data: routes.data is empty".to_owned(),
        EvalAltResult::ErrorTerminated(why, _) => why.to_string(),
        EvalAltResult::ErrorStackOverflow(_) => format!("nested too deeply: more than {MAX_CALL_DEPTH} calls"),
        EvalAltResult::ErrorTooManyOperations(_) => format!("more than {MAX_OPERATIONS} operations"),
        other => {
            let mut other = other.to_string();
            // Rhai appends the position, which we name ourselves.
            if let Some(at) = other.rfind(" (line ") {
                other.truncate(at);
            }
            other
        }
    };
    RouteError { function: function.to_owned(), line: position.line().unwrap_or(0), field, message: reason_text(&message) }
}

#[cfg(test)]
mod tests;
