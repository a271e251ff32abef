//! A disk that is really full, under a database whose trees are files.

use nodedb::{Database, Error, Options};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A small file system of its own, as long as this lives.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(megabytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"];
        assert!(Command::new("mount").args(mount).arg(dir.path()).status().unwrap().success(), "this needs root");
        Self(dir)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn open(dir: &Path) -> nodedb::Result<Database> {
    let options = Options { segment_bytes: 1 << 20, memtable_bytes: Some(512 << 10), ..Options::default() };
    Database::open_with(dir.join("data"), options)
}

/// Whether an error tells of a full disk, or of a database that has ended because of one.
fn tells_of_a_full_disk(error: &Error) -> bool {
    match (error, error.sqlstate().as_str()) {
        (Error::Io(_), code) => code == "53100",
        (Error::Closed(_), "57P02") => error.to_string().contains("No space left"),
        _ => false,
    }
}

/// Puts rows until one fails for good; notes what was acknowledged.
fn fill(db: &Database, from: i64, acknowledged: &mut BTreeSet<i64>) -> (i64, Vec<Error>) {
    let mut session = db.blocking();
    let (mut id, mut errors) = (from, Vec::new());
    while errors.len() < 20 {
        let text = format!("{id:0>700}");
        match session.table("t").put([id.into(), text.into()]) {
            Ok(()) => _ = acknowledged.insert(id),
            Err(e) => errors.push(e),
        }
        id += 1;
    }
    (id, errors)
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_full_disk_is_told_of_and_loses_nothing() {
    let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
    for ballast_megabytes in [1_usize, 3, 6, 9] {
        let disk = Disk::new(16);
        let (dir, ballast) = (disk.0.path(), disk.0.path().join("ballast"));
        acknowledged.clear();
        std::fs::write(&ballast, vec![1; ballast_megabytes << 20]).unwrap();
        let db = open(dir).unwrap();
        db.blocking().execute("CREATE TABLE t (id bigint PRIMARY KEY, text text)", &[]).unwrap();
        let errors;
        (next, errors) = fill(&db, next, &mut acknowledged);
        assert!(errors.iter().all(tells_of_a_full_disk), "{errors:?}");
        println!("{} rows, then {}: {}", acknowledged.len(), errors[0].sqlstate(), errors[0]);
        drop(db);
        reopen_without_space(dir);
        std::fs::remove_file(&ballast).unwrap();
        let db = open(dir).unwrap();
        let rows = db.table("t").scan::<i64>(..).unwrap().map(|row| row.unwrap().get(0).unwrap());
        let found: BTreeSet<i64> = rows.collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty() && found.len() <= acknowledged.len() + 20, "{lost:?}");
        db.check().unwrap();
        db.blocking().execute("INSERT INTO t VALUES (-1, 'there is room again')", &[]).unwrap();
    }
}

/// Opening needs space, too, perhaps; without it, it says so and harms nothing.
fn reopen_without_space(dir: &Path) {
    match open(dir) {
        Ok(db) => drop(db),
        Err(e) => assert!(tells_of_a_full_disk(&e), "{e:?}"),
    }
}
