//! `dfks route`: runs a route dry, with no bus, and prints what it did.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::exit::Failure;
use super::load::load_config;
use super::output::{complain, print, print_json, printable, state_line};
use super::paint::{Paint, Style};
use super::role::start::table;
use super::route_args::{RouteCommand, RouteGetArgs, RouteSetArgs, RunOfRouteArgs};
use super::words::{Press, Switch};
use crate::bus::feature_record::FeatureRecord;
use crate::bus::message::Origin;
use crate::config::RouteData;
use crate::feature::{FeatureState, FeatureTable, Presentity, Status};
use crate::runtime::clock;
use crate::runtime::zone::Zone;
use crate::worker::change::Change;
use crate::worker::rehearsal::{Asked, Outcome, Rehearsal, Seen};
use crate::worker::{Route, Script};

/// What is printed of a run.
#[derive(Debug, Serialize)]
struct Report<'a> {
    route: &'static str,
    presentity: &'a str,
    /// RFC 3339 UTC.
    at: String,
    /// What a clock on the wall shows then, and where.
    clock: &'a str,
    #[serde(flatten)]
    seen: &'a Seen,
    log: &'a [String],
}

/// A rehearsal, and how it is shown.
struct Stage {
    rehearsal: Rehearsal,
    /// What a clock on the wall shows.
    at: String,
    is_json: bool,
}

/// Runs the route, and fails where it fails.
pub(super) fn route(command: RouteCommand) -> Result<(), Failure> {
    match command {
        RouteCommand::Get(args) => get(args),
        RouteCommand::Set(args) => set(args),
    }
}

fn get(args: RouteGetArgs) -> Result<(), Failure> {
    let stage = Stage::set(&args.presentity, args.run)?;
    stage.warn_without(Route::Get);
    let table = &stage.rehearsal.table;
    let specs: Vec<_> = if args.features.is_empty() {
        table.iter().collect()
    } else {
        args.features.iter().map(|feature| table.require(feature)).collect::<Result<_, _>>().map_err(refused)?
    };
    for spec in specs {
        stage.show(Route::Get, stage.rehearsal.get(spec))?;
    }
    Ok(())
}

fn set(args: RouteSetArgs) -> Result<(), Failure> {
    let origin = args.origin.unwrap_or(if args.watcher.is_some() { Origin::Phone } else { Origin::Mi });
    if args.param.is_some() && origin != Origin::Mi {
        return Err(Failure::Usage("--param is of commands: a phone has none".to_owned()));
    }
    if args.watcher.is_some() && origin != Origin::Phone {
        return Err(Failure::Usage("--watcher is of phones: a command has none".to_owned()));
    }
    let stage = Stage::set(&args.presentity, args.run)?;
    stage.warn_without(Route::Set);
    let spec = stage.rehearsal.table.require(&args.feature).map_err(refused)?;
    let change = Change::requested(Status(args.status == Switch::On), args.values.into_iter().collect());
    let asked = Asked { change, origin, param: args.param.as_deref(), watcher: args.watcher.as_deref() };
    stage.show(Route::Set, stage.rehearsal.set(spec, asked).map_err(refused)?)
}

impl Stage {
    fn set(presentity: &str, args: RunOfRouteArgs) -> Result<Self, Failure> {
        let config = load_config(&args.config)?;
        let table = table(&config)?;
        let mut routes = config.routes;
        if let Some(script) = args.script {
            routes.script = script;
        }
        if let Some(data) = args.data {
            routes.data = RouteData::File(data);
        }
        if let Some(zone) = args.time_zone {
            routes.time_zone = zone;
        }
        if routes.script == Path::new("") {
            return Err(Failure::Usage("no script: expected --script FILE, or --config FILE whose routes.script names one".to_owned()));
        }
        let zone = Zone::find(&routes.time_zone)
            .ok_or_else(|| Failure::Usage(format!("no time zone '{}': expected an IANA name, e.g. Europe/Berlin", routes.time_zone)))?;
        let now = clock::utc_now();
        let at = match &args.at {
            None => now,
            Some(text) => zone.parse(text, now).ok_or_else(|| {
                Failure::Usage(format!("no time '{text}': expected e.g. 2026-12-24T18:30:00+01:00, '2026-12-24 18:30' or 18:30"))
            })?,
        };
        let presentity = Presentity::parse(presentity).map_err(refused)?;
        let record = stored(&table, &presentity, args.old)?;
        let script = Script::load(&routes).map_err(refused)?;
        let shown = zone.wall_clock(at).to_string();
        Ok(Self { rehearsal: Rehearsal { script, table, presentity, record, at }, at: shown, is_json: args.json })
    }

    /// Says that the script has no such route, and what else it was hardly meant to be.
    fn warn_without(&self, route: Route) {
        let script = &self.rehearsal.script;
        for warning in script.warnings() {
            complain(&format!("dfks: warning: {}", printable(warning)));
        }
        if !script.has(route) && script.warnings().is_empty() {
            complain(&format!("dfks: warning: the script has no {} route: nothing runs", route.as_str()));
        }
    }

    fn show(&self, route: Route, (outcome, log): Outcome) -> Result<(), Failure> {
        let presentity = self.rehearsal.presentity.as_str();
        match outcome {
            Ok(seen) if self.is_json => print_json(&Report {
                route: route.as_str(),
                presentity,
                at: clock::rfc3339(self.rehearsal.at),
                clock: &self.at,
                seen: &seen,
                log: &log,
            }),
            Ok(seen) => print(&self.text(&seen, &log, Paint::of_stdout())),
            Err(error) => {
                if !self.is_json {
                    print(&said(&log))?;
                }
                Err(refused(error))
            }
        }
    }

    fn text(&self, seen: &Seen, log: &[String], paint: Paint) -> String {
        let presentity = paint.text(Style::Bold, &printable(self.rehearsal.presentity.as_str()));
        let mut text = format!("{presentity} at {}\n", self.at);
        let mut line = |word: &str, rest: &str| {
            let _infallible = writeln!(text, "  {word:7}  {rest}");
        };
        line("before", &state_line(&seen.before));
        if let Some(requested) = &seen.requested {
            line("asked", &state_line(requested));
        }
        line("after", &state_line(&seen.after));
        if let Some(why) = &seen.denied {
            line("denied", &paint.text(Style::Bad, &printable(why)));
        }
        if !seen.notify {
            line("notify", "suppressed");
        }
        for also in &seen.also {
            line("also", &state_line(also));
        }
        text.push_str(&said(log));
        text
    }
}

fn said(log: &[String]) -> String {
    log.iter().fold(String::new(), |text, line| format!("{text}  {:7}  {}\n", "log", printable(line)))
}

/// What `--old` says is stored.
fn stored(table: &FeatureTable, presentity: &Presentity, old: Vec<Press>) -> Result<FeatureRecord, Failure> {
    let mut record = FeatureRecord::new(presentity);
    for Press { feature, is_on, values } in old {
        let spec = table.require(&feature).map_err(refused)?;
        let state = Change::requested(Status(is_on), values).apply(spec, &spec.default_state()).map_err(refused)?;
        record.put(&FeatureState { assigned: true, version: 1, ..state });
    }
    Ok(record)
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}
