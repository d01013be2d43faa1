//! How much one source may send. Pure.
//!
//! A token bucket for each source address, IPv6 by /64, in a table of fixed size: a flood from made-up addresses costs no
//! memory and drives out those first that have sent least.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::Cidr;

/// Requests at once, as a multiple of those in a second.
const BURST_SECONDS: u64 = 5;
/// Pause between two answers to a source that sends too much.
const ANSWER_EVERY: Duration = Duration::from_secs(1);
/// Sources in one row of the table; a source has its place in one row.
const WAYS: usize = 4;
/// Rows of the table: 64 k sources in all, about 3 MB.
const ROWS: usize = 16_384;

/// `sip.rate_limit_per_source` and who is exempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Requests a second for each source; 0: no limit.
    pub per_second: u32,
    /// Sources without a limit, trusted ones included.
    pub exempt: Vec<Cidr>,
}

impl RateLimitConfig {
    /// No limit for anyone.
    #[must_use]
    pub const fn off() -> Self {
        Self { per_second: 0, exempt: Vec::new() }
    }
}

/// What is done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is taken in.
    Admitted,
    /// It is one too many, and its sender is told so.
    Refused,
    /// It is one too many, and its sender was told a moment ago.
    Dropped,
}

/// See the module.
pub struct RateLimit {
    config: RateLimitConfig,
    keys: ahash::RandomState,
    started_at: Instant,
    rate: Rate,
    rows: Vec<[Source; WAYS]>,
}

/// A rate as the generic cell rate algorithm of ITU-T I.371 has it: a token is an interval of time. In nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Between two packets of a source that sends all the time.
    interval: u64,
    /// Until an empty bucket is full again.
    burst: u64,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        let interval = 1_000_000_000_u64.checked_div(per_second.into()).unwrap_or(0).max(1);
        Self { interval, burst: interval.saturating_mul(u64::from(per_second) * BURST_SECONDS) }
    }

    /// Whether a bucket that will be full at `full_at` has a token.
    const fn has_token(self, full_at: u64, at: u64) -> bool {
        full_at.saturating_sub(at).saturating_add(self.interval) <= self.burst
    }

    /// Takes a token, if there is one.
    fn take(self, full_at: &mut u64, at: u64) -> bool {
        let has_token = self.has_token(*full_at, at);
        if has_token {
            *full_at = (*full_at).max(at).saturating_add(self.interval);
        }
        has_token
    }
}

/// One source. Times are nanoseconds since the start; 0 is a full bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Source {
    key: u128,
    /// When its bucket of requests will be full again.
    requests_full_at: u64,
    /// The same for stray responses.
    strays_full_at: u64,
    /// From when it may be answered 503 again.
    answer_at: u64,
}

impl RateLimit {
    /// A table without sources.
    #[must_use]
    pub fn new(config: RateLimitConfig, now: Instant) -> Self {
        let rate = Rate::new(config.per_second);
        let rows = if config.per_second == 0 { Vec::new() } else { vec![[Source::default(); WAYS]; ROWS] };
        Self { config, keys: ahash::RandomState::new(), started_at: now, rate, rows }
    }

    /// Takes one request, or what is no message at all, off the bucket of its source.
    pub fn admit_request(&mut self, source: IpAddr, now: Instant) -> Admission {
        let (rate, at) = (self.rate, self.nanos(now));
        let Some(source) = self.source(source) else { return Admission::Admitted };
        if rate.take(&mut source.requests_full_at, at) {
            return Admission::Admitted;
        }
        if at < source.answer_at {
            return Admission::Dropped;
        }
        source.answer_at = at.saturating_add(nanos_of(ANSWER_EVERY));
        Admission::Refused
    }

    /// Whether a response is read: not after its source has sent too many stray ones. Those to a NOTIFY are free: there are never
    /// more of them than NOTIFYs.
    pub fn admits_response(&mut self, source: IpAddr, now: Instant) -> bool {
        let (rate, at) = (self.rate, self.nanos(now));
        self.source(source).is_none_or(|source| rate.has_token(source.strays_full_at, at))
    }

