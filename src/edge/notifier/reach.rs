//! NOTIFYs to host names: what is asked to locate them, and the next way when one fails (RFC 3263 §4.3).

use std::sync::Arc;
use std::time::Duration;

use crate::edge::metrics::{DeliveryOutcome, FailoverReason};
use crate::edge::notifier::Notifier;
use crate::edge::notifier::io::Output;
use crate::edge::notifier::state::names::DEAD_FOR;
use crate::edge::subscription::destination::NamedWay;
use crate::edge::subscription::{InFlight, Subscription};
use crate::runtime::clock::Now;
use crate::sip::locate::HostName;

/// Status of a server that takes nothing now.
const UNAVAILABLE: u16 = 503;

impl Notifier {
    /// The name that a NOTIFY goes to is to be located.
    pub(super) fn locate(&mut self, host: Option<Arc<HostName>>) {
        self.output.extend(host.map(Output::Locate));
    }

    /// A way to a name has failed; whether there is another, which the next NOTIFY takes. Source: RFC 3263 §4.3.
    pub(super) fn fails_over(
        &mut self,
        subscription: &Subscription,
        in_flight: &InFlight,
        (reason, dead_for): (FailoverReason, Duration),
        now: Now,
    ) -> bool {
        let Some(NamedWay { named, way: Some(way) }) = in_flight.by_name.as_deref() else { return false };
        let is_another = self.names.failed(named, subscription.id, *way, dead_for, now.at);
        if is_another {
            self.metrics.names.failed_over(reason, *way);
            let outcome = if reason == FailoverReason::Timeout { DeliveryOutcome::Expired } else { DeliveryOutcome::Retried };
            self.delivery.count_end(in_flight, outcome, now);
        } else {
            self.names.forget(subscription.id);
        }
        is_another
    }

    /// A final response: from a server that takes nothing now, or from one that lives. Whether another server is tried.
    pub(super) fn fails_over_by_response(
        &mut self,
        subscription: &Subscription,
        in_flight: &InFlight,
        (status, retry_after): (u16, Option<u32>),
        now: Now,
    ) -> bool {
        if status == UNAVAILABLE {
            let dead_for = retry_after.map_or(DEAD_FOR, |seconds| Duration::from_secs(seconds.clamp(1, 3600).into()));
            return self.fails_over(subscription, in_flight, (FailoverReason::Unavailable, dead_for), now);
        }
        if let Some(NamedWay { way: Some(way), .. }) = in_flight.by_name.as_deref() {
            self.names.answered(subscription.id, *way);
        }
        false
    }
}
