//! What goes into the notifier and what comes out of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::bus::message::{
    AuthRequest, Dismissal, ErrorBody, FeatureEvent, GetRequest, GetResponse, NotifyJob, RouteSetRequest, RouteSetResponse, read_reply,
};
use crate::bus::trace::Cause;
use crate::edge::event::Event;
use crate::edge::gate::users::Users;
use crate::edge::subscription::SubscriptionId;
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::record::Record;
use crate::feature::{FeatureState, Presentity};
use crate::sip::flow::{ConnectionId, Flow};
use crate::sip::locate::{HostName, Location, NotLocated};

/// Names a bus request that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// What happens to the notifier.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram or a framed message arrived.
    Packet {
        /// What it came on.
        flow: Flow,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A connection was opened.
    Opened(ConnectionId),
    /// A connection is gone.
    Closed(ConnectionId),
    /// A NOTIFY did not leave.
    Undeliverable {
        /// Which one.
        notify: NotifyId,
        /// Why.
        why: Unsent,
    },
    /// The answer to an [`Output::Locate`].
    Located {
        /// Which name.
        host: Arc<HostName>,
        /// Where it leads.
        found: Result<Location, NotLocated>,
    },
    /// The answer to an [`Output::Request`].
    Reply {
        /// Which request.
        token: Token,
        /// The answer.
        reply: BusReply,
    },
    /// A NOTIFY job.
    Job {
        /// The job.
        job: Box<NotifyJob>,
        /// Where its acknowledgement goes.
        handle: JobHandle,
        /// How long it has waited.
        age: Duration,
    },
    /// A key of the subscription bucket was written by somebody, or is gone.
    Change {
        /// The key.
        key: &'a str,
        /// Its revision.
        revision: u64,
        /// The record; `None`: the key is gone.
        value: Option<&'a [u8]>,
        /// The revision that was removed, where an edge has removed it.
        removed_over: Option<u64>,
    },
    /// What the bucket had under a key when this edge started: of before its restart, where it is in our name. The newest counts.
    Record {
        /// The key.
        key: &'a str,
        /// Its revision.
        revision: u64,
        /// The record; `None`: nothing of ours is there any more.
        value: Option<&'a [u8]>,
    },
    /// That was the last [`Input::Record`].
    Restored,
    /// Changes were lost: what the index says of one of [`Notifier::held`](super::Notifier::held).
    Holder {
        /// The subscription.
        id: SubscriptionId,
        /// The revision of its record.
        revision: u64,
        /// The edge that it is in the name of.
        edge_id: &'a str,
    },
    /// Changes were lost, and the index has no record of one of [`Notifier::held`](super::Notifier::held).
    Unrecorded {
        /// The subscription.
        id: SubscriptionId,
    },
    /// This edge, or one that it took over from, was silent, and jobs may be lost with the changes of these presentities; `None`: of
    /// any.
    Missed {
        /// Whose states have changed meanwhile.
        presentities: Option<Vec<Presentity>>,
    },
    /// Their phones have changed a feature of late, and nobody but the edge that held them then was to tell them so.
    Pressed {
        /// The subscriptions.
        ids: Vec<SubscriptionId>,
    },
    /// Somebody has these told the full state again, one after another.
    Resync {
        /// The subscriptions.
        ids: Vec<SubscriptionId>,
        /// Who asks, and what follows from it.
        by: Arc<Order>,
        /// Whether they come before those of a whole domain.
        is_first: bool,
    },
    /// Somebody ends a subscription.
    Dismiss {
        /// Which one.
        id: SubscriptionId,
        /// What its phone is told.
        how: Dismissal,
        /// Who asks, and what follows from it.
        by: Order,
    },
    /// A silent edge's subscription over UDP, to be taken over.
    Orphan(Box<Orphan>),
    /// Whether this edge has shown to the others that it lives. If not, some of what it holds may be theirs by now.
    Lease {
        /// Whether it has.
        is_held: bool,
    },
    /// The users of the users file, read anew.
    Users(Arc<Users>),
    /// The bus came up or went away.
    Bus {
        /// Whether it is up.
        is_up: bool,
    },
    /// Whether the stages after this one have no room for more changes.
    Overload {
        /// Whether they have none.
        is_overloaded: bool,
    },
    /// Time passed: something is due.
    Timeout,
    /// Take in nothing new.
    Drain,
    /// Store what phones were not told, once it was waited for long enough: until [`Notifier::is_put_down`](super::Notifier::is_put_down).
    PutDown,
}

/// What somebody has asked for by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Id of what follows from it.
    pub cause: Cause,
    /// Who asks.
    pub actor: Option<Box<str>>,
}

/// A subscription whose edge is silent.
#[derive(Debug)]
pub struct Orphan {
    /// Its key.
    pub id: SubscriptionId,
    /// Its record.
    pub record: Record,
    /// The record's revision.
    pub revision: u64,
    /// What was asked of its edge before this time is told.
    pub told_until: Option<SystemTime>,
}

/// Names a NOTIFY, to say that it did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotifyId {
    /// Whose.
    pub subscription: SubscriptionId,
    /// Its `CSeq`.
    pub cseq: u32,
}

/// Why a NOTIFY did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// No connection, and none could be made.
    NoWay,
    /// Too much waits to be sent there already.
    NoRoom,
    /// Another edge may be telling this phone by now.
    NoLease,
}

/// Names the delivery of a job, for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobHandle(pub u64);

