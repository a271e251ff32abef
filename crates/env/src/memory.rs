//! Files in memory.

use crate::disk::{Content, Tree};
use crate::{File, Files, Lock, OpenMode};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::RefUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Node = Arc<RwLock<Content>>;

/// Files in memory, for tests and for databases without a disk. Clones see the same files.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    tree: Arc<Mutex<Tree<Node>>>,
    locks: Locks,
}

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy that shares nothing with this one. Locks stay behind.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of(&self.contents())
    }

    pub(crate) fn of(contents: &Tree<Content>) -> Self {
        let node = |(path, content): (&PathBuf, &Content)| (path.clone(), Arc::new(RwLock::new(content.clone())));
        let tree = contents.with_files(contents.files.iter().map(node).collect());
        Self { tree: Arc::new(Mutex::new(tree)), locks: Locks::default() }
    }

    pub(crate) fn contents(&self) -> Tree<Content> {
        let tree = self.tree.lock();
        let files: BTreeMap<_, _> = tree.files.iter().map(|(p, n)| (p.clone(), n.read().clone())).collect();
        tree.with_files(files)
    }
}

impl Files for MemoryFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.tree.lock().create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut tree = self.tree.lock();
        let found = tree.get(path);
        let node = match (mode, found) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Replace, Ok(node)) => {
                node.write().set_len(0);
                node
            }
            (OpenMode::CreateNew | OpenMode::Replace, Err(_)) => {
                let node = Node::default();
                tree.insert(path, node.clone())?;
                node
            }
            (OpenMode::Read | OpenMode::Edit, found) => found?,
        };
        Ok(Arc::new(MemoryFile { node, writable: mode != OpenMode::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tree.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree.lock().remove(path).map(drop)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.tree.lock().remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tree.lock().require_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.tree.lock().list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.tree.lock().exists(path))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut tree = self.tree.lock();
        if tree.get(path).is_err() {
            tree.insert(path, Node::default())?;
        }
        self.locks.take(path)
    }
}

struct MemoryFile {
    node: Node,
    writable: bool,
}

impl MemoryFile {
    fn change(&self) -> io::Result<parking_lot::RwLockWriteGuard<'_, Content>> {
        if self.writable { Ok(self.node.write()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.node.read().read(buf, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change()?.write(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?.set_len(len);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut content = self.change()?;
        let len = len.max(content.len());
        content.set_len(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.node.read().len())
    }
}

/// The lock files that somebody holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Locks {
    pub(crate) fn take(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if !self.0.lock().insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { path: path.to_owned(), held: self.clone() }))
    }
}

struct MemoryLock {
    path: PathBuf,
    held: Locks,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.held.0.lock().remove(&self.path);
    }
}

// No change to a tree or a content can stop half way with a panic.
impl RefUnwindSafe for MemoryFiles {}
impl RefUnwindSafe for MemoryFile {}
impl RefUnwindSafe for MemoryLock {}
