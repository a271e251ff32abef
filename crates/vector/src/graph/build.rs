//! Building a graph, by as many threads as come to help.

use super::{Graph, NO_LINK, Scratch, Space};
use crate::section::Section;
use crate::{Error, Result};
use nodedb_env::{Random, SeededRandom};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

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

impl Parameters {
    /// Whether a graph can be built so.
    ///
    /// # Errors
    /// `Invalid` for a number out of range.
    pub fn check(&self) -> Result<()> {
        let fits = (2..=128).contains(&self.m) && (self.m..=256).contains(&self.m0) && self.ef_construction >= self.m;
        if fits && self.ef_construction <= 10_000 {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "m = {}, m0 = {}, ef_construction = {}: m must be 2 to 128, m0 from m to 256, ef_construction from m to 10000",
            self.m, self.m0, self.ef_construction
        )))
    }
}

/// Levels above this are of no use for any number of nodes.
const MAX_LEVEL: usize = 24;
/// How many nodes may be linked anew at the end, because no walk came to them.
const MOST_ROUNDS: usize = 8;

/// A graph that grows. All its methods may be called by many threads at once.
pub struct Builder<'s, S> {
    space: &'s S,
    parameters: Parameters,
    nodes: Vec<Node>,
    /// The node to start from, and its level.
    entry: Mutex<Option<(u32, usize)>>,
    /// In which order nodes come in.
    order: Vec<u32>,
    next: AtomicUsize,
    /// Nodes that have lost neighbours, and the neighbours of those.
    to_mend: Vec<(u32, Vec<u32>)>,
    mended: AtomicUsize,
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
        let levels = Levels::new(parameters);
        let nodes = (0..space.len()).map(|_| Node::new(levels.draw())).collect();
        let order = (0..space.len() as u32).collect();
        let (next, mended) = Default::default();
        Self { space, parameters, nodes, entry: Mutex::new(None), order, next, to_mend: Vec::new(), mended }
    }

    /// A graph that begins with the nodes of another one: `numbers` gives each its number in `space`, or `None` if it
    /// goes. What keeps its place keeps its links, those around what goes are mended, and all others come in as always.
    #[must_use]
    pub fn extend(space: &'s S, parameters: Parameters, base: &Graph, numbers: &[Option<u32>]) -> Self {
        let mut builder = Self::new(space, parameters);
        let mut old: Vec<Option<u32>> = vec![None; space.len()];
        for (node, number) in (0_u32..).zip(numbers) {
            if let Some(place) = number.and_then(|number| old.get_mut(number as usize)) {
                *place = Some(node);
            }
        }
        let number = |node: &u32| numbers.get(*node as usize).copied().flatten();
        let mut entry: Option<(u32, usize)> = None;
        for (new, old) in (0_u32..).zip(&old) {
            let Some(old) = *old else { continue };
            let (mut links, mut beyond) = (Vec::new(), BTreeSet::new());
            for level in 0..=base.levels.len() {
                let Some(own) = base.links_at(level, old) else { break };
                links.push(own.iter().filter_map(number).collect::<Vec<u32>>());
                let gone = own.iter().filter(|node| level == 0 && number(node).is_none());
                beyond.extend(gone.flat_map(|node| base.neighbours(*node)).filter_map(number));
            }
            if !beyond.is_empty() {
                builder.to_mend.push((new, beyond.into_iter().collect()));
            }
            let level = links.len().saturating_sub(1);
            if entry.is_none_or(|(_, top)| level > top) {
                entry = Some((new, level));
            }
            if let Some(node) = builder.nodes.get_mut(new as usize) {
                *node = Node { level, links: Mutex::new(links) };
            }
        }
        builder.order.retain(|node| old.get(*node as usize).is_none_or(Option::is_none));
        builder.entry = Mutex::new(entry);
        builder
    }

    /// Lets so many of the nodes that come in do so last; which ones.
    pub fn hold_back(&mut self, count: usize) -> Vec<u32> {
        let every = (self.order.len() / count.max(1)).max(1);
        let is_held = |at: usize| at.is_multiple_of(every) && at / every < count;
        let order = std::mem::take(&mut self.order).into_iter().enumerate();
        let (held, rest): (Vec<_>, Vec<_>) = order.partition(|(at, _)| is_held(*at));
        let held: Vec<u32> = held.into_iter().map(|(_, node)| node).collect();
        self.order = rest.into_iter().map(|(_, node)| node).chain(held.iter().copied()).collect();
        held
    }

    /// How many nodes come in.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Puts nodes in until so many are in. Returns when none is left to begin with; other threads may still be at theirs.
    pub fn work(&self, until: usize) {
        let (query, other) = (self.space.no_query(), self.space.no_query());
        let mut work = Work { scratch: Scratch::default(), query, other };
        while let Some((node, beyond)) = self.to_mend.get(self.mended.fetch_add(1, Ordering::Relaxed)) {
            self.mend(*node, beyond, &mut work);
        }
        // A number that is drawn is used, so none is drawn in vain.
        let draw = |next: usize| (next < until.min(self.order.len())).then_some(next + 1);
        while let Ok(turn) = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, draw) {
            if let Some(node) = self.order.get(turn) {
                self.insert(*node, &mut work);
            }
        }
    }

    /// Chooses the links of a node that has lost some anew, among those that are left and the neighbours of the lost.
    fn mend(&self, node: u32, beyond: &[u32], work: &mut Work<S>) {
        let Some(place) = self.nodes.get(node as usize) else { return };
        let mut all = place.links.lock();
        let Some(links) = all.first_mut() else { return };
        self.space.as_query(node, &mut work.query);
        let near: BTreeSet<u32> = links.iter().chain(beyond).copied().filter(|other| *other != node).collect();
        let measured = near.into_iter().map(|other| (self.space.distance(&work.query, other), other));
        *links = self.nearest_links(measured.collect(), 0, &mut work.other);
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
            work.scratch.walk(self.space, &work.query, best, self.nodes.len(), &links);
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
        *links = self.nearest_links(measured.chain([(distance, new)]).collect(), level, &mut work.other);
    }

    fn nearest_links(&self, mut candidates: Vec<(f32, u32)>, level: usize, query: &mut S::Query) -> Vec<u32> {
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.choose(&candidates, self.most_links(level), query).into_iter().map(|(_, node)| node).collect()
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

    /// The graph as it is now. Nodes that are not in yet have no links.
    ///
    /// # Errors
    /// `Io` if there is not enough memory.
    pub fn freeze(&self) -> Result<Graph> {
        let (m0, count) = (self.parameters.m0, self.nodes.len());
        let mut links = vec![NO_LINK; count * m0];
        let mut upper: Vec<UpperLevel> = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            for (level, own) in node.links.lock().iter().enumerate() {
                let Some(above) = level.checked_sub(1) else {
                    place(&mut links, number, m0, own);
                    continue;
                };
                if upper.len() <= above {
                    upper.resize_with(above + 1, UpperLevel::default);
                }
                if let Some(level) = upper.get_mut(above) {
                    level.starts.push(level.links.len() as u32);
                    level.nodes.push(number as u32);
                    level.links.extend(own);
                }
            }
        }
        let upper: Vec<u32> = upper.into_iter().flat_map(UpperLevel::into_words).collect();
        let entry = self.entry.lock().map_or(0, |(node, _)| node);
        let no_memory = |e| Error::Io("no memory for a graph".to_owned(), e);
        let links = Section::of(&links).map_err(no_memory)?;
        Graph::new(m0, entry, (links, Section::of(&upper).map_err(no_memory)?))
    }

    /// The finished graph, in which walks come to every node.
    ///
    /// # Errors
    /// As [`Builder::freeze`].
    pub fn finish(self) -> Result<Graph> {
        let mut scratch = Scratch::default();
        let mut query = self.space.no_query();
        for _ in 0..MOST_ROUNDS {
            let graph = self.freeze()?;
            let lost = graph.reach().lost;
            if lost.is_empty() {
                return Ok(graph);
            }
            for node in lost {
                self.space.as_query(node, &mut query);
                let found = graph.search(self.space, &query, self.parameters.ef_construction, &mut scratch);
                let near: Vec<u32> = found.iter().map(|(_, near)| near).filter(|near| *near != node).collect();
                self.lead_to(node, &near);
            }
        }
        self.freeze()
    }

    /// A link to a node that no walk comes to, from the nearest that has room for one; or else in place of one link of
    /// the nearest, to which the way then leads over the node.
    fn lead_to(&self, node: u32, near: &[u32]) {
        let with = |of: u32, change: &mut dyn FnMut(&mut Vec<u32>) -> bool| {
            let place = self.nodes.get(of as usize).map(|place| place.links.lock());
            place.is_some_and(|mut links| links.first_mut().is_some_and(change))
        };
        let add = |links: &mut Vec<u32>, to: u32| {
            let has_room = links.len() < self.parameters.m0 && !links.contains(&to);
            has_room.then(|| links.push(to)).is_some()
        };
        if near.iter().any(|from| with(*from, &mut |links| add(links, node))) {
            return;
        }
        let Some(from) = near.first() else { return };
        let mut replaced = None;
        with(*from, &mut |links| {
            replaced = links.pop();
            links.push(node);
            true
        });
        if let Some(replaced) = replaced {
            with(node, &mut |links| {
                links.truncate(self.parameters.m0.saturating_sub(1));
                add(links, replaced)
            });
        }
    }
}

