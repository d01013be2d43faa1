//! A timer wheel: very many deadlines, each cheap to set.

use std::time::{Duration, Instant};

/// A deadline is kept to this; it is never met early.
pub(crate) const TICK: Duration = Duration::from_millis(16);

const SLOT_BITS: u32 = 6;
const SLOTS: u32 = 1 << SLOT_BITS;
const LEVELS: u32 = 6;
/// Farthest deadline, in ticks: 17 years, half of what the levels reach, so that the top level's slot is never the present one.
const FARTHEST: u64 = 1 << (SLOT_BITS * LEVELS - 1);
/// An emptied slot keeps its memory up to this many entries.
const KEPT_CAPACITY: usize = 256;

/// Deadlines in a hierarchy of slots: 64 of one tick, 64 of 64 ticks, and so on.
///
/// Setting one is O(1), meeting one O(levels). There is no cancelling: the owner of what is due checks whether it still is.
/// Reads no clock: time comes in.
#[derive(Debug)]
pub struct Wheel<T> {
    started_at: Instant,
    /// The tick up to which everything due has been given out.
    elapsed: u64,
    levels: [Level<T>; LEVELS as usize],
    /// What was already due when it was set.
    overdue: Vec<T>,
    entries: usize,
}

#[derive(Debug)]
struct Level<T> {
    /// Bit n: slot n has entries.
    occupied: u64,
    slots: [Vec<(u64, T)>; SLOTS as usize],
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel. `now` is before any deadline that will be set.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let level = || Level { occupied: 0, slots: std::array::from_fn(|_| Vec::new()) };
        Self { started_at: now, elapsed: 0, levels: std::array::from_fn(|_| level()), overdue: Vec::new(), entries: 0 }
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether no deadline is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Sets a deadline; one that has passed is due at the next [`Self::pop_due`].
    pub(crate) fn schedule(&mut self, at: Instant, entry: T) {
        let nanos = at.saturating_duration_since(self.started_at).as_nanos();
        let tick = u64::try_from(nanos.div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX);
        self.entries += 1;
        self.insert(tick.min(self.elapsed.saturating_add(FARTHEST)), entry);
    }

