//! Files and directories.

use crate::{Mapping, Pages};
use std::io;
use std::panic::RefUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Edit,
    /// For reading and writing; it must not exist.
    CreateNew,
    /// For reading and writing; it is made, or emptied if it exists.
    Replace,
}

/// A place for files.
///
/// Nothing is durable until it was synced: bytes and lengths by [`File::sync`], the names of files
/// (made, renamed, removed) by [`Files::sync_dir`].
pub trait Files: Send + Sync + RefUnwindSafe {
    /// Makes a directory and its parents, where they are missing.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all that is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Whether a file or directory has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Takes the lock file at `path`, which is made where it is missing. While the lock lives, everybody
    /// else gets [`io::ErrorKind::WouldBlock`]; it ends with the process, too.
    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// All of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// All of a file, as memory that need not be read before it is used. It must not change while it is mapped.
    ///
    /// Where files cannot be mapped, they are read.
    fn map(&self, path: &Path) -> io::Result<Arc<dyn Mapping>> {
        let file = self.open(path, OpenMode::Read)?;
        let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
        let mut pages = Pages::new(size)?;
        file.read_exact_at(&mut pages, 0)?;
        Ok(Arc::new(pages))
    }

    /// Replaces a file as a whole: after a crash it holds either the old bytes or the new ones, and the
    /// new ones once this has returned. They are written to `path` with `.tmp` added first.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = aside(path);
        let file = self.open(&aside, OpenMode::Replace)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        drop(file);
        self.rename(&aside, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }
}

/// An open file. Reading and writing name their place, so that one handle serves many threads.
pub trait File: Send + Sync + RefUnwindSafe {
    /// Reads into `buf` from `offset`; how many bytes, 0 only at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, behind the end too.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or lengthens the file (with zeros).
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Lengthens the file to `len` (with zeros) and reserves the space, where the system can, so that
    /// writing into it does not fail for want of space.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length durable. After an error nobody knows what is durable: do not go on.
    fn sync(&self) -> io::Result<()>;

    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`, or fails with [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.read_at(buf, offset)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf = buf.get_mut(n..).unwrap_or_default();
            offset += n as u64;
        }
        Ok(())
    }
}

/// A lock that was taken; dropping it gives it back.
pub trait Lock: Send + Sync + RefUnwindSafe {}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}
