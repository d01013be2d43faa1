//! Whose a subscription is, by what the bucket has under its key.

use crate::edge::notifier::state::bus_requests::Found;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::lane::Exchange;
use crate::edge::subscription::record::Record;
use crate::edge::subscription::{Phase, Subscription};

/// What becomes of a SUBSCRIBE, once the bucket has said what it knows of its subscription.
pub(super) enum Decision {
    /// It is stored, in our name.
    Store,
    /// The same, in the place of this record of another edge.
    TakeBack(Box<Record>),
    Refuse(Refusal),
    /// It is refused, and the subscription is another edge's.
    LetGo(Refusal),
}

/// Who has the subscription now that its key had another revision, and what becomes of the SUBSCRIBE.
pub(super) fn decide(subscription: &mut Subscription, exchange: &Exchange, found: Found, edge_id: &str) -> Decision {
    match found {
        Found::Gone { removed_over, .. } if subscription.phase == Phase::Live && has_ended_elsewhere(subscription, removed_over) => {
            return Decision::LetGo(Refusal::no_subscription());
        }
        // The bucket has lost it, but the phone and we have not: it is stored anew.
        Found::Gone { revision, .. } if subscription.phase == Phase::Live => subscription.revision = revision,
        // It ended elsewhere while it was taken over.
        Found::Gone { .. } => return Decision::Refuse(Refusal::no_subscription()),
        Found::Record(record, _) if !is_dialog_of(exchange, &record) => return Decision::LetGo(Refusal::no_subscription()),
        Found::Record(record, _) if *record.edge_id != *edge_id && record.remote_cseq > exchange.arrival.request.cseq() => {
            return Decision::LetGo(Refusal::cseq_too_low());
        }
        Found::Record(record, revision) => {
            subscription.revision = revision;
            if *record.edge_id != *edge_id {
                return Decision::TakeBack(record);
            }
        }
    }
    Decision::Store
}

/// Whether another edge had it since, and has ended it: a revision was removed that we have never seen.
pub(super) fn has_ended_elsewhere(subscription: &Subscription, removed_over: Option<u64>) -> bool {
    removed_over.is_some_and(|over| over > subscription.revision)
}

/// Whether a SUBSCRIBE is in the dialog of a record.
pub(super) fn is_dialog_of(exchange: &Exchange, record: &Record) -> bool {
    let request = &exchange.arrival.request;
    request.call_id() == &*record.call_id
        && request.from().tag().unwrap_or_default() == &*record.remote_tag
        && record.package.eq_ignore_ascii_case(exchange.subscribe.package.name)
}
