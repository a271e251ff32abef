//! A disk that loses power, breaks, fills up and lies, at every call that the store makes in turn. What was
//! acknowledged is there afterwards; of what was under way a prefix may be; nothing else ever is.

use crate::world::{DIR, History, World, options, state};
use nodedb_base::{Error, Lsn};
use nodedb_env::faulty::{Fault, Faults, FaultyFiles};
use nodedb_env::{Files, MemoryFiles, OpenMode};
use nodedb_store::Store;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How long the scripts are.
const STEPS: u64 = 30;

/// Runs a script on a new disk until something fails.
fn run(seed: u64, faults: Faults) -> (FaultyFiles, History) {
    let files = FaultyFiles::new();
    files.set_faults(faults);
    let mut history = History::default();
    if let Ok(store) = World::new(&files).open() {
        history.run(&store, seed, STEPS);
    }
    (files, history)
}

/// How many changing calls an undisturbed script makes.
fn calls(seed: u64) -> u64 {
    let (files, history) = run(seed, Faults::default());
    assert!(history.failures.is_empty() && history.acknowledged.len() > 30, "{history:?}");
    files.calls()
}

/// Opens what is left, compares it with the history, and goes on from there.
fn check(image: &MemoryFiles, history: &History) -> Result<(), String> {
    let store = World::new(image).open().map_err(|e| format!("cannot be opened: {e:?}"))?;
    let last = store.last().0 as usize;
    let (least, most) = (history.acknowledged.len(), history.acknowledged.len() + history.unsure.len());
    if !(least..=most).contains(&last) {
        return Err(format!("{least} commits were acknowledged, {last} are there, {most} were tried"));
    }
    let expected = history.state_at(last);
    if state(&store) != expected {
        return Err(format!("the state after commit {last} is not what was written"));
    }
    store.verify().map_err(|e| format!("does not verify: {e:?}"))?;
    go_on(store, image, last)
}

/// A database that was mended takes commits, and keeps them.
fn go_on(store: Store, image: &MemoryFiles, last: usize) -> Result<(), String> {
    let mut more = History::starting_from(state(&store), last);
    more.run(&store, 77, 4);
    if !more.failures.is_empty() {
        return Err(format!("takes no more commits: {:?}", more.failures));
    }
    drop(store);
    let store = World::new(image).open().map_err(|e| format!("cannot be opened again: {e:?}"))?;
    let wrong = state(&store) != more.state_at(last + more.acknowledged.len());
    if wrong { Err("lost what came after it was mended".into()) } else { Ok(()) }
}

/// Both what a killed process leaves and what a power cut leaves, for several outcomes of what was on its way.
fn check_all(files: &FaultyFiles, history: &History, cuts: u64) -> Result<u64, String> {
    check(&files.image(), history).map_err(|e| format!("killed: {e}"))?;
    for cut in 0..cuts {
        check(&files.power_cut(cut), history).map_err(|e| format!("power cut {cut}: {e}"))?;
    }
    Ok(1 + cuts)
}

/// The power goes at each call in turn.
fn every_freeze(seeds: u64, cuts: u64) -> u64 {
    let mut images = 0;
    for seed in 0..seeds {
        for at in 1..=calls(seed) {
            let (files, history) = run(seed, Faults { freeze_at: Some(at), seed: at ^ seed, ..Faults::default() });
            images += check_all(&files, &history, cuts).unwrap_or_else(|e| panic!("seed {seed}, call {at}: {e}"));
        }
    }
    images
}

#[test]
fn a_power_cut_at_every_call_loses_nothing() {
    assert!(every_freeze(1, 2) > 200);
}

#[test]
#[ignore = "some minutes; prints what it has seen"]
fn a_power_cut_at_every_call_loses_nothing_long() {
    let images = every_freeze(12, 12);
    println!("{images} images of a disk, all whole");
}

/// The error that a caller gets first is the disk's own, or tells that the store has ended.
fn check_class(kind: io::ErrorKind, error: &Error) -> Result<bool, String> {
    let wanted = if kind == io::ErrorKind::StorageFull { "53100" } else { "58030" };
    match (error, error.sqlstate().as_str()) {
        (Error::Io(_), code) if code == wanted => Ok(true),
        (Error::Closed(_), "57P02" | "57P03") => Ok(false),
        _ => Err(format!("{kind:?} became {error:?}")),
    }
}

/// After a failed write or sync, which all members of its group are told of, no commit is even tried.
fn check_ended(history: &History) -> Result<(), String> {
    let is_broken = |e: &&Error| e.sqlstate().as_str() == "58030";
    let mut later = history.commit_failures.iter().skip_while(|e| !is_broken(e)).skip_while(is_broken);
    let broken = history.commit_failures.iter().any(|e| is_broken(&e));
    match later.find(|e| !matches!(e, Error::Closed(_))) {
        Some(e) => Err(format!("tried again after a failed write: {e:?}")),
        None if broken && history.went_on => Err("a commit succeeded after a failed write".into()),
        None => Ok(()),
    }
}

