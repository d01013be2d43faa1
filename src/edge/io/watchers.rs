//! Answers `dfks.watchers`: every edge tells its live subscriptions, a message of them at a time.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use async_nats::{HeaderMap, Subject, Subscriber};
use futures_util::StreamExt;

use crate::bus::client::{Bus, headers};
use crate::bus::message::{ERROR_CODE_HEADER, ERROR_HEADER, ErrorBody, ErrorReply, Kind, Watcher, WatchersRequest, WatchersResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, TRACEPARENT};
use crate::edge::notifier::Notifier;
use crate::edge::subscription::{Subscription, SubscriptionId};
use crate::feature::Presentity;
use crate::feature::table::FeatureTable;
use crate::runtime::clock::{self, Now};

/// Subscriptions in one message: well below the 1 MiB that a server takes.
const PER_MESSAGE: usize = 500;
/// Requests answered at a time; one more is told to come again.
const MAX_REQUESTS: usize = 16;

/// See the module.
pub struct Watchers {
    bus: Bus,
    edge_id: Box<str>,
    table: std::sync::Arc<FeatureTable>,
    requests: Subscriber,
    answers: VecDeque<Answer>,
}

/// An answer under way.
struct Answer {
    reply_to: Subject,
    cause: Cause,
    left: Vec<SubscriptionId>,
}

impl Watchers {
    /// Subscribes; without a queue group, for every edge answers.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub async fn open(bus: Bus, edge_id: &str, table: std::sync::Arc<FeatureTable>) -> Result<Self, async_nats::SubscribeError> {
        let requests = bus.client().subscribe(bus.subjects().watchers()).await?;
        Ok(Self { bus, edge_id: edge_id.into(), table, requests, answers: VecDeque::new() })
    }

    /// Takes requests in, and sends one message of the answer under way. `true` when there was anything.
    pub fn poll(&mut self, cx: &mut Context<'_>, notifier: &Notifier, now: Now) -> bool {
        let mut had_any = false;
        while let Poll::Ready(Some(message)) = self.requests.poll_next_unpin(cx) {
            had_any = true;
            self.take_in(message, notifier);
        }
        if let Some(mut answer) = self.answers.pop_front() {
            had_any = true;
            if self.send_next(&mut answer, notifier, now) {
                self.answers.push_back(answer);
            }
        }
        had_any
    }

    fn take_in(&mut self, message: async_nats::Message, notifier: &Notifier) {
        let Some(reply_to) = message.reply else { return };
        let traceparent = message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT)).map(async_nats::HeaderValue::as_str);
        let cause = Cause::of_traceparent(traceparent);
        let wanted = match read(&message.payload) {
            Ok(_) if self.answers.len() >= MAX_REQUESTS => Err(error(503, "too many requests for watchers at a time", None)),
            wanted => wanted,
        };
        match wanted {
            Ok(None) => {
                self.answers.push_back(Answer { reply_to, cause, left: notifier.live().map(|subscription| subscription.id).collect() });
            }
            Ok(Some(presentity)) => {
                let left = notifier.live_of(&presentity).map(|subscription| subscription.id).collect();
                self.answers.push_back(Answer { reply_to, cause, left });
            }
            Err(error) => self.refuse(&reply_to, &cause, error),
        }
    }

    /// Sends up to a message full; `true` when more follow.
    fn send_next(&self, answer: &mut Answer, notifier: &Notifier, now: Now) -> bool {
        let rest = answer.left.split_off(answer.left.len().min(PER_MESSAGE));
        let page = std::mem::replace(&mut answer.left, rest);
        let more = !answer.left.is_empty();
        let watchers =
            page.into_iter().filter_map(|id| notifier.live_by_id(id)).map(|subscription| self.watcher(subscription, now)).collect();
        let response = WatchersResponse { kind: Kind::default(), edge_id: self.edge_id.to_string(), watchers, more };
        self.bus.publish_event(Pattern::Watchers, answer.reply_to.to_string(), &response, &answer.cause);
        more
    }

    fn watcher(&self, subscription: &Subscription, now: Now) -> Watcher {
        let named = |(at, version): &(u8, u64)| Some((self.table.names().nth(usize::from(*at))?.to_owned(), *version));
        Watcher {
            subscription: subscription.id.to_string(),
            presentity: subscription.presentity.as_str().to_owned(),
            package: subscription.package.name.to_owned(),
            watcher: subscription.watcher.to_string(),
            call_id: subscription.dialog.call_id.to_string(),
            contact: subscription.dialog.target.to_string(),
            transport: subscription.flow.transport.as_str().to_owned(),
            user_agent: subscription.user_agent.to_string(),
            expires_at: clock::rfc3339(subscription.expires_at_utc(now.at, now.utc)),
            versions: subscription.versions.iter().filter_map(named).collect(),
        }
    }

    fn refuse(&self, reply_to: &Subject, cause: &Cause, error: ErrorBody) {
        let mut headers: HeaderMap = headers(cause);
        headers.insert(ERROR_CODE_HEADER, error.code.to_string());
        headers.insert(ERROR_HEADER, error.description.replace(['\r', '\n'], " "));
        let payload = serde_json::to_vec(&ErrorReply { error }).unwrap_or_default();
        let sent = self.bus.try_publish(Pattern::Watchers, reply_to.to_string(), None, headers, payload.into());
        if let Err(error) = sent {
            tracing::debug!(%error, "refusal not sent");
        }
    }
}

/// Whose watchers are asked for; `None`: all.
fn read(payload: &[u8]) -> Result<Option<Presentity>, ErrorBody> {
    if payload.is_empty() {
        return Ok(None);
    }
    let request: WatchersRequest =
        serde_json::from_slice(payload).map_err(|unreadable| error(400, &format!("no watchers_request: {unreadable}"), None))?;
    let presentity = request.presentity.map(|text| Presentity::parse(&text)).transpose();
    presentity.map_err(|why| error(400, &format!("Invalid presentity: {why}"), Some("presentity")))
}

fn error(code: u16, description: &str, field: Option<&str>) -> ErrorBody {
    ErrorBody { code, description: description.to_owned(), field: field.map(str::to_owned) }
}
