//! What was promised, and what is seen of it. ARCHITECTURE.md names each invariant; here each has a name of its own in [`Broken`].
//!
//! The ledger sees what an onlooker could: datagrams, what the buckets hold, answers to services, what phones show. It knows nothing of
//! the inside of any role.

mod bus;
mod command;
mod sip;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

pub(crate) use bus::{History, is_shown};
pub(crate) use command::{Command, Way, target};
pub(crate) use sip::{Sent, Wrong};

use crate::simulate::fault::Kind;

/// An invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Invariant {
    /// A NOTIFY's `CSeq` is higher than that of each before it in its dialog, whichever edge sends it.
    CseqGrows,
    /// No edge sends in a dialog that another has sent in since.
    OneOwner,
    /// The version of a feature grows by one with each change.
    VersionGrows,
    /// No phone is told an older state after a newer one.
    NothingOlder,
    /// A phone is told only what the bucket holds or held.
    NothingMadeUp,
    /// What a `dfks.set` was answered with is stored.
    AnsweredIsStored,
    /// A command that was acknowledged is carried out once, or is a dead letter.
    Once,
    /// Commands of a presentity are carried out in the order of their acknowledgements.
    InOrder,
    /// Some time after the last fault every live phone shows what `dfks.get` answers.
    Converged,
    /// A subscription that was granted is served until it expires, ends with a NOTIFY, or its phone gets 481.
    Served,
    /// Nothing grows without bound.
    Bounded,
    /// No NOTIFY storm.
    NoStorm,
    /// A process ends only when it is told to.
    StaysUp,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: Duration,
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

/// The ledger of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    broken: Vec<Broken>,
    pub(crate) sip: Sent,
    pub(crate) history: History,
    pub(crate) commands: BTreeMap<u64, Command>,
    /// What the responder has said that it has: it counts, stored or not.
    pub(crate) said: BTreeSet<String>,
    /// The version that each phone was told last, of each feature.
    told: BTreeMap<(usize, String), u64>,
    /// SUBSCRIBEs that were granted.
    pub(crate) granted: u64,
    /// NOTIFYs that phones took.
    pub(crate) taken: u64,
    /// Incidents by kind.
    pub(crate) incidents: BTreeMap<Kind, u32>,
    /// Processes that ended by themselves.
    pub(crate) ended: u32,
}

/// Broken promises that are kept of one run: the first ones tell the story.
const MOST_BROKEN: usize = 50;

impl Ledger {
    /// An invariant does not hold.
    pub(crate) fn broken(&mut self, at: Duration, invariant: Invariant, what: String) {
        if self.broken.len() < MOST_BROKEN {
            self.broken.push(Broken { at, invariant, what });
        }
    }

    /// What did not hold, in the order it was found.
    pub(crate) fn all_broken(&self) -> &[Broken] {
        &self.broken
    }

    /// An incident has begun.
    pub(crate) fn incident(&mut self, kind: Kind) {
        *self.incidents.entry(kind).or_default() += 1;
    }

    /// A phone was told of a feature.
    pub(crate) fn shown(&mut self, now: Duration, phone: usize, presentity: &str, shown: &crate::cli::phone::notification::ShownFeature) {
        self.taken += 1;
        let key = (phone, shown.feature.clone());
        let last = self.told.get(&key).copied().unwrap_or_default();
        match self.history.version_of(presentity, &shown.feature, shown.status, &shown.values, last) {
            Ok(version) => {
                self.told.insert(key, version);
            }
            Err(Some(before)) => {
                let what = format!("phone {phone} was told {} version {before} after {last}", shown.feature);
                self.broken(now, Invariant::NothingOlder, what);
            }
            Err(None) if shown.values.values().any(|value| self.said.contains(value)) => {}
            Err(None) => {
                let what =
                    format!("phone {phone} was told {} {:?} {:?}, which was never stored", shown.feature, shown.status, shown.values);
                self.broken(now, Invariant::NothingMadeUp, what);
            }
        }
    }

    /// Parts of a NOTIFY that a phone cannot read.
    pub(crate) fn unreadable(&mut self, now: Duration, phone: usize, parts: &[String]) {
        for part in parts {
            self.broken(now, Invariant::NothingMadeUp, format!("phone {phone} cannot read a body: {part}"));
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10.3} s {:?}: {}", self.at.as_secs_f64(), self.invariant, self.what)
    }
}

impl Ledger {
    /// Whether the version that a command was answered with is what it asked for.
    pub(crate) fn holds(&self, number: u64, version: u64) -> bool {
        let Some(command) = self.commands.get(&number) else { return false };
        let target = target(number);
        let versions = self.history.versions(&command.presentity, command.feature).unwrap_or_default();
        versions.iter().any(|one| one.number == version && one.values.get("forwardTo") == Some(&target))
    }
}
