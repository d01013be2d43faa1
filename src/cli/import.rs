//! `dfks import`: stores the states of an export again. Read and checked as a whole before anything is written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;

use super::args::ImportArgs;
use super::exit::Failure;
use super::lines::Lines;
use super::load::load;
use super::output::{complain, print, print_json, printable, state_line};
use super::reach::{Nats, Whom};
use super::role::start::table;
use crate::bus::feature_record::{Duty, FeatureRecord};
use crate::bus::message::{FeatureChange, FeatureEvent, GetResponse, Origin};
use crate::bus::poll::{self, PollLimits};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, new_id};
use crate::feature::{FeatureState, FeatureTable, Presentity, merge};
use crate::runtime::clock;
use crate::worker::store::{MAX_ATTEMPTS, Store};

/// Presentities that are written at a time.
const MAX_IN_FLIGHT: usize = 64;
/// Invalid lines that are named; of the rest only the number is said.
const MAX_NAMED: usize = 20;
/// Who asks, in the events.
const ACTOR: &str = "dfks import";
/// Versions that phones were told, by presentity and feature.
type Told = HashMap<(String, String), u64>;

/// Runs the command.
pub(super) async fn import(args: ImportArgs) -> Result<(), Failure> {
    let table = match &args.client.config.config {
        Some(_) => Arc::unwrap_or_clone(table(&load(&args.client.config)?)?),
        None => FeatureTable::built_in(),
    };
    let wanted = read(Lines::open(&args.file)?, &table)?;
    let nats = Nats::connect(&args.client).await?;
    let store = Store::new(nats.bus().clone());
    let told = if args.check { Told::new() } else { told(&nats, &args).await };
    let importer = Arc::new(Importer { nats, store, told, is_check: args.check });
    let mut done = futures_util::stream::iter(wanted)
        .map(|(presentity, states)| {
            let importer = Arc::clone(&importer);
            async move {
                let subject = importer.nats.bus().subjects().feature_key(&presentity);
                let written = importer.nats.permitted(&subject, Whom::Store, Box::pin(importer.write(&presentity, &states))).await;
                written.and_then(|written| written).map(|states| (presentity, states))
            }
        })
        .buffered(MAX_IN_FLIGHT);
    let (mut presentities, mut changed, mut same) = (0_u64, 0_u64, 0_u64);
    while let Some(written) = done.next().await {
        let (presentity, written) = written?;
        same += written.same;
        if written.states.is_empty() {
            continue;
        }
        presentities += 1;
        for state in &written.states {
            changed += 1;
            if args.client.json {
                print_json(&json!({ "presentity": presentity.as_str(), "state": state, "written": !args.check }))?;
            } else {
                print(&format!("{}  {}\n", printable(presentity.as_str()), state_line(state)))?;
            }
        }
    }
    let what = if args.check { "would be written" } else { "written" };
    complain(&format!("dfks: {changed} states of {presentities} presentities {what}, {same} are as they were"));
    drop(done);
    importer.nats.bus().flush().await;
    Ok(())
}

/// What a file says, all of it checked.
fn read(mut lines: Lines, table: &FeatureTable) -> Result<BTreeMap<Presentity, Vec<FeatureState>>, Failure> {
    let (mut all, mut at, mut invalid) = (BTreeMap::new(), HashMap::new(), 0_usize);
    while let Some((number, text)) = lines.next()? {
        let line = read_line(&text, table).and_then(|(presentity, states)| match at.insert(presentity.clone(), number) {
            Some(before) => Err(format!("{} was on line {before} already", printable(presentity.as_str()))),
            None => Ok((presentity, states)),
        });
        match line {
            Ok((presentity, states)) => drop(all.insert(presentity, states)),
            Err(why) => {
                invalid += 1;
                if invalid <= MAX_NAMED {
                    complain(&format!("dfks: {} line {number}: {why}", lines.name()));
                }
            }
        }
    }
    match invalid {
        0 => Ok(all),
        1 => Err(Failure::Refused("1 line is invalid: nothing was written".to_owned())),
        invalid => Err(Failure::Refused(format!("{invalid} lines are invalid: nothing was written"))),
    }
}

fn read_line(text: &str, table: &FeatureTable) -> Result<(Presentity, Vec<FeatureState>), String> {
    let line: GetResponse = serde_json::from_str(text).map_err(|error| printable(&format!("no line of an export: {error}")))?;
    let presentity = Presentity::parse(&line.presentity).map_err(|error| error.to_string())?;
    for state in &line.features {
        let spec = table.require(&state.feature).map_err(|error| format!("{error} (features of your own: --config)"))?;
        let merged = merge(spec, &spec.default_state(), Some(state.status), &state.values).map_err(|error| error.to_string())?;
        if let Some(until) = state.until.as_deref().filter(|until| clock::parse_rfc3339(until).is_none()) {
            return Err(format!("{}: invalid until '{}': expected a time of RFC 3339", state.feature, printable(until)));
        }
        if merged.status != state.status {
            return Err(format!("{}: its status is not that of its values", state.feature));
        }
    }
    Ok((presentity, line.features))
}

