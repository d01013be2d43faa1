//! The order of servers: by priority, and by chance as their weights have it. Pure.

/// Chance that can be repeated: the numbers of a seed (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 below nothing.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.roll().checked_rem(end).unwrap_or_default()).unwrap_or_default()
    }
}

/// The servers as they are tried, by the priority and weight of each. Source: RFC 2782, "Usage rules".
pub(super) fn by_priority_and_weight<'s, S>(servers: &'s [S], rank: impl Fn(&S) -> (u16, u16), dice: &mut Dice) -> Vec<&'s S> {
    let (priority, weight) = (|server: &S| rank(server).0, |server: &S| rank(server).1);
    let mut waiting: Vec<&S> = servers.iter().collect();
    // Those of weight 0 stand first, so that they have a small chance.
    waiting.sort_by_key(|server| (priority(server), weight(server) > 0));
    let mut ordered = Vec::with_capacity(waiting.len());
    while let Some(first) = waiting.first() {
        let equals = waiting.partition_point(|server| priority(server) == priority(first));
        let sum: usize = waiting.iter().take(equals).map(|server| usize::from(weight(server))).sum();
        let drawn = dice.below(sum + 1);
        let mut running = 0;
        let chosen = waiting.iter().take(equals).position(|server| {
            running += usize::from(weight(server));
            running >= drawn
        });
        ordered.push(waiting.remove(chosen.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each with its place.
    fn order(all: &[(u16, u16)], seed: u64) -> Vec<usize> {
        let servers: Vec<_> = all.iter().enumerate().collect();
        by_priority_and_weight(&servers, |(_, rank)| **rank, &mut Dice::new(seed)).iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_lower_priority_always_comes_first() {
        let all = [(20, 100), (10, 0), (30, 1), (10, 0)];
        for seed in 0..200 {
            let priorities: Vec<_> = order(&all, seed).into_iter().map(|at| all[at].0).collect();
            assert_eq!(priorities, [10, 10, 20, 30]);
        }
    }

    #[test]
    fn weights_share_the_load_and_a_weight_of_zero_gets_almost_nothing() {
        let all = [(10, 75), (10, 25), (10, 0)];
        let mut firsts = [0_u32; 3];
        for seed in 0..20_000 {
            let order = order(&all, seed);
            assert_eq!(order.len(), 3);
            firsts[order[0]] += 1;
        }
        assert!((14_500..15_300).contains(&firsts[0]), "{firsts:?}");
        assert!((4_600..5_300).contains(&firsts[1]), "{firsts:?}");
        assert!((1..500).contains(&firsts[2]), "{firsts:?}");
    }

    #[test]
    fn without_weights_everyone_has_a_turn_and_a_seed_keeps_its_order() {
        let first = |seed| order(&[(10, 1), (10, 1)], seed)[0];
        let firsts: Vec<_> = (0..100).map(first).collect();
        assert!((25..75).contains(&firsts.iter().filter(|at| **at == 0).count()), "{firsts:?}");
        assert_eq!(firsts, (0..100).map(first).collect::<Vec<_>>());
        assert!(order(&[], 1).is_empty());
    }
}