/// One call fails; the script goes on as far as it can.
fn fail_at(seed: u64, fault: Fault) -> Result<u64, String> {
    let files = FaultyFiles::new();
    files.set_faults(Faults { fail: Some(fault), seed: fault.at, ..Faults::default() });
    let mut history = History::default();
    let opened = World::new(&files).open();
    match &opened {
        Ok(store) => history.run_through(store, seed, STEPS),
        Err(e) => _ = check_class(fault.kind, e)?,
    }
    for failure in &history.failures {
        check_class(fault.kind, failure)?;
    }
    check_ended(&history)?;
    drop(opened);
    files.set_faults(Faults::default());
    check_all(&files, &history, 2)?;
    Ok(u64::from(!history.failures.is_empty()))
}

fn every_failure(seeds: u64, stride: u64) -> u64 {
    let mut noticed = 0;
    for seed in 0..seeds {
        let calls = calls(seed);
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            for forever in [false, true] {
                for at in (1 + seed % stride..=calls).step_by(stride as usize) {
                    let outcome = fail_at(seed, Fault { at, kind, forever });
                    noticed += outcome.unwrap_or_else(|e| panic!("seed {seed}, {kind:?} at {at}, {forever}: {e}"));
                }
            }
        }
    }
    noticed
}

#[test]
fn an_error_at_every_call_reaches_the_caller_and_loses_nothing() {
    assert!(every_failure(1, 2) > 80);
}

#[test]
#[ignore = "some minutes; prints what it has seen"]
fn an_error_at_every_call_reaches_the_caller_and_loses_nothing_long() {
    println!("{} failures, all told, nothing lost", every_failure(12, 1));
}

#[test]
fn a_full_disk_at_a_new_segment_can_be_tried_again() {
    let calls = calls(0);
    let again = (1..=calls).filter(|&at| {
        let files = FaultyFiles::new();
        let fault = Fault { at, kind: io::ErrorKind::StorageFull, forever: false };
        files.set_faults(Faults { fail: Some(fault), ..Faults::default() });
        let Ok(store) = World::new(&files).open() else { return false };
        let mut history = History::default();
        history.run_through(&store, 0, STEPS);
        history.commit_failures.iter().any(|e| e.sqlstate().as_str() == "53100") && history.went_on
    });
    assert!(again.count() > 0);
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out_by_these_tests() {
    let (files, history) = run(3, Faults { lying_syncs: true, ..Faults::default() });
    assert!(history.failures.is_empty());
    let lost = (0..8).filter(|&cut| check(&files.power_cut(cut), &history).is_err()).count();
    assert_eq!(lost, 8);
}

#[test]
fn reads_that_fail_are_reported() {
    let (files, history) = run(1, Faults::default());
    let image = files.image();
    let mut reported = 0;
    for at in 1.. {
        let files = FaultyFiles::over(&image);
        let fault = Fault { at, kind: io::ErrorKind::Other, forever: false };
        files.set_faults(Faults { fail_read: Some(fault), ..Faults::default() });
        let opened = World::new(&files).open();
        if files.reads() < at {
            break;
        }
        match opened {
            Err(e) => assert!(check_class(fault.kind, &e).unwrap(), "read {at}: {e:?}"),
            Ok(_) => panic!("read {at} failed, and nobody noticed"),
        }
        reported += 1;
        check(&files.image(), &history).unwrap_or_else(|e| panic!("read {at}: {e}"));
    }
    assert!(reported > 10, "{reported}");
}

/// Recovery itself is cut off, or fails, at each of its calls; the next one finds the same.
#[test]
fn an_opening_that_is_cut_off_is_repeated() {
    let (files, history) = run(2, Faults { freeze_at: Some(calls(2) * 2 / 3), seed: 5, ..Faults::default() });
    let torn = files.power_cut(4);
    let whole = FaultyFiles::over(&torn);
    World::new(&whole).open().unwrap();
    for at in 1..=whole.calls() {
        for freeze in [true, false] {
            let files = FaultyFiles::over(&torn);
            let fault = Fault { at, kind: io::ErrorKind::Other, forever: false };
            let (freeze_at, fail) = if freeze { (Some(at), None) } else { (None, Some(fault)) };
            files.set_faults(Faults { freeze_at, fail, seed: at, ..Faults::default() });
            drop(World::new(&files).open());
            files.set_faults(Faults::default());
            check_all(&files, &history, 3).unwrap_or_else(|e| panic!("call {at}: {e}"));
        }
    }
}

#[test]
fn a_creation_that_is_cut_off_at_any_call_is_begun_anew_or_done() {
    let whole = FaultyFiles::new();
    drop(World::new(&whole).open().unwrap());
    let nothing = History::default();
    for at in 1..=whole.calls() {
        for seed in 0..4 {
            let files = FaultyFiles::new();
            files.set_faults(Faults { freeze_at: Some(at), seed, ..Faults::default() });
            drop(World::new(&files).open());
            check_all(&files, &nothing, 4).unwrap_or_else(|e| panic!("call {at}, seed {seed}: {e}"));
        }
    }
}

#[test]
fn a_creation_that_fails_at_any_call_says_why_and_can_be_repeated() {
    let whole = FaultyFiles::new();
    drop(World::new(&whole).open().unwrap());
    for at in 1..=whole.calls() {
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            let files = FaultyFiles::new();
            files.set_faults(Faults { fail: Some(Fault { at, kind, forever: true }), seed: at, ..Faults::default() });
            if let Err(e) = World::new(&files).open() {
                assert!(check_class(kind, &e).unwrap(), "call {at}: {e:?}");
            }
            files.set_faults(Faults::default());
            check_all(&files, &History::default(), 3).unwrap_or_else(|e| panic!("call {at}: {e}"));
        }
    }
}

