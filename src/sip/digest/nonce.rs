//! Nonces that need no memory until they are used.
//!
//! A nonce is its generation, its serial number, and a keyed hash over both, so that a flood of requests without credentials
//! leaves nothing behind. What is remembered is how far each nonce was used, and that only for who proved a password.
//!
//! ```text
//!  generation n-1      generation n        a nonce of these two is good; an older one, and one of another process, is stale
//!  ├── 30 min ────────┼── 30 min ──── now  (a generation that has had too many users ends early)
//! ```

use std::time::{Duration, Instant};

use ahash::AHashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::hex;

/// How long a generation lasts: a nonce is good for one to two of these.
///
/// Long enough for a phone that refreshes each half hour to go on with its nonce; a copied answer is caught by its count.
const GENERATION: Duration = Duration::from_mins(30);
/// Nonces of one generation whose use is remembered, about 32 bytes each.
const MAX_USED: usize = 500_000;
/// Bytes of the keyed hash that a nonce carries.
const MAC_BYTES: usize = 16;
/// Bytes of generation and serial number.
const BODY_BYTES: usize = 12;

/// The nonces of one process.
pub struct Nonces {
    mac: Hmac<Sha256>,
    generation: u32,
    ends_at: Instant,
    next_serial: u64,
    used: AHashMap<u64, Window>,
    used_before: AHashMap<u64, Window>,
    max_used: usize,
}

/// What a right answer's nonce is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// Ours, not old, and this use of it is its first.
    Fresh,
    /// Old, or issued by another process.
    Stale,
    /// Used so often before: a copy of an earlier answer, or a phone that does not count.
    Replayed,
}

impl Nonces {
    /// Nonces that only who has this key can make.
    #[must_use]
    pub fn new(key: [u8; 64], now: Instant) -> Self {
        Self::with_room(key, MAX_USED, now)
    }

    fn with_room(key: [u8; 64], max_used: usize, now: Instant) -> Self {
        Self {
            mac: Hmac::new(&key.into()),
            generation: 0,
            ends_at: now + GENERATION,
            next_serial: 0,
            used: AHashMap::new(),
            used_before: AHashMap::new(),
            max_used,
        }
    }

    /// A new nonce: 56 hexadecimal digits.
    pub(crate) fn issue(&mut self, now: Instant) -> String {
        self.turn(now);
        let body = body(self.generation, self.next_serial);
        self.next_serial = self.next_serial.wrapping_add(1);
        let mut nonce = hex(&body);
        nonce.push_str(&hex(self.seal(&body).get(..MAC_BYTES).unwrap_or_default()));
        nonce
    }

    /// Uses a nonce, once its answer is known to be right. `count` is [`super::Credentials::count`].
    pub fn spend(&mut self, nonce: &str, count: Option<u32>, now: Instant) -> Spent {
        self.turn(now);
        let Some((generation, serial)) = self.read(nonce) else { return Spent::Stale };
        let used = match self.generation.wrapping_sub(generation) {
            0 => &mut self.used,
            1 => &mut self.used_before,
            _ => return Spent::Stale,
        };
        let is_first = used.entry(serial).or_default().take(count);
        if self.used.len().max(self.used_before.len()) >= self.max_used {
            self.end_generation(now);
        }
        if is_first { Spent::Fresh } else { Spent::Replayed }
    }

    /// Ends a generation that is over, and its predecessor too after a long silence.
    fn turn(&mut self, now: Instant) {
        if now < self.ends_at {
            return;
        }
        if now >= self.ends_at + GENERATION {
            self.end_generation(now);
        }
        self.end_generation(now);
    }

    fn end_generation(&mut self, now: Instant) {
        self.generation = self.generation.wrapping_add(1);
        self.used_before = std::mem::take(&mut self.used);
        self.ends_at = now + GENERATION;
    }

    /// Generation and serial number of a nonce of ours.
    fn read(&self, nonce: &str) -> Option<(u32, u64)> {
        let bytes: [u8; BODY_BYTES + MAC_BYTES] = unhex(nonce)?;
        let (body, seal) = bytes.split_at_checked(BODY_BYTES)?;
        self.mac.clone().chain_update(body).verify_truncated_left(seal).ok()?;
        let (generation, serial) = body.split_at_checked(4)?;
        Some((u32::from_be_bytes(generation.try_into().ok()?), u64::from_be_bytes(serial.try_into().ok()?)))
    }

    fn seal(&self, body: &[u8]) -> [u8; 32] {
        self.mac.clone().chain_update(body).finalize().into_bytes().into()
    }
}

