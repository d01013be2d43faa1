//! What phones may have missed: of the time that their edge was silent, or of its last moments.
//!
//! A change that a phone makes itself is told by its edge alone, which may end between the two. The record of the feature states
//! says whose change it was.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::bus::{Bus, ChangedError};
use crate::edge::config::EdgeConfig;
use crate::edge::subscription::SubscriptionId;
use crate::feature::Presentity;
use crate::runtime::{Backoff, Tasks};

/// Clocks of workers and edges may differ by so much: each takes the time of NATS.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);
/// What was asked last may still be carried out for so long.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// What phones that are held here may have missed.
pub(crate) enum Missed {
    /// Changes of these presentities' states while this edge was silent; `None`: of anybody's.
    Changed(Option<Vec<Presentity>>),
    /// What they changed themselves before it was started again.
    Pressed(Vec<SubscriptionId>),
}

/// Has those told what they changed themselves whose change may be younger than what this edge told before its restart.
pub(super) fn follow_restart(
    bus: &Bus,
    told_until: Option<SystemTime>,
    config: &Arc<EdgeConfig>,
    missed: mpsc::Sender<Missed>,
    tasks: &Tasks,
) {
    let Some(told_until) = told_until else { return };
    let (bus, after, stopping) = (bus.clone(), config.route_timeout.max(SETTLES_WITHIN), tasks.stopping().clone());
    let tell = async move {
        tokio::time::sleep(after).await;
        tell_pressed(&bus, told_until, &missed).await;
    };
    tasks.spawn_brief("pressed before", async move {
        stopping.run_until_cancelled(tell).await;
    });
}

/// Hands on whose phones have changed a feature since this time: the edge that was to tell them ended just then.
async fn tell_pressed(bus: &Bus, told_until: SystemTime, missed: &mpsc::Sender<Missed>) {
    let mut retry = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
    loop {
        match pressed_since(bus, told_until).await {
            // The edge stops: the next process asks again.
            Ok(ids) => return drop(missed.send(Missed::Pressed(ids)).await),
            Err(error) => tracing::debug!(%error, "what phones changed before the restart is not known yet"),
        }
        tokio::time::sleep(retry.next(rand::random())).await;
    }
}

/// The subscriptions whose phones have changed a feature since their edge has told all that was asked of it.
pub(super) async fn pressed_since(bus: &Bus, told_until: SystemTime) -> Result<Vec<SubscriptionId>, ChangedError> {
    let since = told_until.checked_sub(CLOCKS_DIFFER).unwrap_or(told_until);
    Ok(bus.pressed_since(since).await?.iter().filter_map(|id| id.parse().ok()).collect())
}
