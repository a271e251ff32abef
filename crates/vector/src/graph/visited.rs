//! Which nodes a walk has met. A bit for each, so that they stay in the nearest cache; starting anew clears those that
//! were set.

/// A set of nodes.
#[derive(Debug, Default)]
pub struct Visited {
    bits: Vec<u64>,
    met: Vec<u32>,
    nodes: usize,
}

impl Visited {
    /// Forgets all, and has room for so many nodes.
    pub fn start(&mut self, nodes: usize) {
        for node in self.met.drain(..) {
            if let Some(word) = self.bits.get_mut(node as usize / 64) {
                *word = 0;
            }
        }
        self.nodes = nodes;
        if self.bits.len() < nodes.div_ceil(64) {
            self.bits.resize(nodes.div_ceil(64), 0);
        }
    }

    /// Whether a node was met.
    #[inline]
    #[must_use]
    pub fn has(&self, node: u32) -> bool {
        self.bits.get(node as usize / 64).is_some_and(|word| word >> (node % 64) & 1 == 1)
    }

    /// Meets a node; whether for the first time. Nodes that are not there are never met.
    #[inline]
    pub fn visit(&mut self, node: u32) -> bool {
        let bit = 1 << (node % 64);
        match self.bits.get_mut(node as usize / 64) {
            Some(word) if *word & bit == 0 && (node as usize) < self.nodes => {
                *word |= bit;
                self.met.push(node);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_forgets() {
        let mut visited = Visited::default();
        for nodes in [3, 1000, 3, 70] {
            visited.start(nodes);
            assert!(visited.visit(2) && !visited.visit(2) && visited.visit(0));
            assert!(!visited.visit(nodes as u32), "a node that is not there");
            assert!(visited.visit(nodes as u32 - 1) == (nodes > 3));
        }
    }
}
