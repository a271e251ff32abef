//! What makes a sealed part quick to search. A collection knows it by this interface, and assumes no graph.

use super::container::{Container, Tag};
use super::curve::{Curve, NEIGHBOURS, Point, Setting};
use crate::binary::{BinaryCodes, BinaryLayout, BinaryQuery, BinarySpace};
use crate::bytes::{Reader, Writer};
use crate::codes::{CodeQuery, CodeSpace, Codes, Layout};
pub use crate::graph::Width;
use crate::graph::{Builder, Graph, Parameters, Pool, Scratch, Space};
use crate::matrix::Matrix;
use crate::section::Section;
use crate::shape::Query;
use crate::{Error, Result};
use nodedb_env::Spawn;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which candidates count, and some that do.
pub type Among<'a> = (&'a dyn Fn(u32) -> bool, &'a [u32]);

/// What one thread needs to search, kept from one search to the next.
#[derive(Debug, Default)]
pub struct Desk {
    /// Of the walks.
    pub scratch: Scratch,
    signed: CodeQuery,
    binary: BinaryQuery,
}

/// A way to find candidates in a part.
pub trait Form: fmt::Debug + Send + Sync {
    /// The candidates that seem nearest, nearest first; with `among`, only of those that it lets pass.
    fn candidates<'d>(
        &self,
        rows: &Matrix,
        query: &Query,
        width: Width,
        among: Option<Among<'_>>,
        desk: &'d mut Desk,
    ) -> &'d Pool;

    /// The best of these rows, by the form's own approximate distances, nearest first: `keep` of them, or more
    /// where these distances are rough.
    fn scan<'d>(&self, rows: &Matrix, query: &Query, of: &[u32], keep: usize, desk: &'d mut Desk) -> &'d Pool;

    /// Whether candidates are in the order of their exact distances.
    fn is_exact(&self) -> bool;

    /// What recall a setting gives.
    fn curve(&self) -> &Curve;

    /// The sections that every search reads at random.
    fn tags(&self) -> &'static [Tag];

    /// Bytes of those.
    fn bytes(&self) -> usize;

    /// The same in memory of our own.
    fn load(&self) -> Result<Box<dyn Form>>;

    /// As the graph that it is, for a merge that reuses it.
    fn as_graph(&self) -> Option<&GraphForm>;

    /// Proves what can be proved of its structure.
    fn verify(&self) -> Result<()>;
}

/// How codes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quantisation {
    /// None: walks compare the vectors themselves.
    None,
    /// One byte a number, where the metric allows it.
    #[default]
    Bytes,
    /// So many bits a number, 1 to 8, where the metric allows it: less memory, more candidates that are compared exactly.
    Bits(u8),
}

/// A graph, over codes where there are some.
#[derive(Debug)]
pub struct GraphForm {
    codes: Stored,
    graph: Graph,
    curve: Curve,
}

/// What walks compare.
#[derive(Debug)]
enum Stored {
    /// The vectors themselves.
    Rows,
    Bytes(Codes),
    Bits(BinaryCodes),
}

impl Stored {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Rows => &[],
            Self::Bytes(codes) => codes.bytes(),
            Self::Bits(codes) => codes.bytes(),
        }
    }
}

/// How many rows are searched for while they are not in the graph yet.
const SAMPLE: usize = 200;
/// Parts with fewer rows than this are not sampled.
const FEWEST_SAMPLED: usize = 2_000;
/// Beyond this recall nothing is measured.
const BEST_RECALL: f32 = 0.9985;
const MOST_EF: usize = 1_000;
/// About how many distances of codes an exact one costs.
const RERANK_COST: f64 = 3.0;
/// The same for codes of few bits.
const BITS_RERANK_COST: f64 = 6.0;
/// A scan of these keeps so many times as many candidates.
const BITS_SCAN: usize = 4;
/// Numbers that the bounds of codes are taken from.
const SAMPLED_NUMBERS: usize = 200_000;

