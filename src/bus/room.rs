//! How large the streams are made: as configured, else as large as the server has room for.
//!
//! ```text
//! full size ─▶ made
//!     └─ "insufficient storage" ─▶ what the account offers, else half of it ─▶ … ─▶ 1/128 ─▶ refused
//! ```
//! A smaller size is one for all of them: the streams that were made a moment ago, and are empty, shrink along.

use std::time::Duration;

use async_nats::jetstream::account::Account;

use crate::bus::client::Bus;
use crate::config::NatsMaxBytes;

/// Halved so often at most: 8 MiB of events.
const MAX_HALVINGS: u32 = 7;
/// Of what an account offers, the rest is for the buckets, which have no size.
const SHARE: (i64, i64) = (3, 4);

const MIB: i64 = 1024 * 1024;

/// One of the streams that have a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sized {
    Commands,
    Notify,
    Events,
    Dead,
}

impl Sized {
    const ALL: [Self; 4] = [Self::Commands, Self::Notify, Self::Events, Self::Dead];

    /// As in the name of the stream.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Commands => "COMMANDS",
            Self::Notify => "NOTIFY",
            Self::Events => "EVENTS",
            Self::Dead => "DEAD",
        }
    }

    /// Where nothing is configured and the server has the room.
    const fn full(self) -> i64 {
        match self {
            Self::Commands | Self::Dead => 256 * MIB,
            Self::Notify => 512 * MIB,
            Self::Events => 1024 * MIB,
        }
    }
}

/// The sizes to try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    configured: NatsMaxBytes,
    halvings: u32,
}

impl Room {
    pub(super) const fn new(configured: NatsMaxBytes) -> Self {
        Self { configured, halvings: 0 }
    }

    /// What to do where there is none.
    pub(super) const REMEDY: &str = ": the NATS server has no room for nats.max_bytes: name smaller sizes there, free disk space, or \
         raise the server's max_file_store or the account's limit";

    /// `max_bytes` of a stream.
    pub(super) fn bytes(&self, stream: Sized) -> i64 {
        match self.configured(stream) {
            0 => stream.full() >> self.halvings,
            bytes => i64::try_from(bytes).unwrap_or(i64::MAX),
        }
    }

    const fn configured(&self, stream: Sized) -> u64 {
        match stream {
            Sized::Commands => self.configured.commands,
            Sized::Notify => self.configured.notify,
            Sized::Events => self.configured.events,
            Sized::Dead => self.configured.dead,
        }
    }

    /// Asks for less, where `stream` may have less: whether there is a size left to try. `made` are those that were made a moment ago.
    pub(super) async fn shrink(&mut self, bus: &Bus, stream: Sized, made: &[Sized], replicas: usize, timeout: Duration) -> bool {
        if self.configured(stream) != 0 || self.halvings == MAX_HALVINGS {
            return false;
        }
        let account: Option<Account> = if self.halvings == 0 { bus.api("INFO", timeout).await.ok() } else { None };
        self.halve(account.as_ref(), made, replicas);
        true
    }

    /// At least once, and until it is what the account offers.
    fn halve(&mut self, account: Option<&Account>, made: &[Sized], replicas: usize) {
        let ours = self.total(made);
        let offer = account.map_or_else(Offer::default, |account| Offer::of(account, ours, replicas));
        loop {
            self.halvings += 1;
            let largest = Sized::ALL.iter().map(|stream| self.bytes(*stream)).max().unwrap_or_default();
            let fits = self.total(&Sized::ALL) <= offer.total && largest <= offer.stream;
            if fits || self.halvings == MAX_HALVINGS {
                return;
            }
        }
    }

    fn total(&self, streams: &[Sized]) -> i64 {
        streams.iter().map(|stream| self.bytes(*stream)).fold(0, i64::saturating_add)
    }
}

/// What an account still has for our streams.
struct Offer {
    total: i64,
    stream: i64,
}

impl Default for Offer {
    fn default() -> Self {
        Self { total: i64::MAX, stream: i64::MAX }
    }
}

impl Offer {
    /// `ours`: bytes of its reservation that are our own.
    fn of(account: &Account, ours: i64, replicas: usize) -> Self {
        let tier = account.tiers.get(&format!("R{replicas}"));
        let (limits, used, reserved) = match tier {
            Some(tier) => (&tier.limits, tier.storage, tier.reserved_storage),
            None => (&account.limits, account.storage, account.reserved_storage),
        };
        let copies = i64::try_from(replicas).unwrap_or(1).max(1);
        let taken = i64::try_from(used.max(reserved)).unwrap_or(i64::MAX).saturating_sub(ours.saturating_mul(copies)).max(0);
        let limit = |limit: Option<i64>| limit.filter(|limit| *limit > 0);
        let total = limit(limits.max_storage).map(|max| max.saturating_sub(taken).max(0) / copies / SHARE.1 * SHARE.0);
        let no_limit = Self::default();
        Self { total: total.unwrap_or(no_limit.total), stream: limit(limits.storage_max_stream_bytes).unwrap_or(no_limit.stream) }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::account::Limits;

    use super::*;

    fn account(max_storage: i64, reserved: u64) -> Account {
        let limits = Limits { max_storage: Some(max_storage), storage_max_stream_bytes: Some(-1), ..Account::default().limits };
        Account { limits, reserved_storage: reserved, ..Account::default() }
    }

    #[test]
    fn takes_what_the_account_offers_and_leaves_room_for_the_buckets() {
        let full = Room::new(NatsMaxBytes::default());
        assert_eq!(Sized::ALL.map(|stream| full.bytes(stream) / MIB), [256, 512, 1024, 256]);
        for (account, made, replicas, events) in [
            (None, &[][..], 1, 512),
            (Some(account(-1, 0)), &[], 1, 512),
            (Some(account(2048 * MIB, 0)), &[], 1, 512),
            (Some(account(100 * MIB, 0)), &[], 1, 32),
            (Some(account(100 * MIB, 50 << 20)), &[], 1, 16),
            // what is reserved is our own
            (Some(account(300 * MIB, 256 << 20)), &[Sized::Commands], 1, 64),
            (Some(account(300 * MIB, 0)), &[], 3, 32),
            (Some(account(MIB, 0)), &[], 1, 8),
        ] {
            let mut room = full;
            room.halve(account.as_ref(), made, replicas);
            assert_eq!(room.bytes(Sized::Events) / MIB, events, "{account:?}");
        }
    }

    #[test]
    fn a_configured_size_stays() {
        let mut room = Room::new(NatsMaxBytes { events: 5, ..NatsMaxBytes::default() });
        room.halve(None, &[], 1);
        assert_eq!((room.bytes(Sized::Events), room.bytes(Sized::Notify)), (5, 256 * MIB));
    }
}
