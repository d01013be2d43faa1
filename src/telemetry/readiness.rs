//! Whether this process should be given work: named conditions, each with the reason why it does not hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

type Probe = Box<dyn Fn() -> Result<(), &'static str> + Send + Sync>;

/// The conditions of one process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    probes: Arc<Mutex<BTreeMap<&'static str, Probe>>>,
}

/// One condition that its owner sets.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    state: Arc<Mutex<Result<(), &'static str>>>,
}

/// What `/readyz` says: `{"ready":false,"reasons":{"nats":"not connected"}}`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Whether every condition holds.
    pub(crate) ready: bool,
    /// Those that do not, with the reason.
    pub(crate) reasons: BTreeMap<&'static str, &'static str>,
}

impl Readiness {
    /// No conditions yet: ready.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold until its owner says so; `reason` is why.
    #[must_use]
    pub(crate) fn condition(&self, name: &'static str, reason: &'static str) -> Condition {
        let state = Arc::new(Mutex::new(Err(reason)));
        let asked = Arc::clone(&state);
        self.probe(name, move || *asked.lock().unwrap_or_else(PoisonError::into_inner));
        Condition { state }
    }

    /// Adds a condition that is evaluated on demand, such as a connection. `probe` must not block.
    pub(crate) fn probe(&self, name: &'static str, probe: impl Fn() -> Result<(), &'static str> + Send + Sync + 'static) {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Box::new(probe));
    }

    /// Looks at every condition.
    #[must_use]
    pub(crate) fn report(&self) -> Report {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons: BTreeMap<_, _> = probes.iter().filter_map(|(name, probe)| probe().err().map(|reason| (*name, reason))).collect();
        Report { ready: reasons.is_empty(), reasons }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

impl Condition {
    pub(crate) fn ready(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Ok(());
    }

    /// It does not hold any more.
    pub(crate) fn not_ready(&self, reason: &'static str) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Err(reason);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ready {
            return f.write_str("ready\n");
        }
        self.reasons.iter().try_for_each(|(name, reason)| writeln!(f, "{name}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_holds_and_says_which_does_not() {
        let readiness = Readiness::new();
        assert_eq!(readiness.report().to_string(), "ready\n");
        let edge = readiness.condition("edge", "starting");
        readiness.probe("nats", || Err("not connected"));
        assert_eq!(readiness.report().to_string(), "edge: starting\nnats: not connected\n");
        readiness.probe("nats", || Ok(()));
        edge.ready();
        assert!(readiness.report().ready);
        edge.not_ready("draining");
        assert_eq!(serde_json::to_string(&readiness.report()).unwrap(), r#"{"ready":false,"reasons":{"edge":"draining"}}"#);
    }
}
