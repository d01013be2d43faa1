//! The events as they happen, for pages that follow them: one subscription for all pages of a process, and none without a page.
//!
//! ```text
//! dfks.event.> ─▶ run ─ wanted? within its rate? room? ─▶ queue of each page ─▶ text/event-stream
//! ```
//! Nobody reads hundreds of events a second: what is over the rate is counted and told as a number. Nothing waits for a browser.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Message;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::message::ErrorBody;
use crate::console::metrics::{DropReason, Metrics};
use crate::feature::Presentity;
use crate::runtime::clock;

/// Most pages that follow at once.
const MAX_TAILS: usize = 32;
/// Most events a second for each.
const MAX_RATE: u32 = 50;
/// Events that wait for a browser.
const MAX_QUEUED: usize = 128;
/// How often a page hears that it still follows, and how many it was not shown.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// Pause after a subscription that could not be made.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Which events a page wants: those that everything given takes.
///
/// Shape: `{"presentity":"sip:alice@10.0.0.11","domain":"10.0.0.11","feature":"DoNotDisturb","kinds":["feature"]}`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    presentity: Option<String>,
    domain: Option<String>,
    feature: Option<String>,
    #[serde(default)]
    kinds: Vec<String>,
}

/// The same, ready to be held against events.
#[derive(Debug, Default)]
struct Filter {
    /// As it stands in an event.
    presentity: Option<Box<str>>,
    /// As it stands in subjects.
    domain: Option<Box<str>>,
    /// As it stands in an event.
    feature: Option<Box<str>>,
    kinds: Vec<Box<str>>,
}

impl Filter {
    fn new(wanted: &Wanted) -> Result<Self, ErrorBody> {
        let given = |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let bad = |field: &str, error: &dyn std::fmt::Display| ErrorBody::bad(Some(field), format!("invalid {field}: {error}"));
        let presentity = given(&wanted.presentity).map(|text| Presentity::parse(&text)).transpose();
        let presentity = presentity.map_err(|error| bad("presentity", &error))?;
        let domain = match (given(&wanted.domain), &presentity) {
            (Some(domain), _) => {
                let of = Presentity::parse(&format!("sip:x@{domain}")).map_err(|error| bad("domain", &error))?;
                Some(of.domain_token())
            }
            (None, Some(presentity)) => Some(presentity.domain_token()),
            (None, None) => None,
        };
        let quoted = |text: &str| json!(text).to_string().into_boxed_str();
        Ok(Self {
            presentity: presentity.map(|presentity| quoted(presentity.as_str())),
            domain: domain.map(Into::into),
            feature: given(&wanted.feature).map(|feature| quoted(&feature)),
            kinds: wanted.kinds.iter().map(|kind| kind.as_str().into()).collect(),
        })
    }

    /// `rest` is the subject without what stands before the kind: `feature.<domain>.<Feature>`.
    fn takes(&self, rest: &str, payload: &[u8]) -> bool {
        let mut tokens = rest.split('.');
        let (kind, domain) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
        let has = |text: &Option<Box<str>>| text.as_ref().is_none_or(|text| memchr::memmem::find(payload, text.as_bytes()).is_some());
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| **wanted == *kind))
            && self.domain.as_ref().is_none_or(|wanted| **wanted == *domain)
            && has(&self.presentity)
            && has(&self.feature)
    }
}

/// How many a second a page is shown.
#[derive(Debug)]
struct Rate {
    since: Instant,
    shown: u32,
}

impl Rate {
    fn admits(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, shown: 0 };
        }
        self.shown += 1;
        self.shown <= MAX_RATE
    }
}

#[derive(Debug)]
struct Page {
    id: u64,
    filter: Filter,
    rate: Rate,
    queue: mpsc::Sender<Bytes>,
    skipped: Arc<AtomicU64>,
}

/// The pages that follow.
#[derive(Debug)]
pub(super) struct Tails {
    pages: Arc<Mutex<Vec<Page>>>,
    /// Changes when a page comes or goes, and with the bus.
    changed: watch::Sender<()>,
    next_id: AtomicU64,
}

impl Default for Tails {
    fn default() -> Self {
        Self { pages: Arc::default(), changed: watch::Sender::new(()), next_id: AtomicU64::new(0) }
    }
}

