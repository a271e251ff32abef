//! A part: documents in one segment of tantivy's, which never changes, and which of them have ended since.

use super::analysis::Fields;
use super::directory::EnvDirectory;
use nodedb_base::{Error, Lsn, Result, RowId};
use nodedb_env::Env;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tantivy::columnar::ColumnValues;
use tantivy::directory::{Directory, OwnedBytes, RamDirectory};
use tantivy::fastfield::{AliveBitSet, write_alive_bitset};
use tantivy::schema::IndexRecordOption;
use tantivy::store::Compressor;
use tantivy::{
    BitSet, DocId, DocSet, Index, IndexSettings, ReloadPolicy, Searcher, Segment, SegmentReader, TERMINATED,
    TantivyDocument, TantivyError, Term,
};

/// Memory that the writer of a part begins with.
const FEW_BYTES: usize = 1 << 20;

/// A row as it was at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub row: RowId,
    pub version: Lsn,
    /// Of each column; empty where it is NULL.
    pub texts: Vec<String>,
}

/// A part.
pub(super) struct Part {
    /// Its directory's number; none in memory.
    pub number: Option<u64>,
    searcher: Searcher,
    rows: Arc<dyn ColumnValues<u64>>,
    versions: Arc<dyn ColumnValues<u64>>,
    /// Documents whose rows have changed or gone, and when.
    ended: RwLock<HashMap<DocId, Lsn>>,
    /// Of its files, or of memory.
    pub bytes: usize,
    /// The checksum of tantivy's list of its files, the only one of them that has none itself.
    pub meta: u32,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("number", &self.number).field("documents", &self.len()).finish_non_exhaustive()
    }
}

impl Part {
    /// A part in memory.
    pub fn in_memory<'d>(fields: &Fields, documents: impl IntoIterator<Item = &'d Document>) -> Result<Self> {
        Self::written(fields, RamDirectory::create(), documents, None)
    }

    /// A part in a directory of its own, which is durable when this returns.
    pub fn in_files<'d>(
        fields: &Fields,
        (env, dir, number): (&Env, &Path, u64),
        documents: impl IntoIterator<Item = &'d Document>,
    ) -> Result<Self> {
        let directory = fresh(env, dir)?;
        Self::written(fields, directory, documents, Some(number))
    }

    fn written<'d>(
        fields: &Fields,
        directory: impl Directory,
        documents: impl IntoIterator<Item = &'d Document>,
        number: Option<u64>,
    ) -> Result<Self> {
        let builder = Index::builder().schema(fields.schema.clone()).tokenizers(fields.tokenizers.clone());
        let builder = builder.settings(settings());
        let writer = builder.single_segment_index_writer::<TantivyDocument>(directory, FEW_BYTES);
        let mut writer = writer.map_err(error)?;
        for document in documents {
            let mut fresh = TantivyDocument::new();
            fresh.add_u64(fields.row, document.row.0);
            fresh.add_u64(fields.version, document.version.0);
            for ((_, field), text) in fields.texts.iter().zip(&document.texts) {
                if !text.is_empty() {
                    fresh.add_text(*field, text);
                }
            }
            writer.add_document(fresh).map_err(error)?;
        }
        let index = writer.finalize().map_err(error)?;
        Self::of(&index, number, HashMap::new())
    }

    /// One that is there.
    ///
    /// # Errors
    /// `Damaged` if a file is not what was written.
    pub fn open(fields: &Fields, (env, dir, number): (&Env, &Path, u64), ended: HashMap<DocId, Lsn>) -> Result<Self> {
        let damaged = |e: TantivyError| Error::damaged(format!("a part of a text index in {}: {e}", dir.display()));
        let mut index = Index::open(EnvDirectory::new(env.clone(), dir.to_owned())).map_err(damaged)?;
        if index.schema() != fields.schema {
            return Err(Error::damaged(format!("the part of a text index in {} is of another index", dir.display())));
        }
        index.set_tokenizers(fields.tokenizers.clone());
        let bad = index.validate_checksum().map_err(damaged)?;
        if let Some(file) = bad.iter().next() {
            return Err(Error::damaged(format!("file {} of a text index", dir.join(file).display())));
        }
        Self::of(&index, Some(number), ended)
    }

    fn of(index: &Index, number: Option<u64>, ended: HashMap<DocId, Lsn>) -> Result<Self> {
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(error)?;
        let searcher = reader.searcher();
        let [segment] = searcher.segment_readers() else {
            return Err(Error::damaged(format!(
                "a part of a text index has {} segments",
                searcher.segment_readers().len()
            )));
        };
        let column = |name: &str| -> Result<Arc<dyn ColumnValues<u64>>> {
            Ok(segment.fast_fields().u64(name).map_err(error)?.first_or_default_col(0))
        };
        let (rows, versions) = (column("row")?, column("version")?);
        let bytes = searcher.space_usage().map_err(|e| Error::io("measure a part", &e))?.total().get_bytes() as usize;
        let meta = index.directory().atomic_read(Path::new("meta.json")).map_err(|e| error(e.into()))?;
        let meta = crc32c::crc32c(&meta);
        Ok(Self { number, searcher, rows, versions, ended: RwLock::new(ended), bytes, meta })
    }

    pub const fn searcher(&self) -> &Searcher {
        &self.searcher
    }

    /// Its only segment.
    pub fn segment(&self) -> Result<&SegmentReader> {
        let segment = self.searcher.segment_readers().first();
        segment.ok_or_else(|| Error::internal("a part of a text index has no segment"))
    }

    /// Documents, ended ones included.
    pub fn len(&self) -> usize {
        self.searcher.segment_readers().first().map_or(0, |segment| segment.max_doc() as usize)
    }

    /// The row and the commit of a document.
    pub fn key(&self, document: DocId) -> (RowId, Lsn) {
        (RowId(self.rows.get_val(document)), Lsn(self.versions.get_val(document)))
    }

    /// Appends the rows of documents.
    pub fn rows(&self, documents: &[DocId], rows: &mut Vec<RowId>) {
        let mut numbers = vec![0; documents.len()];
        self.rows.get_vals(documents, &mut numbers);
        rows.extend(numbers.into_iter().map(RowId));
    }

    /// Whether all documents are there as of a commit.
    pub fn is_whole(&self, at: Lsn) -> bool {
        self.versions.max_value() <= at.0 && self.ended.read().is_empty()
    }

    /// Whether a document has ended as of a commit.
    pub fn has_ended(&self, document: DocId, at: Lsn) -> bool {
        let ended = self.ended.read();
        !ended.is_empty() && ended.get(&document).is_some_and(|end| *end <= at)
    }

    /// Ends the documents of a row that are older than a commit.
    pub fn end(&self, fields: &Fields, row: RowId, at: Lsn) -> Result<()> {
        let term = Term::from_field_u64(fields.row, row.0);
        let inverted = self.segment()?.inverted_index(fields.row).map_err(error)?;
        let found =
            inverted.read_postings(&term, IndexRecordOption::Basic).map_err(|e| Error::io("read postings", &e))?;
        let Some(mut postings) = found else { return Ok(()) };
        let mut document = postings.doc();
        while document != TERMINATED {
            if self.versions.get_val(document) < at.0 {
                let mut ended = self.ended.write();
                let end = ended.entry(document).or_insert(at);
                *end = (*end).min(at);
            }
            document = postings.advance();
        }
        Ok(())
    }

    /// All ends, for the manifest.
    pub fn ends(&self) -> Vec<(DocId, Lsn)> {
        let mut ends: Vec<_> = self.ended.read().iter().map(|(document, end)| (*document, *end)).collect();
        ends.sort_unstable();
        ends
    }

    /// Documents that nobody can see any more.
    pub fn dead(&self, since: Lsn) -> usize {
        self.ended.read().values().filter(|end| **end <= since).count()
    }

    /// One part of several, without the documents that nobody can see any more.
    pub fn merged(
        fields: &Fields,
        parts: &[Arc<Self>],
        since: Lsn,
        (env, dir, number): (&Env, &Path, u64),
    ) -> Result<Self> {
        let directory = fresh(env, dir)?;
        let mut merging = Merging::default();
        for part in parts {
            merging.add(part, since)?;
        }
        let Merging { segments, alive, ended, .. } = merging;
        let merged = tantivy::indexer::merge_filtered_segments(&segments, settings(), alive, directory);
        let mut index = merged.map_err(error)?;
        index.set_tokenizers(fields.tokenizers.clone());
        Self::of(&index, Some(number), ended)
    }

    /// Ends what came after a commit: it comes again from the log.
    pub fn forget_after(&self, upper: Lsn) {
        let late = (0..self.len() as DocId).filter(|document| self.versions.get_val(*document) > upper.0);
        self.ended.write().extend(late.map(|document| (document, Lsn::ZERO)));
    }

    /// Ends a document of this part.
    pub fn end_document(&self, document: DocId, at: Lsn) {
        self.ended.write().insert(document, at);
    }
}

