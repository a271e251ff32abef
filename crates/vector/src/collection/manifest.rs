//! What a checkpoint writes besides vectors: `docs/format/vector.md`, "Manifest".
//!
//! A manifest is a file to which each checkpoint appends one record. `CURRENT` says which file it is and how much of it
//! counts; it is replaced as a whole. So what counts is never written again, and a tail that does not count is nothing.

use super::options::Options;
use crate::bytes::{Reader, Writer};
use crate::graph::Parameters;
use crate::history::Event;
use crate::part::Key;
use crate::part::form::Quantisation;
use crate::part::sealed::{read_shape, write_shape};
use crate::{Error, Result};
use nodedb_env::{File, Files, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: [u8; 8] = *b"NDBVCURR";
const VERSION: u32 = 1;

/// A change that a record tells of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edit {
    /// How the collection was made.
    Options(Options),
    /// Events of ids.
    Events(Vec<(u64, Event)>),
    /// All that is missing now; `true` if nobody knows what else.
    Missing(bool, Vec<Key>),
    /// The next entries of a file of rows.
    Keys(u64, Vec<Key>),
    /// What there is.
    State(Standing),
}

/// What a checkpoint covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub upper: u64,
    pub since: u64,
    pub next_number: u64,
    pub budget: u64,
    pub sealed: Vec<u64>,
    pub rows: Vec<RowsFile>,
}

/// How much of a file of rows counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowsFile {
    pub number: u64,
    pub rows: u64,
    pub bytes: u64,
}

const OPTIONS: u8 = 1;
const EVENTS: u8 = 2;
const MISSING: u8 = 3;
const KEYS: u8 = 4;
const STATE: u8 = 5;

fn write_keys(keys: &[Key], out: &mut Writer) {
    out.u64(keys.len() as u64);
    for (id, version) in keys {
        out.u64(*id);
        out.u64(*version);
    }
}

fn read_keys(reader: &mut Reader<'_>) -> Result<Vec<Key>> {
    let count = reader.count(16)?;
    (0..count).map(|_| Ok((reader.u64()?, reader.u64()?))).collect()
}

impl Edit {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Options(options) => {
                out.u8(OPTIONS);
                write_options(options, out);
            }
            Self::Events(events) => {
                out.u8(EVENTS);
                out.u64(events.len() as u64);
                for (id, event) in events {
                    out.u64(*id);
                    out.u64(event.version);
                    out.u8(u8::from(event.is_insert));
                }
            }
            Self::Missing(unknown, keys) => {
                out.u8(MISSING);
                out.u8(u8::from(*unknown));
                write_keys(keys, out);
            }
            Self::Keys(number, keys) => {
                out.u8(KEYS);
                out.u64(*number);
                write_keys(keys, out);
            }
            Self::State(state) => {
                out.u8(STATE);
                [state.upper, state.since, state.next_number, state.budget].into_iter().for_each(|n| out.u64(n));
                out.u64(state.sealed.len() as u64);
                state.sealed.iter().for_each(|number| out.u64(*number));
                out.u64(state.rows.len() as u64);
                for file in &state.rows {
                    [file.number, file.rows, file.bytes].into_iter().for_each(|n| out.u64(n));
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(match reader.u8()? {
            OPTIONS => Self::Options(read_options(reader)?),
            EVENTS => {
                let count = reader.count(17)?;
                let event = |reader: &mut Reader<'_>| {
                    Ok((reader.u64()?, Event { version: reader.u64()?, is_insert: flag(reader)? }))
                };
                Self::Events((0..count).map(|_| event(reader)).collect::<Result<_>>()?)
            }
            MISSING => Self::Missing(flag(reader)?, read_keys(reader)?),
            KEYS => Self::Keys(reader.u64()?, read_keys(reader)?),
            STATE => {
                let (upper, since) = (reader.u64()?, reader.u64()?);
                let (next_number, budget) = (reader.u64()?, reader.u64()?);
                let count = reader.count(8)?;
                let sealed = (0..count).map(|_| reader.u64()).collect::<Result<_>>()?;
                let count = reader.count(24)?;
                let file = |reader: &mut Reader<'_>| {
                    Ok(RowsFile { number: reader.u64()?, rows: reader.u64()?, bytes: reader.u64()? })
                };
                let rows = (0..count).map(|_| file(reader)).collect::<Result<_>>()?;
                Self::State(Standing { upper, since, next_number, budget, sealed, rows })
            }
            kind => return Err(Error::damaged(format!("a manifest with a change of the unknown kind {kind}"))),
        })
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        n => Err(Error::damaged(format!("a flag of {n}"))),
    }
}

