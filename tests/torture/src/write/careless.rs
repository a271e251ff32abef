//! A log whose syncs do nothing, so that one can see the checker find what is lost.

use nodedb_env::{Env, File, Files, Lock, OpenMode, RealFiles};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The real world, except that of a segment of the log nothing but its beginning is made durable.
pub fn env() -> Env {
    Env { files: Arc::new(Careless(RealFiles)), ..Env::real() }
}

struct Careless(RealFiles);

impl Files for Careless {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, mode)?;
        let log = path.extension().is_some_and(|extension| extension == "log");
        Ok(if log { Arc::new(CarelessFile { file, new: AtomicBool::new(mode != OpenMode::Edit) }) } else { file })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.try_lock(path)
    }
}

struct CarelessFile {
    file: Arc<dyn File>,
    /// Nobody has asked for a sync yet.
    new: AtomicBool,
}

impl File for CarelessFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.new.swap(false, Ordering::Relaxed) { self.file.sync() } else { Ok(()) }
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}