impl Node {
    fn new(level: usize) -> Self {
        Self { level, links: Mutex::new(vec![Vec::new(); level + 1]) }
    }
}

/// Draws the levels of nodes: each is as high as the one before with a chance of 1 to m.
struct Levels {
    random: SeededRandom,
    scale: f64,
}

impl Levels {
    fn new(parameters: Parameters) -> Self {
        let scale = 1.0 / (parameters.m.max(2) as f64).ln();
        Self { random: SeededRandom::new(parameters.seed), scale }
    }

    fn draw(&self) -> usize {
        // Uniform over (0, 1]: the logarithm of 0 is none.
        let uniform = ((self.random.u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        ((-uniform.ln() * self.scale) as usize).min(MAX_LEVEL)
    }
}

/// A level above the lowest one.
#[derive(Default)]
struct UpperLevel {
    nodes: Vec<u32>,
    starts: Vec<u32>,
    links: Vec<u32>,
}

impl UpperLevel {
    /// As [`Graph`] keeps it.
    fn into_words(self) -> impl Iterator<Item = u32> {
        let (count, end) = (self.nodes.len() as u32, self.links.len() as u32);
        std::iter::once(count).chain(self.nodes).chain(self.starts).chain([end]).chain(self.links)
    }
}

fn place(links: &mut [u32], node: usize, m0: usize, own: &[u32]) {
    let own = own.get(..own.len().min(m0)).unwrap_or_default();
    if let Some(places) = links.get_mut(node * m0..node * m0 + own.len()) {
        places.copy_from_slice(own);
    }
}
