//! One run: a deployment, its phones and services, and what breaks, all of one seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::feature::Presentity;
use crate::simulate::deployment::{Deployment, Size};
use crate::simulate::event::Event;
use crate::simulate::fault::{Fault, Incident, plan};
use crate::simulate::ladder::ladder;
use crate::simulate::phone::{Act, Identity, Phone, Route};
use crate::simulate::service;
use crate::simulate::story::{Story, phone_name};
use crate::simulate::world::World;

/// Of so long a run, the last part is for things to settle: nothing breaks, and nobody presses a key.
const SETTLES_FOR: Duration = Duration::from_mins(3);
/// Before its end one more change of everybody is made.
const LAST_CHANGE_BEFORE_END: Duration = Duration::from_mins(1);

/// Which run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) lasts: Duration,
    /// Only these incidents, by their place in the plan of the seed.
    pub(crate) only: Option<Vec<usize>>,
    pub(crate) telling: Telling,
}

/// What is told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    /// What led to the first thing that was broken.
    Ladder,
    All,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) broken: Vec<String>,
    /// The same in every run of the seed.
    pub(crate) digest: String,
    pub(crate) events: u64,
    pub(crate) seconds: u64,
    pub(crate) incidents: BTreeMap<String, u32>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// Incidents of the plan, as text.
    pub(crate) plan: Vec<String>,
    #[serde(skip)]
    pub(crate) story: Vec<String>,
}

/// Runs a plan, on a runtime whose clock is paused.
pub(crate) async fn run(plan: Plan) -> Outcome {
    let world = World::new(plan.seed, if plan.telling == Telling::Nothing { Story::default() } else { Story::told() });
    let size = size(&world);
    let working_until = plan.lasts.saturating_sub(SETTLES_FOR);
    let deployment = Deployment::new(&world, size, working_until);
    let (machines, edges) = (deployment.machines(), deployment.edges());
    let incidents = incidents(&plan, &machines, size, working_until);
    for incident in &incidents {
        let mut state = world.state();
        state.at(incident.at, Event::Fault(Fault { incident: *incident, is_end: false }));
        state.at(incident.at + incident.lasts, Event::Fault(Fault { incident: *incident, is_end: true }));
    }
    let presentities = phones(&world, &edges, working_until);
    let _until_the_end = crate::runtime::tasks::spawn_owned(deployment.run());
    service::start(&world, &presentities, 3, working_until, plan.lasts.saturating_sub(LAST_CHANGE_BEFORE_END));
    world.run(plan.lasts).await;
    let mut state = world.state();
    state.check();
    outcome(&plan, &state, &incidents)
}

fn incidents(plan_: &Plan, machines: &[&'static str], size: Size, until: Duration) -> Vec<Incident> {
    let all = plan(plan_.seed, machines, size.replicas > 1, until);
    let is_chosen = |at: &usize| plan_.only.as_ref().is_none_or(|only| only.contains(at));
    all.into_iter().enumerate().filter(|(at, _)| is_chosen(at)).map(|(_, incident)| incident).collect()
}

fn size(world: &World) -> Size {
    let mut state = world.state();
    let is_together = state.chance(0.25);
    Size {
        edges: 1 + state.pick(3),
        workers: 1 + state.pick(2),
        bridges: 1 + state.pick(2),
        has_responder: state.chance(0.5),
        is_together,
        replicas: if state.chance(0.5) { 3 } else { 1 },
    }
}

/// Phones and what their users will do; the presentities that they watch.
fn phones(world: &World, edges: &[SocketAddr], until: Duration) -> Arc<[Presentity]> {
    let mut state = world.state();
    let count = 2 + state.pick(5);
    let presentities: Vec<_> = (0..count).filter_map(|number| Presentity::parse(&format!("sip:user{number}@example.com")).ok()).collect();
    state.presentities = presentities.len();
    let moment = world.time().instant(Duration::ZERO);
    for number in 0..count * 2 + state.pick(4) {
        let Some(presentity) = presentities.get(number % presentities.len().max(1)) else { continue };
        let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
        let route = [Route::Sticky, Route::Target, Route::Any].get(state.pick(3)).copied().unwrap_or(Route::Sticky);
        let identity = Identity {
            address: SocketAddr::from((IpAddr::V4(Ipv4Addr::new(10, 1, 0, last)), 5060)),
            presentity: presentity.clone(),
            route,
            expires_seconds: [60, 90, 180, 600].get(state.pick(4)).copied().unwrap_or(60),
            seed: state.number(),
        };
        state.story.name_host(identity.address.ip(), phone_name(number));
        state.phones.push(Phone::new(identity, edges.to_vec(), moment));
        let first = state.between(Duration::from_secs(3), Duration::from_secs(20));
        state.at(first, Event::Phone(number, Act::Subscribe));
        let mut at = first + state.between(Duration::from_secs(1), Duration::from_secs(30));
        while at < until {
            let act = act(&mut state);
            state.at(at, Event::Phone(number, act));
            at += state.between(Duration::from_millis(200), Duration::from_mins(1));
        }
    }
    drop(state);
    presentities.into()
}

fn act(state: &mut crate::simulate::world::State) -> Act {
    match state.pick(20) {
        0 => Act::Leave,
        1 => Act::PowerCut(state.between(Duration::from_secs(1), Duration::from_secs(40))),
        2..=11 => Act::Press(state.chance(0.5)),
        _ => Act::Forward(state.number() % 1_000_000_000),
    }
}

fn outcome(plan: &Plan, state: &crate::simulate::world::State, incidents: &[Incident]) -> Outcome {
    let ledger = &state.ledger;
    let counts = [
        ("changes", u64::try_from(ledger.history.changes()).unwrap_or_default()),
        ("commands", u64::try_from(ledger.commands.len()).unwrap_or_default()),
        ("answered", u64::try_from(ledger.commands.values().filter(|command| command.answered.is_some()).count()).unwrap_or_default()),
        ("dialogs", u64::try_from(ledger.sip.dialogs()).unwrap_or_default()),
        ("granted", ledger.granted),
        ("moved", ledger.sip.moved),
        ("notifies", ledger.sip.first),
        ("notifies_again", ledger.sip.again),
        ("notifies_stale", ledger.sip.stale),
        ("notifies_overtaken", ledger.sip.overtaken),
        ("shown", ledger.taken),
        ("ended", ledger.ended.into()),
    ];
    Outcome {
        seed: plan.seed,
        broken: ledger.all_broken().iter().map(ToString::to_string).collect(),
        digest: format!("{:016x}", state.digest()),
        events: state.handled(),
        seconds: plan.lasts.as_secs(),
        incidents: ledger.incidents.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect(),
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        plan: incidents.iter().map(ToString::to_string).collect(),
        story: match (plan.telling, ledger.all_broken().first()) {
            (Telling::Ladder, Some(broken)) => ladder(state.story.steps(), broken),
            (Telling::Ladder, None) | (Telling::Nothing, _) => Vec::new(),
            (Telling::All, _) => state.story.steps().iter().map(ToString::to_string).collect(),
        },
    }
}
