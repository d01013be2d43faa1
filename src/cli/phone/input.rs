//! What goes into a phone and what comes out of it. Pure.

use std::net::SocketAddr;

use bytes::Bytes;

use super::login::Login;
use super::notification::Notification;
use crate::feature::{FeatureError, Package, Presentity, Status, Values};
use crate::sip::Transport;
use crate::sip::transaction::Timers;

/// Who the phone is, and how it speaks.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whose features it shows.
    pub presentity: Presentity,
    /// The event package that it subscribes to.
    pub package: &'static Package,
    /// URI of the phone's user.
    pub watcher: String,
    pub transport: Transport,
    /// The phone's own address.
    pub local: SocketAddr,
    /// Lifetime to ask for, in seconds.
    pub expires_seconds: u32,
    /// `User-Agent`.
    pub user_agent: String,
    /// Makes tags, Call-ID and branches unlike those of other phones.
    pub seed: u64,
    pub timers: Timers,
    /// Who it says it is when it is asked.
    pub login: Option<Login>,
}

/// A command to the phone, a packet, or a timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Subscribe without a body: tell me everything.
    Subscribe,
    /// Refresh the subscription.
    Refresh,
    /// A key press: SUBSCRIBE with one document.
    Press {
        feature: String,
        status: Status,
        values: Values,
    },
    /// `Expires: 0`.
    Unsubscribe,
    Packet {
        bytes: Bytes,
        source: SocketAddr,
    },
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this to the server.
    Send(Bytes),
    /// Send this to where a request came from.
    Answer(Bytes, SocketAddr),
    /// Something happened.
    Event(Event),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request was accepted.
    Accepted {
        asked: Asked,
        /// Lifetime granted, in seconds.
        expires_seconds: u32,
    },
    /// A request was refused.
    Refused {
        asked: Asked,
        status: u16,
        /// Reason phrase, with `Warning` and `Min-Expires` where they are.
        reason: String,
    },
    /// A request got no answer (Timer F).
    NoAnswer(Asked),
    Notified(Notification),
}

/// A request of the phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The first SUBSCRIBE.
    Subscribe,
    /// A later one without a body.
    Refresh,
    /// One with a change of this feature.
    Press(String),
    /// One with `Expires: 0`.
    Unsubscribe,
}

/// Why the phone refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InputError {
    /// There is no dialog yet, or none any more.
    #[error("the phone is not subscribed")]
    NotSubscribed,
    /// The phone has a dialog already.
    #[error("the phone is subscribed already")]
    Subscribed,
    /// One request at a time.
    #[error("the phone waits for an answer")]
    Busy,
    /// A key that no phone has.
    #[error(transparent)]
    Feature(#[from] FeatureError),
}
