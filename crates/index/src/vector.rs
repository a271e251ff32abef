//! Nearest neighbours: a vector collection as an index of a column.

use crate::lifecycle::{Answers, Change, Kind, Parts, Size};
use nodedb_base::{Error, Lsn, Result, RowId};
use nodedb_env::Env;
use nodedb_vector::{
    Effort, Element, Error as VectorError, Filter, Metric, Options, Quantisation, Search, Setting, Shape, Vector,
    VectorCollection,
};
use roaring::RoaringTreemap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// So few rows of a table are compared one by one, rather than built a graph of.
const FEW_ROWS: usize = 2_000;

/// How a vector index is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorOptions {
    /// What is near.
    pub metric: Metric,
    /// What a vector is made of.
    pub element: Element,
    /// How many numbers or bits a vector has.
    pub dimension: usize,
    /// Links of a node of the graph; twice as many at the lowest level.
    pub m: usize,
    /// Candidates of a node that is being linked.
    pub ef_construction: usize,
    /// How codes are made.
    pub quantisation: Quantisation,
    /// Vectors of a part that is full.
    pub seal_threshold: usize,
    /// Threads that build a graph together, 1 or more.
    pub build_threads: usize,
}

impl VectorOptions {
    fn options(&self) -> Options {
        let mut options = Options {
            shape: Shape { metric: self.metric, element: self.element, dimension: self.dimension },
            quantisation: self.quantisation,
            seal_threshold: self.seal_threshold,
            build_threads: self.build_threads,
            // A commit never waits for a build: it is in the log already. Who writes is held back before.
            most_frozen: usize::MAX,
            ..Options::default()
        };
        (options.graph.m, options.graph.m0) = (self.m, 2 * self.m);
        options.graph.ef_construction = self.ef_construction.max(2 * self.m);
        options
    }
}

/// A row that may be near.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The row.
    pub row: RowId,
    /// The commit that set its vector, by which the row itself can tell whether the entry is still right.
    pub version: Lsn,
    /// How far it is, in the index's metric.
    pub distance: f32,
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hardness {
    /// So that this share of the true neighbours is found, on average.
    Recall(f32),
    /// With so many candidates.
    Candidates(usize),
}

/// For EXPLAIN.
impl fmt::Display for Hardness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recall(recall) => write!(f, "recall {recall}"),
            Self::Candidates(ef) => write!(f, "ef {ef}"),
        }
    }
}

/// Whose neighbours are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Neighbourhood<'a> {
    /// What they are near to.
    pub vector: Vector<'a>,
    /// As of which commit.
    pub at: Lsn,
    /// How hard to look.
    pub hardness: Hardness,
    /// The rows that count; all if they are not given.
    pub among: Option<&'a RoaringTreemap>,
}

/// What can be asked for nearest neighbours.
pub trait Nearest: Send + Sync {
    /// The `k` nearest as of a commit, among some rows if they are given, nearest first.
    ///
    /// # Errors
    /// `Statement` (22000) for a vector of other dimensions, `Damaged` if a file is.
    fn nearest(&self, asked: &Neighbourhood<'_>, k: usize) -> Result<Vec<Neighbour>>;
}

/// A vector collection as an index.
#[derive(Debug)]
pub struct VectorIndex {
    collection: Arc<VectorCollection>,
}

impl VectorIndex {
    /// An empty one in a directory.
    ///
    /// # Errors
    /// `Statement` (22023) if the options cannot be, `Io`.
    pub fn create(env: Env, dir: &Path, options: &VectorOptions) -> Result<Self> {
        let collection = VectorCollection::create(env, dir, options.options()).map_err(error)?;
        Ok(Self { collection: Arc::new(collection) })
    }

    /// As its last checkpoint left it, and up to which commit that is.
    ///
    /// # Errors
    /// `Damaged` if it is not there, is not whole, or was made with other options.
    pub fn open(env: Env, dir: &Path, options: &VectorOptions) -> Result<(Self, Lsn)> {
        let opened = VectorCollection::open(env, dir, |opened| {
            (opened.build_threads, opened.most_frozen) = (options.build_threads, usize::MAX);
            opened.seal_threshold = options.seal_threshold;
        })
        .map_err(error)?;
        if let Some(bad) = opened.quarantined.first() {
            return Err(Error::damaged(format!("file {} of an index: {}", bad.file.display(), bad.why)));
        }
        let is_whole = opened.missing.as_ref().is_some_and(Vec::is_empty);
        let (found, wanted) = (opened.collection.options(), options.options());
        if !is_whole || (found.shape, found.quantisation) != (wanted.shape, wanted.quantisation) {
            return Err(Error::damaged(format!("the index in {} is not what it should be", dir.display())));
        }
        Ok((Self { collection: Arc::new(opened.collection) }, Lsn(opened.upper)))
    }

