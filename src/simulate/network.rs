//! Datagrams between machines and phones: late, lost, doubled, out of order, cut off.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// How datagrams fare.
#[derive(Debug)]
pub(crate) struct Network {
    /// Shortest and longest way.
    pub(crate) delay: (Duration, Duration),
    /// How many are lost, of one.
    pub(crate) loss: f64,
    /// How many come twice.
    pub(crate) doubled: f64,
    /// How many are held up, for up to a second.
    pub(crate) late: f64,
    /// Who neither sends nor receives any.
    pub(crate) cut: BTreeSet<IpAddr>,
}

impl Default for Network {
    fn default() -> Self {
        let delay = (Duration::from_millis(1), Duration::from_millis(20));
        Self { delay, loss: 0.0, doubled: 0.0, late: 0.0, cut: BTreeSet::new() }
    }
}
