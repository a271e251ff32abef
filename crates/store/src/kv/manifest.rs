//! What the engine trusts without looking: the manifest of a tree and the ends of its table files.
//!
//! The engine writes a checksum of each manifest and never compares it; it allocates what a table's table of
//! contents asks for before it has compared that one's; and it deletes every file that the manifest does not
//! name. So all of it is compared here first. The layout is described in `docs/format/trees.md`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nodedb_base::{Error, Reader, Result};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// The file that names the live manifest.
const CURRENT: &str = "current";
/// The folder of the table files.
const TABLES: &str = "tables";
/// The size of [`CURRENT`]: the number of the manifest, its checksum, the kind of checksum.
const CURRENT_BYTES: usize = 25;
/// The fixed end of every file of the engine.
const TRAILER_BYTES: u64 = 38;
/// Far more than a manifest of a million tables.
const MANIFEST_LIMIT: u64 = 64 << 20;
/// Far more than the ten sections of a table file need.
const CONTENTS_LIMIT: u64 = 64 << 10;

/// A table that the manifest names.
#[derive(Debug)]
pub struct TableFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The XXH3-128 of all its bytes.
    pub checksum: u128,
}

/// Checks that a tree is in `dir`, whole as far as can be told without reading its data, and names its tables.
pub fn check_tree(dir: &Path) -> Result<Vec<TableFile>> {
    let tables = read_manifest(dir)?;
    check_names(&dir.join(TABLES))?;
    for table in &tables {
        check_contents(&table.path)?;
    }
    Ok(tables)
}

/// Whether there is something in `dir` that the engine would take for a tree.
pub fn is_tree(dir: &Path) -> Result<bool> {
    dir.join(CURRENT).try_exists().map_err(|error| Error::io(format!("look into {}", dir.display()), &error))
}

/// Finds the live manifest, compares it with its checksum, and gives the tables that it names.
pub fn read_manifest(dir: &Path) -> Result<Vec<TableFile>> {
    let current = dir.join(CURRENT);
    let bytes = read(&current, CURRENT_BYTES as u64)?;
    let mut reader = Reader::new(&bytes, "current file of a tree");
    let (number, checksum, kind) = (reader.u64()?, u128::from_le_bytes(reader.array()?), reader.u8()?);
    reader.end()?;
    if kind != 0 {
        return Err(damaged(&current, "it names an unknown kind of checksum"));
    }
    let path = dir.join(format!("v{number}"));
    let manifest = read(&path, MANIFEST_LIMIT)?;
    if xxh3_128(&manifest) != checksum {
        return Err(damaged(&path, "it is not the manifest that the current file names"));
    }
    parse_tables(&manifest, &dir.join(TABLES))
}

fn parse_tables(manifest: &[u8], folder: &Path) -> Result<Vec<TableFile>> {
    let what = Reader::new(manifest, "manifest of a tree");
    let trailer_at = manifest.len().saturating_sub(TRAILER_BYTES as usize);
    let trailer = Trailer::parse(manifest.get(trailer_at..).unwrap_or_default())?;
    let contents = manifest.get(usize::try_from(trailer.at).unwrap_or(usize::MAX)..trailer_at);
    let contents = contents.ok_or_else(|| what.damaged("its table of contents lies outside"))?;
    let section = sections(contents)?.into_iter().find(|section| section.name == b"tables");
    let section = section.ok_or_else(|| what.damaged("it names no tables"))?;
    let end = section.at.checked_add(section.length).and_then(|end| usize::try_from(end).ok());
    let range = end.and_then(|end| manifest.get(usize::try_from(section.at).ok()?..end));
    parse_levels(range.ok_or_else(|| what.damaged("a section lies outside"))?, folder)
}

fn parse_levels(section: &[u8], folder: &Path) -> Result<Vec<TableFile>> {
    let mut reader = Reader::new(section, "manifest of a tree");
    let mut tables = Vec::new();
    for _level in 0..reader.u8()? {
        for _run in 0..reader.u8()? {
            for _table in 0..reader.u32()? {
                let id = reader.u64()?;
                let _kind = reader.u8()?;
                let checksum = u128::from_le_bytes(reader.array()?);
                let _sequence = reader.u64()?;
                tables.push(TableFile { path: folder.join(id.to_string()), checksum });
            }
        }
    }
    reader.end()?;
    Ok(tables)
}

