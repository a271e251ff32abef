//! The nearest nodes that a walk has met so far, in order, and which of them it has not been to.

/// At most so many nodes, the nearest first.
///
/// A sorted array beats two heaps as long as it is short: what is new and near enough is put in its place, and the walk
/// goes on at the first node that it has not been to.
#[derive(Debug, Default)]
pub struct Pool {
    nodes: Vec<Candidate>,
    capacity: usize,
    /// No node before this one is to be gone to.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    distance: f32,
    node: u32,
    is_done: bool,
}

impl Pool {
    /// Empty, with room for so many.
    pub fn clear(&mut self, capacity: usize) {
        self.nodes.clear();
        self.nodes.reserve(capacity + 1);
        (self.capacity, self.next) = (capacity.max(1), 0);
    }

    /// Takes a node in, unless as many are nearer as there is room for.
    #[inline]
    pub fn add(&mut self, distance: f32, node: u32) {
        if self.nodes.len() >= self.capacity {
            match self.nodes.last() {
                Some(last) if distance < last.distance => self.nodes.pop(),
                _ => return,
            };
        }
        let at = self.nodes.partition_point(|other| other.distance <= distance);
        self.nodes.insert(at, Candidate { distance, node, is_done: false });
        self.next = self.next.min(at);
    }

    /// The nearest node that the walk has not been to; now it has.
    pub fn take_next(&mut self) -> Option<u32> {
        while let Some(candidate) = self.nodes.get_mut(self.next) {
            self.next += 1;
            if !candidate.is_done {
                candidate.is_done = true;
                return Some(candidate.node);
            }
        }
        None
    }

    /// Distances and nodes, the nearest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (f32, u32)> + '_ {
        self.nodes.iter().map(|candidate| (candidate.distance, candidate.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_stay_and_each_is_gone_to_once() {
        let mut pool = Pool::default();
        pool.clear(3);
        for (distance, node) in [(5.0, 5), (3.0, 3), (4.0, 4)] {
            pool.add(distance, node);
        }
        assert_eq!(pool.take_next(), Some(3));
        pool.add(1.0, 1);
        pool.add(9.0, 9);
        assert_eq!(pool.iter().map(|(_, node)| node).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!((pool.take_next(), pool.take_next(), pool.take_next()), (Some(1), Some(4), None));
        pool.add(2.0, 2);
        assert_eq!((pool.take_next(), pool.take_next()), (Some(2), None));
    }
}