    fn insert(&mut self, tick: u64, entry: T) {
        if tick <= self.elapsed {
            self.overdue.push(entry);
            return;
        }
        // The highest group of bits in which the deadline differs from now: below it, time passes before it comes near.
        let differing = (tick ^ self.elapsed) | 1;
        let level = ((u64::BITS - 1 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS - 1);
        let slot = slot_of(tick, level);
        if let Some(row) = self.levels.get_mut(level as usize)
            && let Some(entries) = row.slots.get_mut(slot as usize)
        {
            entries.push((tick, entry));
            row.occupied |= 1 << slot;
        }
    }

    /// Gives out everything that is due, in the order of deadlines, up to a tick.
    pub(crate) fn pop_due(&mut self, now: Instant, mut give: impl FnMut(T)) {
        let ticks = now.saturating_duration_since(self.started_at).as_nanos() / TICK.as_nanos();
        let target = u64::try_from(ticks).unwrap_or(u64::MAX);
        self.give_overdue(&mut give);
        while let Some((level, slot, tick)) = self.next_slot().filter(|(_, _, tick)| *tick <= target) {
            self.elapsed = tick;
            let mut entries = self.take(level, slot);
            for (tick, entry) in entries.drain(..) {
                self.insert(tick, entry);
            }
            self.put_back(level, slot, entries);
            self.give_overdue(&mut give);
        }
        self.elapsed = self.elapsed.max(target);
    }

    fn give_overdue(&mut self, give: &mut impl FnMut(T)) {
        self.entries = self.entries.saturating_sub(self.overdue.len());
        self.overdue.drain(..).for_each(give);
    }

    fn take(&mut self, level: u32, slot: u32) -> Vec<(u64, T)> {
        let Some(row) = self.levels.get_mut(level as usize) else { return Vec::new() };
        row.occupied &= !(1 << slot);
        row.slots.get_mut(slot as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Gives an emptied slot its memory back, so that a steady load allocates nothing.
    fn put_back(&mut self, level: u32, slot: u32, emptied: Vec<(u64, T)>) {
        let place = self.levels.get_mut(level as usize).and_then(|row| row.slots.get_mut(slot as usize));
        if let Some(place) = place.filter(|place| place.is_empty() && emptied.capacity() <= KEPT_CAPACITY) {
            *place = emptied;
        }
    }

    /// When [`Self::pop_due`] is to be called next: not later than the earliest deadline's tick, and earlier where the wheel
    /// has to turn first. `None` when no deadline is set.
    #[must_use]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let tick = if self.overdue.is_empty() { self.next_slot()?.2 } else { self.elapsed };
        let after = Duration::from_nanos(u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX).saturating_mul(tick));
        self.started_at.checked_add(after).or(Some(self.started_at))
    }

    /// The next slot that has entries, with the tick at which it begins. A lower level's slots all come before a higher one's.
    fn next_slot(&self) -> Option<(u32, u32, u64)> {
        self.levels.iter().zip(0_u32..).find_map(|(row, level)| {
            let here = slot_of(self.elapsed, level);
            // Of this turn of the level, only slots after the present one can have entries; on the top level it can have wrapped.
            let distance = row.occupied.rotate_right(here).trailing_zeros();
            (row.occupied != 0).then(|| {
                let slot = (here + distance) % SLOTS;
                let width = SLOT_BITS * level;
                let base = self.elapsed >> width << width;
                (level, slot, base + (u64::from(distance) << width))
            })
        })
    }
}

/// The slot of a level in which a tick lies.
#[expect(clippy::cast_possible_truncation, reason = "six bits are left")]
const fn slot_of(tick: u64, level: u32) -> u32 {
    (tick >> (SLOT_BITS * level)) as u32 % SLOTS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::clock;

    fn due(wheel: &mut Wheel<u32>, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.pop_due(now, |entry| due.push(entry));
        due
    }

    #[test]
    fn gives_each_entry_once_and_in_order() {
        let start = clock::now();
        let mut wheel = Wheel::new(start);
        let after = |ms| start + Duration::from_millis(ms);
        for (entry, ms) in [(0, 5000), (1, 0), (2, 17), (3, 64_000), (4, 16), (5, 7_200_000)] {
            wheel.schedule(after(ms), entry);
        }
        assert_eq!(wheel.len(), 6);
        assert_eq!(due(&mut wheel, start), [1]);
        assert_eq!(wheel.next_at(), Some(after(16)));
        assert_eq!(due(&mut wheel, after(15)), Vec::<u32>::new());
        assert_eq!(due(&mut wheel, after(31)), [4]);
        assert_eq!(due(&mut wheel, after(32)), [2]);
        assert_eq!(due(&mut wheel, after(7_199_999)), [0, 3]);
        assert_eq!(due(&mut wheel, after(7_200_000)), [5]);
        assert_eq!((wheel.next_at(), wheel.is_empty()), (None, true));
    }

    #[test]
    fn what_is_already_due_is_next() {
        let start = clock::now();
        let mut wheel = Wheel::new(start);
        assert_eq!(due(&mut wheel, start + Duration::from_secs(100)), Vec::<u32>::new());
        wheel.schedule(start, 1);
        assert!(wheel.next_at().is_some_and(|at| at <= start + Duration::from_secs(100)));
        assert_eq!(due(&mut wheel, start + Duration::from_secs(100)), [1]);
    }

    #[test]
    fn a_deadline_beyond_all_levels_is_kept() {
        let start = clock::now();
        let mut wheel = Wheel::new(start);
        let century = Duration::from_hours(100 * 365 * 24);
        wheel.schedule(start + century, 1);
        assert_eq!(due(&mut wheel, start + Duration::from_hours(10 * 365 * 24)), Vec::<u32>::new());
        assert_eq!(wheel.len(), 1);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Schedule(u64),
        Advance(u64),
        /// To when the wheel itself says.
        Follow,
    }

    fn step() -> impl Strategy<Value = Step> {
        let ms = prop_oneof![0..100_u64, 0..5_000_u64, 0..8_000_000_u64, 0..10_000_000_000_u64];
        prop_oneof![4 => ms.clone().prop_map(Step::Schedule), 2 => ms.prop_map(Step::Advance), 2 => Just(Step::Follow)]
    }

    proptest! {
        #[test]
        fn does_what_a_sorted_list_does(steps in prop::collection::vec(step(), 1..200)) {
            let tick_ms = u64::try_from(TICK.as_millis()).unwrap();
            let start = clock::now();
            let mut wheel = Wheel::new(start);
            let mut model: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            let mut now_ms = 0_u64;
            for (entry, step) in (0_u32..).zip(steps) {
                match step {
                    Step::Schedule(ms) => {
                        wheel.schedule(start + Duration::from_millis(now_ms + ms), entry);
                        model.entry((now_ms + ms).div_ceil(tick_ms)).or_default().push(entry);
                        continue;
                    }
                    Step::Advance(ms) => now_ms += ms,
                    Step::Follow => {
                        let Some(at) = wheel.next_at() else { continue };
                        now_ms = now_ms.max(u64::try_from((at - start).as_millis()).unwrap());
                    }
                }
                let later = model.split_off(&(now_ms / tick_ms + 1));
                let mut want: Vec<u32> = std::mem::replace(&mut model, later).into_values().flatten().collect();
                let mut got = due(&mut wheel, start + Duration::from_millis(now_ms));
                got.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(got, want);
                prop_assert_eq!(wheel.len(), model.values().map(Vec::len).sum::<usize>());
                // Never later than the earliest deadline, and never in the past: a driver that follows it neither misses nor spins.
                match (wheel.next_at(), model.keys().next()) {
                    (Some(at), Some(tick)) => {
                        prop_assert!(at <= start + Duration::from_millis(tick * tick_ms));
                        prop_assert!(at > start + Duration::from_millis(now_ms));
                    }
                    (at, tick) => prop_assert_eq!((at, tick), (None, None)),
                }
            }
        }
    }
}
