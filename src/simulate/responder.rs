//! A responder that owns a feature: it takes what is set, answers what it has, and changes some of it without a word.

use std::time::Duration;

use futures_util::StreamExt;

use crate::bus::Bus;
use crate::bus::message::{Kind, ResponderGetRequest, ResponderSetRequest, ResponderState};
use crate::feature::{Presentity, Status, Values};
use crate::simulate::ledger::target;
use crate::simulate::world::World;

/// The feature that it owns.
pub(crate) const FEATURE: &str = "CallForwardingBusy";
/// Between two changes of its own: shortest and longest.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(2));

/// Answers for as long as its process lives. It changes something by itself until then.
pub(crate) async fn run(world: World, bus: Bus, until: Duration) {
    let Ok(anybody) = Presentity::parse("sip:anybody@example.com") else { return };
    let (get, set) = (bus.subjects().responder_get(&anybody, FEATURE), bus.subjects().responder_set(&anybody, FEATURE));
    let client = bus.client();
    let group = "crm".to_owned();
    let (Ok(mut gets), Ok(mut sets)) = (client.queue_subscribe(get, group.clone()).await, client.queue_subscribe(set, group).await) else {
        return;
    };
    loop {
        let wait = world.state().between(BETWEEN.0, BETWEEN.1);
        tokio::select! {
            biased;
            asked = gets.next() => {
                let Some(asked) = asked else { return };
                let Ok(request) = serde_json::from_slice::<ResponderGetRequest>(&asked.payload) else { continue };
                let (status, values) = world.state().books.get(&request.presentity).cloned().unwrap_or_default();
                answer(&bus, asked.reply, status, values).await;
            }
            asked = sets.next() => {
                let Some(asked) = asked else { return };
                let Ok(request) = serde_json::from_slice::<ResponderSetRequest>(&asked.payload) else { continue };
                keep(&world, &request);
                answer(&bus, asked.reply, request.status, request.values).await;
            }
            () = tokio::time::sleep(wait) => change(&world, until),
        }
    }
}

/// Somebody changes what it has, by other ways than ours.
fn change(world: &World, until: Duration) {
    let mut state = world.state();
    let (number, count) = (state.number() % 1_000_000_000, state.books.len());
    let at = state.pick(count);
    if state.now < until
        && let Some((_, kept)) = state.books.iter_mut().nth(at)
    {
        let target = target(number);
        *kept = (Status(true), Values::from([("forwardTo".to_owned(), target.clone())]));
        state.ledger.said.insert(target);
    }
}

/// Takes in what was set.
fn keep(world: &World, request: &ResponderSetRequest) {
    let mut state = world.state();
    state.ledger.said.extend(request.values.values().cloned());
    state.books.insert(request.presentity.clone(), (request.status, request.values.clone()));
}

async fn answer(bus: &Bus, to: Option<async_nats::Subject>, status: Status, values: Values) {
    let state = ResponderState { kind: Kind::default(), status: Some(status), values, assigned: None, notify: None, also: Vec::new() };
    if let (Some(to), Ok(payload)) = (to, serde_json::to_vec(&state)) {
        let _lost = bus.client().publish(to, payload.into()).await;
    }
}
