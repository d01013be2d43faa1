//! The label values of the edge's metrics, and the description of each metric.

use metrics::Gauge;

use crate::sip::method::Method;

/// Values of the label `method`.
pub(crate) const METHODS: [&str; 4] = ["SUBSCRIBE", "NOTIFY", "OPTIONS", "other"];

/// The label `method`.
#[must_use]
pub(crate) fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "SUBSCRIBE" => "SUBSCRIBE",
        "NOTIFY" => "NOTIFY",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

pub(super) fn zero(gauge: Gauge) -> Gauge {
    gauge.set(0.0);
    gauge
}

/// Which way a retransmission went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A phone sent a request again.
    In,
    /// The edge sent a NOTIFY again.
    Out,
}

/// Why something from the network was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Not a SIP message.
    Unparsable,
    /// A request without a mandatory header.
    Malformed,
    /// An ACK: never answered.
    Ack,
    /// A response to no NOTIFY in flight.
    StrayResponse,
    /// A connection's or socket's queue was full.
    QueueFull,
    /// The connection that it was for is gone.
    ConnectionClosed,
    /// A feature that this edge does not have in its table.
    UnknownFeature,
    /// A bus reply after its timeout.
    LateReply,
    /// Work for another stage whose queue was full, or which failed for good.
    FanOut,
    /// Over the rate limit of its source.
    RateLimited,
    /// A step of a subscription that is not here and should be: a bug.
    NoSubscription,
}

impl DropReason {
    /// All of them, to have every series from the start.
    pub const ALL: [Self; 11] = [
        Self::Unparsable,
        Self::Malformed,
        Self::Ack,
        Self::StrayResponse,
        Self::QueueFull,
        Self::ConnectionClosed,
        Self::UnknownFeature,
        Self::LateReply,
        Self::FanOut,
        Self::RateLimited,
        Self::NoSubscription,
    ];

    /// The label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::Malformed => "malformed",
            Self::Ack => "ack",
            Self::StrayResponse => "stray_response",
            Self::QueueFull => "queue_full",
            Self::ConnectionClosed => "connection_closed",
            Self::UnknownFeature => "unknown_feature",
            Self::LateReply => "late_reply",
            Self::FanOut => "fan_out",
            Self::RateLimited => "rate_limited",
            Self::NoSubscription => "no_subscription",
        }
    }
}

/// How a NOTIFY ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryOutcome {
    /// The phone has it.
    Delivered,
    /// The phone's response ended the subscription.
    Rejected,
    /// It is sent again later.
    Retried,
    /// The phone did not take it.
    Failed,
    /// No response came: Timer F.
    Expired,
    /// There was no connection for it.
    NoConnection,
}

impl DeliveryOutcome {
    /// All of them, to have every series from the start.
    pub const ALL: [Self; 6] = [Self::Delivered, Self::Rejected, Self::Retried, Self::Failed, Self::Expired, Self::NoConnection];

    /// The label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::NoConnection => "no_connection",
        }
    }
}

/// How the authentication of a SUBSCRIBE ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthOutcome {
    /// A digest was right.
    Proved,
    /// A trusted source vouched.
    Trusted,
    /// It had none: challenged.
    Challenged,
    /// It was right, the nonce old or another process's: challenged.
    Stale,
    /// It was right, and used before: challenged.
    Replayed,
    /// It was wrong, or of no user: challenged.
    Wrong,
    /// It was about another Request-URI.
    OtherUri,
    /// It was right, and its user may not do this; or the source is not trusted.
    Forbidden,
    /// No responder could say.
    Unavailable,
}

impl AuthOutcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Proved,
        Self::Trusted,
        Self::Challenged,
        Self::Stale,
        Self::Replayed,
        Self::Wrong,
        Self::OtherUri,
        Self::Forbidden,
        Self::Unavailable,
    ];

    /// The label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Trusted => "trusted",
            Self::Challenged => "challenged",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Wrong => "wrong",
            Self::OtherUri => "other_uri",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
        }
    }
}

/// How a NOTIFY job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// Every watcher was told.
    Done,
    /// At least one could not be.
    Failed,
    /// It was too old.
    Expired,
    /// It was never acknowledged, however often it came.
    MaxDeliver,
    /// Nobody here watches the presentity.
    NoWatcher,
    /// It could not be read.
    Unreadable,
    /// It went on to the edges that hold its watchers now.
    Moved,
    /// Its edge is gone, and nobody has taken its watchers over.
    EdgeGone,
}