fn body(generation: u32, serial: u64) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    let bytes = generation.to_be_bytes().into_iter().chain(serial.to_be_bytes());
    body.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    body
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.chars();
    for byte in &mut bytes {
        let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

/// Which counts of one nonce were used: the highest, and which of the 64 up to it. Requests may overtake each other on the
/// way, so that a count below the highest is good once.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    highest: u32,
    /// Bit n: `highest - n` was used.
    seen: u64,
}

impl Window {
    /// Takes a count; `None` is the one use of a phone that does not count. `false`: it was used, or is too far back to tell.
    fn take(&mut self, count: Option<u32>) -> bool {
        let Some(count) = count else {
            let is_first = self.highest == 0;
            *self = Self { highest: u32::MAX, seen: u64::MAX };
            return is_first;
        };
        if count > self.highest {
            self.seen = self.seen.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1_u64.checked_shl(self.highest - count).unwrap_or(0);
        let is_first = count > 0 && bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        is_first
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::clock;

    fn nonces(now: Instant) -> Nonces {
        Nonces::with_room([7; 64], 1000, now)
    }

    #[test]
    fn a_nonce_is_good_for_one_to_two_generations() {
        let start = clock::now();
        let at = |minutes| start + Duration::from_mins(minutes);
        for (issued, spent, want) in [
            (0, 0, Spent::Fresh),
            (0, 29, Spent::Fresh),
            (29, 59, Spent::Fresh),
            (0, 31, Spent::Fresh),
            (29, 60, Spent::Fresh),
            (0, 60, Spent::Stale),
            (0, 200, Spent::Stale),
        ] {
            let mut nonces = nonces(start);
            let nonce = nonces.issue(at(issued));
            // somebody else comes in between
            nonces.issue(at(issued.midpoint(spent)));
            assert_eq!(nonces.spend(&nonce, None, at(spent)), want, "issued at {issued}, spent at {spent}");
        }
    }

    #[test]
    fn a_nonce_of_another_process_or_a_made_up_one_is_stale() {
        let now = clock::now();
        let mut ours = nonces(now);
        let good = ours.issue(now);
        let mut others = Nonces::new([8; 64], now);
        let (generation, rest) = good.split_at(8);
        let tampered = [format!("{good}0"), good.replacen('0', "", 1), format!("00000001{rest}"), generation.to_owned()];
        for nonce in tampered.iter().map(String::as_str).chain([&*others.issue(now), "", "abc", "é"]) {
            assert_eq!(ours.spend(nonce, None, now), Spent::Stale, "{nonce}");
        }
        let mut wrong = good.clone().into_bytes();
        for at in 0..wrong.len() {
            wrong[at] ^= 1;
            assert_eq!(ours.spend(std::str::from_utf8(&wrong).unwrap(), None, now), Spent::Stale, "digit {at}");
            wrong[at] ^= 1;
        }
        assert_eq!(ours.spend(&good.to_uppercase(), None, now), Spent::Fresh, "it is hexadecimal");
    }

    #[test]
    fn without_a_count_a_nonce_serves_once() {
        let now = clock::now();
        let mut nonces = nonces(now);
        let nonce = nonces.issue(now);
        assert_eq!(nonces.spend(&nonce, None, now), Spent::Fresh);
        assert_eq!(nonces.spend(&nonce, None, now), Spent::Replayed);
        assert_eq!(nonces.spend(&nonce, Some(2), now), Spent::Replayed);
        let nonce = nonces.issue(now);
        assert_eq!(nonces.spend(&nonce, Some(2), now), Spent::Fresh);
        assert_eq!(nonces.spend(&nonce, None, now), Spent::Replayed);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgetting_makes_nonces_stale() {
        let now = clock::now();
        let mut nonces = Nonces::with_room([7; 64], 10, now);
        let mut issued = Vec::new();
        for _ in 0..100 {
            let nonce = nonces.issue(now);
            assert_eq!(nonces.spend(&nonce, None, now), Spent::Fresh);
            assert!(nonces.used.len() <= 10 && nonces.used_before.len() <= 10);
            issued.push(nonce);
        }
        for nonce in issued {
            assert_ne!(nonces.spend(&nonce, None, now), Spent::Fresh, "never a second time");
        }
    }

    proptest! {
        /// Against a set: never twice; and in any order as long as no count is more than 63 behind.
        #[test]
        fn a_count_is_good_once(counts in prop::collection::vec(prop_oneof![0..20_u32, 0..200_u32, any::<u32>()], 1..100)) {
            let mut window = Window::default();
            let mut used = BTreeSet::new();
            for count in counts {
                let highest = used.last().copied().unwrap_or(0);
                let want = count > 0 && !used.contains(&count) && (count > highest || highest - count < 64);
                prop_assert_eq!(window.take(Some(count)), want, "{} after {:?}", count, used);
                if want {
                    used.insert(count);
                }
            }
        }
    }
}