/// No texts are stored, so that no thread is wanted to compress them.
fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::None,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// What goes into a merge, and what becomes of the ends.
#[derive(Default)]
struct Merging {
    segments: Vec<Segment>,
    alive: Vec<Option<AliveBitSet>>,
    ended: HashMap<DocId, Lsn>,
    /// The number of the next document.
    next: DocId,
}

impl Merging {
    fn add(&mut self, part: &Part, since: Lsn) -> Result<()> {
        self.segments.append(&mut part.searcher.index().searchable_segments().map_err(error)?);
        let ends = part.ended.read();
        let documents = part.len() as DocId;
        let mut bits = BitSet::with_max_value(documents);
        for document in 0..documents {
            let end = ends.get(&document);
            if end.is_some_and(|end| *end <= since) {
                continue;
            }
            bits.insert(document);
            self.ended.extend(end.map(|end| (self.next, *end)));
            self.next += 1;
        }
        let mut bytes = Vec::new();
        write_alive_bitset(&bits, &mut bytes).map_err(|e| Error::io("write what is alive", &e))?;
        self.alive.push(Some(AliveBitSet::open(OwnedBytes::new(bytes))));
        Ok(())
    }
}

/// An empty directory.
fn fresh(env: &Env, dir: &Path) -> Result<EnvDirectory> {
    let io = |e: std::io::Error| Error::io(format_args!("make {}", dir.display()), &e);
    if env.files.exists(dir).map_err(io)? {
        env.files.remove_dir_all(dir).map_err(io)?;
    }
    env.files.create_dir_all(dir).map_err(io)?;
    if let Some(parent) = dir.parent() {
        env.files.sync_dir(parent).map_err(io)?;
    }
    Ok(EnvDirectory::new(env.clone(), dir.to_owned()))
}

pub(super) fn error(error: TantivyError) -> Error {
    match error {
        TantivyError::IoError(e) => Error::io("work on a text index", &e),
        TantivyError::InvalidArgument(what) | TantivyError::SchemaError(what) => Error::statement("22023", what),
        other => Error::damaged(format!("a text index: {other}")),
    }
}