    /// A response was stray.
    pub fn stray_response(&mut self, source: IpAddr, now: Instant) {
        let (rate, at) = (self.rate, self.nanos(now));
        if let Some(source) = self.source(source) {
            rate.take(&mut source.strays_full_at, at);
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        // Not 0, which is a bucket that was never used.
        nanos_of(now.saturating_duration_since(self.started_at)).saturating_add(1)
    }

    /// The entry of a source: its own, or in place of the one in its row that has sent least. `None`: it has no limit.
    fn source(&mut self, address: IpAddr) -> Option<&mut Source> {
        if self.rows.is_empty() || self.config.exempt.iter().any(|range| range.contains(address)) {
            return None;
        }
        let key = key(address);
        let row = usize::try_from(self.keys.hash_one(key) % ROWS as u64).unwrap_or(0);
        let row = self.rows.get_mut(row)?;
        let at = if let Some(at) = row.iter().position(|source| source.key == key) {
            at
        } else {
            let sent_least = |(_, source): &(usize, &Source)| source.requests_full_at.max(source.strays_full_at);
            let (at, _) = row.iter().enumerate().min_by_key(sent_least)?;
            *row.get_mut(at)? = Source { key, ..Source::default() };
            at
        };
        row.get_mut(at)
    }
}

/// An address as a key: IPv4 whole, IPv6 by /64, the least that a site or attacker has.
fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => 0xffff_0000_0000 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64 | 1,
    }
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::runtime::clock;

    fn limit(per_second: u32) -> (RateLimit, Instant) {
        let now = clock::now();
        let exempt = vec!["127.0.0.0/8".parse().unwrap()];
        (RateLimit::new(RateLimitConfig { per_second, exempt }, now), now)
    }

    fn admitted(limit: &mut RateLimit, source: &str, packets: u32, now: Instant) -> u32 {
        let source = source.parse().unwrap();
        (0..packets).map(|_| u32::from(limit.admit_request(source, now) == Admission::Admitted)).sum()
    }

    #[test]
    fn a_burst_of_five_seconds_then_the_rate() {
        for per_second in [1, 3, 7, 50, 999] {
            let (mut limit, start) = limit(per_second);
            assert_eq!(admitted(&mut limit, "192.0.2.1", per_second * 10, start), per_second * 5);
            let mut taken = 0;
            for tenth in 1..=100 {
                taken += admitted(&mut limit, "192.0.2.1", per_second * 2, start + Duration::from_millis(tenth * 100));
            }
            assert!((per_second * 10..=per_second * 10 + 1).contains(&taken), "{per_second}: {taken} in 10 s");
            assert_eq!(admitted(&mut limit, "192.0.2.1", per_second * 10, start + Duration::from_mins(1)), per_second * 5, "full again");
        }
    }

    #[test]
    fn one_answer_a_second_and_silence_for_the_rest() {
        let (mut limit, start) = limit(10);
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        admitted(&mut limit, "192.0.2.1", 50, start);
        let mut answers = 0;
        for ms in 0..3000 {
            match limit.admit_request(source, start + Duration::from_millis(ms)) {
                Admission::Refused => answers += 1,
                Admission::Dropped | Admission::Admitted => {}
            }
        }
        assert_eq!(answers, 3);
    }

    #[test]
    fn sources_are_apart_and_an_ipv6_site_is_one() {
        let (mut limit, now) = limit(2);
        assert_eq!(admitted(&mut limit, "192.0.2.1", 100, now), 10);
        assert_eq!(admitted(&mut limit, "::ffff:192.0.2.1", 100, now), 0, "the same address");
        assert_eq!(admitted(&mut limit, "192.0.2.2", 100, now), 10);
        assert_eq!(admitted(&mut limit, "2001:db8:0:1::1", 6, now), 6);
        assert_eq!(admitted(&mut limit, "2001:db8:0:1:ffff::2", 6, now), 4, "of the same /64");
        assert_eq!(admitted(&mut limit, "2001:db8:0:2::1", 100, now), 10);
        assert_eq!(admitted(&mut limit, "127.0.0.1", 1000, now), 1000, "exempt");
    }

    #[test]
    fn zero_is_no_limit() {
        let (mut limit, now) = limit(0);
        assert_eq!(admitted(&mut limit, "192.0.2.1", 10_000, now), 10_000);
        assert!(limit.rows.is_empty());
    }

    #[test]
    fn responses_are_looked_at_until_too_many_belong_to_nothing() {
        let (mut limit, now) = limit(2);
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..1000).all(|_| limit.admits_response(source, now)), "those that belong to a NOTIFY are free");
        for _ in 0..10 {
            assert!(limit.admits_response(source, now));
            limit.stray_response(source, now);
        }
        assert!(!limit.admits_response(source, now));
        assert_eq!(admitted(&mut limit, "192.0.2.1", 1, now), 1, "requests have a bucket of their own");
        assert!(limit.admits_response(source, now + Duration::from_secs(1)));
    }

    #[test]
    fn a_flood_from_made_up_addresses_drives_no_flooder_out_and_needs_no_room() {
        let (mut limit, now) = limit(2);
        admitted(&mut limit, "192.0.2.1", 100, now);
        for number in 0..200_000_u32 {
            limit.admit_request(Ipv4Addr::from_bits(0x0a00_0000 | number).into(), now);
            limit.admit_request(Ipv6Addr::from_bits(u128::from(number) << 64).into(), now);
        }
        assert_eq!(admitted(&mut limit, "192.0.2.1", 100, now), 0, "still over its limit");
        assert_eq!(limit.rows.len(), ROWS);
    }
}
