//! The events of the edge, each built once. Pure.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::bus::message::{
    Asked, EndReason, FeatureChange, FeatureEvent, Kind, NotifyEvent, NotifyOutcome, Origin, RawEvent, RefusedEvent, RefusedReason,
    RouteSetResponse, SubscriptionChange, SubscriptionEvent, Work,
};
use crate::bus::trace::{Cause, new_id};
use crate::config::PresentityFrom;
use crate::edge::config::EdgeConfig;
use crate::edge::subscribe;
use crate::edge::subscription::lane::Exchange;
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{InFlight, Subscription, SubscriptionId};
use crate::feature::{FeatureState, Presentity};
use crate::runtime::clock::{self, Now};
use crate::sip::flow::Flow;
use crate::sip::header::NameAddr;
use crate::sip::message::{Message, Start};
use crate::sip::name::Name;

/// Most of a text that somebody sent who was refused, in characters.
const MAX_STRANGERS_TEXT_CHARS: usize = 256;

/// An event to publish.
#[derive(Debug)]
pub enum Event {
    /// `dfks.event.subscription.<domain>`
    Subscription(Presentity, SubscriptionEvent),
    /// `dfks.event.feature.<domain>.<Feature>`
    Feature(Presentity, FeatureEvent),
    /// `dfks.event.notify.<domain>`
    Notify(Presentity, NotifyEvent),
    /// `dfks.event.raw.<domain>`
    Raw(Presentity, RawEvent),
    /// `dfks.event.refused.<domain>`
    Refused(RefusedEvent),
}

/// What happened to a subscription, at which edge, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened<'a> {
    pub(crate) edge_id: &'a str,
    pub(crate) what: SubscriptionChange,
    pub(crate) reason: Option<EndReason>,
    pub(crate) cause: &'a Cause,
    /// Who has asked for it, where somebody has.
    pub(crate) actor: Option<&'a str>,
}

/// A request that was refused, whole or as far as it could be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedRequest<'a> {
    pub(crate) message: &'a Message,
    pub(crate) flow: Flow,
    pub(crate) cause: &'a Cause,
    pub(crate) status: u16,
    pub(crate) reason: RefusedReason,
    /// The same in words, where its sender was told.
    pub(crate) detail: Option<&'a str>,
}

/// What a subscription's event says of it.
struct About<'a> {
    id: SubscriptionId,
    presentity: &'a Presentity,
    package: &'a str,
    watcher: &'a str,
    expires_at: String,
    user_agent: &'a str,
    transport: &'a str,
    call_id: &'a str,
}

fn subscription_event(happened: &Happened<'_>, about: About<'_>, utc: SystemTime) -> Event {
    let event = SubscriptionEvent {
        kind: Kind::default(),
        id: new_id(),
        time: clock::rfc3339(utc),
        cause: happened.cause.clone(),
        edge_id: happened.edge_id.to_owned(),
        subscription: about.id.to_string(),
        presentity: about.presentity.as_str().to_owned(),
        package: about.package.to_owned(),
        watcher: about.watcher.to_owned(),
        what: happened.what,
        reason: happened.reason,
        actor: happened.actor.map(str::to_owned),
        expires_at: about.expires_at,
        user_agent: about.user_agent.to_owned(),
        transport: about.transport.to_owned(),
        call_id: about.call_id.to_owned(),
    };
    Event::Subscription(about.presentity.clone(), event)
}

/// A subscription of this edge came, was refreshed or ended.
pub(crate) fn of_subscription(happened: &Happened<'_>, subscription: &Subscription, now: Now) -> Event {
    let about = About {
        id: subscription.id,
        presentity: &subscription.presentity,
        package: subscription.package.name,
        watcher: &subscription.watcher,
        expires_at: clock::rfc3339(subscription.expires_at_utc(now.at, now.utc)),
        user_agent: &subscription.user_agent,
        transport: subscription.flow.transport.as_str(),
        call_id: &subscription.dialog.call_id,
    };
    subscription_event(happened, about, now.utc)
}

/// A subscription ended of which there is only its record; `None` where that names no presentity.
pub(crate) fn of_record(happened: &Happened<'_>, id: SubscriptionId, record: &Record, utc: SystemTime) -> Option<Event> {
    let presentity = Presentity::parse(&record.presentity).ok()?;
    let about = About {
        id,
        presentity: &presentity,
        package: &record.package,
        watcher: &record.watcher,
        expires_at: record.told_expires_at.as_ref().unwrap_or(&record.expires_at).to_string(),
        user_agent: &record.user_agent,
        transport: &record.transport,
        call_id: &record.call_id,
    };
    Some(subscription_event(happened, about, utc))
}

