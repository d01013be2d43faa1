//! A subscription as it is stored in the bucket, where it outlives its edge. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::edge::config::EdgeConfig;
use crate::edge::subscription::alarm::Alarm;
use crate::edge::subscription::cover::Cover;
use crate::edge::subscription::lane::Lane;
use crate::edge::subscription::sync::Sync;
use crate::edge::subscription::underway::Underway;
use crate::edge::subscription::{Dialog, Phase, Subscription, SubscriptionId};
use crate::feature::table::FeatureTable;
use crate::feature::{Package, Presentity, package};
use crate::runtime::clock::{self, Now};
use crate::sip::flow::{Flow, Transport};
use crate::sip::header::Event;

/// Value of a key in `dfks-subscriptions`.
///
/// Shape: one JSON object; `edge_id`, `presentity` and `package` are what the watcher index reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the stored object")]
pub struct Record {
    /// The edge that owns the subscription.
    pub edge_id: Box<str>,
    /// Whose features, canonical.
    pub presentity: Box<str>,
    /// Its event package. Absent from records written when there was one package only.
    #[serde(default = "package::first_name")]
    pub package: String,
    /// URI of the phone's user.
    pub watcher: Box<str>,
    /// Call-ID of the dialog.
    pub call_id: Box<str>,
    /// The phone's tag; ours is the key.
    pub remote_tag: Box<str>,
    /// URI in the From of our NOTIFYs.
    pub local: Box<str>,
    /// URI in the To of our NOTIFYs.
    pub remote: Box<str>,
    /// The phone's Contact URI.
    pub target: Box<str>,
    /// Route headers of our NOTIFYs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Box<str>>,
    /// `id` of the phone's Event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Box<str>>,
    /// The phone's Event as it was written, where that is another than its package and `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<str>>,
    /// Highest `CSeq` of the phone.
    pub remote_cseq: u32,
    /// No NOTIFY has used a `CSeq` above this one.
    pub local_cseq: u32,
    /// `udp`, `tcp`, …
    pub transport: Box<str>,
    /// Where the last SUBSCRIBE came from, `ip:port`.
    pub peer: SocketAddr,
    /// The listener that it came to, `ip:port`: the phone's NAT lets packets through from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<SocketAddr>,
    /// Whether that was the phone itself: one Via.
    pub is_direct: bool,
    /// Whether its sender may direct our NOTIFYs to another address than its own.
    #[serde(default = "crate::feature::yes")]
    pub is_trusted: bool,
    /// Whether the phone takes `multipart/mixed`.
    pub accepts_multipart: bool,
    /// User-Agent of the phone.
    #[serde(default)]
    pub user_agent: Box<str>,
    /// Until when it lives, whatever its edge has granted since: RFC 3339 UTC.
    pub expires_at: Box<str>,
    /// When it expires as its phone was told, where that is earlier: RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_expires_at: Option<Box<str>>,
    /// Until when its key is kept, where that is longer than its lifetime and grace: RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Box<str>>,
    /// The silent edge that it was taken over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<Box<str>>,
    /// When its last SUBSCRIBE was stored: RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Box<str>>,
    /// Whether a NOTIFY was still owed when its edge stopped.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_untold: bool,
    /// Its edge's watermark: what was asked before this time is told, except where `is_untold`. RFC 3339 UTC; an edge's latest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_until: Option<Box<str>>,
    /// Version of each feature that the phone has confirmed. Absent from records written when these did not travel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<Box<str>, u64>,
}

impl Record {
    /// The record to store for a subscription, which stored covers this.
    #[must_use]
    pub fn of(subscription: &Subscription, cover: Cover, config: &EdgeConfig, now: Instant, utc: SystemTime) -> Self {
        let (told, until) = (subscription.expires_at, cover.until.max(subscription.expires_at));
        let text = |at| Box::from(clock::rfc3339(clock::time_of_day(at, now, utc)));
        let (dialog, package) = (&subscription.dialog, subscription.package);
        Self {
            edge_id: config.edge_id.clone(),
            presentity: subscription.presentity.as_str().into(),
            package: package.name.to_owned(),
            watcher: subscription.watcher.clone(),
            call_id: dialog.call_id.clone(),
            remote_tag: dialog.remote_tag.clone(),
            local: dialog.local.clone(),
            remote: dialog.remote.clone(),
            target: dialog.target.clone(),
            routes: dialog.routes.clone(),
            event_id: dialog.event_id().map(Into::into),
            event: dialog.event.clone().filter(|event| **event != *strict_event(package, dialog.event_id())),
            remote_cseq: dialog.remote_cseq,
            local_cseq: cover.cseq,
            transport: subscription.flow.transport.as_str().into(),
            peer: subscription.flow.peer,
            listener: config.listeners.get(usize::from(subscription.flow.listener)).map(|listener| listener.address),
            is_direct: subscription.is_direct,
            is_trusted: subscription.is_trusted,
            accepts_multipart: subscription.accepts_multipart,
            user_agent: subscription.user_agent.clone(),
            expires_at: text(until),
            told_expires_at: (told < until).then(|| text(told)),
            kept_until: (subscription.kept_until > until + config.grace() + Duration::from_secs(1)).then(|| text(subscription.kept_until)),
            taken_from: subscription.taken_from.clone(),
            asked_at: (subscription.asked_at > SystemTime::UNIX_EPOCH).then(|| clock::rfc3339(subscription.asked_at).into()),
            is_untold: subscription.is_untold,
            told_until: None,
            versions: BTreeMap::new(),
        }
    }

