//! One suite for all forms of `Files`, and what only the faulty one can do.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "clippy does not know helpers of tests as tests")]

use nodedb_env::faulty::{Fault, Faults, FaultyFiles};
use nodedb_env::{Files, MemoryFiles, OpenMode, RealFiles};
use std::io::ErrorKind;
use std::path::Path;

fn behaves(files: &dyn Files, root: &Path) {
    let dir = root.join("a/b");
    files.create_dir_all(&dir).unwrap();
    let path = dir.join("f");
    assert_eq!(files.open(&path, OpenMode::Read).err().unwrap().kind(), ErrorKind::NotFound);
    let file = files.open(&path, OpenMode::CreateNew).unwrap();
    assert_eq!(files.open(&path, OpenMode::CreateNew).err().unwrap().kind(), ErrorKind::AlreadyExists);
    file.allocate(10_000).unwrap();
    file.write_all_at(b"hello", 600).unwrap();
    file.sync().unwrap();
    assert_eq!(file.size().unwrap(), 10_000);
    let mut buf = [9; 8];
    file.read_exact_at(&mut buf, 598).unwrap();
    assert_eq!(&buf, b"\0\0hello\0");
    assert_eq!(file.read_at(&mut buf, 9_996).unwrap(), 4);
    assert_eq!(file.read_exact_at(&mut buf, 9_996).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.set_len(3).unwrap();
    assert_eq!(files.read(&path).unwrap(), [0; 3]);
    assert!(files.open(&path, OpenMode::Read).unwrap().write_all_at(b"x", 0).is_err());

    files.write_atomically(&path, b"new").unwrap();
    files.rename(&path, &dir.join("g")).unwrap();
    files.sync_dir(&dir).unwrap();
    assert_eq!(files.list(&dir).unwrap(), ["g"]);
    assert_eq!(files.list(root).unwrap(), ["a"]);
    assert_eq!(files.read(&dir.join("g")).unwrap(), b"new");
    assert!(!files.exists(&path).unwrap());

    let lock = files.try_lock(&dir.join("LOCK")).unwrap();
    assert_eq!(files.try_lock(&dir.join("LOCK")).err().unwrap().kind(), ErrorKind::WouldBlock);
    drop(lock);
    drop(files.try_lock(&dir.join("LOCK")).unwrap());
    files.remove(&dir.join("g")).unwrap();
    assert!(files.remove(&dir.join("g")).is_err());
    files.remove_dir_all(&root.join("a")).unwrap();
    assert!(!files.exists(&dir).unwrap());
}

#[test]
fn real_files_behave() {
    let dir = tempfile::tempdir().unwrap();
    behaves(&RealFiles, dir.path());
}

#[test]
fn files_in_memory_behave() {
    let files = MemoryFiles::new();
    files.create_dir_all(Path::new("/r")).unwrap();
    behaves(&files, Path::new("/r"));
}

#[test]
fn faulty_files_without_faults_behave() {
    let files = FaultyFiles::new();
    files.create_dir_all(Path::new("/r")).unwrap();
    behaves(&files, Path::new("/r"));
}

const FILE: &str = "/r/f";

fn disk() -> FaultyFiles {
    let memory = MemoryFiles::new();
    memory.create_dir_all(Path::new("/r")).unwrap();
    memory.write_atomically(Path::new(FILE), &[1; 4096]).unwrap();
    FaultyFiles::over(&memory)
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_some_of_the_rest() {
    let disk = disk();
    let file = disk.open(Path::new(FILE), OpenMode::Edit).unwrap();
    file.write_all_at(&[2; 1024], 0).unwrap();
    file.sync().unwrap();
    file.write_all_at(&[3; 2048], 1024).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let bytes = disk.power_cut(seed).read(Path::new(FILE)).unwrap();
        assert_eq!(bytes[..1024], [2; 1024]);
        assert_eq!(bytes[3072..], [1; 1024]);
        for sector in bytes[1024..3072].chunks(512) {
            assert!(sector == [1; 512] || sector == [3; 512]);
        }
        seen.insert(bytes);
    }
    assert!(seen.len() > 10);
    assert_eq!(disk.image().read(Path::new(FILE)).unwrap()[1024..3072], [3; 2048]);
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let disk = disk();
    disk.rename(Path::new(FILE), Path::new("/r/g")).unwrap();
    let both: Vec<_> = (0..20).map(|seed| disk.power_cut(seed).list(Path::new("/r")).unwrap()).collect();
    assert!(both.contains(&vec!["f".to_owned()]) && both.contains(&vec!["g".to_owned()]));
    disk.sync_dir(Path::new("/r")).unwrap();
    assert!((0..20).all(|seed| disk.power_cut(seed).list(Path::new("/r")).unwrap() == ["g"]));
}

#[test]
fn an_atomic_write_is_old_or_new_at_every_cut() {
    let path = Path::new(FILE);
    for at in 1..=6 {
        let disk = disk();
        disk.set_faults(Faults { freeze_at: Some(at), seed: at, ..Faults::default() });
        let done = disk.write_atomically(path, &[7; 700]).is_ok();
        for seed in 0..20 {
            let bytes = disk.power_cut(seed).read(path).unwrap();
            assert!(bytes == [7; 700] || (!done && bytes == [1; 4096]), "cut at call {at}");
        }
    }
}

#[test]
fn errors_come_when_they_were_ordered() {
    let disk = disk();
    let file = disk.open(Path::new(FILE), OpenMode::Edit).unwrap();
    let fail = Some(Fault { at: disk.calls() + 2, kind: ErrorKind::StorageFull, forever: true });
    let fail_read = Some(Fault { at: disk.reads() + 2, kind: ErrorKind::Other, forever: false });
    disk.set_faults(Faults { fail, fail_read, ..Faults::default() });
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(file.write_all_at(b"x", 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::StorageFull);
    let mut buf = [0; 1];
    assert!(file.read_at(&mut buf, 0).is_ok());
    assert!(file.read_at(&mut buf, 0).is_err());
    assert!(file.read_at(&mut buf, 0).is_ok());
}

#[test]
fn what_a_failed_or_lying_sync_dropped_is_never_durable() {
    let disk = disk();
    let file = disk.open(Path::new(FILE), OpenMode::Edit).unwrap();
    disk.set_faults(Faults { lying_syncs: true, ..Faults::default() });
    file.write_all_at(&[5; 4096], 0).unwrap();
    file.sync().unwrap();
    let lost = (0..20).any(|seed| disk.power_cut(seed).read(Path::new(FILE)).unwrap() != [5; 4096]);
    assert!(lost);
    let at = disk.calls() + 1;
    disk.set_faults(Faults { fail: Some(Fault { at, kind: ErrorKind::Other, forever: false }), ..Faults::default() });
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(disk.image().read(Path::new(FILE)).unwrap(), [5; 4096]);
    assert_ne!(disk.power_cut(0).read(Path::new(FILE)).unwrap(), [5; 4096]);
    file.write_all_at(&[5; 4096], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.power_cut(0).read(Path::new(FILE)).unwrap(), [5; 4096]);
}
