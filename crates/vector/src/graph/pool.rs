//! The nearest nodes that a walk has met so far, in order, and which of them it has not been to.

/// At most so many nodes, the nearest first.
///
/// A sorted array beats two heaps as long as it is short: what a step of the walk has found is sorted by itself and then
/// merged in, from the back, so that each place is written once a step; and the walk goes on at the first node that it
/// has not been to.
#[derive(Debug, Default)]
pub struct Pool {
    nodes: Vec<Candidate>,
    fresh: Vec<Candidate>,
    capacity: usize,
    /// No node before this one is to be gone to.
    next: usize,
}

/// Distance, node, and whether the walk has been there, in one word that sorts like the distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

/// Set in the lower half of a candidate that the walk has been to. So there are half as many nodes as numbers.
const DONE: u64 = 1 << 31;

impl Candidate {
    #[inline]
    const fn new(distance: f32, node: u32) -> Self {
        let bits = distance.to_bits();
        // Negative numbers turned around, all others above them: whole numbers in the order of the distances.
        let sorted = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self((sorted as u64) << 32 | node as u64)
    }

    const fn distance(self) -> f32 {
        let sorted = (self.0 >> 32) as u32;
        f32::from_bits(if sorted >> 31 == 1 { sorted & !(1 << 31) } else { !sorted })
    }

    const fn node(self) -> u32 {
        (self.0 & (DONE - 1)) as u32
    }
}

impl Pool {
    /// Nodes have numbers below this.
    pub const MOST_NODES: usize = DONE as usize;

    /// Empty, with room for so many.
    pub fn clear(&mut self, capacity: usize) {
        self.nodes.clear();
        self.fresh.clear();
        self.nodes.reserve(capacity + 64);
        (self.capacity, self.next) = (capacity.max(1), 0);
    }

    /// For how many there is room.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a node in, unless as many are nearer as there is room for. It is there after [`Pool::merge`].
    #[inline]
    pub fn add(&mut self, distance: f32, node: u32) {
        let candidate = Candidate::new(distance, node);
        if self.nodes.len() >= self.capacity
            && self.nodes.last().is_some_and(|last| candidate.0 | DONE >= last.0 | DONE)
        {
            return;
        }
        self.fresh.push(candidate);
    }

    /// Puts what was added in its place.
    pub fn merge(&mut self) {
        self.fresh.sort_unstable();
        let keep = (self.nodes.len() + self.fresh.len()).min(self.capacity);
        let Some(first) = self.fresh.first() else { return };
        self.next = self.next.min(self.nodes.partition_point(|other| other < first));
        // From the back: what is farther than a fresh one moves to its last place at once, and the fresh one before it.
        let (mut old, mut to) = (self.nodes.len(), self.nodes.len() + self.fresh.len());
        self.nodes.resize(to, Candidate(u64::MAX));
        while let Some(fresh) = self.fresh.pop() {
            let at = self.nodes.get(..old).unwrap_or_default().partition_point(|other| *other < fresh);
            to -= old - at + 1;
            self.nodes.copy_within(at..old, to + 1);
            old = at;
            if let Some(place) = self.nodes.get_mut(to) {
                *place = fresh;
            }
        }
        self.nodes.truncate(keep);
    }

    /// The nearest node that the walk has not been to; now it has.
    #[inline]
    pub fn take_next(&mut self) -> Option<u32> {
        while let Some(candidate) = self.nodes.get_mut(self.next) {
            self.next += 1;
            if candidate.0 & DONE == 0 {
                candidate.0 |= DONE;
                return Some(candidate.node());
            }
        }
        None
    }

    /// The node that [`Pool::take_next`] would give.
    #[inline]
    #[must_use]
    pub fn peek_next(&self) -> Option<u32> {
        let rest = self.nodes.get(self.next..).unwrap_or_default();
        rest.iter().find(|candidate| candidate.0 & DONE == 0).map(|candidate| candidate.node())
    }

    /// Distances and nodes, the nearest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (f32, u32)> + '_ {
        self.nodes.iter().map(|candidate| (candidate.distance(), candidate.node()))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_stay_and_each_is_gone_to_once() {
        let mut pool = Pool::default();
        pool.clear(3);
        for (distance, node) in [(5.0, 5), (3.0, 3), (4.0, 4)] {
            pool.add(distance, node);
        }
        pool.merge();
        assert_eq!((pool.peek_next(), pool.take_next()), (Some(3), Some(3)));
        pool.add(1.0, 1);
        pool.add(9.0, 9);
        pool.merge();
        assert_eq!(pool.iter().map(|(_, node)| node).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!((pool.take_next(), pool.take_next(), pool.take_next()), (Some(1), Some(4), None));
        pool.add(-2.0, 2);
        pool.merge();
        assert_eq!((pool.take_next(), pool.take_next()), (Some(2), None));
        assert_eq!(pool.iter().next(), Some((-2.0, 2)));
    }

    proptest! {
        /// As sorting everything and keeping the first would.
        #[test]
        fn steps_keep_the_nearest(steps in prop::collection::vec(prop::collection::vec(-9.0_f32..9.0, 0..12), 0..12), capacity in 1_usize..20) {
            let mut pool = Pool::default();
            pool.clear(capacity);
            let mut all: Vec<(f32, u32)> = Vec::new();
            for step in steps {
                for distance in step {
                    let node = all.len() as u32;
                    pool.add(distance, node);
                    all.push((distance, node));
                }
                pool.merge();
                let mut wanted = all.clone();
                wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
                wanted.truncate(capacity);
                let found: Vec<f32> = pool.iter().map(|(distance, _)| distance).collect();
                prop_assert_eq!(found, wanted.iter().map(|(distance, _)| *distance).collect::<Vec<_>>());
                // Each node that is taken is the nearest that was not.
                if let Some(node) = pool.take_next() {
                    prop_assert!(pool.peek_next().is_none_or(|next| all[next as usize].0 >= all[node as usize].0));
                }
            }
        }
    }
}
