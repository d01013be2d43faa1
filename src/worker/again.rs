//! Asks for states again because a responder has news: an answer that came too late for whoever asked, or an owner that is back. I/O.
//!
//! A get that learns something tells it to the phones that watch. An owner that is gone is asked for one state every few seconds;
//! once it answers, one of the workers compares what it says of every presentity of that domain that a phone watches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::message::{GetRequest, Kind};
use crate::bus::poll::{self, PollLimits};
use crate::bus::trace::Cause;
use crate::feature::Presentity;
use crate::worker::handler::Handler;
use crate::worker::responder::Again;

/// How often an owner that is gone is looked for.
const LOOKED_FOR_EVERY: Duration = Duration::from_secs(2);
/// Most owners that are looked for at a time.
const MAX_LOOKED_FOR: usize = 64;
/// Most in hand at a time.
const MAX_IN_HAND: usize = 16;
/// Between two presentities of a domain: at most 200 a second.
const PACE: Duration = Duration::from_millis(5);
/// Most presentities of a domain that are asked for at the same time.
const MAX_AT_ONCE: usize = 8;
/// Most subscriptions of a domain that are looked at.
const MAX_WATCHERS: usize = 200_000;
/// To list them.
const LISTED_WITHIN: Duration = Duration::from_secs(10);

/// Asks again until `shutdown`.
pub(crate) async fn run(bus: Bus, handler: Arc<Handler>, mut to_ask: mpsc::Receiver<Again>, shutdown: CancellationToken) {
    let mut look = tokio::time::interval(LOOKED_FOR_EVERY);
    let mut in_hand = FuturesUnordered::new();
    let handler = &*handler;
    let work = async {
        loop {
            tokio::select! {
                Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                again = to_ask.recv(), if in_hand.len() < MAX_IN_HAND => match again {
                    Some(Again::State { presentity, feature, cause }) => in_hand.push(state(handler, presentity, feature, cause).boxed()),
                    Some(Again::Domain { domain, feature }) => in_hand.push(compare(&bus, handler, domain, feature).boxed()),
                    None => return,
                },
                _ = look.tick(), if in_hand.len() < MAX_IN_HAND => {
                    for (presentity, feature) in handler.responders.absences(MAX_LOOKED_FOR) {
                        in_hand.push(state(handler, presentity, feature, Cause::new()).boxed());
                    }
                }
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn state(handler: &Handler, presentity: Presentity, feature: Box<str>, cause: Cause) {
    let features = Some(vec![feature.into()]);
    let request = GetRequest {
        kind: Kind::default(),
        presentity: presentity.as_str().to_owned(),
        features,
        package: None,
        subscription: None,
        strict: false,
    };
    if let Err(error) = handler.get(&request, &cause).await {
        tracing::debug!(%error, "state not asked for again");
    }
}

/// Compares what an owner that is back says with what the phones of its domain were told.
async fn compare(bus: &Bus, handler: &Handler, domain: Box<str>, feature: Box<str>) {
    let limits = PollLimits { timeout: bus.timeout(), total: LISTED_WITHIN, watchers: MAX_WATCHERS };
    let poll = match poll::watchers_of_domain(bus, &domain, limits).await {
        Ok(poll) => poll,
        Err(error) => return tracing::warn!(%domain, %feature, %error, "not compared with its responder: no list of watchers"),
    };
    if poll.is_cut {
        tracing::warn!(%domain, %feature, limit = MAX_WATCHERS, "not all compared with its responder: too many watchers");
    }
    let package = handler.table.package_of(&feature);
    let watchers = poll.edges.into_values().flatten().filter(|watcher| watcher.package == package.name);
    let presentities: BTreeSet<_> = watchers.filter_map(|watcher| Presentity::parse(&watcher.presentity).ok()).collect();
    let presentities = presentities.into_iter().filter(|presentity| presentity.domain_token() == *domain);
    let cause = Cause::new();
    let asked = futures_util::stream::iter(presentities).then(|presentity| async {
        tokio::time::sleep(PACE).await;
        presentity
    });
    let count = AtomicUsize::new(0);
    let each = asked.for_each_concurrent(MAX_AT_ONCE, |presentity| {
        count.fetch_add(1, Ordering::Relaxed);
        state(handler, presentity, feature.clone(), cause.clone())
    });
    each.await;
    tracing::info!(%domain, %feature, presentities = count.into_inner(), "compared with its responder");
}
