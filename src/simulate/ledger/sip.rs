//! NOTIFYs as they leave: which edge sends what, in which dialog.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::sip::Request;

/// An edge that still sends again what it began this long before another took over, has not noticed it in time.
const LATE: Duration = Duration::from_secs(40);

/// Every dialog, by the tag of its notifier.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    dialogs: BTreeMap<String, Dialog>,
    /// NOTIFYs, each counted once.
    pub(crate) first: u64,
    /// Sent again.
    pub(crate) again: u64,
    /// Sent again although another edge has sent in the dialog since.
    pub(crate) stale: u64,
    /// Dialogs that moved to another edge.
    pub(crate) moved: u64,
}

#[derive(Debug)]
struct Dialog {
    edge: SocketAddr,
    since: Duration,
    cseq: u32,
    branches: BTreeSet<String>,
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
            let branches = BTreeSet::from([branch.to_owned()]);
            self.dialogs.insert(tag.to_owned(), Dialog { edge, since: now, cseq, branches });
            return None;
        };
        if dialog.branches.contains(branch) {
            self.again += 1;
            if dialog.edge == edge {
                return None;
            }
            self.stale += 1;
            let is_late = now.saturating_sub(dialog.since) > LATE;
            return is_late.then(|| {
                Wrong::Owner(format!("{edge} still sends CSeq {cseq} in {tag}, which is of {} since {:?}", dialog.edge, dialog.since))
            });
        }
        dialog.branches.insert(branch.to_owned());
        self.first += 1;
        if cseq <= dialog.cseq {
            let text = format!("{edge} sends CSeq {cseq} in {tag}, after {} of {}", dialog.cseq, dialog.edge);
            return Some(if dialog.edge == edge { Wrong::Cseq(text) } else { Wrong::Owner(text) });
        }
        dialog.cseq = cseq;
        if dialog.edge != edge {
            (dialog.edge, dialog.since) = (edge, now);
            self.moved += 1;
        }
        None
    }

    /// Dialogs in all.
    pub(crate) fn dialogs(&self) -> usize {
        self.dialogs.len()
    }
}
