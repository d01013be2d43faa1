//! Where `dfks events` has its events from: what was from the stream of events, what comes after it by the same consumer, so that nothing
//! is doubled or lost between them.

use std::pin::Pin;

use async_nats::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;

use super::event_filter::Filter;
use super::events_args::EventsArgs;
use super::exit::Failure;
use super::output::{complain, printable};
use super::reach::{Nats, Whom};
use crate::bus::RequestError;
use crate::bus::message::{GetRequest, GetResponse, Kind};
use crate::bus::reading::{Last, Reach};
use crate::bus::subject::Pattern;
use crate::feature::{FeatureTable, Presentity};

/// A presentity that nobody has: features are asked about in its name.
const NOBODY: &str = "dfks-events";

/// Events as they come: subject and payload.
pub(super) type Events<'a> = Pin<Box<dyn Stream<Item = Result<(String, Bytes), Failure>> + 'a>>;

/// Refuses a feature that nobody knows: its events would be waited for in vain. One that is built in is known here; others are known to
/// the workers.
pub(super) async fn require(nats: &Nats, filter: &Filter, args: &EventsArgs) -> Result<(), Failure> {
    let built_in = FeatureTable::built_in();
    let features: Vec<String> = filter.features.iter().filter(|feature| built_in.require(feature).is_err()).cloned().collect();
    if features.is_empty() {
        return Ok(());
    }
    let host = args.domain.as_deref().unwrap_or("invalid");
    let asked_of = filter.presentity.clone().or_else(|| Presentity::parse(&format!("sip:{NOBODY}@{host}")).ok());
    let Some(asked_of) = asked_of else { return Ok(()) };
    let subjects = nats.bus().subjects();
    // a tenant may ask of its own domain alone
    let (pattern, subject) = match filter.domain() {
        Some(_) => (Pattern::GetDomain, subjects.get_of(&asked_of)),
        None => (Pattern::Get, subjects.get()),
    };
    let (presentity, names) = (asked_of.as_str().to_owned(), features.join(", "));
    let request =
        GetRequest { kind: Kind::default(), presentity, features: Some(features), package: None, subscription: None, strict: false };
    match nats.ask::<_, GetResponse>(Whom::Worker, (pattern, subject), &request).await {
        Err(Failure::Answered(error)) if error.code == 400 => Err(Failure::Answered(error)),
        // a responder that is away says nothing of the feature
        Ok(_) | Err(Failure::Answered(_)) => Ok(()),
        Err(unknown) => {
            complain(&format!(
                "dfks: no worker says whether there is a feature {}: {}",
                printable(&names),
                printable(&unknown.to_string())
            ));
            Ok(())
        }
    }
}

/// The events, from where they are wanted on.
pub(super) async fn open<'a>(nats: &'a Nats, filter: &'a Filter, args: &EventsArgs) -> Result<Events<'a>, Failure> {
    let subjects = nats.bus().subjects();
    let wanted = filter.domain().map_or_else(|| vec![subjects.all_events()], |domain| subjects.events_of(&domain).to_vec());
    let name = subjects.stream("EVENTS");
    let failed = |error: &RequestError| nats.failure(error, &name, Whom::Events);
    match (args.since, args.last) {
        (Some(since), _) => {
            let at = nats.bus().utc_now().checked_sub(since).unwrap_or(std::time::UNIX_EPOCH);
            from_stream(nats, &name, wanted, DeliverPolicy::ByStartTime { start_time: at.into() }).await
        }
        (None, Some(last)) => {
            let reach = Reach { most: usize::from(last), looked_at: u64::MAX, timeout: args.client.timeout() };
            let fits = |message: &Message, _| {
                let is_taken = serde_json::from_slice::<Value>(&message.payload).is_ok_and(|event| filter.takes(&event));
                is_taken.then(|| (message.subject.to_string(), message.payload.clone()))
            };
            let read = nats.bus().read_last(&name, &wanted, reach, fits).await;
            let Last { kept, until, .. } = read.map_err(|error| failed(&error))?;
            let live = from_stream(nats, &name, wanted, DeliverPolicy::ByStartSequence { start_sequence: until + 1 }).await?;
            Ok(Box::pin(stream::iter(kept).map(Ok).chain(live)))
        }
        (None, None) => {
            let mut events = stream::SelectAll::new();
            for subject in wanted {
                events.push(nats.bus().client().subscribe(subject).await.map_err(|error| Failure::NobodyAnswered(error.to_string()))?);
            }
            Ok(Box::pin(events.map(|event| Ok((event.subject.to_string(), event.payload)))))
        }
    }
}

/// Events of the stream, in order and each once, also where the connection is lost meanwhile.
async fn from_stream<'a>(nats: &'a Nats, name: &str, filters: Vec<String>, from: DeliverPolicy) -> Result<Events<'a>, Failure> {
    let gone = |error: &dyn std::fmt::Display| Failure::NobodyAnswered(format!("the stream {name} is not to be read: {error}"));
    let jetstream = nats.bus().jetstream().ok_or_else(|| gone(&"there is no NATS"))?;
    let stream = jetstream.get_stream_no_info(name).await.map_err(|error| gone(&error))?;
    let config = pull::OrderedConfig { filter_subjects: filters, deliver_policy: from, ..pull::OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.map_err(|error| gone(&error))?;
    let messages = consumer.messages().await.map_err(|error| gone(&error))?;
    // what fails heals by itself: the consumer is made anew after what was read last
    let events = messages.filter_map(|message| {
        let event = message.map(|message| (message.subject.to_string(), message.payload.clone()));
        std::future::ready(event.inspect_err(|error| tracing::debug!(%error, "events interrupted")).ok().map(Ok))
    });
    Ok(Box::pin(events))
}