/// What the notifier wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a packet.
    Send {
        /// To where.
        to: Destination,
        /// What.
        packet: Bytes,
        /// The NOTIFY that it is, sent for the first time.
        notify: Option<NotifyId>,
    },
    /// Locate a host name; the answer comes back as [`Input::Located`].
    Locate(Arc<HostName>),
    /// Ask the bus; the answer comes back as [`Input::Reply`].
    Request {
        /// Names the request.
        token: Token,
        /// What to ask.
        request: BusRequest,
        /// Id of what led to it.
        cause: Cause,
    },
    /// Have the other edges tell their watchers.
    FanOut(Box<FanOut>),
    /// Publish an event.
    Event(Box<Event>),
    /// A SUBSCRIBE whose trace is recorded, which arrived then, has a final response with this status.
    Answered(Cause, Instant, u16),
    /// A response to a request of another notifier thread: it goes there.
    HandOver {
        /// The place of that one.
        to: u8,
        /// What it came on.
        flow: Flow,
        /// Its bytes.
        packet: Bytes,
    },
    /// A job is done with.
    JobDone(JobHandle),
    /// A job's subscriptions may be another edge's by now: it goes there.
    JobMoved(JobHandle),
}

/// What is asked of the bus.
#[derive(Debug)]
pub enum BusRequest {
    /// Store a record under the subscription's key.
    Store {
        /// The key.
        id: SubscriptionId,
        /// The value.
        record: Box<Record>,
        /// How long it is kept.
        ttl: Duration,
        /// Revision that it takes the place of; 0: none.
        expected_revision: u64,
    },
    /// Remove the key.
    Remove {
        /// The key.
        id: SubscriptionId,
        /// Revision that it must have.
        expected_revision: u64,
        /// How long what is removed would have been kept.
        covers: Duration,
    },
    /// Read the key.
    Lookup {
        /// The key.
        id: SubscriptionId,
    },
    /// `dfks.responder.auth.<domain>`
    Auth {
        /// Whose domain's responder.
        presentity: Presentity,
        /// What to ask it.
        request: AuthRequest,
    },
    /// `dfks.get`
    Get(GetRequest),
    /// `dfks.route.set`
    RouteSet(Box<RouteSetRequest>),
}

/// States for the watchers on other edges, and the event about them.
#[derive(Debug)]
pub struct FanOut {
    /// Whose watchers.
    pub presentity: Presentity,
    /// What they are told.
    pub states: Vec<FeatureState>,
    /// `false`: with an empty body.
    pub assigned: bool,
    /// Whether the mi bridges store its jobs: the duty to tell is stored with the change.
    pub logged: bool,
    /// Id of what led to it.
    pub cause: Cause,
    /// To be published with the number of watchers on the other edges added.
    pub events: Vec<FeatureEvent>,
}

/// The answer to a bus request.
#[derive(Debug)]
pub enum BusReply {
    /// A message came back.
    Message(ReplyMessage),
    /// A worker of this process answered a get.
    States(Box<Result<GetResponse, ErrorBody>>),
    /// A worker of this process answered a set.
    Set(Box<Result<RouteSetResponse, ErrorBody>>),
    /// None did.
    Unavailable(Unavailable),
}

/// What the notifier reads of a reply.
#[derive(Debug, Clone)]
pub struct ReplyMessage {
    /// Status of the server in place of a payload: 404 no such key, 503 no responders.
    pub status: Option<u16>,
    /// `Nats-Sequence` of a direct get.
    pub sequence: Option<u64>,
    /// Whether it is a deletion marker of the bucket.
    pub is_deleted: bool,
    /// The revision that was removed, where an edge has removed it.
    pub removed_over: Option<u64>,
    /// Its payload.
    pub payload: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Nobody listens.
    NoResponders,
    /// None came in time.
    Timeout,
    /// The request could not be sent.
    NotSent,
}

impl Unavailable {
    /// The word for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoResponders => "no_responders",
            Self::Timeout => "timeout",
            Self::NotSent => "not_sent",
        }
    }
}

/// Status of a reply that says that nobody listens.
const NO_RESPONDERS: u16 = 503;

impl BusReply {
    /// The states that a worker gave, or why there are none.
    pub(crate) fn into_states(self) -> Result<GetResponse, ErrorBody> {
        match self {
            Self::States(answer) => *answer,
            other => read_from("worker", other.into_result()),
        }
    }

    /// What a worker made of a change, or why there is no answer.
    pub(crate) fn into_set(self) -> Result<RouteSetResponse, ErrorBody> {
        match self {
            Self::Set(answer) => *answer,
            other => read_from("worker", other.into_result()),
        }
    }

    /// The message, or why there is none.
    pub(crate) fn into_result(self) -> Result<ReplyMessage, Unavailable> {
        match self {
            Self::Message(message) if message.status == Some(NO_RESPONDERS) => Err(Unavailable::NoResponders),
            Self::Message(message) => Ok(message),
            Self::Unavailable(why) => Err(why),
            // an answer to something else
            Self::States(_) | Self::Set(_) => Err(Unavailable::NotSent),
        }
    }
}

/// The answer of a worker or responder, or why there is none: the code and text of its error, 503 where nobody answered.
pub(crate) fn read_from<M: serde::de::DeserializeOwned>(whom: &str, message: Result<ReplyMessage, Unavailable>) -> Result<M, ErrorBody> {
    match message {
        Ok(message) => read_reply(&message.payload),
        Err(why) => Err(ErrorBody { code: 503, description: format!("no {whom} answered: {}", why.as_str()), field: None }),
    }
}
