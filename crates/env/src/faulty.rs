//! A disk that loses power, fills up, breaks and lies; in memory, and again and again the same.
//!
//! [`FaultyFiles`] keeps two states. The *live* one is what the running program sees. The *durable* one
//! is what was synced. Between them lie changes on their way: [`FaultyFiles::power_cut`] lets a random
//! part of them arrive, sector by sector, name by name; [`FaultyFiles::image`] lets all arrive, as when
//! only the process was killed. Directories themselves are durable at once.
//!
//! Each call that changes something (open with creation, write, length, sync, rename, remove) has a
//! number, from 1; so a test can let each of them, in turn, be the one that fails.

use crate::disk::{Content, Tree};
use crate::memory::Locks;
use crate::random::mix;
use crate::{File, Files, Lock, MemoryFiles, OpenMode};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::RefUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What a file system gives out.
const PAGE: u64 = 4096;

/// What goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The changing call in whose middle the power goes: it happens in part, and it and all that
    /// follows, reads too, fails.
    pub freeze_at: Option<u64>,
    /// A changing call that fails.
    pub fail: Option<Fault>,
    /// A read that fails; reads are counted by themselves, from 1.
    pub fail_read: Option<Fault>,
    /// Syncs return without doing anything.
    pub lying_syncs: bool,
    /// A sync in whose middle the power goes reports success, and yet only such bytes arrive whose pages were synced
    /// before: the list of the file's blocks does not. A file system that is being shut down can do that.
    pub late_blocks: bool,
    /// Which part of a torn call happens.
    pub seed: u64,
}

/// An error of the disk.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The number of the call.
    pub at: u64,
    /// What it returns, such as [`io::ErrorKind::StorageFull`].
    pub kind: io::ErrorKind,
    /// Whether all later calls fail, too.
    pub forever: bool,
}

impl Fault {
    fn hits(fault: Option<Self>, call: u64) -> Option<io::Error> {
        let fault = fault?;
        (call == fault.at || (fault.forever && call > fault.at)).then(|| fault.kind.into())
    }
}

/// Files on a faulty disk. Clones see the same disk.
#[derive(Clone, Default)]
pub struct FaultyFiles {
    disk: Arc<Mutex<Disk>>,
    locks: Locks,
}

impl FaultyFiles {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds a copy of `files`, all durable.
    #[must_use]
    pub fn over(files: &MemoryFiles) -> Self {
        let contents = files.contents();
        let mut disk = Disk::default();
        let mut names = BTreeMap::new();
        for (path, content) in &contents.files {
            names.insert(path.clone(), disk.inodes.len());
            disk.inodes.push(Inode { live: content.clone(), durable: content.clone(), ..Inode::default() });
        }
        disk.durable.clone_from(&names);
        disk.tree = contents.with_files(names);
        Self { disk: Arc::new(Mutex::new(disk)), locks: Locks::default() }
    }

    /// Says what goes wrong from now on. The numbers of calls go on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk.lock().faults = faults;
    }

    /// How many changing calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk.lock().calls
    }

    /// How many reads there were.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.disk.lock().reads
    }

    /// What a process finds after this one was killed: all that was done, synced or not.
    #[must_use]
    pub fn image(&self) -> MemoryFiles {
        let disk = self.disk.lock();
        let live = |id: &usize| disk.inodes.get(*id).map(|inode| inode.live.clone()).unwrap_or_default();
        let files = disk.tree.files.iter().map(|(path, id)| (path.clone(), live(id))).collect();
        MemoryFiles::of(&disk.tree.with_files(files))
    }

    /// What a process finds after a power cut: all that was synced, and of the rest what `seed` says.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> MemoryFiles {
        let disk = self.disk.lock();
        let mut names = disk.durable.clone();
        for (i, change) in disk.names.iter().enumerate() {
            if choose(seed, i as u64, 2) == 1 {
                change.apply(&mut names);
            }
        }
        let content = |id: usize| match disk.inodes.get(id) {
            Some(inode) => inode.after_power_cut(mix(seed ^ id as u64)),
            None => Content::default(),
        };
        let files = names.into_iter().map(|(path, id)| (path, content(id))).collect();
        MemoryFiles::of(&disk.tree.with_files(files))
    }

    fn file(&self, id: usize, writable: bool) -> Arc<dyn File> {
        Arc::new(FaultyFile { disk: self.disk.clone(), id, writable })
    }
}

