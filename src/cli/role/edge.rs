//! The role `edge`.

use std::sync::Arc;

use crate::cli::exit::{Failure, chain};
use crate::cli::role::start::{Start, table};
use crate::edge::{Edge, EdgeError, Resolver};

/// Runs the role until it is told to stop.
pub(crate) async fn run(start: Start) -> Result<(), Failure> {
    let (bus, table, config) = (start.bus(), table(&start.config)?, Arc::clone(&start.config));
    let failed = |error: EdgeError| match error {
        EdgeError::Users(error) => Failure::Config(error.to_string()),
        other => Failure::Refused(format!("role edge: {}", chain(&other))),
    };
    start.streams().await?;
    let edge = Box::pin(Edge::start(&config, bus, start.index(), table, Resolver::system())).await.map_err(failed)?;
    let listening = edge.listening();
    Box::pin(edge.run(start.serving(listening))).await.map_err(failed)
}
