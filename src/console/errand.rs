//! What a page asks for. Pure.

/// One request of a page: `POST /api/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// What this console is and may do.
    About,
    /// Whether the token shown is the right one.
    Unlock,
    /// What is told to the phones of a presentity, and where it stops.
    Why,
    /// What happened to a presentity.
    Past,
    /// Events as they happen.
    Tail,
    /// A feature is changed.
    Set,
    /// Phones are told anew.
    Resync,
    /// A subscription is ended.
    End,
    /// How it is with the whole of it.
    Fleet,
    /// How much flows.
    Flow,
    /// One change's whole way.
    Trace,
    /// What was given up on.
    DeadList,
    /// Dead letters are published again.
    DeadReplay,
    /// Dead letters are taken away.
    DeadDrop,
    /// Processes log at another level.
    Log,
}

/// What it is for: the metric label `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Action,
    Tail,
}

impl Purpose {
    pub(super) const ALL: [Self; 3] = [Self::Read, Self::Action, Self::Tail];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Action => "action",
            Self::Tail => "tail",
        }
    }
}

impl Errand {
    const ALL: [Self; 15] = [
        Self::About,
        Self::Unlock,
        Self::Why,
        Self::Past,
        Self::Tail,
        Self::Set,
        Self::Resync,
        Self::End,
        Self::Fleet,
        Self::Flow,
        Self::Trace,
        Self::DeadList,
        Self::DeadReplay,
        Self::DeadDrop,
        Self::Log,
    ];

    /// Its path below `/api/`.
    const fn path(self) -> &'static str {
        match self {
            Self::About => "about",
            Self::Unlock => "unlock",
            Self::Why => "why",
            Self::Past => "past",
            Self::Tail => "tail",
            Self::Set => "set",
            Self::Resync => "resync",
            Self::End => "end",
            Self::Fleet => "fleet",
            Self::Flow => "flow",
            Self::Trace => "trace",
            Self::DeadList => "dead/list",
            Self::DeadReplay => "dead/replay",
            Self::DeadDrop => "dead/drop",
            Self::Log => "log",
        }
    }

    pub(super) fn named(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|errand| errand.path() == path)
    }

    pub(super) const fn purpose(self) -> Purpose {
        match self {
            Self::About | Self::Why | Self::Past | Self::Fleet | Self::Flow | Self::Trace | Self::DeadList => Purpose::Read,
            Self::Tail => Purpose::Tail,
            Self::Unlock | Self::Set | Self::Resync | Self::End | Self::DeadReplay | Self::DeadDrop | Self::Log => Purpose::Action,
        }
    }

    /// Whether it tells nothing of anybody.
    pub(super) const fn is_harmless(self) -> bool {
        matches!(self, Self::About)
    }
}