/// The graph of an older part, and which number each of its rows has in the new one.
pub struct Base<'b> {
    /// What is reused.
    pub form: &'b GraphForm,
    /// `None` for what goes.
    pub numbers: &'b [Option<u32>],
}

/// What a build needs besides the rows.
pub struct Plan<'p> {
    /// How graphs are built.
    pub parameters: Parameters,
    /// How codes are made.
    pub quantisation: Quantisation,
    /// Threads that help.
    pub threads: usize,
    /// Where they come from.
    pub spawn: &'p dyn Spawn,
    /// What is reused.
    pub base: Option<Base<'p>>,
}

impl GraphForm {
    /// Builds a graph of all rows.
    pub fn build(rows: &Matrix, plan: &Plan<'_>) -> Result<Self> {
        let codes = if plan.quantisation == Quantisation::None { None } else { encode(rows)? };
        let Some(codes) = codes else {
            let query = |numbers: &Query, query: &mut Query| query.clone_from(numbers);
            let curve = |graph: &Graph, sample: &Sample| {
                sample.curve(graph, &rows.space(), rows, &Way { as_query: &query, cost: None })
            };
            let (graph, curve) = build_over(&rows.space(), rows, plan, &curve)?;
            return Ok(Self { codes: Stored::Rows, graph, curve });
        };
        if let Quantisation::Bits(bits) = plan.quantisation {
            // Codes of few bits are no place to build on; those of one byte are made for that and forgotten.
            let binary = encode_bits(rows, usize::from(bits), plan.parameters.seed)?;
            let query = |numbers: &Query, query: &mut BinaryQuery| binary.layout.query(numbers.numbers(), query);
            let curve = |graph: &Graph, sample: &Sample| {
                sample.curve(
                    graph,
                    &BinarySpace::new(&binary),
                    rows,
                    &Way { as_query: &query, cost: Some(BITS_RERANK_COST) },
                )
            };
            let (graph, curve) = build_over(&CodeSpace::new(&codes), rows, plan, &curve)?;
            return Ok(Self { codes: Stored::Bits(binary), graph, curve });
        }
        let query = |numbers: &Query, query: &mut CodeQuery| codes.layout.query(numbers.numbers(), query);
        let space = CodeSpace::new(&codes);
        let curve = |graph: &Graph, sample: &Sample| {
            sample.curve(graph, &space, rows, &Way { as_query: &query, cost: Some(RERANK_COST) })
        };
        let (graph, curve) = build_over(&space, rows, plan, &curve)?;
        Ok(Self { codes: Stored::Bytes(codes), graph, curve })
    }

    /// What goes into the header of a part.
    pub fn meta(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(self.graph.m0() as u32);
        out.u32(self.graph.entry());
        match &self.codes {
            Stored::Rows => out.u8(0),
            Stored::Bytes(codes) => {
                out.u8(1);
                codes.layout.write(&mut out);
            }
            Stored::Bits(codes) => {
                out.u8(2);
                codes.layout.write(&mut out);
            }
        }
        self.curve.write(&mut out);
        out.0
    }

    /// What goes into the sections of a part.
    pub fn sections(&self) -> Vec<(Tag, &[u8])> {
        let (links, upper) = self.graph.sections();
        let mut sections: Vec<(Tag, &[u8])> =
            vec![(Tag::Links, bytemuck::cast_slice(links)), (Tag::Upper, bytemuck::cast_slice(upper))];
        if !matches!(self.codes, Stored::Rows) {
            sections.push((Tag::Codes, self.codes.bytes()));
        }
        if let Stored::Bits(codes) = &self.codes {
            sections.push((Tag::Centre, bytemuck::cast_slice(codes.layout.centre())));
        }
        sections
    }

