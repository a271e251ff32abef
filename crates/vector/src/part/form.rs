//! What makes a sealed part quick to search. A collection knows it by this interface, and assumes no graph.

use super::container::{Container, Tag};
use super::curve::{Curve, NEIGHBOURS, Point, Setting};
use crate::bytes::{Reader, Writer};
use crate::codes::{CodeQuery, CodeSpace, Codes, Layout};
pub use crate::graph::Width;
use crate::graph::{Builder, Graph, Parameters, Pool, Scratch, Space};
use crate::matrix::Matrix;
use crate::section::Section;
use crate::shape::Query;
use crate::{Error, Result};
use nodedb_env::{Pages, Spawn};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which candidates count, and some that do.
pub type Among<'a> = (&'a dyn Fn(u32) -> bool, &'a [u32]);

/// What one thread needs to search, kept from one search to the next.
#[derive(Debug, Default)]
pub struct Desk {
    /// Of the walks.
    pub scratch: Scratch,
    signed: CodeQuery,
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

    /// The candidates for several queries at once, each on a desk of its own.
    fn candidates_of_many(&self, rows: &Matrix, queries: &[&Query], ef: usize, desks: &mut [Desk]);

    /// The best of these rows, by the form's own approximate distances, nearest first; as many as `desk` is told.
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
}

