//! Building a graph, by as many threads as come to help.

use super::{Graph, Level, Scratch, Space};
use nodedb_env::{Random, SeededRandom};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Links of a node at the upper levels, and how many it chooses when it comes in. 2 to 128.
    pub m: usize,
    /// Most links of a node at the lowest level.
    pub m0: usize,
    /// How many candidates a node chooses its links among.
    pub ef_construction: usize,
    /// From which the levels of the nodes follow.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { m: 16, m0: 32, ef_construction: 200, seed: 1 }
    }
}

/// Levels above this are of no use for any number of nodes.
const MAX_LEVEL: usize = 24;

/// A graph that grows. All its methods may be called by many threads at once.
pub struct Builder<'s, S> {
    space: &'s S,
    parameters: Parameters,
    nodes: Vec<Node>,
    /// The node to start from, and its level.
    entry: Mutex<Option<(u32, usize)>>,
    next: AtomicU32,
}

struct Node {
    level: usize,
    /// By level.
    links: Mutex<Vec<Vec<u32>>>,
}

/// What one thread needs.
struct Work<S: Space> {
    scratch: Scratch,
    query: S::Query,
    other: S::Query,
}

impl<'s, S: Space> Builder<'s, S> {
    /// A graph of all nodes of `space`, none of which is in yet.
    #[must_use]
    pub fn new(space: &'s S, parameters: Parameters) -> Self {
        let random = SeededRandom::new(parameters.seed);
        let scale = 1.0 / (parameters.m.max(2) as f64).ln();
        let node = |_| {
            // Uniform over (0, 1]: the logarithm of 0 is none.
            let uniform = ((random.u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            let level = ((-uniform.ln() * scale) as usize).min(MAX_LEVEL);
            Node { level, links: Mutex::new(vec![Vec::new(); level + 1]) }
        };
        let nodes = (0..space.len()).map(node).collect();
        Self { space, parameters, nodes, entry: Mutex::new(None), next: AtomicU32::new(0) }
    }

    /// Puts nodes in until none is left.
    pub fn work(&self) {
        let (query, other) = (self.space.no_query(), self.space.no_query());
        let mut work = Work { scratch: Scratch::default(), query, other };
        loop {
            let node = self.next.fetch_add(1, Ordering::Relaxed);
            if node as usize >= self.nodes.len() {
                return;
            }
            self.insert(node, &mut work);
        }
    }

    fn insert(&self, node: u32, work: &mut Work<S>) {
        let Some(level) = self.nodes.get(node as usize).map(|node| node.level) else { return };
        self.space.as_query(node, &mut work.query);
        // Whoever opens a new level keeps the entry until it is linked.
        let mut entry = self.entry.lock();
        let Some((start, top)) = *entry else {
            *entry = Some((node, level));
            return;
        };
        let opens_level = level > top;
        if !opens_level {
            drop(entry);
            self.link(node, level, (start, top), work);
            return;
        }
        self.link(node, level, (start, top), work);
        *entry = Some((node, level));
    }

    fn link(&self, node: u32, level: usize, (start, top): (u32, usize), work: &mut Work<S>) {
        let mut best = (self.space.distance(&work.query, start), start);
        for above in (level + 1..=top).rev() {
            let links = |node, into: &mut Vec<u32>| self.append_links(node, above, into);
            best = work.scratch.descend(self.space, &work.query, best, links);
        }
        for at in (0..=level.min(top)).rev() {
            let links = |node, into: &mut Vec<u32>| self.append_links(node, at, into);
            work.scratch.pool.clear(self.parameters.ef_construction);
            work.scratch.walk(self.space, &work.query, best, self.nodes.len(), links);
            let found: Vec<(f32, u32)> = work.scratch.pool.iter().filter(|(_, other)| *other != node).collect();
            best = found.first().copied().unwrap_or(best);
            let chosen = self.choose(&found, self.parameters.m, &mut work.other);
            self.add_links(node, at, &chosen);
            for (distance, other) in chosen {
                self.link_back(other, node, distance, at, work);
            }
        }
    }

    /// Links from a node that comes in, beside those that others have made to it meanwhile.
    fn add_links(&self, node: u32, level: usize, chosen: &[(f32, u32)]) {
        let Some(node) = self.nodes.get(node as usize) else { return };
        let mut all = node.links.lock();
        let Some(links) = all.get_mut(level) else { return };
        for (_, other) in chosen {
            if links.len() < self.most_links(level) && !links.contains(other) {
                links.push(*other);
            }
        }
    }

    const fn most_links(&self, level: usize) -> usize {
        if level == 0 { self.parameters.m0 } else { self.parameters.m }
    }

    /// A link from `node` to `new`; where there are too many, the best are chosen.
    fn link_back(&self, node: u32, new: u32, distance: f32, level: usize, work: &mut Work<S>) {
        let Some(place) = self.nodes.get(node as usize) else { return };
        let mut all = place.links.lock();
        let Some(links) = all.get_mut(level) else { return };
        if links.contains(&new) {
            return;
        }
        if links.len() < self.most_links(level) {
            links.push(new);
            return;
        }
        self.space.as_query(node, &mut work.other);
        let measured = links.iter().map(|link| (self.space.distance(&work.other, *link), *link));
        let mut candidates: Vec<(f32, u32)> = measured.chain([(distance, new)]).collect();
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        *links = self
            .choose(&candidates, self.most_links(level), &mut work.other)
            .into_iter()
            .map(|(_, node)| node)
            .collect();
    }

    /// The neighbours that lead into different directions: one is taken if it is nearer to the node than to all that
    /// were taken before it (algorithm 4 of the paper). `candidates` come nearest first.
    fn choose(&self, candidates: &[(f32, u32)], most: usize, query: &mut S::Query) -> Vec<(f32, u32)> {
        if candidates.len() <= most.min(2) {
            return candidates.to_vec();
        }
        let mut chosen: Vec<(f32, u32)> = Vec::with_capacity(most);
        for (distance, node) in candidates {
            if chosen.len() >= most {
                break;
            }
            self.space.as_query(*node, query);
            if chosen.iter().all(|(_, other)| self.space.distance(query, *other) >= *distance) {
                chosen.push((*distance, *node));
            }
        }
        chosen
    }

    fn append_links(&self, node: u32, level: usize, into: &mut Vec<u32>) {
        if let Some(node) = self.nodes.get(node as usize)
            && let Some(links) = node.links.lock().get(level)
        {
            into.extend_from_slice(links);
        }
    }

    /// The graph as it is now.
    #[must_use]
    pub fn finish(self) -> Graph {
        let (m0, count) = (self.parameters.m0, self.nodes.len());
        let (mut links, mut degrees) = (vec![0; count * m0], vec![0; count]);
        let mut upper: Vec<Level> = Vec::new();
        for (number, node) in self.nodes.into_iter().enumerate() {
            for (level, own) in node.links.into_inner().into_iter().enumerate() {
                let Some(above) = level.checked_sub(1) else {
                    place(&mut links, &mut degrees, number, m0, &own);
                    continue;
                };
                if upper.len() <= above {
                    upper.resize_with(above + 1, Level::default);
                }
                if let Some(level) = upper.get_mut(above) {
                    level.starts.push(level.links.len() as u32);
                    level.nodes.push(number as u32);
                    level.links.extend(own);
                }
            }
        }
        upper.iter_mut().for_each(|level| level.starts.push(level.links.len() as u32));
        let entry = self.entry.into_inner().map_or(0, |(node, _)| node);
        Graph { m0, links, degrees, upper, entry }
    }
}

fn place(links: &mut [u32], degrees: &mut [u16], node: usize, m0: usize, own: &[u32]) {
    let own = own.get(..own.len().min(m0)).unwrap_or_default();
    if let (Some(places), Some(degree)) = (links.get_mut(node * m0..node * m0 + own.len()), degrees.get_mut(node)) {
        places.copy_from_slice(own);
        *degree = own.len() as u16;
    }
}
