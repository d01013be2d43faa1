//! What is known of a presentity, its phones and who answers for it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::bus::EdgeWatchers;
use crate::bus::history::History;
use crate::bus::message::{
    EndReason, FeatureEvent, FeatureOutcome, NotifyEvent, NotifyOutcome, RefusedEvent, ResponderReport, SubscriptionChange,
    SubscriptionEvent, Watcher,
};
use crate::feature::{FeatureState, FeatureTable, Presentity};
use crate::runtime::clock;

/// How much older than its phone's return an end may look: events of two edges.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// See the module. Where somebody did not answer, why.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) presentity: Presentity,
    /// Features asked for by name; none: all.
    pub(super) asked: Vec<String>,
    pub(super) now: SystemTime,
    pub(super) states: Result<Vec<FeatureState>, String>,
    /// The edges that hold its phones, as the bucket says.
    pub(super) holders: Result<Vec<EdgeWatchers>, String>,
    /// The edges that answered.
    pub(super) edges: BTreeMap<String, Vec<Watcher>>,
    /// What workers know of the responders of its domain.
    pub(super) reports: Vec<ResponderReport>,
    pub(super) history: Result<History, String>,
    /// Whether that was only not read in time.
    pub(super) is_history_slow: bool,
    pub(super) table: Arc<FeatureTable>,
}

impl Facts {
    /// The live subscriptions, with their edges.
    pub(super) fn live(&self) -> impl Iterator<Item = (&str, &Watcher)> {
        self.edges.iter().flat_map(|(edge_id, watchers)| watchers.iter().map(move |watcher| (edge_id.as_str(), watcher)))
    }

    /// The edges that hold phones and did not answer, with how many.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&str, u64)> {
        let holders = self.holders.iter().flatten();
        let silent = holders.filter(|holder| !self.edges.contains_key(&*holder.edge_id));
        silent.map(|holder| (&*holder.edge_id, holder.count))
    }

    fn past(&self) -> Option<&History> {
        self.history.as_ref().ok()
    }

    /// How each subscription ended that did within the time looked at, and lives nowhere.
    pub(super) fn ended(&self) -> Vec<&SubscriptionEvent> {
        let mut ended: BTreeMap<&str, &SubscriptionEvent> = BTreeMap::new();
        for event in self.past().into_iter().flat_map(|past| &past.subscriptions) {
            let is_end = event.what == SubscriptionChange::Terminated && event.reason != Some(EndReason::Moved);
            if is_end {
                ended.insert(&event.subscription, event);
            } else if event.what != SubscriptionChange::Terminated {
                ended.remove(&*event.subscription);
            }
        }
        ended.retain(|id, _| !self.live().any(|(_, watcher)| watcher.subscription == *id));
        let mut ended: Vec<_> = ended.into_values().collect();
        ended.sort_by(|one, other| one.time.cmp(&other.time));
        ended
    }

    /// Whether the same phone has come back since: a subscription of the same user and model that came after this end, or one whose
    /// beginning is not known and which lives.
    pub(super) fn is_back(&self, ended: &SubscriptionEvent) -> bool {
        let is_same =
            |watcher: &str, package: &str, agent: &str| (watcher, package, agent) == (&*ended.watcher, &*ended.package, &*ended.user_agent);
        let end = clock::parse_rfc3339(&ended.time).unwrap_or(self.now);
        self.live().filter(|(_, live)| is_same(&live.watcher, &live.package, &live.user_agent)).any(|(_, live)| {
            let came = self.past().into_iter().flat_map(|past| &past.subscriptions);
            let mut came = came.filter(|event| event.what == SubscriptionChange::Active && event.subscription == live.subscription);
            came.next().and_then(|event| clock::parse_rfc3339(&event.time)).is_some_and(|at| at + CLOCKS_DIFFER >= end)
        })
    }

    /// What became of the last NOTIFY of a subscription that had this feature, or of any.
    pub(super) fn last_notify(&self, subscription: &str, feature: Option<&str>) -> Option<&NotifyEvent> {
        let notifies = self.past().into_iter().flat_map(|past| &past.notifies).rev();
        let mut of_it = notifies.filter(|event| event.subscription == subscription);
        of_it.find(|event| feature.is_none_or(|feature| event.features.iter().any(|told| told == feature)))
    }

    /// The last change of a feature, made or refused.
    pub(super) fn last_change(&self, feature: &str) -> Option<&FeatureEvent> {
        self.past().into_iter().flat_map(|past| &past.changes).rev().find(|event| event.feature == feature)
    }

    /// The last SUBSCRIBE for the presentity that was refused, unless a phone was let in since.
    pub(super) fn refused_subscribe(&self) -> Option<&RefusedEvent> {
        let past = self.past()?;
        let refused = past.refused.iter().rev().find(|event| event.method.as_deref() == Some("SUBSCRIBE"))?;
        let is_in = |event: &&SubscriptionEvent| {
            event.what != SubscriptionChange::Terminated && event.time > refused.time && Some(&*event.watcher) == refused.watcher.as_deref()
        };
        past.subscriptions.iter().find(is_in).is_none().then_some(refused)
    }

    /// Whether the phone was told this version, although its edge does not know: of before a restart.
    pub(super) fn was_told(&self, subscription: &str, state: &FeatureState) -> bool {
        let Some(past) = self.past() else { return false };
        let changes = past.changes.iter().rev().filter(|event| event.feature == state.feature && event.outcome == FeatureOutcome::Applied);
        let Some(made) = changes.into_iter().find(|event| event.version == state.version) else { return false };
        let told = self.last_notify(subscription, Some(&state.feature));
        told.is_some_and(|told| told.outcome == NotifyOutcome::Delivered && began(told) >= clock::parse_rfc3339(&made.time))
    }

    /// What the workers know of the responder of a feature: what is worst.
    pub(super) fn reports_of(&self, feature: &str) -> impl Iterator<Item = &ResponderReport> {
        self.reports.iter().filter(move |report| report.feature == feature)
    }

    /// The states that a subscription's package has.
    pub(super) fn states_of(&self, watcher: &Watcher) -> Vec<&FeatureState> {
        let has = |state: &&FeatureState| self.table.package_of(&state.feature).name == watcher.package;
        self.states.iter().flatten().filter(has).collect()
    }
}

/// A breaker that is open counts most, then what failed last, then a get.
pub(super) fn severity(report: &ResponderReport) -> (u8, bool, bool) {
    let breaker = match &*report.breaker {
        "closed" => 0,
        "half_open" => 1,
        _ => 2,
    };
    (breaker, report.last_error_at > report.last_heard, report.kind == "get")
}

/// When a NOTIFY was sent.
fn began(notify: &NotifyEvent) -> Option<SystemTime> {
    clock::parse_rfc3339(&notify.time)?.checked_sub(Duration::from_millis(notify.took_ms))
}
