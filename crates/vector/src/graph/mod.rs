//! A hierarchical navigable small world: a graph in which greedy walks arrive.
//!
//! Malkov, Yashunin: Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
//! graphs (2016), arXiv:1603.09320. The graph knows nodes by number and asks a [`Space`] how far apart they are.
//!
//! ```text
//!  level 2        o-----------o            few nodes, long links: greedy, one candidate
//!  level 1     o--o-----o-----o--o
//!  level 0   o-o--o-o-o-o-o-o-o--o-o       all nodes, up to m0 links each: `ef` candidates
//! ```

mod build;
mod pool;
mod verify;
mod visited;
mod walk;

pub use build::{Builder, Parameters};
pub use pool::Pool;
pub use verify::Reach;
pub use visited::Visited;
pub use walk::{Scratch, Width};

use crate::section::Section;
use crate::{Error, Result};
use std::ops::Range;

/// Where nodes lie.
pub trait Space: Sync {
    /// What nodes are compared with.
    type Query;

    /// How many nodes there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far a node is from the query; less is nearer.
    fn distance(&self, query: &Self::Query, node: u32) -> f32;

    /// Makes a node the query.
    fn as_query(&self, node: u32, query: &mut Self::Query);

    /// An empty query, for [`Space::as_query`].
    fn no_query(&self) -> Self::Query;

    /// The node will be asked for soon.
    fn prefetch(&self, _node: u32) {}
}

/// A finished graph, in memory of its own or in a mapped file.
#[derive(Clone, Debug)]
pub struct Graph {
    m0: usize,
    /// `m0` places for each node; what is behind its last link is [`NO_LINK`].
    links: Section<u32>,
    /// From level 1 on: for each level how many nodes it has; the nodes, in order; where each one's links begin, and
    /// where the last one's end; the links.
    upper: Section<u32>,
    levels: Vec<Level>,
    entry: u32,
}

/// Where a level above the lowest lies in `upper`.
#[derive(Clone, Debug)]
struct Level {
    nodes: Range<usize>,
    starts: Range<usize>,
    links: Range<usize>,
}

