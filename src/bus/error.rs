//! What can go wrong on the way to the bus.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::message::ErrorBody;

/// Why no client could be made from the configuration. None of these heals by waiting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// An entry of `nats.url` is no server URL. The entry is left out: it may hold a password.
    #[error("entry {position} of nats.url is not nats://HOST:PORT or tls://HOST:PORT")]
    Url {
        /// Which entry, from 1.
        position: usize,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// A file that the configuration names cannot be read.
    #[error("cannot read {} of {key}", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// A secret file holds no text.
    #[error("{} of {key} is empty", path.display())]
    EmptyFile {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// `nats.credentials_file` is no `.creds` file.
    #[error("{} of nats.credentials_file holds no user JWT with its seed", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// More than one of user, credentials, token and nkey is configured.
    #[error("{first} and {second} are both set: the bus takes one kind of credentials")]
    Ambiguous {
        /// A key that is set.
        first: &'static str,
        /// Another one.
        second: &'static str,
    },
    /// The client refused its options.
    #[error("the NATS client cannot start")]
    Client(#[from] async_nats::ConnectError),
    /// The client is closed.
    #[error("the NATS client is closed")]
    Closed(#[from] async_nats::SubscribeError),
}

/// Why a message did not go out. It was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection to a server.
    #[error("not connected to NATS")]
    Disconnected,
    /// The client's queue is full: the server takes in less than we send.
    #[error("the queue to NATS is full")]
    QueueFull,
    /// Larger than the server's `max_payload`.
    #[error("the message is larger than the server's max_payload")]
    TooLarge,
    /// Not a subject that can be published to.
    #[error("not a subject to publish to")]
    Subject,
    /// A header value has a line break.
    #[error("a header value has a line break")]
    Header,
}

impl PublishError {
    /// All of them, to have every metric series from the start.
    pub(crate) const ALL: [Self; 5] = [Self::Disconnected, Self::QueueFull, Self::TooLarge, Self::Subject, Self::Header];

    /// Word for the log field and metric label `reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Subject => "subject",
            Self::Header => "header",
        }
    }
}

/// Why a request, or a store in a stream, got no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody listens on the subject; for a store: there is no such stream.
    #[error("nobody listens on the subject")]
    NoResponders,
    /// No answer in time. The request may have been carried out.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or it was lost while waiting. The request may have been carried out.
    #[error("not connected to NATS")]
    Disconnected,
    /// The request was not sent.
    #[error("the request was not sent")]
    NotSent(#[source] PublishError),
    /// Too many requests wait for their answer already. The request was not sent.
    #[error("{0} requests wait for their answer already")]
    Overloaded(usize),
    /// Whoever answered refused it.
    #[error("refused: {0}")]
    Refused(ErrorBody),
    /// The stream refused the store.
    #[error("the stream refused the message with {code}: {description}")]
    Stream {
        /// `err_code` of the JetStream API, e.g. [`RequestError::WRONG_LAST_SEQUENCE`].
        code: u64,
        /// The server's words.
        description: Arc<str>,
    },
    /// The answer is not the message expected.
    #[error("unreadable answer")]
    Unreadable(#[source] Arc<serde_json::Error>),
    /// The request cannot be written as JSON.
    #[error("unwritable request")]
    Unwritable(#[source] Arc<serde_json::Error>),
}

impl RequestError {
    /// `err_code` of a compare-and-set that another writer won.
    pub const WRONG_LAST_SEQUENCE: u64 = 10071;
    /// The same, from servers that do not name the sequence there is.
    const WRONG_LAST_SEQUENCE_UNNAMED: u64 = 10164;
    /// `err_code` of a message that is not there.
    pub(crate) const NO_MESSAGE: u64 = 10037;
    /// `err_code` of a stream that is not there.
    pub(crate) const STREAM_NOT_FOUND: u64 = 10059;
    /// `err_code` of a stream that is there already, with other settings.
    pub(crate) const STREAM_NAME_IN_USE: u64 = 10058;

    /// The words of [`reason`](Self::reason), to have every metric series from the start.
    pub(crate) const REASONS: [&'static str; 9] =
        ["no_responders", "timeout", "disconnected", "not_sent", "overloaded", "refused", "stream", "unreadable", "unwritable"];

    /// Word for the log field `reason` and the metric label `outcome`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoResponders => "no_responders",
            Self::Timeout(_) => "timeout",
            Self::Disconnected => "disconnected",
            Self::NotSent(_) => "not_sent",
            Self::Overloaded(_) => "overloaded",
            Self::Refused(_) => "refused",
            Self::Stream { .. } => "stream",
            Self::Unreadable(_) => "unreadable",
            Self::Unwritable(_) => "unwritable",
        }
    }

    /// Whether a compare-and-set was lost to another writer.
    #[must_use]
    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Stream { code: Self::WRONG_LAST_SEQUENCE | Self::WRONG_LAST_SEQUENCE_UNNAMED, .. })
    }

    /// Whether the bus counts as away: no connection, no answer in time or no room in the queue.
    #[must_use]
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Disconnected | Self::NotSent(_) | Self::Overloaded(_))
    }
}

impl From<PublishError> for RequestError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Disconnected => Self::Disconnected,
            error => Self::NotSent(error),
        }
    }
}