/// What became of a NOTIFY.
pub(crate) fn of_notify(
    edge_id: &str,
    subscription: &Subscription,
    in_flight: &InFlight,
    outcome: NotifyOutcome,
    status: Option<u16>,
    now: Now,
) -> Event {
    let took = now.at.saturating_duration_since(in_flight.sent_at);
    let event = NotifyEvent {
        kind: Kind::default(),
        id: new_id(),
        time: clock::rfc3339(now.utc),
        cause: in_flight.parcel.cause(),
        edge_id: edge_id.to_owned(),
        subscription: subscription.id.to_string(),
        presentity: subscription.presentity.as_str().to_owned(),
        package: subscription.package.name.to_owned(),
        features: in_flight.parcel.updates.iter().map(|update| update.state.feature.clone()).collect(),
        outcome,
        status,
        took_ms: millis(took),
        waited_ms: in_flight.parcel.since().map(|since| millis(in_flight.sent_at.saturating_duration_since(since))),
        by_job: in_flight.parcel.jobs().next().is_some(),
    };
    Event::Notify(subscription.presentity.clone(), event)
}

fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

/// A phone sent a body that is for others to read; `None` where it did not.
pub(crate) fn of_raw(edge_id: &str, subscription: &Subscription, exchange: &Exchange, now: Now) -> Option<Event> {
    let raw = exchange.subscribe.raw.as_ref()?;
    let event = RawEvent {
        kind: Kind::default(),
        id: new_id(),
        time: clock::rfc3339(now.utc),
        cause: exchange.arrival.cause.clone(),
        edge_id: edge_id.to_owned(),
        subscription: subscription.id.to_string(),
        presentity: subscription.presentity.as_str().to_owned(),
        package: exchange.subscribe.package.name.to_owned(),
        watcher: subscription.watcher.to_string(),
        user_agent: subscription.user_agent.to_string(),
        root: raw.root.to_string(),
        body: raw.text.to_string(),
    };
    Some(Event::Raw(subscription.presentity.clone(), event))
}

impl RefusedRequest<'_> {
    /// Whose features it was about, where that can be read: in a dialog To says so, else what names the presentity here.
    pub(crate) fn presentity(&self, from: PresentityFrom) -> Option<Presentity> {
        let Start::Request { uri, .. } = self.message.start() else { return None };
        let to = self.message.header(Name::To).and_then(NameAddr::parse);
        let is_in_dialog = to.as_ref().is_some_and(|to| to.tag().is_some());
        let named = Some(uri).filter(|uri| !is_in_dialog && from == PresentityFrom::RequestUri && subscribe::has_user(uri));
        let to = to.as_ref().map(|to| &*to.uri);
        named.into_iter().chain(to).find_map(|uri| Presentity::parse(uri).ok())
    }

    /// URI of the phone's user, as From says.
    pub(crate) fn watcher(&self) -> Option<String> {
        let from = self.message.header(Name::From).and_then(NameAddr::parse)?;
        Some(Presentity::parse(&from.uri).map_or_else(|_| shown(&from.uri), |uri| uri.as_str().to_owned()))
    }

    /// Its method, a word of its sender's.
    pub(crate) fn method(&self) -> Option<&str> {
        if let Start::Request { method, .. } = self.message.start() { Some(method.as_str()) } else { None }
    }

    /// Its Call-ID.
    pub(crate) fn call_id(&self) -> Option<&str> {
        self.message.header(Name::CallId)
    }
}

/// A request was refused.
pub(crate) fn of_refused_request(config: &EdgeConfig, request: &RefusedRequest<'_>, utc: SystemTime) -> RefusedEvent {
    RefusedEvent {
        presentity: request.presentity(config.presentity_from).map(|presentity| presentity.as_str().to_owned()),
        watcher: request.watcher(),
        method: request.method().map(shown),
        detail: request.detail.map(shown),
        user_agent: request.message.header(Name::UserAgent).map(shown),
        call_id: request.call_id().map(shown),
        ..of_refused_flow(config, request.flow, request.cause, (request.status, request.reason), utc)
    }
}

/// A source sends too much. `message` is what of it can be read.
pub(crate) fn of_rate_limited(config: &EdgeConfig, message: Option<&Message>, flow: Flow, cause: &Cause, utc: SystemTime) -> RefusedEvent {
    let (status, reason) = (503, RefusedReason::RateLimited);
    match message {
        Some(message) => of_refused_request(config, &RefusedRequest { message, flow, cause, status, reason, detail: None }, utc),
        None => of_refused_flow(config, flow, cause, (status, reason), utc),
    }
}