    /// The same, with the watermark of its edge.
    #[must_use]
    pub fn told_until(self, utc: SystemTime) -> Self {
        Self { told_until: Some(clock::rfc3339(utc).into()), ..self }
    }

    /// The same, with what the phone has confirmed.
    #[must_use]
    pub fn confirmed(self, versions: &[(u8, u64)], table: &FeatureTable) -> Self {
        let named = |(at, version): &(u8, u64)| Some((table.names().nth(usize::from(*at))?.into(), *version));
        Self { versions: versions.iter().filter_map(named).collect(), ..self }
    }

    /// What the phone has confirmed, of the features that this edge has in its table.
    #[must_use]
    pub fn versions(&self, table: &FeatureTable) -> SmallVec<[(u8, u64); 5]> {
        let versions = self.versions.iter().filter(|(feature, _)| table.find(feature).is_some());
        versions.map(|(feature, version)| (table.index_of(feature), *version)).collect()
    }

    /// How long it is kept from now, by what it says.
    #[must_use]
    pub fn covers(&self, grace: Duration, utc: SystemTime) -> Duration {
        self.ends_at(grace).and_then(|at| at.duration_since(utc).ok()).unwrap_or_default()
    }

    fn ends_at(&self, grace: Duration) -> Option<SystemTime> {
        let kept_until = self.kept_until.as_deref().and_then(clock::parse_rfc3339);
        kept_until.or_else(|| clock::parse_rfc3339(&self.expires_at).map(|at| at + grace))
    }

    /// The subscription of a record: live, at a listener of its transport here, without the connection that it had.
    ///
    /// `None` for a record that this version could not have written.
    #[must_use]
    pub(crate) fn restore(
        self,
        id: SubscriptionId,
        revision: u64,
        config: &EdgeConfig,
        table: &FeatureTable,
        Now { at: now, utc }: Now,
    ) -> Option<Subscription> {
        let (transport, package) = (Transport::parse(&self.transport)?, table.package(&self.package)?);
        let listener = config.listener_of(transport, self.listener, self.peer).unwrap_or_default();
        let instant = |text: &str| {
            Some(match clock::parse_rfc3339(text)?.duration_since(utc) {
                Ok(left) => now + left,
                Err(past) => now.checked_sub(past.duration()).unwrap_or(now),
            })
        };
        let covered_until = instant(&self.expires_at)?;
        let kept_until = now + self.covers(config.grace(), utc);
        let expires_at = self.told_expires_at.as_deref().and_then(instant).unwrap_or(covered_until);
        Some(Subscription {
            id,
            presentity: Presentity::parse(&self.presentity).ok()?,
            package,
            watcher: self.watcher,
            dialog: Dialog {
                call_id: self.call_id,
                remote_tag: self.remote_tag,
                local: self.local,
                remote: self.remote,
                target: self.target,
                routes: self.routes,
                event: self.event.or_else(|| self.event_id.map(|id| strict_event(package, Some(&id)).into())),
                remote_cseq: self.remote_cseq,
                local_cseq: self.local_cseq,
            },
            flow: Flow { transport, listener, peer: self.peer, connection: None },
            is_direct: self.is_direct,
            is_trusted: self.is_trusted,
            quirks: config.profiles.of(&self.user_agent),
            user_agent: self.user_agent,
            accepts_multipart: self.accepts_multipart,
            expires_at,
            kept_until,
            phase: Phase::Live,
            cseq_reserved: self.local_cseq,
            covered_until,
            is_as_recorded: true,
            is_unrecorded: false,
            revision,
            versions: SmallVec::new(),
            outbox: Underway::default(),
            in_flight: None,
            lane: Underway::of(Lane { sync: Sync::unknown(), ..Lane::default() }),
            alarm: Alarm::default(),
            counted_in_grace: false,
            taken_from: self.taken_from,
            asked_at: self.asked_at.and_then(|at| clock::parse_rfc3339(&at)).unwrap_or(SystemTime::UNIX_EPOCH),
            dismissed: None,
            is_untold: self.is_untold,
            is_restored: false,
        })
    }
}

/// An Event of this package in its usual form.
fn strict_event(package: &Package, id: Option<&str>) -> String {
    Event { package: package.name, id }.to_string()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
#[path = "tests/record.rs"]
mod tests;