fn write_options(options: &Options, out: &mut Writer) {
    write_shape(options.shape, out);
    let Parameters { m, m0, ef_construction, seed } = options.graph;
    [m as u64, m0 as u64, ef_construction as u64, seed].into_iter().for_each(|n| out.u64(n));
    out.u8(match options.quantisation {
        Quantisation::None => 0,
        Quantisation::Bytes => 1,
        Quantisation::Bits(_) => 2,
    });
    out.u8(match options.quantisation {
        Quantisation::Bits(bits) => bits,
        Quantisation::None | Quantisation::Bytes => 0,
    });
    let rest = [options.seal_threshold, options.most_frozen, options.merge_factor, options.build_threads];
    rest.into_iter().for_each(|n| out.u64(n as u64));
    out.u64(options.budget);
}

fn read_options(reader: &mut Reader<'_>) -> Result<Options> {
    let shape = read_shape(reader)?;
    let (m, m0) = (reader.size()?, reader.size()?);
    let graph = Parameters { m, m0, ef_construction: reader.size()?, seed: reader.u64()? };
    let quantisation = match (reader.u8()?, reader.u8()?) {
        (0, 0) => Quantisation::None,
        (1, 0) => Quantisation::Bytes,
        (2, bits) => Quantisation::Bits(bits),
        (kind, bits) => return Err(Error::damaged(format!("codes of the unknown kind {kind}, {bits}"))),
    };
    let (seal_threshold, most_frozen) = (reader.size()?, reader.size()?);
    let (merge_factor, build_threads, budget) = (reader.size()?, reader.size()?, reader.u64()?);
    let options =
        Options { shape, graph, quantisation, seal_threshold, most_frozen, merge_factor, build_threads, budget };
    options.check().map_err(Error::damaged)?;
    Ok(options)
}

/// The manifest that a collection appends to.
pub(super) struct Manifest {
    pub number: u64,
    file: Arc<dyn File>,
    pub bytes: u64,
    records: u64,
    /// What it had when it was begun.
    pub first_bytes: u64,
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest").field("number", &self.number).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

pub(super) fn manifest_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.manifest"))
}

pub(super) fn current_path(dir: &Path) -> PathBuf {
    dir.join("CURRENT")
}

impl Manifest {
    /// An empty one, which does not count yet.
    pub fn create(files: &dyn Files, dir: &Path, number: u64) -> Result<Self> {
        let path = manifest_path(dir, number);
        let file = files.open(&path, OpenMode::Replace).map_err(Error::io("make", &path))?;
        Ok(Self { number, file, bytes: 0, records: 0, first_bytes: 0 })
    }