fn of_refused_flow(
    config: &EdgeConfig,
    flow: Flow,
    cause: &Cause,
    (status, reason): (u16, RefusedReason),
    utc: SystemTime,
) -> RefusedEvent {
    let peer = SocketAddr::new(flow.peer.ip().to_canonical(), flow.peer.port());
    RefusedEvent {
        kind: Kind::default(),
        id: new_id(),
        time: clock::rfc3339(utc),
        cause: cause.clone(),
        edge_id: Some(config.edge_id.to_string()),
        presentity: None,
        watcher: None,
        actor: None,
        source: Some(peer.to_string()),
        transport: Some(flow.transport.as_str().to_owned()),
        method: None,
        status,
        reason,
        detail: None,
        user_agent: None,
        call_id: None,
        count: 1,
    }
}

/// A stranger's text, as much of it as an event has room for.
fn shown(text: &str) -> String {
    text.chars().take(MAX_STRANGERS_TEXT_CHARS).collect()
}

/// A change that a phone asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Press<'a> {
    pub(crate) subscription: &'a Subscription,
    /// `None` where that is not known any more.
    pub(crate) asked: Option<&'a Asked>,
    pub(crate) cause: &'a Cause,
    pub(crate) edge_id: &'a str,
    /// When it asked.
    pub(crate) since: Instant,
}

/// A phone's change took effect: one event for the feature asked for, then one for each that changed along with it.
pub(crate) fn of_change(press: Press<'_>, response: &RouteSetResponse, now: Now) -> Vec<FeatureEvent> {
    let first = feature_event(press, &response.previous, &response.state, now.utc).worked(press.asked_at(now), response.work.clone());
    let also = response.also_previous.iter().zip(&response.also);
    let also = also.map(|(old, new)| feature_event(Press { asked: None, ..press }, old, new, now.utc));
    std::iter::once(first).chain(also).collect()
}

/// A phone's change was refused: its features are as this state says.
pub(crate) fn of_refused(press: Press<'_>, state: &FeatureState, (reason, work): (&str, Option<Box<Work>>), now: Now) -> Event {
    let event = feature_event(press, state, state, now.utc).refused(reason).worked(press.asked_at(now), work);
    Event::Feature(press.subscription.presentity.clone(), event.notified(1))
}

impl Press<'_> {
    fn asked_at(&self, now: Now) -> SystemTime {
        clock::time_of_day(self.since, now.at, now.utc)
    }
}

fn feature_event(press: Press<'_>, old: &FeatureState, new: &FeatureState, utc: SystemTime) -> FeatureEvent {
    let Press { subscription, asked, cause, edge_id, .. } = press;
    let (presentity, actor) = (subscription.presentity.as_str(), Some(&*subscription.watcher));
    let change = FeatureChange { presentity, old, new, origin: Origin::Phone, actor, asked };
    FeatureEvent { edge_id: Some(edge_id.to_owned()), ..FeatureEvent::new(new_id(), utc, cause.clone(), change) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::notifier::tests::fixture::config;

    #[test]
    fn a_subscription_and_its_record_make_the_same_event() {
        let (id, now, cause) = (SubscriptionId::random(), clock::moment(), Cause::new());
        let json = serde_json::json!({
            "edge_id": "edge-0", "presentity": "sip:alice@h", "package": "as-feature-event", "watcher": "sip:boss@h", "call_id": "c",
            "remote_tag": "t", "local": "sip:alice@h", "remote": "sip:boss@h", "target": "sip:boss@192.0.2.9", "remote_cseq": 1,
            "local_cseq": 1000, "transport": "udp", "peer": "192.0.2.9:5060", "is_direct": true, "accepts_multipart": true,
            "user_agent": "Phone", "expires_at": clock::rfc3339(now.utc)
        });
        let record: Record = serde_json::from_value(json).unwrap();
        let happened = Happened {
            edge_id: "edge-0",
            what: SubscriptionChange::Terminated,
            reason: Some(EndReason::Timeout),
            cause: &cause,
            actor: None,
        };
        let subscription = record.clone().restore(id, 7, &config(), &crate::feature::FeatureTable::built_in(), now).unwrap();
        let Event::Subscription(of, first) = of_subscription(&happened, &subscription, now) else { panic!("of a subscription") };
        let Some(Event::Subscription(also_of, second)) = of_record(&happened, id, &record, now.utc) else { panic!("of a record") };
        assert_eq!((of, SubscriptionEvent { id: second.id.clone(), ..first }), (also_of, second));
        assert!(of_record(&happened, id, &Record { presentity: "none".into(), ..record }, now.utc).is_none());
    }
}
