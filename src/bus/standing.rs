//! What is known of the workers: kept by `presence`, asked by whoever asks workers.

use std::time::Duration;

use tokio::sync::watch;

/// A request waits no longer than this for what is found the first time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the workers on this NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// NATS says itself when nobody listens, or nobody looks.
    Told,
    /// It is being found out.
    Unknown,
    /// A worker answers.
    There,
    /// Somebody looks on, and no worker answers.
    Absent,
}

/// What is known, for whoever asks workers.
#[derive(Debug)]
pub(crate) struct Presence {
    standing: watch::Sender<Standing>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { standing: watch::Sender::new(Standing::Told) }
    }
}

impl Presence {
    /// No worker was there when it was looked last.
    pub(crate) fn is_absent(&self) -> bool {
        *self.standing.borrow() == Standing::Absent
    }

    /// Somebody listened to everything when it was looked last: who is gone seems to listen on.
    pub(crate) fn is_looked_on(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::There | Standing::Absent)
    }

    pub(super) fn set(&self, standing: Standing) {
        let was = self.standing.send_replace(standing);
        match (was, standing) {
            (Standing::Absent, Standing::Absent) => {}
            (_, Standing::Absent) => tracing::info!("somebody listens to everything on nats, and no worker answers"),
            (Standing::Absent, Standing::There) => tracing::info!("a worker answers"),
            _ => {}
        }
    }

    /// Waits until it was looked, for a while.
    pub(crate) async fn looked(&self) {
        let _standing = self.known().await;
    }

    /// Waits until something is known, for a while.
    pub(super) async fn known(&self) -> Standing {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| *standing != Standing::Unknown);
        match tokio::time::timeout(PATIENCE, known).await {
            Ok(Ok(standing)) => *standing,
            Ok(Err(_)) | Err(_) => Standing::Unknown,
        }
    }
}
