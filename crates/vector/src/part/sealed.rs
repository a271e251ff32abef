//! A part that never changes: a mapped file.

use super::container::{self, Container, Kind, Tag};
use super::ended::Ended;
use super::form::{Form, GraphForm};
use super::{Entries, Key};
use crate::bytes::{Reader, Writer};
use crate::graph::Space;
use crate::matrix::Matrix;
use crate::section::Section;
use crate::shape::{Element, Query, Row, Shape};
use crate::{Error, Metric, Result};
use nodedb_env::Files;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Where a part lies while it is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// In its mapped file.
    Mapped,
    /// What every search reads at random is in memory, the vectors are in the file.
    Codes,
    /// All of it is in memory.
    Memory,
}

/// An open part.
#[derive(Debug)]
pub struct Sealed {
    /// Names its file.
    pub number: u64,
    /// The newest version in it.
    pub newest: u64,
    container: Container,
    ids: Section<u64>,
    versions: Section<u64>,
    /// Rows by id and version.
    order: Section<u32>,
    loaded: RwLock<Arc<Loaded>>,
    is_hot_right: AtomicBool,
    /// Once the order is verified: whether the rows lie in it.
    is_in_order: OnceLock<bool>,
    /// A job has found it damaged.
    pub is_damaged: AtomicBool,
    /// Which of its entries something newer has come after.
    pub ended: Ended,
}

/// What of a part may be copied into memory.
#[derive(Debug)]
pub struct Loaded {
    /// The vectors.
    pub rows: Matrix,
    /// What makes it quick to search.
    pub form: Box<dyn Form>,
    /// How much is copied.
    pub tier: Tier,
}

/// The files of a part.
pub fn part_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.part"))
}

/// The file with the names of a part's entries.
pub fn ids_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.ids"))
}

/// Writes a part, and the names of its entries beside it.
pub fn write(files: &dyn Files, dir: &Path, number: u64, keys: &[Key], rows: &Matrix, form: &GraphForm) -> Result<()> {
    let (ids, versions): (Vec<u64>, Vec<u64>) = keys.iter().copied().unzip();
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by_key(|row| keys.get(*row as usize).copied());
    let (bytes, factors) = rows.sections();
    let mut sections: Vec<(Tag, &[u8])> = vec![
        (Tag::Ids, bytemuck::cast_slice(&ids)),
        (Tag::Versions, bytemuck::cast_slice(&versions)),
        (Tag::Order, bytemuck::cast_slice(&order)),
        (Tag::Rows, bytes),
    ];
    if let Some(factors) = factors {
        sections.push((Tag::Factors, bytemuck::cast_slice(factors)));
    }
    sections.extend(form.sections());
    let mut meta = Writer::default();
    write_shape(rows.shape, &mut meta);
    meta.u64(keys.len() as u64);
    meta.u64(versions.iter().copied().max().unwrap_or(0));
    meta.0.extend(form.meta());
    let names = sections.get(..2).unwrap_or_default();
    container::write(files, &ids_path(dir, number), (Kind::Ids, number), &[], names)?;
    container::write(files, &part_path(dir, number), (Kind::Graph, number), &meta.0, &sections)
}

/// The entries of a part by its second file, if that is whole.
pub fn read_ids(files: &dyn Files, dir: &Path, number: u64) -> Result<Vec<Key>> {
    let container = Container::open(files, &ids_path(dir, number), Kind::Ids, number)?;
    keys(&container)
}

/// The entries of a damaged part, if what names them is whole.
pub fn rescue_ids(files: &dyn Files, dir: &Path, number: u64) -> Result<Vec<Key>> {
    let container = Container::open(files, &part_path(dir, number), Kind::Graph, number)?;
    keys(&container)
}

fn keys(container: &Container) -> Result<Vec<Key>> {
    container.verify(Tag::Ids)?;
    container.verify(Tag::Versions)?;
    let (ids, versions) = (container.section::<u64>(Tag::Ids)?, container.section::<u64>(Tag::Versions)?);
    if ids.len() != versions.len() {
        return Err(container.damaged("not as many ids as versions"));
    }
    Ok(ids.iter().copied().zip(versions.iter().copied()).collect())
}

/// Metric, element and dimension, by numbers that never change their meaning.
pub fn write_shape(shape: Shape, out: &mut Writer) {
    let metric = Metric::ALL.iter().position(|metric| *metric == shape.metric).unwrap_or_default();
    out.u8(metric as u8);
    out.u8(match shape.element {
        Element::F32 => 0,
        Element::F16 => 1,
        Element::I8 => 2,
        Element::Bits => 3,
    });
    out.u32(shape.dimension as u32);
}

