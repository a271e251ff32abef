//! tantivy's files, through `env` like all others: written once, synced when they are whole, mapped to be read.

use nodedb_env::{Env, File, Mapping, OpenMode};
use stable_deref_trait::StableDeref;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};

/// A directory of one part.
#[derive(Clone)]
pub(super) struct EnvDirectory {
    env: Env,
    dir: PathBuf,
}

impl EnvDirectory {
    pub(super) fn new(env: Env, dir: PathBuf) -> Self {
        Self { env, dir }
    }

    fn path(&self, name: &Path) -> PathBuf {
        self.dir.join(name)
    }
}

impl fmt::Debug for EnvDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvDirectory({})", self.dir.display())
    }
}

/// A mapped file.
#[derive(Clone)]
struct Mapped(Arc<dyn Mapping>);

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} bytes)", self.0.bytes().len())
    }
}

impl std::ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

// SAFETY: what `StableDeref` promises is what `Mapping` says of itself: its bytes stay where they are as long as it lives,
// and it lies behind an `Arc`, so that moving this moves none of them.
#[allow(unsafe_code, reason = "tantivy keeps slices of the mapping beside the mapping")]
unsafe impl StableDeref for Mapped {}

#[derive(Debug)]
struct Handle(OwnedBytes);

impl HasLen for Handle {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl FileHandle for Handle {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.start > range.end || range.end > self.0.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("bytes {range:?} of {}", self.0.len())));
        }
        Ok(self.0.slice(range))
    }
}

/// A file that is being written, from its beginning to its end.
struct Writing {
    file: Arc<dyn File>,
    at: u64,
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for Writing {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.file.sync()
    }
}

fn not_read(path: &Path, e: io::Error) -> OpenReadError {
    match e.kind() {
        io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_owned()),
        _ => OpenReadError::wrap_io_error(e, path.to_owned()),
    }
}

impl Directory for EnvDirectory {
    fn get_file_handle(&self, name: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let mapping = self.env.files.map(&self.path(name)).map_err(|e| not_read(name, e))?;
        Ok(Arc::new(Handle(OwnedBytes::new(Mapped(mapping)))))
    }

    fn delete(&self, name: &Path) -> Result<(), DeleteError> {
        self.env.files.remove(&self.path(name)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(name.to_owned()),
            _ => DeleteError::IoError { io_error: Arc::new(e), filepath: name.to_owned() },
        })
    }

    fn exists(&self, name: &Path) -> Result<bool, OpenReadError> {
        self.env.files.exists(&self.path(name)).map_err(|e| not_read(name, e))
    }

    fn open_write(&self, name: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = self.env.files.open(&self.path(name), OpenMode::CreateNew).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(name.to_owned()),
            _ => OpenWriteError::wrap_io_error(e, name.to_owned()),
        })?;
        Ok(io::BufWriter::new(Box::new(Writing { file, at: 0 })))
    }

    fn atomic_read(&self, name: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.env.files.read(&self.path(name)).map_err(|e| not_read(name, e))
    }

    fn atomic_write(&self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        self.env.files.write_atomically(&self.path(name), bytes)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.env.files.sync_dir(&self.dir)
    }

    /// The directory belongs to one index of one database, which has a lock of its own.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    /// Nobody waits for changes: a part has none.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
