//! What a collection should hold: a plain map with all versions, searched by looking at everything.

use nodedb_vector::{Element, Found, Metric, Shape};
use std::collections::{BTreeMap, BTreeSet};

pub const DIMENSION: usize = 4;
pub const SHAPE: Shape = Shape { metric: Metric::L2, element: Element::F32, dimension: DIMENSION };
pub type Vector = [f32; DIMENSION];

/// A change of one id: a vector, or none if it goes.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub version: u64,
    pub id: u64,
    pub vector: Option<Vector>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub log: Vec<Change>,
    by_id: BTreeMap<u64, Vec<Change>>,
}

impl Model {
    pub fn apply(&mut self, change: Change) {
        self.log.push(change);
        self.by_id.entry(change.id).or_default().push(change);
    }

    /// What is seen at a version.
    pub fn at(&self, at: u64) -> impl Iterator<Item = (u64, u64, Vector)> + '_ {
        self.by_id.iter().filter_map(move |(id, changes)| {
            let last = changes.iter().rfind(|change| change.version <= at)?;
            Some((*id, last.version, last.vector?))
        })
    }

    pub fn keys(&self, at: u64) -> Vec<(u64, u64)> {
        self.at(at).map(|(id, version, _)| (id, version)).collect()
    }

    /// The nearest, as ids and versions.
    pub fn nearest(&self, query: &Vector, k: usize, at: u64) -> Vec<(u64, u64)> {
        let distance = |v: &Vector| v.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let mut all: Vec<_> = self.at(at).map(|(id, version, v)| (distance(&v), id, version)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.truncate(k);
        all.into_iter().map(|(_, id, version)| (id, version)).collect()
    }
}

pub fn keys(found: &Found) -> Vec<(u64, u64)> {
    found.hits.iter().map(|hit| (hit.id, hit.version)).collect()
}

/// How many of the wanted were found.
pub fn hits(found: &Found, wanted: &[(u64, u64)]) -> usize {
    let wanted: BTreeSet<_> = wanted.iter().collect();
    keys(found).iter().filter(|key| wanted.contains(key)).count()
}
