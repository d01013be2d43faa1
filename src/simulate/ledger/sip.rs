//! NOTIFYs as they leave: which edge sends what, in which dialog.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::sip::Request;

/// How long an edge may not have heard that another has a dialog: the take-over time, for which it holds its lease without NATS.
const HEARS_WITHIN: Duration = Duration::from_secs(15);
/// How long it may send again what it began before: Timer F after that.
const SENDS_AGAIN_FOR: Duration = Duration::from_secs(15 + 32);

/// A NOTIFY over UDP leaves so often before Timer F: then its subscription is over (RFC 6665 §4.2.2), and its phone hears 481 next.
const TRANSMISSIONS: u32 = 11;

/// Every dialog, by the tag of its notifier.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    dialogs: BTreeMap<String, Dialog>,
    /// Call-IDs of dialogs whose phone did not answer until Timer F.
    unanswered: BTreeSet<String>,
    /// NOTIFYs, each counted once.
    pub(crate) first: u64,
    /// Sent again.
    pub(crate) again: u64,
    /// Sent again although another edge has sent in the dialog since.
    pub(crate) stale: u64,
    /// Begun by an edge that had not yet heard that another has the dialog.
    pub(crate) overtaken: u64,
    /// Dialogs that moved to another edge.
    pub(crate) moved: u64,
}

#[derive(Debug)]
struct Dialog {
    edge: SocketAddr,
    since: Duration,
    cseq: u32,
    /// Its NOTIFYs, and how often each was sent.
    branches: BTreeMap<String, u32>,
}

/// What is wrong with a NOTIFY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    Cseq(String),
    Owner(String),
}

impl Sent {
    /// An edge sends a NOTIFY.
    pub(crate) fn notify(&mut self, now: Duration, edge: SocketAddr, request: &Request, branch: &str) -> Option<Wrong> {
        let tag = request.from().tag().unwrap_or_default();
        let cseq = request.cseq();
        let Some(dialog) = self.dialogs.get_mut(tag) else {
            self.first += 1;
            let branches = BTreeMap::from([(branch.to_owned(), 1)]);
            self.dialogs.insert(tag.to_owned(), Dialog { edge, since: now, cseq, branches });
            return None;
        };
        if let Some(times) = dialog.branches.get_mut(branch) {
            self.again += 1;
            *times += 1;
            if *times >= TRANSMISSIONS {
                self.unanswered.insert(request.call_id().to_owned());
            }
            if dialog.edge == edge {
                return None;
            }
            self.stale += 1;
            let is_late = now.saturating_sub(dialog.since) > SENDS_AGAIN_FOR;
            return is_late.then(|| {
                Wrong::Owner(format!("{edge} still sends CSeq {cseq} in {tag}, which is of {} since {:?}", dialog.edge, dialog.since))
            });
        }
        dialog.branches.insert(branch.to_owned(), 1);
        self.first += 1;
        if cseq <= dialog.cseq {
            let text = format!("{edge} sends CSeq {cseq} in {tag}, after {} of {}", dialog.cseq, dialog.edge);
            if dialog.edge == edge {
                return Some(Wrong::Cseq(text));
            }
            // its phone refuses it
            self.overtaken += 1;
            return (now.saturating_sub(dialog.since) > HEARS_WITHIN).then_some(Wrong::Owner(text));
        }
        dialog.cseq = cseq;
        if dialog.edge != edge {
            (dialog.edge, dialog.since) = (edge, now);
            self.moved += 1;
        }
        None
    }

    /// Whether an edge has given a phone up in this dialog.
    pub(crate) fn has_given_up(&self, call_id: &str) -> bool {
        self.unanswered.contains(call_id)
    }

    /// Dialogs in all.
    pub(crate) fn dialogs(&self) -> usize {
        self.dialogs.len()
    }
}
