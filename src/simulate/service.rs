//! Services that set features: one after another, as a portal or a billing system does, over `dfks.set` and `dfks.command.set`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::bus::message::{GetRequest, GetResponse, SetRequest, SetResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{Bus, RequestError, headers};
use crate::config::NatsConfig;
use crate::feature::{Presentity, Status};
use crate::runtime::host::Host;
use crate::runtime::tasks;
use crate::simulate::carry::end::End;
use crate::simulate::ledger::{Command, Invariant, Way, target};
use crate::simulate::world::World;

/// Between two commands of a service: shortest and longest.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(12));
/// How long a service waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between the last change and the last look.
const LOOKS_AFTER: Duration = Duration::from_secs(20);
/// How often it sends a durable command again that has no acknowledgement.
const TRIES: usize = 5;
/// The features that it forwards.
const FEATURES: [&str; 2] = ["CallForwardingAlways", "CallForwardingNoAnswer"];

/// A service on a machine of its own.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    world: World,
    bus: Bus,
    presentities: Arc<[Presentity]>,
}

/// Starts the services, each with a connection of its own: some set until `until`, one last sets and asks everything then.
pub(crate) fn start(world: &World, presentities: &Arc<[Presentity]>, count: u8, until: Duration, last_at: Duration) {
    for number in 0..=count {
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100 + number));
        let name: &'static str =
            ["service-0", "service-1", "service-2", "service-3"].get(usize::from(number)).copied().unwrap_or("service");
        let machine = world.machine(name, ip);
        let (world, presentities) = (world.clone(), Arc::clone(presentities));
        let work = async move {
            let (_line, bus) = End::connect(&world, name, &NatsConfig::default()).await;
            let Ok(bus) = bus else { return };
            bus.connected().await;
            let service = Service { world, bus, presentities };
            if number == 0 { service.settle(last_at).await } else { service.work(until).await }
        };
        let host: Arc<dyn Host> = machine;
        tasks::spawn_on(&host, Box::pin(work));
    }
}

impl Service {
    /// Sets one thing after another until then.
    async fn work(self, until: Duration) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        loop {
            let (wait, presentity, feature, way) = {
                let mut state = self.world.state();
                if state.now >= until {
                    return;
                }
                let wait = state.between(BETWEEN.0, BETWEEN.1);
                let presentity = state.pick(self.presentities.len());
                let feature = FEATURES.get(state.pick(FEATURES.len())).copied().unwrap_or("CallForwardingAlways");
                let way = if state.chance(0.4) { Way::Durable } else { Way::Set };
                (wait, presentity, feature, way)
            };
            tokio::time::sleep(wait).await;
            if let Some(presentity) = self.presentities.get(presentity) {
                let _answered = self.command(presentity, feature, way).await;
            }
        }
    }

    /// After the last fault: one more change of every presentity, which has to be carried out. Then everything is asked for.
    async fn settle(self, at: Duration) {
        tokio::time::sleep(at.saturating_sub(self.world.time().elapsed())).await;
        for presentity in self.presentities.iter() {
            if !self.command(presentity, "CallForwardingAlways", Way::Set).await {
                let mut state = self.world.state();
                let now = state.now;
                state.ledger.broken(
                    now,
                    Invariant::Converged,
                    format!("dfks.set of {} is not answered although nothing is broken", presentity.as_str()),
                );
            }
        }
        tokio::time::sleep(LOOKS_AFTER).await;
        self.look().await;
    }

    /// Asks for everything, and compares it with what is stored.
    async fn look(&self) {
        for presentity in self.presentities.iter() {
            let got = self.get(presentity).await;
            let mut state = self.world.state();
            let now = state.now;
            let mut wrong = Vec::new();
            match got {
                Err(error) => wrong.push(format!("dfks.get of {} fails although nothing is broken: {error}", presentity.as_str())),
                Ok(got) => {
                    for (feature, stored) in state.ledger.history.now(presentity.as_str()) {
                        let found = got.features.iter().find(|one| one.feature == feature);
                        if found
                            .is_none_or(|one| one.version != stored.number || one.status != stored.status || one.values != stored.values)
                        {
                            wrong.push(format!("dfks.get says {found:?}, stored is {stored:?}"));
                        }
                    }
                }
            }
            for what in wrong {
                state.ledger.broken(now, Invariant::Converged, what);
            }
        }
    }

    /// One command; whether it was answered with success.
    async fn command(&self, presentity: &Presentity, feature: &'static str, way: Way) -> bool {
        let (number, asked_at) = {
            let mut state = self.world.state();
            let number = u64::try_from(state.ledger.commands.len()).unwrap_or_default() + 1_000_000;
            let asked_at = state.now;
            let command = Command { way, presentity: presentity.as_str().to_owned(), feature, asked_at, answered: None };
            state.ledger.commands.insert(number, command);
            state.story.line(asked_at, || format!("service sets {feature} of {} to {number}, {way:?}", presentity.as_str()));
            (number, asked_at)
        };
        let request = request(presentity, feature, number);
        let answered = match way {
            Way::Set => self.set(&request).await,
            Way::Durable => self.set_durably(presentity, number, asked_at, &request).await,
        };
        let mut state = self.world.state();
        let now = state.now;
        state.story.line(now, || format!("service has an answer to {number}: {answered:?}"));
        let Ok(answered) = answered else { return false };
        if let Some(command) = state.ledger.commands.get_mut(&number) {
            command.answered = Some(answered);
        }
        if way == Way::Set && !state.ledger.holds(number, answered) {
            state.ledger.broken(
                now,
                Invariant::AnsweredIsStored,
                format!("{number} was answered with version {answered}, which is not stored"),
            );
        }
        true
    }

    async fn set(&self, request: &SetRequest) -> Result<u64, RequestError> {
        let subject = self.bus.subjects().set();
        let response: SetResponse = self.bus.request(Pattern::Set, subject, request, &Cause::new(), PATIENCE).await?;
        Ok(response.state.version)
    }

    async fn set_durably(
        &self,
        presentity: &Presentity,
        number: u64,
        asked_at: Duration,
        request: &SetRequest,
    ) -> Result<u64, RequestError> {
        let id = format!("{number}-{}", asked_at.as_millis());
        let mut tries = 0;
        loop {
            let subject = self.bus.subjects().command_set_of(presentity);
            let stored = self.bus.publish_stored(Pattern::CommandSet, subject, &id, headers(&Cause::new()), request).await;
            tries += 1;
            match stored {
                Err(error) if error.is_away() && tries < TRIES => tokio::time::sleep(Duration::from_secs(1)).await,
                other => return other,
            }
        }
    }

    /// What `dfks.get` says.
    async fn get(&self, presentity: &Presentity) -> Result<GetResponse, RequestError> {
        let request = GetRequest {
            presentity: presentity.as_str().to_owned(),
            kind: crate::bus::message::Kind::default(),
            features: None,
            package: None,
            subscription: None,
            strict: false,
        };
        self.bus.request(Pattern::Get, self.bus.subjects().get(), &request, &Cause::new(), PATIENCE).await
    }
}

fn request(presentity: &Presentity, feature: &str, number: u64) -> SetRequest {
    let mut values = crate::feature::Values::new();
    values.insert("forwardTo".to_owned(), target(number));
    SetRequest {
        kind: crate::bus::message::Kind::default(),
        presentity: presentity.as_str().to_owned(),
        feature: feature.to_owned(),
        status: Some(Status(true)),
        route_param: None,
        values: crate::bus::message::CommandValues::Fields(values),
        actor: None,
        until: None,
        for_seconds: None,
    }
}
