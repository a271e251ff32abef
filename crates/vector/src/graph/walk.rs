//! Walks: from node to node towards a query.

use super::{Links, Lowest, Pool, Space, Visited};

/// How many nodes ahead of the one that is looked at are asked for.
const AHEAD: usize = 8;
/// To how many nodes a walk looks for each that it keeps, where all pass.
const LOOKED_AT: usize = 32;
/// Where fewer than this share pass, a walk among nodes that pass is a gamble.
const FEWEST_AROUND: f32 = 0.1;
/// How many nodes of a scan go into the pool at once.
const SCANNED: usize = 128;

/// How many candidates a walk among nodes that pass a filter keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Width {
    ef: usize,
    /// Where fewer of the nodes around the query pass than this share,
    fewest: f32,
    /// so many are kept: what passes lies far away then, where much is about equally near.
    against: usize,
    /// Where fewer pass than this share, the walk gives up.
    least: f32,
}

impl Width {
    /// Always the same.
    #[must_use]
    pub const fn of(ef: usize) -> Self {
        Self { ef, fewest: 0.0, against: ef, least: 0.0 }
    }

    /// For nodes of which such a share passes. A filter makes a graph a little harder to search than it is without.
    #[must_use]
    pub fn among(ef: usize, share: f32, is_filtered: bool) -> Self {
        if is_filtered { Self { fewest: share / 4.0, against: 4 * ef, ..Self::of(ef + ef / 4) } } else { Self::of(ef) }
    }

    /// Where only so many nodes pass: the walk finds nothing unless so many of those around the query pass that it is
    /// quicker than looking at all.
    #[must_use]
    pub fn nearby(ef: usize, passing: usize) -> Self {
        let quicker = LOOKED_AT as f32 * ef as f32 / passing.max(1) as f32;
        Self { least: quicker.max(FEWEST_AROUND), ..Self::of(ef) }
    }

    pub(crate) const fn ef(&self) -> usize {
        self.ef
    }

    fn around(&self, share: f32) -> usize {
        if share < self.fewest { self.against } else { self.ef }
    }
}

/// What a search needs, kept from one to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    visited: Visited,
    /// Of those that were met, the ones that do not pass a filter, and the ones of these that were looked behind.
    failed: Visited,
    expanded: Visited,
    pub(super) pool: Pool,
    /// Nodes that were met and are to be measured.
    fresh: Vec<u32>,
    /// Those that memory was asked for a step ago.
    asked: Vec<u32>,
    neighbours: Vec<u32>,
    /// How many distances the last search has computed.
    pub distances: u64,
}

impl Scratch {
    /// What the last search has found, nearest first.
    #[must_use]
    pub const fn found(&self) -> &Pool {
        &self.pool
    }

