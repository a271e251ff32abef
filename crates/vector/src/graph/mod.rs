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
mod visited;

pub use build::{Builder, Parameters};
pub use pool::Pool;
pub use visited::Visited;

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

/// A finished graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    m0: usize,
    /// `m0` places for each node, of which `degrees` says how many are used.
    links: Vec<u32>,
    degrees: Vec<u16>,
    /// From level 1 on: the nodes of a level, in order, and their links.
    upper: Vec<Level>,
    entry: u32,
}

/// A level above the lowest one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Level {
    nodes: Vec<u32>,
    /// Where each node's links begin; one more than there are nodes.
    starts: Vec<u32>,
    links: Vec<u32>,
}

impl Level {
    fn links(&self, node: u32) -> &[u32] {
        let Ok(at) = self.nodes.binary_search(&node) else { return &[] };
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => self.links.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// What a search needs, kept from one to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    visited: Visited,
    pool: Pool,
    fresh: Vec<u32>,
    /// How many distances the last search has computed.
    pub distances: u64,
}

impl Graph {
    /// How many nodes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.degrees.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.degrees.is_empty()
    }

    /// The neighbours of a node at the lowest level.
    #[must_use]
    pub fn neighbours(&self, node: u32) -> &[u32] {
        let degree = usize::from(self.degrees.get(node as usize).copied().unwrap_or(0));
        let start = node as usize * self.m0;
        self.links.get(start..start + degree).unwrap_or_default()
    }

    /// The `ef` nearest nodes that a walk finds, nearest first.
    pub fn search<'s, S: Space>(&self, space: &S, query: &S::Query, ef: usize, scratch: &'s mut Scratch) -> &'s Pool {
        scratch.distances = 0;
        scratch.pool.clear(ef);
        if !self.is_empty() {
            let entry = self.descend(space, query, scratch);
            let links = |node, into: &mut Vec<u32>| into.extend_from_slice(self.neighbours(node));
            scratch.walk(space, query, entry, self.len(), links);
        }
        &scratch.pool
    }

    /// Greedily down to the lowest level.
    fn descend<S: Space>(&self, space: &S, query: &S::Query, scratch: &mut Scratch) -> (f32, u32) {
        let mut best = (space.distance(query, self.entry), self.entry);
        scratch.distances += 1;
        for level in self.upper.iter().rev() {
            let links = |node, into: &mut Vec<u32>| into.extend_from_slice(level.links(node));
            best = scratch.descend(space, query, best, links);
        }
        best
    }
}

impl Scratch {
    /// To the node of a level from which none of its neighbours is nearer. `links` appends a node's neighbours.
    fn descend<S: Space>(
        &mut self,
        space: &S,
        query: &S::Query,
        mut best: (f32, u32),
        links: impl Fn(u32, &mut Vec<u32>),
    ) -> (f32, u32) {
        loop {
            self.fresh.clear();
            links(best.1, &mut self.fresh);
            self.distances += self.fresh.len() as u64;
            self.fresh.iter().for_each(|node| space.prefetch(*node));
            let near = self.fresh.iter().map(|node| (space.distance(query, *node), *node));
            match near.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some(next) if next.0 < best.0 => best = next,
                _ => return best,
            }
        }
    }

    /// Fills the pool, from `entry` on, with the nearest of the `nodes` that links lead to.
    fn walk<S: Space>(
        &mut self,
        space: &S,
        query: &S::Query,
        entry: (f32, u32),
        nodes: usize,
        links: impl Fn(u32, &mut Vec<u32>),
    ) {
        let Self { visited, pool, fresh, distances } = self;
        visited.start(nodes);
        visited.visit(entry.1);
        pool.add(entry.0, entry.1);
        while let Some(node) = pool.take_next() {
            fresh.clear();
            links(node, fresh);
            fresh.retain(|next| visited.visit(*next));
            fresh.iter().take(AHEAD).for_each(|next| space.prefetch(*next));
            for (i, next) in fresh.iter().enumerate() {
                if let Some(later) = fresh.get(i + AHEAD) {
                    space.prefetch(*later);
                }
                pool.add(space.distance(query, *next), *next);
            }
            *distances += fresh.len() as u64;
        }
    }
}

/// How many nodes ahead of the one that is looked at are asked for.
const AHEAD: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]
mod tests;