/// The opposite of [`write_shape`].
pub fn read_shape(reader: &mut Reader<'_>) -> Result<Shape> {
    let metric = Metric::ALL.get(usize::from(reader.u8()?)).copied();
    let metric = metric.ok_or_else(|| Error::damaged("an unknown metric"))?;
    let element = match reader.u8()? {
        0 => Element::F32,
        1 => Element::F16,
        2 => Element::I8,
        3 => Element::Bits,
        _ => return Err(Error::damaged("an unknown element")),
    };
    let shape = Shape { metric, element, dimension: reader.u32()? as usize };
    shape.check().map_err(Error::damaged)?;
    Ok(shape)
}

/// What is searched, in a part's file, and the newest version in it.
fn mapped(container: &Container, shape: Shape) -> Result<(Loaded, u64)> {
    let mut reader = Reader::new(container.meta(), "the header of a part");
    if read_shape(&mut reader)? != shape {
        return Err(container.damaged("vectors of another shape than the collection's"));
    }
    let (count, newest) = (reader.size()?, reader.u64()?);
    let factors = if shape.has_factors() { Some(container.section(Tag::Factors)?) } else { None };
    let rows = Matrix::new(shape, count, container.section(Tag::Rows)?, factors)?;
    let form = Box::new(GraphForm::open(container, &mut reader, &rows)?);
    if !reader.is_empty() {
        return Err(container.damaged("more in the header than is known"));
    }
    Ok((Loaded { rows, form, tier: Tier::Mapped }, newest))
}

impl Sealed {
    /// Opens a part by mapping its file.
    pub fn open(files: &dyn Files, dir: &Path, number: u64, shape: Shape) -> Result<Self> {
        let container = Container::open(files, &part_path(dir, number), Kind::Graph, number)?;
        let (loaded, newest) = mapped(&container, shape)?;
        let count = loaded.rows.len();
        let (ids, versions) = (container.section::<u64>(Tag::Ids)?, container.section::<u64>(Tag::Versions)?);
        let order = container.section::<u32>(Tag::Order)?;
        if u32::try_from(count).is_err() || [ids.len(), versions.len(), order.len()] != [count; 3] {
            return Err(container.damaged("sections that do not fit the number of rows"));
        }
        // A few rows of each search are compared exactly; what lies beside them is not wanted.
        container.at_random(Tag::Rows)?;
        let loaded = RwLock::new(Arc::new(loaded));
        let (is_hot_right, is_in_order, is_damaged) = Default::default();
        let ended = Ended::new(count);
        Ok(Self {
            number,
            newest,
            container,
            ids,
            versions,
            order,
            loaded,
            is_hot_right,
            is_in_order,
            is_damaged,
            ended,
        })
    }

    /// What is searched now. What every search reads is verified when this is called first.
    pub fn loaded(&self) -> Result<Arc<Loaded>> {
        let loaded = self.loaded.read().clone();
        if !self.is_hot_right.load(Ordering::Acquire) {
            for tag in [Tag::Ids, Tag::Versions].iter().chain(loaded.form.tags()) {
                self.container.verify(*tag)?;
            }
            if loaded.rows.shape.has_factors() {
                self.container.verify(Tag::Factors)?;
            }
            self.is_hot_right.store(true, Ordering::Release);
        }
        Ok(loaded)
    }

    /// Copies as much into memory as a tier says, or forgets the copies.
    pub fn set_tier(&self, tier: Tier) -> Result<()> {
        let now = self.loaded()?;
        if now.tier == tier {
            return Ok(());
        }
        let (Loaded { mut rows, mut form, .. }, _) = mapped(&self.container, now.rows.shape)?;
        if tier == Tier::Memory {
            self.container.verify(Tag::Rows)?;
            rows = rows.load()?;
        }
        if tier >= Tier::Codes {
            form = form.load()?;
        }
        *self.loaded.write() = Arc::new(Loaded { rows, form, tier });
        Ok(())
    }

    /// How much of it is in memory now.
    pub fn tier(&self) -> Tier {
        self.loaded.read().tier
    }

    /// Bytes that a tier takes.
    pub fn tier_bytes(&self, tier: Tier) -> usize {
        let loaded = self.loaded.read();
        let form = loaded.form.bytes();
        match tier {
            Tier::Mapped => 0,
            Tier::Codes => form,
            Tier::Memory => form + loaded.rows.sections().0.len(),
        }
    }

    /// The length of the file.
    pub fn file_bytes(&self) -> usize {
        self.container.len()
    }

    /// All ids by row.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The exact distance of a row.
    pub fn distance(&self, loaded: &Loaded, query: &Query, row: u32) -> Result<f32> {
        if loaded.tier != Tier::Memory {
            let bytes = loaded.rows.shape.row_bytes();
            let start = row as usize * bytes;
            self.container.verify_in(Tag::Rows, start..start + bytes)?;
        }
        Ok(loaded.rows.space().distance(query, row))
    }

    /// The versions and rows of an id.
    pub fn entries_of(&self, id: u64) -> Result<Vec<(u64, u32)>> {
        let mut entries = Vec::new();
        self.each_row_of([id], |row| entries.extend(self.key(row).map(|(_, version)| (version, row))))?;
        Ok(entries)
    }

