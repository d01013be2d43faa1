//! The role `mi`: commands from `dfks.set`, the work queue and HTTP, carried out by one bridge.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use tokio_util::sync::CancellationToken;

use crate::bus::queues::{self, QueueName, StreamName, Watched};
use crate::cli::exit::{Failure, chain};
use crate::cli::role::start::{Start, table};
use crate::mi::http::MiHttp;
use crate::mi::{Bridge, Patience, durable, teller, timer};
use crate::notify::Queue;
use crate::runtime::Tasks;
use crate::telemetry::token::Token;

/// Timeout of stopping what looks at the queues.
const WATCH_STOPS_WITHIN: Duration = Duration::from_secs(2);

async fn tell_refused(bridge: Arc<Bridge<Queue>>, stopping: CancellationToken) {
    bridge.refused().run(stopping).await;
}

/// Runs the role until it is told to stop.
pub(crate) async fn run(start: Start) -> Result<(), Failure> {
    let config = Arc::clone(&start.config);
    let token = Token::read(&config.mi.token_file).map_err(|error| Failure::Config(format!("mi.token_file: {error}")))?;
    let (bus, table) = (start.bus(), table(&config)?);
    let failed = |error: &dyn Error| Failure::Refused(format!("role mi: {}", chain(error)));
    start.streams().await?;
    let tasks = Tasks::new();
    let index = start.index().look_up().await;
    index.loaded().await;
    let consumers = vec![(QueueName::Commands, vec![durable::DURABLE.to_owned()]), (QueueName::Changes, vec![teller::DURABLE.to_owned()])];
    let watched = Watched { streams: StreamName::ALL.into(), consumers };
    tasks.spawn("queues", queues::watch(bus.clone(), watched, tasks.stopping().clone()));
    let bridge = Arc::new(Bridge::new(bus.clone(), Queue::new(bus.clone(), index, Arc::clone(&table)), Arc::clone(&table)));

    // intake stops first: commands in hand still need the index
    let intake = Tasks::new();
    let mut listening = Vec::new();
    if let Some(addr) = config.mi_listener() {
        let http = MiHttp::bind(addr, token, Arc::clone(&bridge), Arc::clone(&table)).await;
        let http = http.map_err(|error| Failure::Refused(format!("mi.http = \"{addr}\": {error}")))?;
        listening.extend(http.local_addr().ok().map(|addr| format!("http://{addr}/mi")));
        intake.spawn("mi http", http.serve(intake.clone()));
    }
    let durable = durable::run(Arc::clone(&bridge), Arc::clone(&table), Patience::default(), intake.stopping().clone());
    intake.spawn("durable commands", durable);
    intake.spawn("refused commands", tell_refused(Arc::clone(&bridge), intake.stopping().clone()));
    intake.spawn("teller", teller::run(Arc::clone(&bridge), Arc::clone(&table), intake.stopping().clone()));

    intake.spawn("timers", timer::run(Arc::clone(&bridge), intake.stopping().clone()));

    let stop = start.stop.child_token();
    let on_serving = || drop(start.serving(listening));
    let served = async {
        let served = tokio::select! {
            served = crate::mi::run(bridge, table, on_serving, stop.clone()) => served.map_err(|error| failed(&error)),
            error = intake.failed() => Err(failed(&error)),
        };
        stop.cancel();
        served
    };
    // a command in hand takes three requests at most, giving back the rest two
    let stopped = async {
        stop.cancelled().await;
        intake.stop(bus.timeout() * 6).await.map_err(|error| failed(&error))
    };
    let (served, taken_in) = join(served, stopped).await;
    let stopped = tasks.stop(WATCH_STOPS_WITHIN).await.map_err(|error| failed(&error));
    served.and(taken_in).and(stopped)
}