impl Level {
    fn links<'u>(&self, upper: &'u [u32], node: u32) -> &'u [u32] {
        let part = |range: &Range<usize>| upper.get(range.clone()).unwrap_or_default();
        let Ok(at) = part(&self.nodes).binary_search(&node) else { return &[] };
        match part(&self.starts).get(at..at + 2) {
            Some([start, end]) => part(&self.links).get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl Graph {
    /// A graph from its parts.
    ///
    /// # Errors
    /// `Damaged` if they do not fit each other.
    pub(crate) fn new(m0: usize, entry: u32, (links, upper): (Section<u32>, Section<u32>)) -> Result<Self> {
        let count = links.len().checked_div(m0).unwrap_or(0);
        if links.len() != count * m0 || (count > 0 && entry as usize >= count) || count > Pool::MOST_NODES {
            return Err(Error::damaged("a graph whose parts do not fit each other"));
        }
        let levels = levels(&upper).ok_or_else(|| Error::damaged("a graph with impossible upper levels"))?;
        Ok(Self { m0, links, upper, levels, entry })
    }

    /// Links and upper levels, as they lie in memory.
    pub(crate) fn sections(&self) -> (&[u32], &[u32]) {
        (&self.links, &self.upper)
    }

    /// The node where walks begin.
    #[must_use]
    pub const fn entry(&self) -> u32 {
        self.entry
    }

    /// Most links of a node at the lowest level.
    #[must_use]
    pub const fn m0(&self) -> usize {
        self.m0
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len().checked_div(self.m0).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The neighbours of a node at the lowest level.
    #[must_use]
    pub fn neighbours(&self, node: u32) -> &[u32] {
        self.lowest().neighbours(node)
    }

    /// A node's links at a level, `None` if it does not rise so high.
    fn links_at(&self, level: usize, node: u32) -> Option<&[u32]> {
        let Some(above) = level.checked_sub(1) else { return Some(self.neighbours(node)) };
        let level = self.levels.get(above)?;
        let nodes = self.upper.get(level.nodes.clone())?;
        nodes.binary_search(&node).is_ok().then(|| level.links(&self.upper, node))
    }

    fn lowest(&self) -> Lowest<'_> {
        Lowest { m0: self.m0, links: &self.links }
    }

    /// The `ef` nearest nodes that a walk finds, nearest first.
    pub fn search<'s, S: Space>(&self, space: &S, query: &S::Query, ef: usize, scratch: &'s mut Scratch) -> &'s Pool {
        scratch.distances = 0;
        scratch.pool.clear(ef);
        if !self.is_empty() {
            let entry = self.descend(space, query, scratch);
            let lowest = self.lowest();
            scratch.walk(space, query, entry, self.len(), &lowest);
        }
        &scratch.pool
    }

    /// The nearest of the nodes that pass, as far as a walk among them finds them, nearest first. Where a neighbour
    /// does not pass, its own neighbours are looked at (Patel and others: ACORN, 2024, arXiv:2403.04871). `seeds` are
    /// nodes that pass, to start from beside those that the upper levels lead to.
    pub fn search_among<'s, S: Space>(
        &self,
        space: &S,
        query: &S::Query,
        width: Width,
        (passes, seeds): (&dyn Fn(u32) -> bool, &[u32]),
        scratch: &'s mut Scratch,
    ) -> &'s Pool {
        scratch.distances = 0;
        scratch.pool.clear(width.ef());
        if !self.is_empty() {
            let entry = self.descend(space, query, scratch);
            let lowest = self.lowest();
            scratch.walk_among(space, query, (entry, seeds, width), passes, &lowest);
        }
        &scratch.pool
    }

    /// Greedily down to the lowest level.
    fn descend<S: Space>(&self, space: &S, query: &S::Query, scratch: &mut Scratch) -> (f32, u32) {
        let mut best = (space.distance(query, self.entry), self.entry);
        scratch.distances += 1;
        let upper = &self.upper;
        for level in self.levels.iter().rev() {
            let links = |node, into: &mut Vec<u32>| into.extend_from_slice(level.links(upper, node));
            best = scratch.descend(space, query, best, links);
        }
        best
    }
}

/// What is no node.
const NO_LINK: u32 = u32::MAX;

/// Where a walk learns where to go from a node.
trait Links {
    /// Appends a node's neighbours.
    fn append(&self, node: u32, into: &mut Vec<u32>);

    /// The node's neighbours will be asked for soon.
    fn prefetch(&self, _node: u32) {}
}

impl<F: Fn(u32, &mut Vec<u32>)> Links for F {
    fn append(&self, node: u32, into: &mut Vec<u32>) {
        self(node, into);
    }
}

/// The lowest level, out of its sections.
#[derive(Clone, Copy)]
struct Lowest<'g> {
    m0: usize,
    links: &'g [u32],
}

impl<'g> Lowest<'g> {
    #[inline]
    fn neighbours(&self, node: u32) -> &'g [u32] {
        let start = node as usize * self.m0;
        let all = self.links.get(start..start + self.m0).unwrap_or_default();
        all.get(..all.iter().position(|link| *link == NO_LINK).unwrap_or(all.len())).unwrap_or_default()
    }
}

impl Links for Lowest<'_> {
    #[inline]
    fn append(&self, node: u32, into: &mut Vec<u32>) {
        into.extend_from_slice(self.neighbours(node));
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        let start = node as usize * self.m0;
        crate::kernels::prefetch(bytemuck::cast_slice(self.links.get(start..start + self.m0).unwrap_or_default()));
    }
}

/// Where the levels lie; `None` if they do not.
fn levels(upper: &[u32]) -> Option<Vec<Level>> {
    let (mut levels, mut at) = (Vec::new(), 0);
    while at < upper.len() {
        let count = *upper.get(at)? as usize;
        let nodes = at + 1..at + 1 + count;
        let starts = nodes.end..nodes.end + count + 1;
        let length = *upper.get(starts.end.checked_sub(1)?)? as usize;
        let links = starts.end..starts.end + length;
        upper.get(links.clone())?;
        at = links.end;
        levels.push(Level { nodes, starts, links });
    }
    Some(levels)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]
mod tests;