    /// Out of a part's file.
    pub fn open(container: &Container, reader: &mut Reader<'_>, rows: &Matrix) -> Result<Self> {
        let (m0, entry, kind) = (reader.u32()? as usize, reader.u32()?, reader.u8()?);
        let geometry = rows.shape.geometry();
        let (codes, count) = match kind {
            0 => (Some(Stored::Rows), rows.len()),
            1 => {
                let layout = Layout::read(geometry, rows.shape.dimension, reader)?;
                let codes = Codes::new(layout, container.section(Tag::Codes)?);
                let count = codes.as_ref().map_or(0, Codes::len);
                (codes.map(Stored::Bytes), count)
            }
            2 => {
                container.verify(Tag::Centre)?;
                let centre = container.section::<f32>(Tag::Centre)?.to_vec();
                let fits = centre.len() == rows.shape.dimension;
                let layout = BinaryLayout::read(geometry, centre, reader)?;
                let codes = BinaryCodes::new(layout, container.section(Tag::Codes)?).filter(|_| fits);
                let count = codes.as_ref().map_or(0, BinaryCodes::len);
                (codes.map(Stored::Bits), count)
            }
            _ => return Err(container.damaged("codes of an unknown kind")),
        };
        let codes = codes.filter(|_| count == rows.len());
        let codes = codes.ok_or_else(|| container.damaged("codes that do not fit the rows"))?;
        let curve = Curve::read(reader)?;
        let sections = (container.section(Tag::Links)?, container.section(Tag::Upper)?);
        let graph = Graph::new(m0, entry, sections)?;
        if graph.len() != rows.len() {
            return Err(container.damaged("a graph of another number of rows"));
        }
        Ok(Self { codes, graph, curve })
    }
}

impl Form for GraphForm {
    fn candidates<'d>(
        &self,
        rows: &Matrix,
        query: &Query,
        width: Width,
        among: Option<Among<'_>>,
        desk: &'d mut Desk,
    ) -> &'d Pool {
        let Desk { scratch, signed, binary } = desk;
        match &self.codes {
            Stored::Rows => search(&self.graph, &rows.space(), query, width, among, scratch),
            Stored::Bytes(codes) => {
                codes.layout.query(query.numbers(), signed);
                search(&self.graph, &CodeSpace::new(codes), signed, width, among, scratch)
            }
            Stored::Bits(codes) => {
                codes.layout.query(query.numbers(), binary);
                search(&self.graph, &BinarySpace::new(codes), binary, width, among, scratch)
            }
        }
    }

    fn scan<'d>(&self, rows: &Matrix, query: &Query, of: &[u32], keep: usize, desk: &'d mut Desk) -> &'d Pool {
        let Desk { scratch, signed, binary } = desk;
        match &self.codes {
            Stored::Rows => scratch.scan(&rows.space(), query, of, keep),
            Stored::Bytes(codes) => {
                codes.layout.query(query.numbers(), signed);
                scratch.scan(&CodeSpace::new(codes), signed, of, keep);
            }
            Stored::Bits(codes) => {
                codes.layout.query(query.numbers(), binary);
                scratch.scan(&BinarySpace::new(codes), binary, of, keep * BITS_SCAN);
            }
        }
        scratch.found()
    }

    fn is_exact(&self) -> bool {
        matches!(self.codes, Stored::Rows)
    }

    fn curve(&self) -> &Curve {
        &self.curve
    }

    fn tags(&self) -> &'static [Tag] {
        match self.codes {
            Stored::Rows => &[Tag::Rows, Tag::Links, Tag::Upper],
            Stored::Bytes(_) | Stored::Bits(_) => &[Tag::Codes, Tag::Links, Tag::Upper],
        }
    }

    fn bytes(&self) -> usize {
        let (links, upper) = self.graph.sections();
        links.len() * 4 + upper.len() * 4 + self.codes.bytes().len()
    }

    fn load(&self) -> Result<Box<dyn Form>> {
        let no_memory = |e| Error::Io("no memory to load a part".to_owned(), e);
        let (links, upper) = self.graph.sections();
        let sections = (Section::of(links).map_err(no_memory)?, Section::of(upper).map_err(no_memory)?);
        let copied = Section::of(self.codes.bytes()).map_err(no_memory)?;
        let codes = match &self.codes {
            Stored::Rows => Some(Stored::Rows),
            Stored::Bytes(codes) => Codes::new(codes.layout, copied).map(Stored::Bytes),
            Stored::Bits(codes) => BinaryCodes::new(codes.layout.clone(), copied).map(Stored::Bits),
        };
        let codes = codes.ok_or_else(|| Error::damaged("codes that do not fill their memory"))?;
        let graph = Graph::new(self.graph.m0(), self.graph.entry(), sections)?;
        Ok(Box::new(Self { codes, graph, curve: self.curve.clone() }))
    }

    fn as_graph(&self) -> Option<&GraphForm> {
        Some(self)
    }

    fn verify(&self) -> Result<()> {
        let reach = self.graph.reach();
        if reach.dangling > 0 {
            return Err(Error::damaged(format!("{} links lead to no row", reach.dangling)));
        }
        if !reach.lost.is_empty() {
            return Err(Error::damaged(format!("no walk leads to {} rows", reach.lost.len())));
        }
        Ok(())
    }
}