/// The engine gives up, or panics, at names that it does not know.
fn check_names(folder: &Path) -> Result<()> {
    let doing = || format!("list {}", folder.display());
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(folder, "it is missing")),
        files => files.map_err(|error| Error::io(doing(), &error))?,
    };
    for file in files {
        let file = file.map_err(|error| Error::io(doing(), &error))?;
        let name = file.file_name();
        let is_number = name.to_str().is_some_and(|name| name.parse::<u64>().is_ok());
        // Left behind by a file manager; the engine passes over it.
        let is_litter = name == ".DS_Store" || name.to_string_lossy().starts_with("._");
        let is_folder = file.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder || !(is_number || is_litter) {
            return Err(damaged(&file.path(), "no such file belongs here"));
        }
    }
    Ok(())
}

/// Compares the table of contents at the end of a table file with its checksum and with the file's length.
fn check_contents(path: &Path) -> Result<()> {
    let (mut file, length) = open(path)?;
    let trailer_at = length.checked_sub(TRAILER_BYTES).ok_or_else(|| damaged(path, "it is too short"))?;
    let trailer = Trailer::parse(&read_at(&mut file, path, trailer_at, TRAILER_BYTES)?)?;
    let contents_bytes = trailer_at.checked_sub(trailer.at).filter(|&bytes| bytes <= CONTENTS_LIMIT);
    let contents_bytes = contents_bytes.ok_or_else(|| damaged(path, "its table of contents lies outside"))?;
    let contents = read_at(&mut file, path, trailer.at, contents_bytes)?;
    if xxh3_128(&contents) != trailer.checksum {
        return Err(damaged(path, "its table of contents is not what was written"));
    }
    let inside = |section: &Section<'_>| section.at.checked_add(section.length).is_some_and(|end| end <= trailer.at);
    if sections(&contents)?.iter().all(inside) { Ok(()) } else { Err(damaged(path, "a section lies outside")) }
}

/// Compares all bytes of a table file with the checksum that the manifest has. Gives their number.
pub fn check_bytes(table: &TableFile) -> Result<u64> {
    let (mut file, length) = open(&table.path)?;
    let mut hasher = Xxh3Default::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(|error| io_error(&table.path, &error))?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    if hasher.digest128() == table.checksum {
        return Ok(length);
    }
    Err(damaged(&table.path, "its bytes are not what was written"))
}

/// The fixed end of a file: where its table of contents lies, and the checksum of that.
struct Trailer {
    at: u64,
    checksum: u128,
}

impl Trailer {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "end of a file of a tree");
        let magic = reader.array::<6>()?;
        let checksum = u128::from_le_bytes(reader.array()?);
        let at = reader.u64()?;
        let _length = reader.u64()?;
        if &magic == b"SFA!\x01\x00" { Ok(Self { at, checksum }) } else { Err(reader.damaged("it has another format")) }
    }
}

/// An entry of a table of contents.
struct Section<'a> {
    at: u64,
    length: u64,
    name: &'a [u8],
}

fn sections(contents: &[u8]) -> Result<Vec<Section<'_>>> {
    let mut reader = Reader::new(contents, "table of contents of a file of a tree");
    if &reader.array::<4>()? != b"TOC!" {
        return Err(reader.damaged("it has another format"));
    }
    let mut sections = Vec::new();
    for _section in 0..reader.u32()? {
        let (at, length) = (reader.u64()?, reader.u64()?);
        let name_bytes = u16::from_le_bytes(reader.array()?);
        sections.push(Section { at, length, name: reader.raw(usize::from(name_bytes))? });
    }
    reader.end()?;
    Ok(sections)
}

fn open(path: &Path) -> Result<(File, u64)> {
    let file = File::open(path).map_err(|error| io_error(path, &error))?;
    let length = file.metadata().map_err(|error| io_error(path, &error))?.len();
    Ok((file, length))
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (mut file, length) = open(path)?;
    if length > limit {
        return Err(damaged(path, "it is too long"));
    }
    read_at(&mut file, path, 0, length)
}

fn read_at(file: &mut File, path: &Path, at: u64, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at)).map_err(|error| io_error(path, &error))?;
    file.take(count).read_to_end(&mut bytes).map_err(|error| io_error(path, &error))?;
    Ok(bytes)
}

fn io_error(path: &Path, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return damaged(path, "it is missing");
    }
    Error::io(format!("read {}", path.display()), error)
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::damaged(format!("{}: {why}", path.display()))
}