/// One of `0..n`, by chance.
fn choose(seed: u64, what: u64, n: u64) -> u64 {
    mix(mix(seed.wrapping_add(0x9e37_79b9)).wrapping_add(what)).checked_rem(n).unwrap_or(0)
}

#[derive(Default)]
struct Disk {
    tree: Tree<usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Changes of names that are on their way.
    names: Vec<NameChange>,
    inodes: Vec<Inode>,
    faults: Faults,
    calls: u64,
    reads: u64,
    frozen: bool,
}

#[derive(Default)]
struct Inode {
    live: Content,
    durable: Content,
    /// Changes of bytes that are on their way.
    pending: Vec<Change>,
    /// Pages that were synced, so that their blocks are known.
    pages: BTreeSet<u64>,
}

enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

enum NameChange {
    Set(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, id) => _ = names.insert(path.clone(), *id),
            Self::Remove(path) => _ = names.remove(path),
            Self::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Set(path, _) | Self::Remove(path) | Self::Rename(_, path, _) => path.parent() == Some(dir),
        }
    }
}

impl Inode {
    fn change(&mut self, change: Change) -> io::Result<()> {
        match &change {
            Change::Write(offset, bytes) => self.live.write(bytes, *offset)?,
            Change::Len(len) => self.live.set_len(*len),
        }
        self.pending.push(change);
        Ok(())
    }

    /// Only changes that are still on their way arrive: what a failed sync dropped stays lost.
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write(offset, bytes) => {
                    self.pages.extend(offset / PAGE..(offset + bytes.len() as u64).div_ceil(PAGE));
                    _ = self.durable.write(&bytes, offset);
                }
                Change::Len(len) => self.durable.set_len(len),
            }
        }
    }

    /// Only what lies in known blocks arrives.
    fn sync_known_pages(&mut self) {
        for change in self.pending.drain(..) {
            let Change::Write(offset, bytes) = change else { continue };
            for (place, piece) in sectors(offset, &bytes) {
                if self.pages.contains(&(place / PAGE)) {
                    _ = self.durable.write(piece, place);
                }
            }
        }
    }

    /// Each sector holds what it held at some moment since the last sync.
    fn after_power_cut(&self, seed: u64) -> Content {
        let moments = self.pending.len() as u64 + 1;
        let mut content = self.durable.clone();
        for (i, change) in self.pending.iter().enumerate() {
            match change {
                Change::Write(offset, bytes) => {
                    for (place, piece) in sectors(*offset, bytes) {
                        if (i as u64) < choose(seed, place / SECTOR as u64, moments) {
                            _ = content.write(piece, place);
                        }
                    }
                }
                Change::Len(len) if (i as u64) < choose(seed, u64::MAX, moments) => content.set_len(*len),
                Change::Len(_) => {}
            }
        }
        content
    }
}

/// Divides bytes at the limits of sectors.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let first = SECTOR - (offset % SECTOR as u64) as usize;
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let mut pieces = vec![(offset, head)];
    let mut place = offset + head.len() as u64;
    for piece in rest.chunks(SECTOR) {
        pieces.push((place, piece));
        place += piece.len() as u64;
    }
    pieces
}

/// How a changing call ends: as it should, or with this error after having happened in part.
type Verdict = Result<(), io::Error>;

impl Disk {
    fn begin(&mut self) -> io::Result<Verdict> {
        if self.frozen {
            return Err(power_is_out());
        }
        self.calls += 1;
        if self.faults.freeze_at == Some(self.calls) {
            self.frozen = true;
            return Ok(Err(power_is_out()));
        }
        Ok(Fault::hits(self.faults.fail, self.calls).map_or(Ok(()), Err))
    }

    fn begin_read(&mut self) -> io::Result<()> {
        if self.frozen {
            return Err(power_is_out());
        }
        self.reads += 1;
        Fault::hits(self.faults.fail_read, self.reads).map_or(Ok(()), Err)
    }

    fn chance(&self, n: u64) -> u64 {
        choose(self.faults.seed, self.calls, n)
    }

    fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A change of names happens whole or not at all, but when it fails nobody knows which.
    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let verdict = self.begin()?;
        if verdict.is_ok() || self.chance(2) == 1 {
            match &change {
                NameChange::Set(path, id) => self.tree.insert(path, *id)?,
                NameChange::Remove(path) => self.tree.remove(path).map(drop)?,
                NameChange::Rename(from, to, _) => self.tree.rename(from, to)?,
            }
            self.names.push(change);
        }
        verdict
    }

    fn write(&mut self, id: usize, bytes: &[u8], offset: u64) -> io::Result<()> {
        let verdict = self.begin()?;
        let n = if verdict.is_ok() { bytes.len() } else { self.chance(bytes.len() as u64 + 1) as usize };
        let part = bytes.get(..n).unwrap_or_default().to_vec();
        if !part.is_empty() {
            self.inode(id)?.change(Change::Write(offset, part))?;
        }
        verdict
    }

    fn set_len(&mut self, id: usize, len: u64) -> io::Result<()> {
        let verdict = self.begin()?;
        if verdict.is_ok() {
            self.inode(id)?.change(Change::Len(len))?;
        }
        verdict
    }

    /// A sync that fails has written some sectors, and the rest will not be tried again.
    fn sync(&mut self, id: usize) -> io::Result<()> {
        let verdict = self.begin()?;
        let (lies, frozen, seed) = (self.faults.lying_syncs, self.frozen, self.chance(u64::MAX));
        let late_blocks = self.faults.late_blocks;
        let inode = self.inode(id)?;
        match &verdict {
            Err(_) if frozen && late_blocks => {
                inode.sync_known_pages();
                return Ok(());
            }
            Ok(()) if lies => {}
            Ok(()) => inode.sync(),
            Err(_) if frozen => {}
            Err(_) => {
                inode.durable = inode.after_power_cut(seed);
                inode.pending.clear();
            }
        }
        verdict
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.begin()??;
        self.tree.require_dir(dir)?;
        if self.faults.lying_syncs {
            return Ok(());
        }
        let (arrived, rest) = self.names.drain(..).partition::<Vec<_>, _>(|change| change.is_in(dir));
        self.names = rest;
        for change in arrived {
            change.apply(&mut self.durable);
        }
        Ok(())
    }

    fn create(&mut self, path: &Path) -> io::Result<usize> {
        let id = self.inodes.len();
        self.inodes.push(Inode::default());
        self.change_name(NameChange::Set(path.to_owned(), id))?;
        Ok(id)
    }
}

fn power_is_out() -> io::Error {
    io::Error::other("the power is out")
}

impl Files for FaultyFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()??;
        disk.tree.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        let found = disk.tree.get(path);
        let id = match (mode, found) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Replace, Ok(id)) => {
                disk.set_len(id, 0)?;
                id
            }
            (OpenMode::CreateNew | OpenMode::Replace, Err(_)) => disk.create(path)?,
            (OpenMode::Read | OpenMode::Edit, found) => {
                disk.begin_read()?;
                found?
            }
        };
        Ok(self.file(id, mode != OpenMode::Read))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let id = disk.tree.get(from)?;
        disk.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), id))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.tree.get(path)?;
        disk.change_name(NameChange::Remove(path.to_owned()))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()??;
        let gone: Vec<_> = disk.tree.files.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        disk.tree.remove_dir_all(dir)?;
        disk.names.extend(gone.into_iter().map(NameChange::Remove));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.lock().sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk.lock();
        disk.begin_read()?;
        disk.tree.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut disk = self.disk.lock();
        disk.begin_read()?;
        Ok(disk.tree.exists(path))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.disk.lock();
        if disk.tree.get(path).is_err() {
            disk.create(path)?;
        }
        self.locks.take(path)
    }
}

struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    id: usize,
    writable: bool,
}

impl FaultyFile {
    fn require_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.begin_read()?;
        Ok(disk.inode(self.id)?.live.read(buf, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.require_writable()?;
        self.disk.lock().write(self.id, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.require_writable()?;
        self.disk.lock().set_len(self.id, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.require_writable()?;
        let mut disk = self.disk.lock();
        let len = len.max(disk.inode(self.id)?.live.len());
        disk.set_len(self.id, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().sync(self.id)
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.begin_read()?;
        Ok(disk.inode(self.id)?.live.len())
    }
}

// A test disk: what a panic leaves behind is still some state that a disk can have.
impl RefUnwindSafe for FaultyFiles {}
impl RefUnwindSafe for FaultyFile {}