    /// Appends a record, and makes it count.
    /// The names of files that it tells of must be durable.
    pub fn append(&mut self, files: &dyn Files, dir: &Path, edits: &[Edit]) -> Result<()> {
        let mut payload = Writer::default();
        edits.iter().for_each(|edit| edit.write(&mut payload));
        let mut record = Writer::default();
        record.u64(payload.0.len() as u64);
        record.0.extend_from_slice(&payload.0);
        record.u64(sum(self.number, self.records, &payload.0));
        let path = manifest_path(dir, self.number);
        self.file.write_all_at(&record.0, self.bytes).map_err(Error::io("write", &path))?;
        self.file.sync().map_err(Error::io("sync", &path))?;
        let (bytes, records) = (self.bytes + record.0.len() as u64, self.records + 1);
        let mut current = Writer(MAGIC.to_vec());
        current.u32(VERSION);
        [self.number, bytes, records].into_iter().for_each(|n| current.u64(n));
        let sum = xxh3_64_with_seed(&current.0, 0);
        current.u64(sum);
        if self.records == 0 {
            // The names of new files are to be durable before anything counts on them.
            files.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
        let path = current_path(dir);
        files.write_atomically(&path, &current.0).map_err(Error::io("replace", &path))?;
        (self.bytes, self.records) = (bytes, records);
        if self.first_bytes == 0 {
            self.first_bytes = bytes;
        }
        Ok(())
    }

    /// Opens the one that counts, and reads what it says. `None` if there is no collection.
    pub fn open(files: &dyn Files, dir: &Path) -> Result<Option<(Self, Vec<Edit>)>> {
        let path = current_path(dir);
        let current = match files.read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return no_collection(files, dir).map(|()| None),
            current => current.map_err(Error::io("read", &path))?,
        };
        let damaged = || Error::damaged(format!("{} is not what was written", path.display()));
        let (body, tail) = current.split_at_checked(current.len().saturating_sub(8)).ok_or_else(damaged)?;
        let mut reader = Reader::new(body, "CURRENT");
        if tail != xxh3_64_with_seed(body, 0).to_le_bytes() || reader.take(8)? != MAGIC {
            return Err(damaged());
        }
        if reader.u32()? != VERSION {
            return Err(Error::damaged(format!("{} is of a later version", path.display())));
        }
        let (number, bytes, records) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let path = manifest_path(dir, number);
        let file = files.open(&path, OpenMode::Edit).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::damaged(format!("{} is not there", path.display())),
            _ => Error::io("open", &path)(e),
        })?;
        let size = file.size().map_err(Error::io("read", &path))?;
        if size < bytes {
            return Err(Error::damaged(format!("{} is shorter than was written", path.display())));
        }
        let mut all = vec![0; usize::try_from(bytes).map_err(|_| damaged())?];
        file.read_exact_at(&mut all, 0).map_err(Error::io("read", &path))?;
        let (edits, first_bytes) = read_records(&all, number, records)
            .map_err(|e| Error::damaged(format!("{} is not what was written: {e}", path.display())))?;
        Ok(Some((Self { number, file, bytes, records, first_bytes }, edits)))
    }
}

/// Makes sure that there is none, rather than one whose `CURRENT` is gone.
fn no_collection(files: &dyn Files, dir: &Path) -> Result<()> {
    let names = files.list(dir).map_err(Error::io("list", dir))?;
    // A kill may leave a first manifest that has never counted and a file for rows that has none, but nothing more.
    for name in names.iter().filter(|name| [".part", ".rows", ".ids"].iter().any(|kind| name.ends_with(kind))) {
        let path = dir.join(name);
        let size = files.open(&path, OpenMode::Read).and_then(|file| file.size()).map_err(Error::io("open", &path))?;
        if size > 0 {
            return Err(Error::damaged(format!("{} has {name} but no CURRENT", dir.display())));
        }
    }
    Ok(())
}

fn sum(number: u64, record: u64, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, number.rotate_left(32) ^ record)
}

fn read_records(all: &[u8], number: u64, records: u64) -> Result<(Vec<Edit>, u64)> {
    let (mut reader, mut edits, mut first_bytes) = (Reader::new(all, "a manifest"), Vec::new(), 0);
    for record in 0..records {
        let length = reader.count(1)?;
        let payload = reader.take(length)?;
        if reader.u64()? != sum(number, record, payload) {
            return Err(Error::damaged(format!("record {record}")));
        }
        if record == 0 {
            first_bytes = length as u64 + 16;
        }
        let mut payload = Reader::new(payload, "a record");
        while !payload.is_empty() {
            edits.push(Edit::read(&mut payload)?);
        }
    }
    if !reader.is_empty() {
        return Err(Error::damaged("more than its records"));
    }
    Ok((edits, first_bytes))
}
