//! Commands that were refused, told as `dfks.event.refused`: one a second for each domain and reason. I/O.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::message::{ErrorBody, Kind, RefusedEvent, RefusedReason};
use crate::bus::refusals::{Refusals, Refused};
use crate::bus::trace::{self, Cause};
use crate::feature::Presentity;
use crate::mi::command::SetCommand;
use crate::runtime::clock;
use crate::telemetry::Pii;

/// How often it is looked for what was held back.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// What is known of a command that was refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Who {
    pub(crate) presentity: Option<Presentity>,
    pub(crate) actor: Option<String>,
}

impl Who {
    /// Of a command that could be read.
    pub(crate) fn of(command: &SetCommand) -> Self {
        Self { presentity: Some(command.presentity.clone()), actor: command.actor.clone() }
    }

    /// Of one that could not, as far as its payload says.
    pub(crate) fn in_payload(payload: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |field: &str| json.get(field).and_then(Value::as_str);
        let actor = text("actor").filter(|actor| crate::bus::message::check_actor(actor).is_ok()).map(str::to_owned);
        Self { presentity: text("presentity").and_then(|text| Presentity::parse(text).ok()), actor }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RefusedCommands {
    bus: Bus,
    refusals: Mutex<Refusals>,
}

impl RefusedCommands {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus, refusals: Mutex::new(Refusals::new()) }
    }

    /// A command was refused with this error.
    pub(crate) fn note(&self, error: &ErrorBody, who: &Who, cause: &Cause) {
        let reason = RefusedReason::of_error(error.code);
        let presentity = who.presentity.as_ref();
        let shown = presentity.map_or("", Presentity::as_str);
        tracing::debug!(presentity = %Pii(shown), actor = who.actor, code = error.code, detail = error.description, "command refused");
        let refused = Refused::Domain(presentity.map(|presentity| presentity.domain_token().into()));
        let event = || RefusedEvent {
            kind: Kind::default(),
            id: trace::new_id(),
            time: clock::rfc3339(self.bus.utc_now()),
            cause: cause.clone(),
            edge_id: None,
            presentity: presentity.map(|presentity| presentity.as_str().to_owned()),
            watcher: None,
            actor: who.actor.clone(),
            source: None,
            transport: None,
            method: None,
            status: error.code,
            reason,
            detail: Some(error.description.clone()),
            user_agent: None,
            call_id: None,
            count: 1,
        };
        let event = self.refusals().note(refused, reason, clock::now(), event);
        if let Some(event) = event {
            self.bus.publish_refused(&event);
        }
    }

    /// Tells what was held back, as it is due, until `stopping`: then all of it.
    pub(crate) async fn run(&self, stopping: CancellationToken) {
        while stopping.run_until_cancelled(tokio::time::sleep(POLL_EVERY)).await.is_some() {
            self.poll(clock::now());
        }
        self.poll(clock::now() + Duration::from_secs(1));
    }

    /// Tells what was held back and is due at this time.
    fn poll(&self, at: Instant) {
        loop {
            let Some(event) = self.refusals().poll(at) else { return };
            self.bus.publish_refused(&event);
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_as_far_as_it_goes() {
        for (payload, presentity, actor) in [
            (&br#"{"presentity":"SIPS:alice@H:5061","feature":"Foo","actor":"crm"}"#[..], Some("sip:alice@h"), Some("crm")),
            (br#"{"presentity":7,"actor":["crm"]}"#, None, None),
            (b"{\"presentity\":\"sip:a@h\",\"actor\":\"a\\tb\"}", Some("sip:a@h"), None),
            (b"[]", None, None),
            (b"\xff", None, None),
        ] {
            let who = Who::in_payload(payload);
            assert_eq!((who.presentity.as_ref().map(Presentity::as_str), who.actor.as_deref()), (presentity, actor));
        }
    }
}
