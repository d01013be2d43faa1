//! What the roles of a process have in common on the bus: one connection, the streams, one watcher index.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::bus::{Bus, SharedIndex, StreamKeeper, presence};
use crate::cli::args::Role;
use crate::cli::exit::{Failure, chain};
use crate::config::NatsConfig;
use crate::runtime::{Backoff, Tasks};

/// Attempts at creating streams and buckets before the process gives up.
const SETUP_TRIES: usize = 10;
/// Retry interval of that.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// One for all roles of a process. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) bus: Bus,
    pub(super) index: SharedIndex,
    streams: watch::Receiver<Option<Result<Arc<StreamKeeper>, Failure>>>,
}

impl Common {
    /// Connects in the background, and creates missing streams and buckets as soon as there is a connection. `edges` is the number of
    /// edges that follow the index; `tasks` carries what runs for all roles.
    ///
    /// # Errors
    ///
    /// [`Failure::Config`]: a connection that cannot work.
    pub(crate) async fn start(config: &NatsConfig, roles: &[Role], edges: usize, tasks: &Tasks) -> Result<Self, Failure> {
        let bus = Bus::connect(config, &client_name(roles)).await.map_err(|error| Failure::Config(error.to_string()))?;
        Ok(Self::over(bus, config, roles, edges, tasks))
    }

    /// As [`start`](Self::start), over a connection that is there.
    pub(crate) fn over(bus: Bus, config: &NatsConfig, roles: &[Role], edges: usize, tasks: &Tasks) -> Self {
        let index = SharedIndex::new(bus.clone(), tasks.clone(), edges);
        let (made, streams) = watch::channel(None);
        let (config, asked, stopping) = (config.clone(), bus.clone(), tasks.stopping().clone());
        tasks.spawn_brief("streams", async move {
            let keeper = stopping.run_until_cancelled(keeper(&asked, &config)).await;
            made.send_replace(keeper.map(|keeper| keeper.map(Arc::new)));
            // the keeper lives as long as the process works
            stopping.cancelled().await;
        });
        if roles.iter().any(|role| matches!(role, Role::Edge | Role::Mi)) {
            let (looks, stopping) = (presence::keep(bus.clone()), tasks.stopping().clone());
            tasks.spawn_brief("workers looked for", async move {
                let _stopped = stopping.run_until_cancelled(looks).await;
            });
        }
        Self { bus, index, streams }
    }

    /// Waits until all streams and buckets are there.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`]: one cannot be made.
    pub(super) async fn streams(&self) -> Result<Arc<StreamKeeper>, Failure> {
        let mut streams = self.streams.clone();
        match streams.wait_for(Option::is_some).await.map(|made| made.clone()) {
            Ok(Some(made)) => made,
            // the process stops
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// What the connection is called at the server: `dfks-edge`, or `dfks-edge+worker+mi`.
fn client_name(roles: &[Role]) -> String {
    let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    format!("dfks-{}", names.join("+"))
}

/// Waits for the bus and creates missing streams and buckets, now and after each reconnect while the keeper lives.
async fn keeper(bus: &Bus, config: &NatsConfig) -> Result<StreamKeeper, Failure> {
    let mut retry = RETRY;
    let mut tries = 0;
    loop {
        tries += 1;
        match StreamKeeper::start(bus, config).await {
            Ok(keeper) => return Ok(keeper),
            Err(error) if tries > SETUP_TRIES || error.hindrance.stays() => {
                return Err(Failure::Refused(format!("nats: {}", chain(&error))));
            }
            Err(error) => tracing::warn!(error = chain(&error), "streams and buckets are not there yet"),
        }
        tokio::time::sleep(retry.next(0.0)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_called_after_the_roles_that_share_it() {
        assert_eq!(client_name(&[Role::Worker]), "dfks-worker");
        assert_eq!(client_name(&[Role::Edge, Role::Worker, Role::Mi]), "dfks-edge+worker+mi");
    }
}