fn search<'s, S: Space>(
    graph: &Graph,
    space: &S,
    query: &S::Query,
    width: Width,
    among: Option<Among<'_>>,
    scratch: &'s mut Scratch,
) -> &'s Pool {
    match among {
        Some(among) => graph.search_among(space, query, width, among, scratch),
        None => graph.search(space, query, width.ef(), scratch),
    }
}

/// Codes of all rows, if the geometry has them.
fn encode(rows: &Matrix) -> Result<Option<Codes>> {
    let (shape, space) = (rows.shape, rows.space());
    let every = (rows.len() * shape.dimension / SAMPLED_NUMBERS).max(1);
    let (mut sample, mut numbers) = (Vec::new(), Vec::new());
    for row in (0..rows.len() as u32).step_by(every) {
        shape.decode(space.row(row), &mut numbers);
        sample.extend_from_slice(&numbers);
    }
    let Some(layout) = Layout::fit(shape.geometry(), shape.dimension, sample) else { return Ok(None) };
    Codes::encode(layout, rows.len(), |row, numbers| shape.decode(space.row(row as u32), numbers)).map(Some)
}

/// Binary codes of all rows, around their mean.
fn encode_bits(rows: &Matrix, bits: usize, seed: u64) -> Result<BinaryCodes> {
    let (shape, space) = (rows.shape, rows.space());
    let (mut centre, mut numbers) = (vec![0.0_f64; shape.dimension], Vec::new());
    for row in 0..rows.len() as u32 {
        shape.decode(space.row(row), &mut numbers);
        centre.iter_mut().zip(&numbers).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let centre = centre.into_iter().map(|sum| (sum / rows.len().max(1) as f64) as f32).collect();
    let layout = BinaryLayout::new(shape.geometry(), bits, centre, seed);
    let layout = layout.ok_or_else(|| Error::invalid(format!("codes of {bits} bits, which must be 1 to 8")))?;
    Codes::encode(layout, rows.len(), |row, numbers| shape.decode(space.row(row as u32), numbers))
}

/// How a space is searched.
struct Way<'w, S: Space> {
    as_query: &'w dyn Fn(&Query, &mut S::Query),
    /// What comparing a row exactly costs, in distances of the space; `None` where these are exact.
    cost: Option<f64>,
}

/// Rows that are not in a graph yet, and their true neighbours among those that are.
struct Sample {
    rows: Vec<u32>,
    truth: Vec<BTreeSet<u32>>,
}

impl Sample {
    /// What recalls the settings of a graph give over a space.
    fn curve<S: Space>(&self, graph: &Graph, space: &S, rows: &Matrix, way: &Way<'_, S>) -> Curve {
        let mut queries = Vec::new();
        for row in &self.rows {
            let (mut numbers, mut query) = (rows.shape.no_query(), space.no_query());
            rows.space().as_query(*row, &mut numbers);
            (way.as_query)(&numbers, &mut query);
            queries.push(query);
        }
        measure(graph, space, (&queries, &self.truth), way.cost)
    }
}

