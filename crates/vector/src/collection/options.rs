//! How a collection works.

use crate::graph::Parameters;
use crate::part::form::Quantisation;
use crate::shape::Shape;
use crate::{Element, Error, Metric, Result};

/// How a collection works. Shape, graph and codes are kept with it; the rest is the opener's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What all vectors have in common. Set by what makes the collection.
    pub shape: Shape,
    /// How graphs are built.
    pub graph: Parameters,
    /// How codes are made.
    pub quantisation: Quantisation,
    /// With how many vectors a growing part is full. 32 to 4,194,304.
    pub seal_threshold: usize,
    /// How many full parts may wait to be built before insertions are refused. At least 1.
    pub most_frozen: usize,
    /// A merge brings parts together as long as the larger one has at most so many times the rows of the smaller ones. At
    /// least 1.
    pub merge_factor: usize,
    /// Threads of one build or merge.
    pub build_threads: usize,
    /// Memory that sealed parts may take, in bytes.
    pub budget: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shape: Shape { metric: Metric::L2, element: Element::F32, dimension: 1 },
            graph: Parameters::default(),
            quantisation: Quantisation::default(),
            seal_threshold: 65_536,
            most_frozen: 4,
            merge_factor: 16,
            build_threads: 2,
            budget: 4 << 30,
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        self.shape.check()?;
        self.graph.check()?;
        if let Quantisation::Bits(bits) = self.quantisation
            && !(1..=8).contains(&bits)
        {
            return Err(Error::invalid(format!("codes of {bits} bits, which must be 1 to 8")));
        }
        let fits = (32..=4 << 20).contains(&self.seal_threshold)
            && self.most_frozen >= 1
            && self.merge_factor >= 1
            && self.build_threads >= 1;
        if fits {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "seal_threshold = {} (32 to 4194304), most_frozen = {}, merge_factor = {}, build_threads = {} (1 or more each)",
            self.seal_threshold, self.most_frozen, self.merge_factor, self.build_threads
        )))
    }
}