fn all_files(files: &MemoryFiles, dir: &Path) -> Vec<PathBuf> {
    let paths = files.list(dir).unwrap().into_iter().map(|name| dir.join(name));
    paths.flat_map(|path| if files.list(&path).is_ok() { all_files(files, &path) } else { vec![path] }).collect()
}

#[test]
fn each_file_that_is_missing_or_cut_is_reported() {
    let (files, history) = run(4, Faults::default());
    let image = files.image();
    let all = all_files(&image, Path::new(DIR));
    assert!(all.len() > 6, "{all:?}");
    for path in all.iter().filter(|path| !path.ends_with("LOCK")) {
        let gone = image.fork();
        gone.remove(path).unwrap();
        let error = World::new(&gone).open().unwrap_err();
        assert_eq!(error.sqlstate().as_str(), "XX001", "{}: {error:?}", path.display());
        assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
        let cut = image.fork();
        cut.open(path, OpenMode::Edit).unwrap().set_len(7).unwrap();
        let error = World::new(&cut).open().unwrap_err();
        assert_eq!(error.sqlstate().as_str(), "XX001", "{}: {error:?}", path.display());
    }
    check(&image, &history).unwrap();
}

#[test]
fn the_mark_of_a_creation_beside_a_whole_database_is_only_removed() {
    let (files, history) = run(4, Faults::default());
    let image = files.image();
    image.write_atomically(&Path::new(DIR).join("CREATING"), &[]).unwrap();
    check(&image, &history).unwrap();
    assert!(!image.exists(&Path::new(DIR).join("CREATING")).unwrap());
}

/// A closed store gives its directory away, even while somebody still holds a transaction of it.
#[test]
fn a_closed_store_lets_go_of_its_directory() {
    let files = MemoryFiles::new();
    let first = World::new(&files).open().unwrap();
    let mut history = History::default();
    history.run(&first, 1, 3);
    let forgotten = first.begin(nodedb_store::TransactionOptions::default()).unwrap();
    first.close().unwrap();
    let second = World::new(&files).open().unwrap();
    assert_eq!(second.last(), Lsn(history.acknowledged.len() as u64));
    assert_eq!(first.checkpoint().unwrap_err().sqlstate().as_str(), "57P01");
    assert_eq!(forgotten.view().row(crate::world::TABLE, nodedb_base::RowId(1)).unwrap_err().sqlstate().0, "57P01");
    history.run(&second, 2, 3);
    drop(first);
    drop(second);
    check(&files, &history).unwrap();
}

/// A store whose log has failed still closes everything.
#[test]
fn a_poisoned_store_closes_its_trees_too() {
    let files = FaultyFiles::new();
    let store = World::new(&files).open().unwrap();
    let mut history = History::default();
    history.run(&store, 1, 3);
    let fault = Fault { at: files.calls() + 1, kind: io::ErrorKind::Other, forever: false };
    files.set_faults(Faults { fail: Some(fault), ..Faults::default() });
    history.run(&store, 2, 3);
    assert_eq!(history.failures[0].sqlstate().as_str(), "58030");
    let reader = store.begin(nodedb_store::TransactionOptions::default()).unwrap();
    assert!(store.close().is_err());
    assert_eq!(reader.view().row(crate::world::TABLE, nodedb_base::RowId(1)).unwrap_err().sqlstate().0, "57P01");
    let reopened = World::new(&files).open();
    assert!(reopened.is_ok(), "the lock is free: {reopened:?}");
}

#[test]
fn the_options_of_these_tests_make_many_segments() {
    let (files, _) = run(0, Faults::default());
    let segments = all_files(&files.image(), Path::new(DIR)).iter().filter(|p| p.extension().is_some()).count();
    assert!(segments > 3 && options().segment_bytes < 20_000, "{segments}");
    let _: Arc<dyn Files> = Arc::new(files);
}
