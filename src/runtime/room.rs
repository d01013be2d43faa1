//! Memory of a burst that is over, given back.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Room that is kept however little is needed.
pub(crate) const KEPT: usize = 1024;

/// Leaves a table room for twice of what it has, once there is room for eight times as much. Called often, it costs nothing: what it
/// moves is an eighth of what was taken out.
pub(crate) fn shrink<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > 2 * KEPT && table.capacity() / 8 > table.len() {
        table.shrink_to((table.len() * 2).max(KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_back_what_it_needs_no_more_and_keeps_what_it_has() {
        let mut table: HashMap<u32, u32> = (0..100_000).map(|at| (at, at)).collect();
        let full = table.capacity();
        shrink(&mut table);
        assert_eq!(table.capacity(), full);
        table.retain(|at, _| *at < 5_000);
        shrink(&mut table);
        assert!(table.capacity() < full / 2 && table.len() == 5_000, "{}", table.capacity());
        table.clear();
        shrink(&mut table);
        assert!((KEPT..=4 * KEPT).contains(&table.capacity()), "{}", table.capacity());
    }
}