    /// Calls `f` with the rows of ids. It is quick for ids that lie close together.
    pub fn each_row_of(&self, ids: impl IntoIterator<Item = u64>, f: impl FnMut(u32)) -> Result<()> {
        let order = &*self.order;
        if self.verify_order()? {
            each_row(&self.ids, ids, |at| at as u32, f);
        } else {
            each_row(&self.ids, ids, |at| order.get(at).copied().unwrap_or(u32::MAX), f);
        }
        Ok(())
    }

    /// Whether rows lie in the order of their ids.
    fn verify_order(&self) -> Result<bool> {
        if let Some(is_in_order) = self.is_in_order.get() {
            return Ok(*is_in_order);
        }
        for tag in [Tag::Ids, Tag::Versions, Tag::Order] {
            self.container.verify(tag)?;
        }
        Ok(*self.is_in_order.get_or_init(|| self.order.iter().copied().eq(0..self.ids.len() as u32)))
    }

    /// Verifies everything, again if it has been already.
    pub fn scrub(&self) -> Result<()> {
        self.container.scrub()?;
        let sorted = self.order.windows(2).all(|pair| match pair {
            [a, b] => self.key(*a) < self.key(*b) && self.key(*b).is_some(),
            _ => true,
        });
        if !sorted {
            return Err(self.container.damaged("rows that are not in order"));
        }
        self.loaded()?.form.verify()
    }

    /// Verifies everything that is not verified yet.
    pub fn verify(&self) -> Result<()> {
        self.container.verify_all()
    }
}

impl Entries for Sealed {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn key(&self, row: u32) -> Option<Key> {
        Some((*self.ids.get(row as usize)?, *self.versions.get(row as usize)?))
    }

    fn is_ended(&self, row: u32) -> bool {
        self.ended.get(row)
    }

    fn each_row(&self, f: &mut dyn FnMut(u32, Row<'_>) -> Result<()>) -> Result<()> {
        self.verify()?;
        let loaded = self.loaded()?;
        let space = loaded.rows.space();
        (0..self.ids.len() as u32).try_for_each(|row| f(row, space.row(row)))
    }
}

/// Calls `f` with the rows of ids, each of which is somewhere in `all`; in the order of these, `row_at` says which row is
/// at a place.
fn each_row(all: &[u64], ids: impl IntoIterator<Item = u64>, row_at: impl Fn(usize) -> u32, mut f: impl FnMut(u32)) {
    let id_at = |at: usize| all.get(row_at(at) as usize).copied();
    let (mut last_at, mut last_id) = (0_usize, None);
    for id in ids {
        // Of ids that lie close together, the next one is as far away as their numbers are.
        let guess = last_id.map(|last| last_at.wrapping_add(id.wrapping_sub(last) as usize));
        let is_first = |at: usize| at == 0 || id_at(at - 1).is_some_and(|before| before < id);
        let hit = guess.filter(|at| id_at(*at) == Some(id) && is_first(*at));
        let mut at = hit.unwrap_or_else(|| first_at_least(id, all.len(), id_at));
        (last_at, last_id) = (at, Some(id));
        while id_at(at) == Some(id) {
            f(row_at(at));
            at += 1;
        }
    }
}

/// The first of `len` places, in ascending order, whose number is not below `wanted`. Numbers that lie evenly, as ids
/// often do, are found at the first guess.
fn first_at_least(wanted: u64, len: usize, at: impl Fn(usize) -> Option<u64>) -> usize {
    let (mut low, mut high) = (0, len);
    let mut guesses = 0;
    while low < high {
        let (Some(first), Some(last)) = (at(low), at(high - 1)) else { return len };
        if wanted <= first {
            return low;
        }
        if wanted > last {
            return high;
        }
        // After some guesses that were wrong, halving is better.
        guesses += 1;
        let middle = if guesses > 4 {
            low + (high - low) / 2
        } else {
            let share = u128::from(wanted - first) * (high - 1 - low) as u128 / u128::from(last - first).max(1);
            low + share as usize
        };
        match at(middle) {
            Some(found) if found < wanted => low = middle + 1,
            Some(found) if middle > low && found == wanted && at(middle - 1).is_some_and(|before| before < wanted) => {
                return middle;
            }
            _ => high = middle + usize::from(middle == low && at(middle).is_some_and(|found| found < wanted)),
        }
        if high == low + 1 && at(low).is_some_and(|found| found >= wanted) {
            return low;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::first_at_least;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn guesses_find_what_halving_finds(mut numbers in prop::collection::vec(prop_oneof![0_u64..50, any::<u64>()], 0..60), wanted in prop_oneof![0_u64..50, any::<u64>()]) {
            numbers.sort_unstable();
            let found = first_at_least(wanted, numbers.len(), |at| numbers.get(at).copied());
            prop_assert_eq!(found, numbers.partition_point(|n| *n < wanted));
        }
    }
}
