//! What the files in memory and the faulty files share: contents, and a tree of names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The bytes of a file. Zeros at the end that nobody wrote take no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    len: u64,
}

impl Content {
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let n = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let written = self.bytes.get(start..).unwrap_or_default();
        let known = written.len().min(n);
        let (head, tail) = buf.split_at_mut(known);
        head.copy_from_slice(written.get(..known).unwrap_or_default());
        tail.get_mut(..n - known).unwrap_or_default().fill(0);
        n
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        self.len = self.len.max(end as u64);
        Ok(())
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        self.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        self.len = len;
    }
}

/// Directories, and names of files. `N` is what a name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Tree<N> {
    dirs: BTreeSet<PathBuf>,
    pub(crate) files: BTreeMap<PathBuf, N>,
}

impl<N> Default for Tree<N> {
    fn default() -> Self {
        Self { dirs: BTreeSet::new(), files: BTreeMap::new() }
    }
}

impl<N: Clone> Tree<N> {
    /// The same directories, with other files in them.
    pub(crate) fn with_files<M>(&self, files: BTreeMap<PathBuf, M>) -> Tree<M> {
        Tree { dirs: self.dirs.clone(), files }
    }

    pub(crate) fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        if dir.ancestors().any(|a| self.files.contains_key(a)) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        self.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    pub(crate) fn get(&self, path: &Path) -> io::Result<N> {
        if self.dirs.contains(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn insert(&mut self, path: &Path, node: N) -> io::Result<()> {
        self.require_dir(path.parent().unwrap_or(Path::new("")))?;
        if self.dirs.contains(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.files.insert(path.to_owned(), node);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<N> {
        let node = self.get(path)?;
        self.files.remove(path);
        Ok(node)
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.get(from)?;
        self.insert(to, node)?;
        if from != to {
            self.files.remove(from);
        }
        Ok(())
    }

    pub(crate) fn remove_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        self.require_dir(dir)?;
        self.dirs.retain(|d| !d.starts_with(dir));
        self.files.retain(|f, _| !f.starts_with(dir));
        Ok(())
    }

    pub(crate) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.require_dir(dir)?;
        let inside = self.dirs.iter().chain(self.files.keys()).filter(|p| p.parent() == Some(dir));
        let mut names: Vec<_> = inside.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.dirs.contains(path) || self.files.contains_key(path)
    }

    pub(crate) fn require_dir(&self, dir: &Path) -> io::Result<()> {
        let root = dir.as_os_str().is_empty() || dir.parent().is_none();
        if root || self.dirs.contains(dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
