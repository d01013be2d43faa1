//! What breaks, and when: a plan of incidents, made from a seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How long a message takes between a client and NATS, at best and at worst, while nothing is wrong.
pub(crate) const BUS_DELAY: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(3));
/// The same while NATS is slow.
const SLOW_BUS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1500));
/// Between the beginnings of two incidents: shortest and longest.
const BETWEEN: (u64, u64) = (2, 45);

/// What is broken now.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) is_server_down: bool,
    pub(crate) bus_delay: (Duration, Duration),
    /// Counts those that hold something back, so that one's end does not end another's.
    pub(crate) slow: u32,
    pub(crate) lossy: u32,
    pub(crate) leaderless: u32,
    pub(crate) full: u32,
    /// Processes to be started, and to be stopped in order.
    pub(crate) starts: Vec<&'static str>,
    pub(crate) terminates: Vec<&'static str>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            is_server_down: false,
            bus_delay: BUS_DELAY,
            slow: 0,
            lossy: 0,
            leaderless: 0,
            full: 0,
            starts: Vec::new(),
            terminates: Vec::new(),
        }
    }
}

impl Faults {
    /// The delay of messages, by whether NATS is slow.
    pub(crate) fn look_at_delay(&mut self) {
        self.bus_delay = if self.slow > 0 { SLOW_BUS } else { BUS_DELAY };
    }
}

/// A kind of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL; started again at the end.
    Kill,
    /// SIGTERM, and another process in its place when it has ended.
    Redeploy,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// Nothing passes between a machine and NATS.
    CutBus,
    /// Nothing passes between a machine and the phones.
    CutSip,
    /// Both.
    CutAll,
    /// NATS is gone, and what is kept in memory there.
    NatsRestart,
    /// NATS takes no store and no call.
    Leaderless,
    /// Another server leads.
    StepDown,
    /// No stream takes anything.
    Full,
    /// Messages take long.
    Slow,
    /// Datagrams are lost, doubled, late.
    Lossy,
    /// The clock of a machine is off.
    Clock,
}

impl Kind {
    pub(crate) const ALL: [Self; 13] = [
        Self::Kill,
        Self::Redeploy,
        Self::Pause,
        Self::CutBus,
        Self::CutSip,
        Self::CutAll,
        Self::NatsRestart,
        Self::Leaderless,
        Self::StepDown,
        Self::Full,
        Self::Slow,
        Self::Lossy,
        Self::Clock,
    ];

    /// Whether it needs a machine.
    const fn is_of_machine(self) -> bool {
        matches!(self, Self::Kill | Self::Redeploy | Self::Pause | Self::CutBus | Self::CutSip | Self::CutAll | Self::Clock)
    }

    /// Longest, in milliseconds.
    const fn longest_ms(self) -> u64 {
        match self {
            Self::Kill | Self::CutSip => 40_000,
            Self::Pause | Self::CutBus | Self::CutAll => 60_000,
            Self::NatsRestart | Self::Leaderless => 20_000,
            Self::Full | Self::Slow | Self::Lossy => 30_000,
            Self::StepDown | Self::Redeploy => 1,
            Self::Clock => 120_000,
        }
    }
}

/// Something that breaks for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Incident {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) kind: Kind,
    /// The machine, where it is one's.
    pub(crate) machine: &'static str,
    /// How far a clock is off, in milliseconds; how many of a thousand datagrams are lost.
    pub(crate) measure: i64,
}

/// The beginning or the end of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fault {
    pub(crate) incident: Incident,
    pub(crate) is_end: bool,
}

/// The incidents of a seed: all are over at `until`. `is_cluster`: of several servers, whose leader may be gone.
pub(crate) fn plan(seed: u64, machines: &[&'static str], is_cluster: bool, until: Duration) -> Vec<Incident> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x00fa_0175);
    let mut at = Duration::from_secs(random.random_range(15..60));
    let mut incidents = Vec::new();
    // some runs are calm, some are hell
    let pace = random.random_range(BETWEEN.0..BETWEEN.1);
    while at < until {
        let kind = Kind::ALL.get(random.random_range(0..Kind::ALL.len())).copied().unwrap_or(Kind::Kill);
        let longest = kind.longest_ms();
        // short ones as often as long ones
        let lasts = Duration::from_millis(if random.random_bool(0.5) {
            random.random_range(0..=longest)
        } else {
            random.random_range(0..=longest / 8)
        });
        let machine = machines.get(random.random_range(0..machines.len().max(1))).copied().unwrap_or("");
        let measure = if kind == Kind::Clock { offset(&mut random) } else { random.random_range(10..400) };
        let incident = Incident {
            at,
            lasts: lasts.min(until.saturating_sub(at)),
            kind,
            machine: if kind.is_of_machine() { machine } else { "" },
            measure,
        };
        let fits = is_cluster || !matches!(kind, Kind::Leaderless | Kind::StepDown);
        if fits {
            incidents.push(incident);
        }
        at += Duration::from_millis(random.random_range(0..pace * 2000));
    }
    incidents
}

/// A second, a minute, or a quarter of an hour, ahead or behind.
fn offset(random: &mut StdRng) -> i64 {
    let most = [1_000, 60_000, 900_000].get(random.random_range(0..3)).copied().unwrap_or(1_000);
    random.random_range(-most..=most)
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)?;
        if !self.machine.is_empty() {
            write!(f, " of {}", self.machine)?;
        }
        match self.kind {
            Kind::Clock => write!(f, " by {} ms", self.measure)?,
            Kind::Lossy => write!(f, " ({} of 1000)", self.measure)?,
            _ => {}
        }
        write!(f, " at {:.3} s for {:.3} s", self.at.as_secs_f64(), self.lasts.as_secs_f64())
    }
}
