//! A phone of a world: the simulated phone of `dfks phone`, and a user who presses its keys. It subscribes anew where its dialog ends, as
//! phones do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cli::phone::input::{Input, Output, Settings};
use crate::cli::phone::notification::Notification;
use crate::cli::phone::subscriber::{Subscriber, refresh_after};
use crate::feature::package::AS_FEATURE_EVENT;
use crate::feature::{FeatureTable, Presentity, Status, Values};
use crate::sip::Transport;
use crate::sip::transaction::Timers;

/// Where a phone sends its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the edge that it began with, until that does not answer.
    Sticky,
    /// To the Contact of its dialog.
    Target,
    /// To any edge: a balancer in between knows no dialogs.
    Any,
}

/// What a user does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// Subscribes, if it has no dialog.
    Subscribe,
    /// Refreshes the dialog of this number.
    Refresh(u32),
    /// Presses Do Not Disturb.
    Press(bool),
    /// Forwards all calls to a number that nobody has used before.
    Forward(u64),
    /// Unsubscribes.
    Leave,
    /// Loses power for so long: it knows nothing of its dialog afterwards.
    PowerCut(Duration),
}

/// What a phone has seen of a feature.
pub(crate) type Shown = BTreeMap<String, (Status, Values)>;

/// A phone.
#[derive(Debug)]
pub(crate) struct Phone {
    address: SocketAddr,
    pub(crate) presentity: Presentity,
    pub(crate) route: Route,
    edges: Vec<SocketAddr>,
    /// The edge that it turns to.
    turn: usize,
    subscriber: Subscriber,
    expires_seconds: u32,
    /// `Call-ID` of its dialog.
    pub(crate) call_id: String,
    /// Counts its dialogs.
    pub(crate) dialog: u32,
    /// Whether it has one, as far as it knows.
    pub(crate) is_subscribed: bool,
    /// When the lifetime that it was granted is over.
    pub(crate) granted_until: Option<Duration>,
    /// When it refreshes next: one of those that are planned counts.
    pub(crate) refresh_at: Option<Duration>,
    /// Without power until then.
    pub(crate) off_until: Option<Duration>,
    /// It left of its own accord: it comes back later.
    pub(crate) has_left: bool,
    pub(crate) shown: Shown,
    pub(crate) timer_at: Option<Duration>,
}

/// Who a phone is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) address: SocketAddr,
    pub(crate) presentity: Presentity,
    pub(crate) route: Route,
    pub(crate) expires_seconds: u32,
    pub(crate) seed: u64,
}

impl Phone {
    pub(crate) fn new(identity: Identity, edges: Vec<SocketAddr>, now: Instant) -> Self {
        let Identity { address, presentity, route, expires_seconds, seed } = identity;
        let turn = usize::try_from(seed % 1024).unwrap_or_default();
        Self {
            subscriber: subscriber(address, &presentity, expires_seconds, seed, now),
            address,
            presentity,
            route,
            edges,
            turn,
            expires_seconds,
            call_id: String::new(),
            dialog: 0,
            is_subscribed: false,
            granted_until: None,
            refresh_at: None,
            off_until: None,
            has_left: false,
            shown: Shown::new(),
            timer_at: None,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new dialog: nothing of the one before is known.
    pub(crate) fn begin(&mut self, seed: u64, now: Instant) {
        self.subscriber = subscriber(self.address, &self.presentity, self.expires_seconds, seed, now);
        self.call_id = format!("{seed:016x}@{}", self.address.ip());
        self.dialog += 1;
        (self.is_subscribed, self.granted_until, self.has_left) = (false, None, false);
        self.shown.clear();
    }

    /// Gives it something to do or to read; what does not fit its state is not done.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> bool {
        self.subscriber.handle(input, now).is_ok()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.subscriber.poll_output()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.subscriber.poll_timeout()
    }

    /// The next edge, since this one does not answer.
    pub(crate) fn turn_away(&mut self) {
        self.turn += 1;
    }

    /// Where a request goes. `any` chooses where there is a choice.
    pub(crate) fn server_of(&self, packet: &Bytes, any: usize) -> Option<SocketAddr> {
        let at = match self.route {
            Route::Sticky => self.turn,
            Route::Any => any,
            Route::Target => match target(packet) {
                Some(target) => return Some(target),
                None => self.turn,
            },
        };
        self.edges.get(at.checked_rem(self.edges.len())?).copied()
    }

    /// What a NOTIFY shows.
    pub(crate) fn learn(&mut self, notification: &Notification) {
        for feature in &notification.features {
            self.shown.insert(feature.feature.clone(), (feature.status, feature.values.clone()));
        }
    }
}

/// When a phone refreshes a dialog of this lifetime.
pub(crate) fn refreshes_after(expires_seconds: u32) -> Duration {
    refresh_after(expires_seconds)
}

/// A press of a key.
pub(crate) fn press(feature: &str, is_on: bool, forward_to: Option<&str>) -> Input {
    let values = forward_to.map(|target| ("forwardTo".to_owned(), target.to_owned())).into_iter().collect();
    Input::Press { feature: feature.to_owned(), status: Status(is_on), values }
}

fn subscriber(address: SocketAddr, presentity: &Presentity, expires_seconds: u32, seed: u64, now: Instant) -> Subscriber {
    let settings = Settings {
        presentity: presentity.clone(),
        package: &AS_FEATURE_EVENT,
        watcher: presentity.as_str().to_owned(),
        transport: Transport::Udp,
        local: address,
        expires_seconds,
        user_agent: "simulated".to_owned(),
        seed,
        timers: Timers::default(),
        login: None,
    };
    Subscriber::new(settings, FeatureTable::built_in(), now)
}

/// The address in the URI of a request within a dialog.
fn target(packet: &Bytes) -> Option<SocketAddr> {
    let line = std::str::from_utf8(packet).ok()?.lines().next()?;
    let uri = line.split(' ').nth(1)?;
    let host = uri.rsplit_once('@').map_or(uri.strip_prefix("sip:")?, |(_, host)| host);
    host.split(';').next()?.parse().ok()
}