/// What phones were told last, so that nothing is stored under a version that they count as old. Nobody answers: nothing is known.
async fn told(nats: &Nats, args: &ImportArgs) -> Told {
    let limits = PollLimits { timeout: args.client.timeout(), total: std::time::Duration::MAX, watchers: usize::MAX };
    let Ok(poll) = poll::watchers(nats.bus(), None, limits).await else { return Told::new() };
    let mut told = Told::new();
    for watcher in poll.edges.into_values().flatten() {
        for (feature, version) in watcher.versions {
            let known = told.entry((watcher.presentity.clone(), feature)).or_insert(0);
            *known = version.max(*known);
        }
    }
    told
}

struct Importer {
    nats: Nats,
    store: Store,
    told: Told,
    is_check: bool,
}

/// What became of the states of a presentity.
struct Written {
    /// Those that were written, or would be.
    states: Vec<FeatureState>,
    /// How many were so already.
    same: u64,
}

impl Importer {
    async fn write(&self, presentity: &Presentity, states: &[FeatureState]) -> Result<Written, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::NobodyAnswered(format!("{}: {error}", presentity.as_str()));
        let (request, cause) = (new_id(), Cause::new());
        for attempt in 0..MAX_ATTEMPTS {
            let stored = self.store.read_latest(presentity).await.map_err(|error| failed(&error))?;
            if stored.record.is_changed_by(&request) {
                return Ok(Written { states: states.to_vec(), same: 0 });
            }
            let (changes, same) = self.changes(presentity, &stored.record, states);
            let written = Written { states: changes.iter().map(|(_, new)| new.clone()).collect(), same };
            if self.is_check || changes.is_empty() {
                return Ok(written);
            }
            let mut record = stored.record;
            for (_, new) in &changes {
                record.put(new);
            }
            let features: Vec<String> = changes.iter().map(|(_, new)| new.feature.clone()).collect();
            let now = self.store.utc_now();
            let duty = Duty {
                features: features.clone(),
                assigned: changes.first().is_none_or(|(_, new)| new.assigned),
                skip: None,
                request: request.as_str().into(),
                cause: cause.clone(),
                actor: Some(ACTOR.into()),
                at: clock::rfc3339(now),
                learnt: Vec::new(),
            };
            record.put_change(&request, stored.revision, &features, Some(duty), now);
            match self.store.write(presentity, &record, stored.revision, &cause).await {
                Ok(true) => {
                    self.publish(presentity, &changes, &cause);
                    return Ok(written);
                }
                Ok(false) => self.store.pause(attempt).await,
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(Failure::Refused(format!("{}: its record changed again and again meanwhile", presentity.as_str())))
    }

    /// What differs, before and after, and how many do not.
    fn changes(
        &self,
        presentity: &Presentity,
        record: &FeatureRecord,
        states: &[FeatureState],
    ) -> (Vec<(FeatureState, FeatureState)>, u64) {
        let (mut changes, mut same) = (Vec::new(), 0);
        for state in states {
            let before = record.stored(&state.feature).unwrap_or_else(|| FeatureState::new(&state.feature));
            if before.version > 0 && before.shows_same_as(state) {
                same += 1;
                continue;
            }
            let told = self.told.get(&(presentity.as_str().to_owned(), state.feature.clone())).copied().unwrap_or(0);
            let version = state.version.max((before.version + 1).max(told + 1));
            changes.push((before, FeatureState { version, source: crate::feature::Source::Store, notify: true, ..state.clone() }));
        }
        (changes, same)
    }

    fn publish(&self, presentity: &Presentity, changes: &[(FeatureState, FeatureState)], cause: &Cause) {
        let bus = self.nats.bus();
        for (old, new) in changes {
            let change = FeatureChange { presentity: presentity.as_str(), old, new, origin: Origin::Mi, actor: Some(ACTOR), asked: None };
            let event = FeatureEvent::new(new_id(), clock::utc_now(), cause.clone(), change);
            bus.publish_event(Pattern::EventFeature, bus.subjects().event_feature(presentity, &new.feature), &event, cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_export_is_checked_as_a_command_is() {
        let table = FeatureTable::built_in();
        for (line, want) in [
            (r#"{"presentity":"SIPS:alice@H","features":[{"feature":"DoNotDisturb","status":1,"version":7}]}"#, Ok("sip:alice@h")),
            (r#"{"presentity":"sip:a@h","features":[]}"#, Ok("sip:a@h")),
            (r#"{"presentity":"sip:a@h"}"#, Err("no line of an export: missing field `features`")),
            (r#"{"presentity":"nobody","features":[]}"#, Err("a presentity is")),
            (r#"{"presentity":"sip:a@h","features":[{"feature":"Foo","status":1}]}"#, Err("unknown feature 'Foo'")),
            (
                r#"{"presentity":"sip:a@h","features":[{"feature":"CallForwardingNoAnswer","status":1,"values":{"ringCount":"400"}}]}"#,
                Err("invalid ringCount '400'"),
            ),
            ("nonsense", Err("no line of an export")),
        ] {
            match (read_line(line, &table), want) {
                (Ok((presentity, _)), Ok(want)) => assert_eq!(presentity.as_str(), want),
                (Err(why), Err(want)) => assert!(why.starts_with(want), "{why}"),
                (got, want) => panic!("{line}: {got:?}, {want:?}"),
            }
        }
    }
}