fn locked(pages: &Mutex<Vec<Page>>) -> MutexGuard<'_, Vec<Page>> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tails {
    /// There is something new to look at.
    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }

    /// Hands events out until told to stop.
    pub(super) async fn run(&self, bus: &OnceLock<Bus>, metrics: &Metrics, stopping: &CancellationToken) {
        let handing_out = async {
            let mut changed = self.changed.subscribe();
            loop {
                let is_wanted = !locked(&self.pages).is_empty();
                match bus.get().filter(|_| is_wanted) {
                    Some(bus) => self.hand_out(bus, metrics, &mut changed).await,
                    // the sender is ours
                    None => drop(changed.changed().await),
                }
                metrics.tails(locked(&self.pages).len());
            }
        };
        let _stopped = stopping.run_until_cancelled(handing_out).await;
    }

    /// Until nobody follows any more.
    async fn hand_out(&self, bus: &Bus, metrics: &Metrics, changed: &mut watch::Receiver<()>) {
        let all = bus.subjects().all_events();
        let before = all.len().saturating_sub(1);
        let Ok(mut events) = bus.client().subscribe(all).await else {
            return tokio::time::sleep(RETRY_AFTER).await;
        };
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.offer(&event, event.subject.get(before..).unwrap_or_default(), metrics),
                    None => return tokio::time::sleep(RETRY_AFTER).await,
                },
                _ours = changed.changed() => {
                    let count = locked(&self.pages).len();
                    metrics.tails(count);
                    if count == 0 {
                        return;
                    }
                }
            }
        }
    }

    fn offer(&self, event: &Message, rest: &str, metrics: &Metrics) {
        let now = clock::now();
        for page in locked(&self.pages).iter_mut().filter(|page| page.filter.takes(rest, &event.payload)) {
            let dropped = if !page.rate.admits(now) {
                DropReason::Rate
            } else if page.queue.try_send(event.payload.clone()).is_err() {
                DropReason::Full
            } else {
                continue;
            };
            page.skipped.fetch_add(1, Ordering::Relaxed);
            metrics.dropped(dropped);
        }
    }

    /// The stream of one page, from now on; it ends with the process, and stops when the page is closed.
    ///
    /// # Errors
    ///
    /// 400: a filter that cannot be meant; 429: too many follow already.
    pub(super) fn follow(
        &self,
        wanted: &Wanted,
        bus: Bus,
        stopping: CancellationToken,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + use<>, ErrorBody> {
        let filter = Filter::new(wanted)?;
        let (queue, events) = mpsc::channel(MAX_QUEUED);
        let (id, skipped) = (self.next_id.fetch_add(1, Ordering::Relaxed), Arc::new(AtomicU64::new(0)));
        {
            let mut pages = locked(&self.pages);
            if pages.len() >= MAX_TAILS {
                return Err(ErrorBody::new(429, format!("{MAX_TAILS} pages follow the events already")));
            }
            let rate = Rate { since: clock::now(), shown: 0 };
            pages.push(Page { id, filter, rate, queue, skipped: Arc::clone(&skipped) });
        }
        self.wake();
        let place = Place { id, pages: Arc::clone(&self.pages), changed: self.changed.clone() };
        let mut beats = tokio::time::interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let following = Following { events, beats, skipped, bus, stopping, _place: place };
        Ok(stream::unfold(following, async |mut following| Some((Ok(following.next().await?), following))))
    }
}

/// Gives the place of a page back.
#[derive(Debug)]
struct Place {
    id: u64,
    pages: Arc<Mutex<Vec<Page>>>,
    changed: watch::Sender<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.pages).retain(|page| page.id != self.id);
        self.changed.send_replace(());
    }
}

struct Following {
    events: mpsc::Receiver<Bytes>,
    beats: Interval,
    skipped: Arc<AtomicU64>,
    bus: Bus,
    stopping: CancellationToken,
    _place: Place,
}

impl Following {
    /// The next lines of `text/event-stream`. Source: HTML §9.2.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                event = self.events.recv() => {
                    // Written anew: one line, and JSON whoever sent it.
                    if let Ok(event) = serde_json::from_slice::<Value>(&event?) {
                        return Some(format!("data: {event}\n\n").into());
                    }
                }
                _tick = self.beats.tick() => {
                    let beat = json!({ "is_connected": self.bus.is_connected(), "skipped": self.skipped.swap(0, Ordering::Relaxed) });
                    return Some(format!("event: beat\ndata: {beat}\n\n").into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(wanted: &Value) -> Filter {
        Filter::new(&serde_json::from_value(wanted.clone()).unwrap()).unwrap()
    }

    #[test]
    fn a_page_is_shown_what_everything_given_takes() {
        let payload = br#"{"presentity":"sip:alice@h.example","feature":"DoNotDisturb"}"#;
        let rest = "feature.h_example.DoNotDisturb";
        for (wanted, want) in [
            (json!({}), true),
            (json!({"presentity": "", "kinds": []}), true),
            (json!({"presentity": "sip:alice@H.example:5060"}), true),
            (json!({"presentity": "sip:alic@h.example"}), false),
            (json!({"presentity": "sip:alice@other.example"}), false),
            (json!({"domain": "h.example"}), true),
            (json!({"domain": "example"}), false),
            (json!({"feature": "DoNotDisturb", "kinds": ["notify", "feature"]}), true),
            (json!({"feature": "Do"}), false),
            (json!({"kinds": ["notify"]}), false),
        ] {
            assert_eq!(filter(&wanted).takes(rest, payload), want, "{wanted}");
        }
        for wanted in [json!({"presentity": "alice"}), json!({"domain": "a b"})] {
            assert_eq!(Filter::new(&serde_json::from_value(wanted).unwrap()).unwrap_err().code, 400);
        }
        assert!(serde_json::from_value::<Wanted>(json!({"presentty": "x"})).is_err());
    }

    #[test]
    fn a_page_is_shown_so_many_a_second() {
        let start = clock::now();
        let mut rate = Rate { since: start, shown: 0 };
        let shown = |rate: &mut Rate, at| (0..200).filter(|_| rate.admits(at)).count();
        assert_eq!(shown(&mut rate, start), 50);
        assert_eq!(shown(&mut rate, start + Duration::from_millis(999)), 0);
        assert_eq!(shown(&mut rate, start + Duration::from_secs(1)), 50);
    }
}
