//! Live subscriptions as they are listed over HTTP. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use crate::bus::message::{Kind, Named, Watcher};
use crate::bus::poll::Poll;

/// Live subscriptions of every edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct WatcherList {
    /// The message's type name.
    #[serde(rename = "type", default)]
    kind: Kind<WatcherList>,
    /// The subscriptions, edge by edge.
    watchers: Vec<HeldWatcher>,
    /// Whether there are more than these: 10,000 are listed at most.
    more: bool,
}

/// One live subscription, and the edge that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct HeldWatcher {
    /// The edge that holds it.
    edge_id: String,
    #[serde(flatten)]
    watcher: Watcher,
}

impl Named for WatcherList {
    const TYPE: &'static str = "io.dfks.api.v1.watcher_list";
}

impl From<Poll> for WatcherList {
    fn from(poll: Poll) -> Self {
        let of_edge = |(edge_id, watchers): (String, Vec<Watcher>)| {
            watchers.into_iter().map(move |watcher| HeldWatcher { edge_id: edge_id.clone(), watcher })
        };
        Self { kind: Kind::default(), watchers: poll.edges.into_iter().flat_map(of_edge).collect(), more: poll.is_cut }
    }
}