/// The graph, and what recalls it gives. Some rows come in last, and are searched for before: as vectors that the graph
/// does not know they are as hard to find neighbours of as those that will be asked for.
fn build_over<S: Space>(
    space: &S,
    rows: &Matrix,
    plan: &Plan<'_>,
    curve: &dyn Fn(&Graph, &Sample) -> Curve,
) -> Result<(Graph, Curve)> {
    let mut builder = match &plan.base {
        Some(base) => Builder::extend(space, plan.parameters, &base.form.graph, base.numbers),
        None => Builder::new(space, plan.parameters),
    };
    let sampled = builder.hold_back(if rows.len() < FEWEST_SAMPLED { 0 } else { SAMPLE });
    let known = builder.len() - sampled.len();
    plan.spawn.together(plan.threads, &|| builder.work(known));
    let curve = if sampled.is_empty() {
        Curve::default()
    } else {
        let truth = nearest(rows, &sampled, plan);
        curve(&builder.freeze()?, &Sample { rows: sampled, truth })
    };
    plan.spawn.together(plan.threads, &|| builder.work(usize::MAX));
    Ok((builder.finish()?, curve))
}

/// The true neighbours of the sampled rows among all others.
fn nearest(rows: &Matrix, sampled: &[u32], plan: &Plan<'_>) -> Vec<BTreeSet<u32>> {
    let (next, own) = (AtomicUsize::new(0), sampled.iter().copied().collect::<BTreeSet<u32>>());
    let found = parking_lot::Mutex::new(vec![BTreeSet::new(); sampled.len()]);
    plan.spawn.together(plan.threads, &|| {
        let (space, mut query) = (rows.space(), rows.shape.no_query());
        let mut scratch = Scratch::default();
        while let Some((at, row)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, sampled.get(at)?)))
        {
            space.as_query(*row, &mut query);
            scratch.scan_all(&space, &query, NEIGHBOURS, &|row| !own.contains(&row));
            let nearest = scratch.found().iter().map(|(_, row)| row).collect();
            if let Some(place) = found.lock().get_mut(at) {
                *place = nearest;
            }
        }
    });
    found.into_inner()
}

/// Recall and cost over all settings that may pay.
fn measure<S: Space>(
    graph: &Graph,
    space: &S,
    (queries, truth): (&[S::Query], &[BTreeSet<u32>]),
    cost: Option<f64>,
) -> Curve {
    let (mut scratch, mut measured) = (Scratch::default(), Vec::new());
    let mut ef = NEIGHBOURS;
    while ef <= MOST_EF {
        let (mut hits, mut distances) = (vec![0_usize; ef + 1], 0);
        for (query, truth) in queries.iter().zip(truth) {
            let found = graph.search(space, query, ef, &mut scratch);
            for (place, (_, row)) in (1..).zip(found.iter()) {
                if let Some(hits) = hits.get_mut(place).filter(|_| truth.contains(&row)) {
                    *hits += 1;
                }
            }
            distances += scratch.distances;
        }
        let mut sum = 0;
        let all = (queries.len() * NEIGHBOURS).max(1) as f32;
        let each = distances as f64 / queries.len().max(1) as f64;
        for (rerank, hits) in hits.iter().enumerate() {
            sum += hits;
            if rerank >= NEIGHBOURS && (cost.is_some() || rerank == ef) {
                let cost = each + cost.unwrap_or(0.0) * rerank as f64;
                measured.push((Point { recall: sum as f32 / all, setting: Setting { ef, rerank } }, cost));
            }
        }
        if sum as f32 / all >= BEST_RECALL {
            break;
        }
        ef += (ef / 6).max(2);
    }
    Curve::of(measured)
}
