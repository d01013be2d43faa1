//! What happened to a presentity, as a list: the newest first. Pure but for the clock of whoever reads it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::bus::history::History;

/// Most events that are shown.
const MOST_SHOWN: usize = 200;

/// `{"since":"…","events":[…]}`
pub(super) fn listed(history: &History) -> Value {
    let mut events: Vec<Value> = Vec::new();
    add(&mut events, &history.subscriptions);
    add(&mut events, &history.changes);
    add(&mut events, &history.notifies);
    add(&mut events, &history.refused);
    let time = |event: &Value| event.get("time").and_then(Value::as_str).unwrap_or_default().to_owned();
    events.sort_by_cached_key(|event| std::cmp::Reverse(time(event)));
    let is_cut = events.len() > MOST_SHOWN;
    events.truncate(MOST_SHOWN);
    json!({ "since": history.since, "events": events, "is_cut": is_cut })
}

fn add(events: &mut Vec<Value>, more: &[impl Serialize]) {
    events.extend(more.iter().filter_map(|event| serde_json::to_value(event).ok()));
}
