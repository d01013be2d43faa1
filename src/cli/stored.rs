//! What the bucket of feature states holds: `dfks list` and `dfks export`, and what `dfks import` compares with.
//!
//! The command reads the bucket itself, through a consumer that ends with it: no worker has to hold a whole deployment for one
//! who asks, and NATS permissions say who may see all of it.

use std::collections::BTreeMap;

use serde_json::json;

use super::args::{ExportArgs, ListArgs};
use super::exit::{Failure, chain};
use super::output::{complain, print, print_json, printable, state_line};
use super::reach::{Nats, Whom};
use crate::bus::feature_record::FeatureRecord;
use crate::bus::message::{GetResponse, Kind};
use crate::bus::subject::presentity_of_key;
use crate::bus::watchers::{Feed, FeedError, From, OPEN_TIMEOUT};
use crate::feature::presentity::domain_token;
use crate::feature::{FeatureState, Presentity};
use crate::runtime::Backoff;

/// How often the whole bucket is read anew when something came between.
const MAX_READS: u32 = 3;

/// Runs `dfks list`: a line for each state.
pub(super) async fn list(args: ListArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let all = read(&nats, args.domain.as_deref()).await?;
    let is_asked = |state: &FeatureState| {
        (args.features.is_empty() || args.features.contains(&state.feature)) && (!args.on || state.assigned && state.status.is_on())
    };
    for (presentity, states) in &all {
        for state in states.iter().filter(|state| is_asked(state)) {
            if args.client.json {
                print_json(&json!({ "presentity": presentity.as_str(), "state": state }))?;
            } else {
                print(&format!("{}  {}\n", printable(presentity.as_str()), state_line(state)))?;
            }
        }
    }
    Ok(())
}

/// Runs `dfks export`: a line for each presentity, as `dfks.get` would answer of what is stored.
pub(super) async fn export(args: ExportArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    for (presentity, features) in read(&nats, args.domain.as_deref()).await? {
        print_json(&GetResponse { kind: Kind::default(), presentity: presentity.as_str().to_owned(), features })?;
    }
    Ok(())
}

/// All that is stored, ordered by presentity and feature; of one domain where it is named.
async fn read(nats: &Nats, domain: Option<&str>) -> Result<BTreeMap<Presentity, Vec<FeatureState>>, Failure> {
    let domain = domain.map(domain_token);
    let mut retry: Backoff = OPEN_TIMEOUT;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let timeout = retry.next(0.0);
        let subject = format!("{} of the bucket {}", "a consumer", nats.bus().subjects().feature_bucket());
        match nats.permitted(&subject, Whom::Store, read_once(nats, domain.as_deref(), timeout)).await? {
            Ok(all) => return Ok(all),
            Err(FeedError::Open(error)) => return Err(nats.failure(&error, &subject, Whom::Store)),
            Err(error) if attempt >= MAX_READS => return Err(Failure::NobodyAnswered(format!("{subject}: {}", chain(&error)))),
            Err(_came_between) => {}
        }
    }
}

async fn read_once(
    nats: &Nats,
    domain: Option<&str>,
    timeout: std::time::Duration,
) -> Result<BTreeMap<Presentity, Vec<FeatureState>>, FeedError> {
    let bus = nats.bus();
    let mut all = BTreeMap::new();
    let mut feed = Feed::open(bus, &bus.subjects().feature_bucket(), From::Live, timeout).await?;
    // Asked for afterwards: what is written anew before the feed begins comes at its new place alone.
    let last = bus.last_feature_change().await.map_err(FeedError::Open)?;
    while feed.position().stream_seq < last {
        let Some(record) = feed.next().await? else { continue };
        let Some(presentity) = presentity_of_key(&record.key) else { continue };
        if domain.is_some_and(|domain| presentity.domain_token() != domain) {
            continue;
        }
        match record.value.as_deref().filter(|value| !value.is_empty()).map(serde_json::from_slice::<FeatureRecord>) {
            None => drop(all.remove(&presentity)),
            Some(Ok(record)) => drop(all.insert(presentity, record.states().collect())),
            Some(Err(error)) => complain(&format!("dfks: the record of {} is unreadable: {error}", printable(presentity.as_str()))),
        }
    }
    Ok(all)
}
