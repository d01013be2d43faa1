//! A trace and its steps. Pure.

use serde::Serialize;

use super::word::{Outcome, StepKind};

/// One change's whole way.
///
/// Shape: `{"cause":"5f…","presentity":"sip:alice@h","since":"…","until":null,"outcome":"ok","took_ms":12.3,"steps":[…]}`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trace {
    /// The id that all of it has.
    pub(crate) cause: String,
    /// Whose features; `None`: no event says.
    pub(crate) presentity: Option<String>,
    /// From when on events were looked at: RFC 3339 UTC.
    pub(crate) since: String,
    /// Up to when, where that is not now: there were too many.
    pub(crate) until: Option<String>,
    /// The worst that came of it.
    pub(crate) outcome: Outcome,
    /// From the first step to the last one's end.
    pub(crate) took_ms: f64,
    /// In the order of their time.
    pub(crate) steps: Vec<Step>,
}

/// One step of a trace: a line of `dfks trace --json`.
///
/// Shape: `{"at":"…","after_ms":1.2,"step":"notify","who":"edge-0","to":"sip:alice@h","took_ms":3.0,"outcome":"ok","status":200,…}`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Step {
    /// When it began: RFC 3339 UTC.
    pub(crate) at: String,
    /// The same, from the first step on.
    pub(crate) after_ms: f64,
    /// What was done.
    #[serde(rename = "step")]
    pub(crate) kind: StepKind,
    /// Who did it: a phone's user, whoever sent a command, an edge, `worker`, `mi`.
    pub(crate) who: String,
    /// Whom it went to: an edge, a phone's user, a responder's subject, `worker`, `store`; `None`: it stayed.
    pub(crate) to: Option<String>,
    /// How long it took; `None`: that is not known, or it is still under way.
    pub(crate) took_ms: Option<f64>,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// Which features it was about.
    pub(crate) features: Vec<String>,
    /// The subscription, where it was about one.
    pub(crate) subscription: Option<String>,
    /// SIP status, or that of the reply.
    pub(crate) status: Option<u16>,
    /// More about it, for people.
    pub(crate) detail: Option<String>,
}

impl Trace {
    /// Whether any step is still under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == Outcome::Waiting)
    }
}