impl JobOutcome {
    /// All of them, to have every series from the start.
    pub const ALL: [Self; 8] =
        [Self::Done, Self::Failed, Self::Expired, Self::MaxDeliver, Self::NoWatcher, Self::Unreadable, Self::Moved, Self::EdgeGone];

    /// The label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::MaxDeliver => "max_deliver",
            Self::NoWatcher => "no_watcher",
            Self::Unreadable => "unreadable",
            Self::Moved => "moved",
            Self::EdgeGone => "edge_gone",
        }
    }
}

/// What became of a silent edge's subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TakeOverOutcome {
    /// It is served here.
    Taken,
    /// Another edge was first, or the phone.
    Lost,
    /// The store failed; it is tried again.
    Failed,
    /// This edge takes no more now.
    Full,
    /// No listener here reaches the phone's address.
    NoListener,
    /// It was over a connection and expired: ended in the silent edge's place.
    Expired,
}

impl TakeOverOutcome {
    /// All of them, to have every series from the start.
    pub const ALL: [Self; 6] = [Self::Taken, Self::Lost, Self::Failed, Self::Full, Self::NoListener, Self::Expired];

    /// The label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Full => "full",
            Self::NoListener => "no_listener",
            Self::Expired => "expired",
        }
    }
}

/// What each metric of the edge, of NOTIFYs and of jobs counts.
pub(crate) fn describe() {
    let seconds = metrics::Unit::Seconds;
    metrics::describe_counter!("dfks_edge_received_total", "SIP messages that came in");
    metrics::describe_counter!("dfks_edge_requests_total", "Requests answered, by method, transport and status code");
    metrics::describe_histogram!("dfks_edge_request_duration_seconds", seconds, "From a request to its final response");
    metrics::describe_gauge!("dfks_edge_subscriptions", "Live subscriptions: active, or past their expiry in grace");
    metrics::describe_gauge!("dfks_edge_subscriptions_limit", "sip.max_subscriptions: over it SUBSCRIBEs get 503");
    metrics::describe_counter!("dfks_edge_retransmissions_total", "Requests that came again (in), NOTIFYs that were sent again (out)");
    metrics::describe_counter!("dfks_edge_dropped_total", "Messages that were not handled, by reason");
    metrics::describe_counter!("dfks_edge_auth_total", "SUBSCRIBEs checked for who sent them, by outcome");
    metrics::describe_gauge!("dfks_edge_connections", "Open connections");
    metrics::describe_counter!("dfks_edge_connections_refused_total", "Connections that were not taken in, by reason");
    metrics::describe_counter!("dfks_edge_takeovers_total", "Subscriptions of silent edges that this one went for, by outcome");
    metrics::describe_counter!("dfks_edge_taken_away_total", "Subscriptions that were taken from this edge while it was silent");
    metrics::describe_gauge!("dfks_edge_silent_edges", "Silent edges that still hold subscriptions");
    metrics::describe_counter!("dfks_edge_tls_reloads_total", "Changes of the TLS files, by outcome");
    metrics::describe_counter!("dfks_edge_hep_packets_total", "Messages mirrored to the HEP collector, by outcome");
    metrics::describe_counter!("dfks_edge_store_failures_total", "Subscriptions that could not be stored or looked up, by reason");
    metrics::describe_counter!(
        "dfks_edge_stores_saved_total",
        "SUBSCRIBEs in a dialog whose 200 waited for no store: the stored record covers them"
    );
    metrics::describe_counter!("dfks_edge_route_failures_total", "Requests to workers that failed");
    metrics::describe_counter!("dfks_notify_received_total", "NOTIFY jobs that came out of the work queue");
    metrics::describe_counter!("dfks_notify_jobs_total", "NOTIFY jobs that ended, by outcome");
    metrics::describe_counter!("dfks_notify_sent_total", "NOTIFYs that ended, by transport and outcome");
    metrics::describe_histogram!("dfks_notify_duration_seconds", seconds, "From a NOTIFY to its final response, or to giving up");
    metrics::describe_histogram!("dfks_notify_delivery_seconds", seconds, "From a change to the 200 of a phone that was told it");
    metrics::describe_counter!(
        "dfks_notify_oversized_total",
        "NOTIFYs too large for a datagram, by what they went over: TCP, or a datagram all the same"
    );
    metrics::describe_gauge!("dfks_notify_in_flight", "NOTIFYs without a final response yet");
}
