//! Whether every node can be reached.

use super::Graph;

/// What [`Graph::reach`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Nodes that no walk from the entry can come to.
    pub lost: Vec<u32>,
    /// Links to nodes that are not there.
    pub dangling: usize,
}

impl Graph {
    /// Follows all links of the lowest level, from the entry and from where the upper levels lead.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let lowest = self.lowest();
        let neighbours = |node| lowest.neighbours(node).iter().copied();
        let (seen, dangling) = flood(self.len(), self.entry, neighbours);
        let lost = seen.iter().zip(0_u32..).filter(|(seen, _)| !**seen).map(|(_, node)| node).collect();
        Reach { lost, dangling }
    }
}

/// Which nodes can be reached from `entry`, and how many links lead nowhere.
pub(super) fn flood<I: Iterator<Item = u32>>(
    nodes: usize,
    entry: u32,
    neighbours: impl Fn(u32) -> I,
) -> (Vec<bool>, usize) {
    let (mut seen, mut dangling, mut open) = (vec![false; nodes], 0, vec![entry]);
    if let Some(seen) = seen.get_mut(entry as usize) {
        *seen = true;
    }
    while let Some(node) = open.pop() {
        for next in neighbours(node) {
            match seen.get_mut(next as usize) {
                Some(seen) if !*seen => {
                    *seen = true;
                    open.push(next);
                }
                Some(_) => {}
                None => dangling += 1,
            }
        }
    }
    (seen, dangling)
}
