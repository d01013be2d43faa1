//! The subjects by their pattern, for whoever counts and documents them. Pure.

/// The subjects as they stand in metric labels and documents: `<…>` for what varies. Never the raw subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `dfks.set`
    Set,
    /// `dfks.get`
    Get,
    /// `dfks.set.<domain>`
    SetDomain,
    /// `dfks.get.<domain>`
    GetDomain,
    /// `dfks.route.set`
    RouteSet,
    /// `dfks.command.set`
    CommandSet,
    /// `dfks.command.set.<domain>`
    CommandSetDomain,
    /// `dfks.responder.get.<domain>.<Feature>`
    ResponderGet,
    /// `dfks.responder.set.<domain>.<Feature>`
    ResponderSet,
    /// `dfks.responder.auth.<domain>`
    ResponderAuth,
    /// `dfks.responder.anybody`
    ResponderAnybody,
    /// `dfks.responders`
    Responders,
    /// `dfks.responders.forget`
    RespondersForget,
    /// `dfks.notify.<edge_id>`
    Notify,
    /// `dfks.edge.alive`
    EdgeAlive,
    /// `dfks.watchers`
    Watchers,
    /// `dfks.resync`
    Resync,
    /// `dfks.end`
    End,
    /// `dfks.why`
    Why,
    /// `dfks.status`
    Status,
    /// `dfks.log`
    Log,
    /// `dfks.sip`
    Sip,
    /// `dfks.edge.resync.<edge_id>`
    EdgeResync,
    /// `dfks.edge.end.<edge_id>`
    EdgeEnd,
    /// `dfks.event.subscription.<domain>`
    EventSubscription,
    /// `dfks.event.feature.<domain>.<Feature>`
    EventFeature,
    /// `dfks.event.notify.<domain>`
    EventNotify,
    /// `dfks.event.raw.<domain>`
    EventRaw,
    /// `dfks.event.refused.<domain>`
    EventRefused,
    /// `dfks.event.hand.<domain>`
    EventHand,
    /// `dfks.dead.<stage>`
    Dead,
    /// `dfks.timer.at.<presentity>.<Feature>`
    Timer,
    /// The bucket of subscriptions.
    SubscriptionBucket,
    /// The bucket of feature states.
    FeatureBucket,
    /// The bucket of the edges that live.
    EdgeBucket,
    /// The bucket of responders that were heard.
    ResponderBucket,
    /// The JetStream API.
    JetStreamApi,
    /// `$SRV.PING.dfks-worker`
    WorkerPing,
}

impl Pattern {
    /// All of them, to have every metric series from the start.
    pub(crate) const ALL: [Self; 38] = [
        Self::Set,
        Self::Get,
        Self::SetDomain,
        Self::GetDomain,
        Self::RouteSet,
        Self::CommandSet,
        Self::CommandSetDomain,
        Self::ResponderGet,
        Self::ResponderSet,
        Self::ResponderAuth,
        Self::ResponderAnybody,
        Self::Responders,
        Self::RespondersForget,
        Self::Notify,
        Self::EdgeAlive,
        Self::Watchers,
        Self::Resync,
        Self::End,
        Self::Why,
        Self::Status,
        Self::Log,
        Self::Sip,
        Self::EdgeResync,
        Self::EdgeEnd,
        Self::EventSubscription,
        Self::EventFeature,
        Self::EventNotify,
        Self::EventRaw,
        Self::EventRefused,
        Self::EventHand,
        Self::Dead,
        Self::Timer,
        Self::SubscriptionBucket,
        Self::FeatureBucket,
        Self::EdgeBucket,
        Self::ResponderBucket,
        Self::JetStreamApi,
        Self::WorkerPing,
    ];

    /// The metric label `subject`, whatever the prefix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "dfks.set",
            Self::Get => "dfks.get",
            Self::SetDomain => "dfks.set.<domain>",
            Self::GetDomain => "dfks.get.<domain>",
            Self::RouteSet => "dfks.route.set",
            Self::CommandSet => "dfks.command.set",
            Self::CommandSetDomain => "dfks.command.set.<domain>",
            Self::ResponderGet => "dfks.responder.get.<domain>.<Feature>",
            Self::ResponderSet => "dfks.responder.set.<domain>.<Feature>",
            Self::ResponderAuth => "dfks.responder.auth.<domain>",
            Self::ResponderAnybody => "dfks.responder.anybody",
            Self::Responders => "dfks.responders",
            Self::RespondersForget => "dfks.responders.forget",
            Self::Notify => "dfks.notify.<edge_id>",
            Self::EdgeAlive => "dfks.edge.alive",
            Self::Watchers => "dfks.watchers",
            Self::Resync => "dfks.resync",
            Self::End => "dfks.end",
            Self::Why => "dfks.why",
            Self::Status => "dfks.status",
            Self::Log => "dfks.log",
            Self::Sip => "dfks.sip",
            Self::EdgeResync => "dfks.edge.resync.<edge_id>",
            Self::EdgeEnd => "dfks.edge.end.<edge_id>",
            Self::EventSubscription => "dfks.event.subscription.<domain>",
            Self::EventFeature => "dfks.event.feature.<domain>.<Feature>",
            Self::EventNotify => "dfks.event.notify.<domain>",
            Self::EventRaw => "dfks.event.raw.<domain>",
            Self::EventRefused => "dfks.event.refused.<domain>",
            Self::EventHand => "dfks.event.hand.<domain>",
            Self::Dead => "dfks.dead.<stage>",
            Self::Timer => "dfks.timer.at.<presentity>.<Feature>",
            Self::SubscriptionBucket => "$KV.dfks-subscriptions.<subscription>",
            Self::FeatureBucket => "$KV.dfks-features.<presentity>",
            Self::EdgeBucket => "$KV.dfks-edges.<edge_id>",
            Self::ResponderBucket => "$KV.dfks-responders.<kind>.<domain>.<Feature>",
            Self::JetStreamApi => "$JS.API.>",
            Self::WorkerPing => "$SRV.PING.dfks-worker",
        }
    }
}