    /// To the node of a level from which none of its neighbours is nearer. `links` appends a node's neighbours.
    pub(super) fn descend<S: Space>(
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

    /// Fills the pool with the nearest of some nodes.
    pub fn scan<S: Space>(&mut self, space: &S, query: &S::Query, of: &[u32], keep: usize) {
        self.pool.clear(keep);
        self.distances = 0;
        for some in of.chunks(SCANNED) {
            self.fresh.clear();
            self.fresh.extend_from_slice(some);
            self.look_at_fresh(space, query);
        }
    }

    /// Fills the pool with the nearest of all nodes that pass.
    pub fn scan_all<S: Space>(&mut self, space: &S, query: &S::Query, keep: usize, passes: &dyn Fn(u32) -> bool) {
        self.pool.clear(keep);
        self.distances = 0;
        for node in (0..space.len() as u32).filter(|node| passes(*node)) {
            self.pool.add(space.distance(query, node), node);
            self.distances += 1;
            self.pool.merge();
        }
    }

    /// Fills the pool, from `entry` on, with the nearest of the `nodes` that links lead to.
    pub(super) fn walk<S: Space>(
        &mut self,
        space: &S,
        query: &S::Query,
        entry: (f32, u32),
        nodes: usize,
        links: &impl Links,
    ) {
        self.visited.start(nodes);
        self.visited.visit(entry.1);
        self.pool.add(entry.0, entry.1);
        self.pool.merge();
        self.fresh.clear();
        self.asked.clear();
        while self.gather(links) | self.step(space, query) {}
    }

    /// Asks for the fresh nodes, and measures those that the step before has asked for: so the walk knows of what it
    /// meets a step late, and memory has had time to bring it. Whether anything was under way.
    fn step<S: Space>(&mut self, space: &S, query: &S::Query) -> bool {
        let Self { pool, fresh, asked, distances, .. } = self;
        // One is asked for with each that is measured, so that neither has to wait for the other.
        for at in 0..fresh.len().max(asked.len()) {
            if let Some(next) = fresh.get(at) {
                space.prefetch(*next);
            }
            if let Some(next) = asked.get(at) {
                pool.add(space.distance(query, *next), *next);
            }
        }
        pool.merge();
        *distances += asked.len() as u64;
        let any = !fresh.is_empty() || !asked.is_empty();
        asked.clear();
        std::mem::swap(fresh, asked);
        any
    }

    /// Goes to the next node and gathers the neighbours that are new. Whether there was a node to go to.
    fn gather(&mut self, links: &impl Links) -> bool {
        let Some(node) = self.pool.take_next() else { return false };
        let Self { visited, fresh, neighbours, .. } = self;
        neighbours.clear();
        links.append(node, neighbours);
        // Unless something nearer is found now, that is where the walk goes next.
        if let Some(next) = self.pool.peek_next() {
            links.prefetch(next);
        }
        fresh.extend(neighbours.iter().copied().filter(|next| visited.visit(*next)));
        true
    }

    /// Measures the fresh nodes and takes the near ones in.
    fn look_at_fresh<S: Space>(&mut self, space: &S, query: &S::Query) {
        let Self { pool, fresh, distances, .. } = self;
        fresh.iter().take(AHEAD).for_each(|next| space.prefetch(*next));
        for (i, next) in fresh.iter().enumerate() {
            if let Some(later) = fresh.get(i + AHEAD) {
                space.prefetch(*later);
            }
            pool.add(space.distance(query, *next), *next);
        }
        pool.merge();
        *distances += fresh.len() as u64;
    }

    /// Fills the pool with the nearest of the nodes that pass.
    pub(super) fn walk_among<S: Space>(
        &mut self,
        space: &S,
        query: &S::Query,
        (entry, seeds, width): ((f32, u32), &[u32], Width),
        passes: &dyn Fn(u32) -> bool,
        lowest: &Lowest<'_>,
    ) {
        let around = lowest.neighbours(entry.1);
        let pass = around.iter().filter(|node| passes(**node)).count();
        let share = pass as f32 / around.len().max(1) as f32;
        self.pool.clear(width.around(share));
        if share < width.least {
            return;
        }
        for set in [&mut self.visited, &mut self.failed, &mut self.expanded] {
            set.start(space.len());
        }
        self.fresh.clear();
        self.fresh.extend(seeds.iter().copied().filter(|seed| self.visited.visit(*seed)));
        if self.visited.visit(entry.1) && passes(entry.1) {
            self.fresh.push(entry.1);
        }
        self.gather_behind(entry.1, passes, lowest);
        self.look_at_fresh(space, query);
        self.fresh.clear();
        self.asked.clear();
        while self.gather_among(passes, lowest) | self.step(space, query) {}
    }

    /// Goes to the next node and gathers what passes around it. Whether there was a node to go to.
    fn gather_among(&mut self, passes: &dyn Fn(u32) -> bool, lowest: &Lowest<'_>) -> bool {
        let Some(node) = self.pool.take_next() else { return false };
        self.gather_behind(node, passes, lowest);
        true
    }

    /// The neighbours that pass and are new; in place of one that does not pass, its own neighbours, until there are as
    /// many as a node has links. A node is asked once in a walk whether it passes, and expanded once.
    fn gather_behind(&mut self, node: u32, passes: &dyn Fn(u32) -> bool, lowest: &Lowest<'_>) {
        let Self { visited, failed, expanded, fresh, .. } = self;
        let most = fresh.len() + lowest.m0;
        let mut meet = |node: u32, fresh: &mut Vec<u32>| {
            if visited.visit(node) {
                if passes(node) {
                    fresh.push(node);
                } else {
                    failed.visit(node);
                }
            }
            failed.has(node)
        };
        for next in lowest.neighbours(node) {
            if meet(*next, fresh) && fresh.len() < most && expanded.visit(*next) {
                for beyond in lowest.neighbours(*next) {
                    meet(*beyond, fresh);
                }
            }
        }
    }
}
