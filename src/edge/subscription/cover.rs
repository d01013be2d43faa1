//! What the stored record of a subscription covers: what is within it needs no other store. Pure.
//!
//! ```text
//! store ─▶ CSeq + 1000 ───────── NOTIFYs ──▶ few are left: stored again, beside everything else
//!      └─▶ granted + as long again ─ refresh within it, nothing else altered: 200 at once ─ else: stored first
//! ```
//! A record has a subscription live for longer than its phone was told. What its edge granted since is within that, so that
//! whoever restores it keeps it as long as any 200 has said.

use std::time::{Duration, Instant};

use crate::edge::subscribe::Subscribe;
use crate::edge::subscription::Subscription;

/// What a stored record covers: what is within it needs no other store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// No NOTIFY has a `CSeq` above this one.
    pub cseq: u32,
    /// The subscription lives until then, whoever has it by then.
    pub until: Instant,
}

/// How many `CSeq` numbers one store reserves, so that they grow across a crash without a store for each NOTIFY.
const CSEQ_BLOCK: u32 = 1000;
/// Another block is reserved when this few are left, and asked for again every [`CSEQ_AGAIN_EVERY`] until it is stored.
const CSEQ_LOW: u32 = 250;
const CSEQ_AGAIN_EVERY: u32 = 25;

impl Subscription {
    /// When it ends unless it is refreshed.
    #[must_use]
    pub fn ends_at(&self, grace: Duration) -> Instant {
        let until = if self.is_as_recorded { self.expires_at.max(self.covered_until) } else { self.expires_at };
        until + grace
    }

    /// Until when a record that is stored now is to cover it: as long again as is left, so that a refresh for no longer than that
    /// needs no store.
    ///
    /// One that is stored `anew`, for a SUBSCRIBE, covers what that was granted; another one no less than the record before.
    #[must_use]
    pub fn cover_until(&self, anew: bool, now: Instant) -> Instant {
        let until = self.expires_at + self.expires_at.saturating_duration_since(now);
        if anew { until } else { until.max(self.covered_until) }
    }

    /// How long a record that is stored now is kept: no shorter than those before it would have been, which come back with a server
    /// that crashed where it is gone before them.
    #[must_use]
    pub fn keep(&mut self, cover: Cover, grace: Duration, now: Instant) -> Duration {
        self.kept_until = self.kept_until.max(cover.until.max(now) + grace);
        self.kept_for(now)
    }

    /// How long from now what is stored of it would be kept.
    #[must_use]
    pub fn kept_for(&self, now: Instant) -> Duration {
        self.kept_until.saturating_duration_since(now)
    }

    /// Whether a refresh alters nothing but the expiry.
    #[must_use]
    pub fn is_same_but_expiry(&self, subscribe: &Subscribe) -> bool {
        let (is, was) = (subscribe.flow, self.flow);
        (is.transport, is.listener, is.peer) == (was.transport, was.listener, was.peer)
            && (subscribe.is_direct, subscribe.is_trusted) == (self.is_direct, self.is_trusted)
            && subscribe.contact.as_ref().is_none_or(|contact| *contact == self.dialog.target)
            && subscribe.accepts_multipart.is_none_or(|accepts| accepts == self.accepts_multipart)
            && (subscribe.user_agent.is_empty() || subscribe.user_agent == self.user_agent)
    }

    /// Whether the next NOTIFY has a `CSeq` that no other edge can use, nor this one after a crash: a stored record covers it, or
    /// there is none any more.
    #[must_use]
    pub const fn has_cseq(&self) -> bool {
        self.is_unrecorded || self.dialog.local_cseq < self.cseq_reserved
    }

    /// The `CSeq` of the next NOTIFY, and whether a store should reserve more of them now.
    pub fn next_cseq(&mut self) -> (u32, bool) {
        self.dialog.local_cseq = self.dialog.local_cseq.saturating_add(1);
        let left = self.cseq_reserved.saturating_sub(self.dialog.local_cseq);
        (self.dialog.local_cseq, left <= CSEQ_LOW && left.is_multiple_of(CSEQ_AGAIN_EVERY))
    }

    /// Last `CSeq` that the record which is about to be stored covers. They are reserved once it is stored.
    #[must_use]
    pub fn cseq_to_reserve(&self) -> u32 {
        self.cseq_reserved.max(self.dialog.local_cseq.saturating_add(CSEQ_BLOCK))
    }

    /// A record of it is stored, and covers this.
    pub fn is_stored(&mut self, revision: u64, cover: Cover) {
        if revision >= self.revision {
            (self.revision, self.covered_until) = (revision, cover.until);
        }
        self.cseq_reserved = self.cseq_reserved.max(cover.cseq);
    }

    /// A record of ours was found at this revision of which nothing is known: the next refresh does not count on it.
    pub fn is_found(&mut self, revision: u64, now: Instant) {
        self.revision = revision;
        if !self.is_as_recorded {
            self.covered_until = now;
        }
    }

    /// The bucket may have another record of it than the one known, or none: nothing after this time is covered.
    pub fn covers_at_most(&mut self, until: Instant) {
        self.covered_until = self.covered_until.min(until);
    }

    /// Continues the dialog of another edge, whose NOTIFYs have no `CSeq` above this one.
    pub fn continue_after(&mut self, local_cseq: u32) {
        self.dialog.local_cseq = self.dialog.local_cseq.max(local_cseq);
        self.cseq_reserved = self.cseq_reserved.max(local_cseq);
    }
}