/// A graph, over codes where there are some.
#[derive(Debug)]
pub struct GraphForm {
    codes: Option<Codes>,
    graph: Graph,
    curve: Curve,
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
        match plan.quantisation {
            Quantisation::Bytes => match encode(rows)? {
                Some(codes) => {
                    let space = CodeSpace::new(&codes);
                    let query = |row: &Query, query: &mut CodeQuery| {
                        if let Query::Numbers(numbers) = row {
                            codes.layout.query(numbers, query);
                        }
                    };
                    let (graph, curve) = build_over(&space, rows, plan, &Ask { query, is_exact: false })?;
                    Ok(Self { codes: Some(codes), graph, curve })
                }
                None => Self::build_exact(rows, plan),
            },
            Quantisation::None => Self::build_exact(rows, plan),
        }
    }

    fn build_exact(rows: &Matrix, plan: &Plan<'_>) -> Result<Self> {
        let space = rows.space();
        let query = |row: &Query, query: &mut Query| query.clone_from(row);
        let (graph, curve) = build_over(&space, rows, plan, &Ask { query, is_exact: true })?;
        Ok(Self { codes: None, graph, curve })
    }

    /// What goes into the header of a part.
    pub fn meta(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(self.graph.m0() as u32);
        out.u32(self.graph.entry());
        out.u8(u8::from(self.codes.is_some()));
        if let Some(codes) = &self.codes {
            codes.layout.write(&mut out);
        }
        self.curve.write(&mut out);
        out.0
    }

    /// What goes into the sections of a part.
    pub fn sections(&self) -> Vec<(Tag, &[u8])> {
        let (links, upper) = self.graph.sections();
        let mut sections: Vec<(Tag, &[u8])> =
            vec![(Tag::Links, bytemuck::cast_slice(links)), (Tag::Upper, bytemuck::cast_slice(upper))];
        if let Some(codes) = &self.codes {
            sections.push((Tag::Codes, codes.bytes()));
        }
        sections
    }

    /// Out of a part's file.
    pub fn open(container: &Container, reader: &mut Reader<'_>, rows: &Matrix) -> Result<Self> {
        let (m0, entry, has_codes) = (reader.u32()? as usize, reader.u32()?, reader.u8()?);
        let codes = match has_codes {
            0 => None,
            1 => {
                let layout = Layout::read(rows.shape.geometry(), rows.shape.dimension, reader)?;
                Codes::new(layout, container.section(Tag::Codes)?)
            }
            _ => return Err(container.damaged("codes of an unknown kind")),
        };
        let fits = codes.as_ref().map_or(has_codes == 0, |codes| codes.len() == rows.len());
        let curve = Curve::read(reader)?;
        let sections = (container.section(Tag::Links)?, container.section(Tag::Upper)?);
        let graph = Graph::new(m0, entry, sections)?;
        if !fits || graph.len() != rows.len() {
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
        let Desk { scratch, signed } = desk;
        match (&self.codes, query) {
            (Some(codes), Query::Numbers(numbers)) => {
                codes.layout.query(numbers, signed);
                search(&self.graph, &CodeSpace::new(codes), signed, width, among, scratch)
            }
            _ => search(&self.graph, &rows.space(), query, width, among, scratch),
        }
    }

    fn candidates_of_many(&self, rows: &Matrix, queries: &[&Query], ef: usize, desks: &mut [Desk]) {
        let Some(codes) = &self.codes else {
            let mut walks: Vec<_> =
                queries.iter().copied().zip(desks.iter_mut().map(|desk| &mut desk.scratch)).collect();
            return self.graph.search_many(&rows.space(), &mut walks, ef);
        };
        let mut walks = Vec::with_capacity(queries.len());
        for (query, Desk { scratch, signed }) in queries.iter().zip(desks) {
            if let Query::Numbers(numbers) = query {
                codes.layout.query(numbers, signed);
            }
            walks.push((&*signed, scratch));
        }
        self.graph.search_many(&CodeSpace::new(codes), &mut walks, ef);
    }

    fn scan<'d>(&self, rows: &Matrix, query: &Query, of: &[u32], keep: usize, desk: &'d mut Desk) -> &'d Pool {
        let Desk { scratch, signed } = desk;
        match (&self.codes, query) {
            (Some(codes), Query::Numbers(numbers)) => {
                codes.layout.query(numbers, signed);
                scratch.scan(&CodeSpace::new(codes), signed, of, keep)
            }
            _ => scratch.scan(&rows.space(), query, of, keep),
        }
        scratch.found()
    }

    fn is_exact(&self) -> bool {
        self.codes.is_none()
    }

    fn curve(&self) -> &Curve {
        &self.curve
    }

    fn tags(&self) -> &'static [Tag] {
        match self.codes {
            Some(_) => &[Tag::Codes, Tag::Links, Tag::Upper],
            None => &[Tag::Rows, Tag::Links, Tag::Upper],
        }
    }

    fn bytes(&self) -> usize {
        let (links, upper) = self.graph.sections();
        links.len() * 4 + upper.len() * 4 + self.codes.as_ref().map_or(0, |c| c.bytes().len())
    }

    fn load(&self) -> Result<Box<dyn Form>> {
        let no_memory = |e| Error::Io("no memory to load a part".to_owned(), e);
        let (links, upper) = self.graph.sections();
        let sections = (Section::of(links).map_err(no_memory)?, Section::of(upper).map_err(no_memory)?);
        let codes = match &self.codes {
            Some(codes) => Codes::new(codes.layout, Section::of(codes.bytes()).map_err(no_memory)?),
            None => None,
        };
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
    let pages = Pages::new(rows.len() * layout.stride());
    let mut pages = pages.map_err(|e| Error::Io("no memory for codes".to_owned(), e))?;
    for (row, place) in (0..rows.len() as u32).zip(pages.chunks_exact_mut(layout.stride())) {
        shape.decode(space.row(row), &mut numbers);
        layout.encode(&numbers, place);
    }
    let length = pages.len();
    Ok(Section::new(&(Arc::new(pages) as Arc<_>), 0..length).and_then(|bytes| Codes::new(layout, bytes)))
}

/// How a row becomes a query of a space, and whether distances there are exact.
struct Ask<F> {
    query: F,
    is_exact: bool,
}

/// The graph, and what recalls it gives. Some rows come in last, and are searched for before: as vectors that the graph
/// does not know they are as hard to find neighbours of as those that will be asked for.
fn build_over<S: Space>(
    space: &S,
    rows: &Matrix,
    plan: &Plan<'_>,
    as_query: &Ask<impl Fn(&Query, &mut S::Query)>,
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
        let mut queries = Vec::new();
        for row in &sampled {
            let (mut numbers, mut query) = (rows.shape.no_query(), space.no_query());
            rows.space().as_query(*row, &mut numbers);
            (as_query.query)(&numbers, &mut query);
            queries.push(query);
        }
        measure(&builder.freeze()?, space, (&queries, &truth), as_query.is_exact)
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
    is_exact: bool,
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
            if rerank >= NEIGHBOURS && (!is_exact || rerank == ef) {
                let cost = each + if is_exact { 0.0 } else { RERANK_COST * rerank as f64 };
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
