//! The connection of one process to NATS: what both ends know of it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use tokio::sync::mpsc;

use crate::bus::Link;
use crate::simulate::server::{ConnectionId, Publication};

/// One process's connection.
#[derive(Debug)]
pub(crate) struct Line {
    /// Of the machine that it is on.
    pub(crate) name: &'static str,
    pub(crate) link: Arc<Link>,
    /// Counts connections: what belongs to an earlier one is lost.
    pub(crate) epoch: u64,
    /// As the client sees it.
    pub(crate) is_up: bool,
    /// The process is gone, or closed it.
    pub(crate) is_closed: bool,
    /// As the server sees it.
    pub(crate) at_server: Option<ConnectionId>,
    /// Nothing arrives in either direction.
    pub(crate) is_cut: bool,
    /// Since when the other end is not heard.
    pub(crate) cut_at: Option<Duration>,
    /// What was under way when it was cut: it arrives when the cut is over, if both ends have waited.
    pub(crate) held_up: Vec<HeldUp>,
    pub(crate) subscriptions: BTreeMap<u64, Subscription>,
    pub(crate) next_subscription: u64,
    /// Published while there was no connection.
    pub(crate) queued: Vec<ToServer>,
    /// The last that was sent either way arrives then: nothing overtakes it.
    pub(crate) to_server_at: Duration,
    pub(crate) to_client_at: Duration,
}

/// Something that was under way when the line was cut.
#[derive(Debug)]
pub(crate) enum HeldUp {
    ToServer(ToServer),
    ToClient(ToClient),
}

/// A subscription of the client.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) subject: String,
    pub(crate) queue: Option<String>,
    pub(crate) sender: mpsc::Sender<Message>,
}

/// What a client sends.
#[derive(Debug)]
pub(crate) enum ToServer {
    Subscribe { id: u64, subject: String, queue: Option<String> },
    Unsubscribe { id: u64, is_drained: bool },
    Publish(Box<Publication>),
    Goodbye,
}

/// What a server sends.
#[derive(Debug)]
pub(crate) enum ToClient {
    Message {
        subscription: u64,
        message: Box<Message>,
    },
    /// Nothing more comes of a subscription that was drained.
    Ended {
        subscription: u64,
    },
    /// The connection is there.
    Welcome,
}

impl Line {
    /// Not connected yet. `link` is told what happens to the connection.
    pub(crate) fn new(name: &'static str, link: Arc<Link>) -> Self {
        Self {
            name,
            link,
            epoch: 0,
            is_up: false,
            is_closed: false,
            at_server: None,
            is_cut: false,
            cut_at: None,
            held_up: Vec::new(),
            subscriptions: BTreeMap::new(),
            next_subscription: 1,
            queued: Vec::new(),
            to_server_at: Duration::ZERO,
            to_client_at: Duration::ZERO,
        }
    }
}

impl Hash for ToServer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Subscribe { id, subject, queue } => (id, subject, queue).hash(state),
            Self::Unsubscribe { id, is_drained } => (id, is_drained).hash(state),
            Self::Publish(publication) => {
                (&publication.subject, &publication.reply, &publication.payload).hash(state);
                hash_headers(&publication.headers, state);
            }
            Self::Goodbye => {}
        }
    }
}

impl Hash for ToClient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Message { subscription, message } => {
                (subscription, message.subject.as_str(), &message.payload).hash(state);
            }
            Self::Ended { subscription } => subscription.hash(state),
            Self::Welcome => {}
        }
    }
}

fn hash_headers<H: Hasher>(headers: &HeaderMap, state: &mut H) {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, values)| (name.to_string(), values.iter().map(ToString::to_string).collect::<Vec<_>>())).collect();
    lines.sort();
    lines.hash(state);
}

impl fmt::Display for ToServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe { subject, .. } => write!(f, "SUB {subject}"),
            Self::Unsubscribe { .. } => f.write_str("UNSUB"),
            Self::Publish(publication) => write!(f, "PUB {}", publication.subject),
            Self::Goodbye => f.write_str("closes"),
        }
    }
}
