//! The role `worker`.

use std::sync::Arc;

use crate::cli::exit::{Failure, chain};
use crate::cli::role::start::{Start, table};
use crate::config::LocalWay;
use crate::worker::{self, WorkerError};

/// Runs the role until it is told to stop.
pub(crate) async fn run(start: Start) -> Result<(), Failure> {
    let (bus, table, config) = (start.bus(), table(&start.config)?, Arc::clone(&start.config));
    start.streams().await?;
    if config.run.local == LocalWay::Auto {
        bus.local().allow();
    }
    let stop = start.stop.clone();
    let on_serving = || drop(start.serving(Vec::new()));
    worker::run(bus, table, &config.routes, on_serving, stop).await.map_err(|error| match error {
        WorkerError::Script(error) => Failure::Config(error.to_string()),
        other => Failure::Refused(format!("role worker: {}", chain(&other))),
    })
}