    /// Whether the index holds vectors like this one. Under cosine it does not where SQL, which squares numbers of 32 bits,
    /// knows no distance.
    fn has_direction(&self, vector: &Stored) -> bool {
        let numbers: Vec<f32> = match vector {
            Stored::F32(numbers) => numbers.clone(),
            Stored::F16(halves) => halves.iter().map(|bits| half::f16::from_bits(*bits).to_f32()).collect(),
            Stored::Bits(_) => return true,
        };
        match self.collection.options().shape.metric {
            Metric::Cosine => numbers.iter().map(|x| x * x).sum::<f32>().is_normal(),
            // All numbers equal have no direction once their mean is taken off.
            Metric::Pearson => numbers.windows(2).any(|pair| pair.first() != pair.last()),
            _ => true,
        }
    }

    /// A vector in the row codec.
    fn stored(&self, bytes: &[u8]) -> Stored {
        match self.collection.options().shape.element {
            Element::F16 => Stored::F16(bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect()),
            // How many bits there are stands before them.
            Element::Bits => Stored::Bits(bytes.get(4..).unwrap_or_default().to_vec()),
            _ => Stored::F32(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        }
    }
}

/// A vector of a row.
enum Stored {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bits(Vec<u8>),
}

impl Stored {
    fn vector(&self) -> Vector<'_> {
        match self {
            Self::F32(numbers) => Vector::F32(numbers),
            Self::F16(halves) => Vector::F16(halves),
            Self::Bits(bits) => Vector::Bits(bits),
        }
    }
}

impl Kind for VectorIndex {
    fn apply(&self, change: Change<'_>) -> Result<()> {
        let value = change.values.first().copied().flatten();
        let changed = match value.map(|bytes| self.stored(bytes)).filter(|vector| self.has_direction(vector)) {
            Some(vector) => match self.collection.insert(change.row.0, change.version.0, vector.vector()) {
                // One without a direction once it is rounded.
                Err(VectorError::Invalid(_)) => self.collection.delete(change.row.0, change.version.0),
                inserted => inserted,
            },
            None => self.collection.delete(change.row.0, change.version.0),
        };
        changed.map(drop).map_err(error)
    }

    fn checkpoint(&self, upper: Lsn) -> Result<()> {
        self.collection.checkpoint(upper.0).map_err(error)
    }

    fn raise_since(&self, since: Lsn) {
        self.collection.raise_since(since.0);
    }

    fn filled(&self) -> Result<()> {
        if self.collection.stats().growing < FEW_ROWS {
            return Ok(());
        }
        self.collection.seal().map_err(error)
    }

    fn work(&self) -> Result<bool> {
        match self.collection.next_job() {
            Some(job) => self.collection.run(job).map(|()| true).map_err(error),
            None => Ok(false),
        }
    }

    fn set_budget(&self, bytes: u64) {
        self.collection.set_budget(bytes);
    }

    fn size(&self) -> Size {
        let stats = self.collection.stats();
        let tail = stats.growing + stats.frozen.1;
        Size {
            entries: tail + stats.sealed.iter().sum::<usize>(),
            tail,
            memory: stats.sealed_bytes + stats.growing_bytes,
            files: stats.file_bytes,
            parts: Parts {
                building: stats.frozen.0,
                sealed: stats.sealed.len(),
                in_memory: stats.in_memory,
                with_codes: stats.with_codes,
                mapped: stats.mapped,
            },
            answers: {
                let [growing, building, sealed] = stats.answers;
                Answers { growing, building, sealed }
            },
        }
    }

    fn entries(&self) -> usize {
        self.collection.len_with_ended()
    }

    fn rows(&self, at: Lsn) -> Result<Vec<RowId>> {
        let entries = self.collection.entries(Some(at.0)).map_err(error)?;
        let mut rows: Vec<RowId> = entries.iter().map(|(id, _)| RowId(*id)).collect();
        rows.sort_unstable();
        Ok(rows)
    }

    fn holds(&self, values: &[Option<&[u8]>]) -> bool {
        let value = values.first().copied().flatten();
        value.is_some_and(|bytes| self.has_direction(&self.stored(bytes)))
    }

    fn as_nearest(&self) -> Option<&dyn Nearest> {
        Some(self)
    }
}

impl Nearest for VectorIndex {
    fn nearest(&self, asked: &Neighbourhood<'_>, k: usize) -> Result<Vec<Neighbour>> {
        let effort = match asked.hardness {
            Hardness::Recall(recall) => Effort::Recall(recall),
            Hardness::Candidates(ef) => Effort::Setting(Setting { ef, rerank: ef }),
        };
        let filter = asked.among.map_or(Filter::All, Filter::Ids);
        let search = Search { k, at: Some(asked.at.0), effort, filter };
        let found = self.collection.search(asked.vector, &search).map_err(error)?;
        let neighbour = |hit: &nodedb_vector::Hit| Neighbour {
            row: RowId(hit.id),
            version: Lsn(hit.version),
            distance: hit.distance,
        };
        Ok(found.hits.iter().map(neighbour).collect())
    }
}

fn error(error: VectorError) -> Error {
    match error {
        VectorError::Invalid(what) => Error::statement("22000", what),
        VectorError::Busy(what) => Error::limit("53000", what),
        VectorError::Io(doing, e) => Error::io(doing, &e),
        VectorError::Damaged(what) => Error::damaged(what),
        VectorError::Poisoned(what) => Error::internal(what),
    }
}
