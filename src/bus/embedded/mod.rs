//! The embedded server: a nats-server child with JetStream, started when `nats.url` is empty.
//!
//! ```text
//! start ─▶ lock data_dir ─▶ stop an orphan ─▶ launch ─▶ ready ─▶ supervise ─┬─ ended ─▶ launch again, with backoff
//!                                                                           └─ stop ──▶ SIGTERM, wait, forget
//! ```
//! The server ends with us, also where we are killed: a guard process (`guard.rs`) stands between.

mod binary;
mod child;
mod conf;
mod error;
pub(crate) mod guard;

use std::fs::{DirBuilder, File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::embedded::child::{Launch, Server};
use crate::bus::embedded::conf::Access;
pub(crate) use crate::bus::embedded::conf::URL_FILE;
pub use crate::bus::embedded::error::EmbeddedError;
use crate::config::NatsConfig;
use crate::runtime::{Backoff, clock, tasks};

/// Delay before a restart of the child.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// Run time after which the restart delay is reset.
const STABLE_AFTER: Duration = Duration::from_mins(1);

/// The embedded server. Dropping it ends the child; [`stop`](Self::stop) waits for that.
#[derive(Debug)]
pub struct Embedded {
    url: String,
    stop: CancellationToken,
    supervisor: AbortOnDropHandle<()>,
    /// Lock on the data directory.
    _lock: File,
}

impl Embedded {
    /// Starts a nats-server on `nats.data_dir` and waits until it accepts connections. Data of earlier runs is kept.
    /// The URL is logged, and written to `<data_dir>/nats.url`. With a user or a token in `config`, every client needs it too.
    /// `dfks` is the program that guards the server: this one.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`]
    pub async fn start(config: &NatsConfig, dfks: &Path) -> Result<Self, EmbeddedError> {
        let listen: SocketAddr = config.embedded_listen.parse().map_err(|_| EmbeddedError::Address(config.embedded_listen.clone()))?;
        let access = Access::of(config).await?;
        let program = binary::find().await?;
        let (data_dir, lock) = claim(&config.data_dir)?;
        let mut launch = Launch { guard: dfks.to_path_buf(), program, data_dir, listen, domain: config.domain.clone(), access };
        launch.stop_orphan().await;
        let server = launch.start().await?;
        // a port once chosen is kept, for those who know the URL
        launch.listen.set_port(server.port);
        let url = format!("nats://{}", reachable(launch.listen));
        publish_url(&launch, &url).await?;
        tracing::info!(url, data_dir = %launch.data_dir.display(), "started an embedded nats-server");
        let stop = CancellationToken::new();
        let supervisor = tasks::spawn_owned(supervise(launch, server, stop.clone()));
        Ok(Self { url, stop, supervisor, _lock: lock })
    }

    /// Its URL, the same for as long as this lives.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server: after the roles, which need it to the end.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.supervisor.await.is_err() {
            tracing::error!("the supervisor of nats-server panicked");
        }
    }
}

/// Keeps a child running until it is to stop.
async fn supervise(launch: Launch, mut server: Server, stop: CancellationToken) {
    let mut retry = RETRY;
    loop {
        let started_at = clock::now();
        let status = tokio::select! {
            biased;
            () = stop.cancelled() => {
                server.stop().await;
                launch.forget().await;
                tracing::info!("embedded nats-server stopped");
                return;
            }
            status = server.ended() => status,
        };
        tracing::error!(status = status.map(|status| status.to_string()), "nats-server ended, starting it again");
        if clock::now().saturating_duration_since(started_at) >= STABLE_AFTER {
            retry.reset();
        }
        server = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    launch.forget().await;
                    return;
                }
                () = tokio::time::sleep(retry.next(rand::random())) => {}
            }
            // the guard alone may have been killed
            launch.stop_orphan().await;
            match launch.start().await {
                Ok(server) => break server,
                Err(error) => tracing::error!(%error, "nats-server cannot be started again, trying again"),
            }
        };
        tracing::info!("nats-server started again");
    }
}

/// Makes the data directory, for us alone.
fn claim(data_dir: &Path) -> Result<(PathBuf, File), EmbeddedError> {
    let unusable = |source| EmbeddedError::DataDir { path: data_dir.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
    let data_dir = data_dir.canonicalize().map_err(unusable)?;
    let lock = File::create(data_dir.join("dfks.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok((data_dir, lock)),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse(data_dir)),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Atomic: others read the file as soon as it exists.
async fn publish_url(launch: &Launch, url: &str) -> Result<(), EmbeddedError> {
    let (file, draft) = (launch.url_file(), launch.data_dir.join("nats.url.new"));
    let written = async {
        tokio::fs::write(&draft, format!("{url}\n")).await?;
        tokio::fs::rename(&draft, &file).await
    };
    written.await.map_err(|source| EmbeddedError::DataDir { path: launch.data_dir.clone(), source })
}

/// Where a client on this machine reaches what listens there.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        for (listen, want) in [("0.0.0.0:4222", "127.0.0.1:4222"), ("[::]:1", "[::1]:1"), ("10.0.0.1:7", "10.0.0.1:7")] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), want);
        }
    }

    #[test]
    fn the_data_is_one_process_s_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("a/b");
        let (path, lock) = claim(&data_dir).unwrap();
        let refused = claim(&data_dir).unwrap_err();
        assert_eq!(refused.to_string(), format!("nats.data_dir {} is in use by another dfks", path.display()));
        drop(lock);
        claim(&data_dir).unwrap();
    }
}
