//! Power cuts at every call, errors at every call, damage of every page and file.

use super::*;
use nodedb_base::Error;
use nodedb_env::faulty::{Fault, Faults, FaultyFiles};
use nodedb_env::{MemoryFiles, OpenMode, Random, RealFiles, SeededRandom};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::sync::Arc;

const DIR: &str = "/db/log";
const DB: u64 = 7;
/// Segments with room for one page of records.
const SMALL: LogOptions = LogOptions { segment_bytes: 16 << 10 };

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn payload(lsn: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(lsn).fill(&mut bytes);
    bytes
}

fn time(lsn: Lsn) -> i64 {
    -5 + lsn.0.cast_signed()
}

fn create(files: &dyn Clonable) -> Result<FileLog> {
    FileLog::create(files.share(), dir(), DB, SMALL)
}

/// Opens and returns all records behind `after`.
fn open(files: &dyn Clonable, after: Lsn, witness: Lsn) -> Result<(FileLog, Vec<Record>)> {
    let mut records = Vec::new();
    let (log, recovered) = FileLog::open(files.share(), dir(), DB, after, witness, SMALL, &mut |record| {
        records.push(record);
        Ok(())
    })?;
    assert_eq!((recovered.records, recovered.last), (records.len() as u64, log.last()));
    Ok((log, records))
}

trait Clonable {
    fn share(&self) -> Arc<dyn Files>;
}

impl<F: Files + Clone + 'static> Clonable for F {
    fn share(&self) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }
}

/// What a test writes: groups of payload lengths. Idle after every third group.
type Script = [Vec<usize>];

fn group(first: Lsn, lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().enumerate().map(|(i, len)| payload(first.0 + i as u64, *len)).collect()
}

/// How far a run came.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    created: bool,
    acked: Lsn,
    /// The end of the group that was being written.
    tried: Lsn,
    /// What was cut is at or below this.
    cut: Lsn,
}

fn run(files: &dyn Clonable, script: &Script, progress: &mut Progress) -> Result<()> {
    let mut log = create(files)?;
    progress.created = true;
    for (i, lens) in script.iter().enumerate() {
        let first = log.last().next();
        progress.tried = Lsn(log.last().0 + lens.len() as u64);
        progress.acked = log.append(first, time(first), &group(first, lens))?;
        if i % 3 == 2 {
            log.idle()?;
        }
        if i % 11 == 10 {
            progress.cut = Lsn(progress.acked.0 / 2);
            log.cut(progress.cut.next())?;
        }
    }
    log.close()
}

fn lens_of(script: &Script) -> Vec<(Lsn, usize)> {
    let mut out = Vec::new();
    for lens in script {
        let first = Lsn(out.len() as u64 + 1);
        out.extend(lens.iter().map(|len| (first, *len)));
    }
    out
}

/// Whether a log holds what it should after a crash.
fn verify(files: &MemoryFiles, script: &Script, progress: Progress) -> Result<(), String> {
    let after = progress.cut;
    let (log, records) = match open(files, after, Lsn::ZERO) {
        Ok(opened) => opened,
        Err(_) if !progress.created => {
            drop(create(files).map_err(|e| format!("cannot create anew: {e}"))?);
            return Ok(());
        }
        Err(e) => return Err(format!("{progress:?}: {e}")),
    };
    if log.last() < progress.acked || log.last() > progress.tried.max(progress.acked) {
        return Err(format!("{progress:?}, but the log ends at {}", log.last()));
    }
    let lens = lens_of(script);
    for (i, record) in records.iter().enumerate() {
        let lsn = after.0 + 1 + i as u64;
        let (first, len) = lens[lsn as usize - 1];
        let expected = Record { lsn: Lsn(lsn), time: time(first), payload: payload(lsn, len) };
        if *record != expected {
            return Err(format!("{progress:?}: record {lsn} is another"));
        }
    }
    if records.len() as u64 != log.last().0 - after.0 {
        return Err(format!("{progress:?}: {} records", records.len()));
    }
    go_on(files, log).map_err(|e| format!("{progress:?}, then: {e}"))
}

/// What was recovered can be written again, and is then whole.
fn go_on(files: &MemoryFiles, mut log: FileLog) -> Result<()> {
    let first = log.last().next();
    let last = log.append(first, 0, &[vec![1; 30], vec![2; 3000], vec![]])?;
    log.close()?;
    assert_eq!(check(files, dir(), DB)?.last, last);
    let (_, records) = open(files, first.previous(), last)?;
    assert_eq!(records.len(), 3);
    Ok(())
}

/// Runs the script once for each call, and lets the power go there.
fn cut_power_everywhere(script: &Script, faults: &Faults, step: usize) -> Result<(), String> {
    let whole = FaultyFiles::new();
    run(&whole, script, &mut Progress::default()).map_err(|e| e.to_string())?;
    for at in (1..=whole.calls() + 1).step_by(step) {
        let files = FaultyFiles::new();
        files.set_faults(Faults { freeze_at: Some(at), seed: at, ..faults.clone() });
        let mut progress = Progress::default();
        let done = run(&files, script, &mut progress);
        assert!(done.is_err() == (at <= whole.calls()) || faults.late_blocks);
        verify(&files.image(), script, progress).map_err(|e| format!("killed at call {at}: {e}"))?;
        for seed in 0..3 {
            let image = files.power_cut(seed);
            cut_power_while_opening(&image, script, progress, seed)?;
            verify(&image, script, progress).map_err(|e| format!("cut at call {at}, seed {seed}: {e}"))?;
        }
    }
    Ok(())
}

/// The power goes a second time, while the first cut is being mended.
fn cut_power_while_opening(image: &MemoryFiles, script: &Script, progress: Progress, seed: u64) -> Result<(), String> {
    let files = FaultyFiles::over(image);
    files.set_faults(Faults { freeze_at: Some(1 + seed), seed, ..Faults::default() });
    if open(&files, progress.cut, Lsn::ZERO).is_ok() {
        return Ok(());
    }
    verify(&files.power_cut(seed), script, progress).map_err(|e| format!("cut again while opening: {e}"))
}

fn usual_script() -> Vec<Vec<usize>> {
    let random = SeededRandom::new(3);
    let len = || match random.below(8) {
        0 => 0,
        1 => random.below(3000) as usize,
        _ => random.below(300) as usize,
    };
    let mut script: Vec<Vec<usize>> = (0..30).map(|_| (0..=random.below(4)).map(|_| len()).collect()).collect();
    script.push(vec![20_000, 10]);
    script.push(vec![5]);
    script
}

#[test]
fn a_power_cut_at_any_call_keeps_what_was_acknowledged() {
    cut_power_everywhere(&usual_script(), &Faults::default(), 1).unwrap();
}

#[test]
fn a_power_cut_keeps_a_first_group_that_is_too_long_for_the_first_segment() {
    cut_power_everywhere(&[vec![9000], vec![9000, 1], vec![2]], &Faults::default(), 1).unwrap();
}

#[test]
fn a_power_cut_in_a_sync_finds_no_record_in_blocks_that_are_not_known_yet() {
    let late = Faults { late_blocks: true, ..Faults::default() };
    cut_power_everywhere(&usual_script(), &late, 1).unwrap();
}

#[test]
fn the_power_cut_test_can_fail() {
    let lying = Faults { lying_syncs: true, ..Faults::default() };
    let failure = cut_power_everywhere(&usual_script(), &lying, 1).unwrap_err();
    assert!(failure.contains("cut at call") || failure.contains("cut again"), "{failure}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_groups_survive_power_cuts(script in prop::collection::vec(prop::collection::vec(0_usize..2500, 1..6), 1..25)) {
        cut_power_everywhere(&script, &Faults::default(), 5).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn an_error_at_any_call_reaches_the_caller_and_loses_nothing() {
    let script = usual_script();
    let whole = FaultyFiles::new();
    run(&whole, &script, &mut Progress::default()).unwrap();
    for at in 1..=whole.calls() {
        for (kind, forever) in [(ErrorKind::Other, false), (ErrorKind::StorageFull, false), (ErrorKind::Other, true)] {
            let files = FaultyFiles::new();
            files.set_faults(Faults { fail: Some(Fault { at, kind, forever }), seed: at, ..Faults::default() });
            let mut progress = Progress::default();
            let error = run(&files, &script, &mut progress).unwrap_err();
            let code = if kind == ErrorKind::StorageFull { "53100" } else { "58030" };
            assert_eq!(error.sqlstate().as_str(), code, "{error}");
            for seed in 0..2 {
                verify(&files.power_cut(seed), &script, progress).unwrap();
            }
            verify(&files.image(), &script, progress).unwrap();
            reopen_then_cut_power(&files, &script, progress);
        }
    }
}

/// What was shown after a failed sync stays, although the system believes that its pages are clean.
fn reopen_then_cut_power(files: &FaultyFiles, script: &Script, progress: Progress) {
    files.set_faults(Faults::default());
    let Ok((log, _)) = open(files, progress.cut, Lsn::ZERO) else {
        assert!(!progress.created);
        return;
    };
    let shown = Progress { acked: log.last(), ..progress };
    for seed in 0..2 {
        verify(&files.power_cut(seed), script, shown).unwrap();
    }
}

#[test]
fn an_error_at_any_read_reaches_the_caller() {
    let script = usual_script();
    let image = written(&script);
    let reads = {
        let files = FaultyFiles::over(&image);
        open(&files, Lsn::ZERO, Lsn::ZERO).unwrap();
        files.reads()
    };
    for at in 1..=reads {
        let files = FaultyFiles::over(&image);
        let fail_read = Some(Fault { at, kind: ErrorKind::Other, forever: false });
        files.set_faults(Faults { fail_read, ..Faults::default() });
        let error = open(&files, Lsn::ZERO, Lsn::ZERO).err().unwrap();
        assert_eq!(error.sqlstate().as_str(), "58030", "{error}");
        open(&files.image(), Lsn::ZERO, Lsn::ZERO).unwrap();
    }
}

#[test]
fn after_a_failed_write_or_sync_the_log_takes_nothing_more() {
    for skip in [1, 2] {
        let files = FaultyFiles::new();
        let mut log = create(&files).unwrap();
        let fail = Some(Fault { at: files.calls() + skip, kind: ErrorKind::Other, forever: false });
        files.set_faults(Faults { fail, ..Faults::default() });
        assert_eq!(log.append(Lsn(1), 0, &[vec![1]]).unwrap_err().sqlstate().as_str(), "58030");
        assert_eq!(log.append(Lsn(1), 0, &[vec![1]]).unwrap_err().sqlstate().as_str(), "57P03");
        assert_eq!(log.idle().unwrap_err().sqlstate().as_str(), "57P03");
        assert_eq!(log.reader().read(Lsn(1)).unwrap().count(), 0);
        assert!(log.close().is_err());
    }
}

#[test]
fn a_full_disk_at_a_new_segment_can_be_tried_again() {
    let files = FaultyFiles::new();
    let mut log = create(&files).unwrap();
    log.append(Lsn(1), 0, &[vec![1; 3000]]).unwrap();
    let fail = Some(Fault { at: files.calls() + 2, kind: ErrorKind::StorageFull, forever: false });
    files.set_faults(Faults { fail, ..Faults::default() });
    let error = log.append(Lsn(2), 0, &[vec![2; 3000]]).unwrap_err();
    assert_eq!(error.sqlstate().as_str(), "53100");
    assert_eq!(files.list(dir()).unwrap().len(), 2);
    assert_eq!(log.append(Lsn(2), 0, &[vec![2; 3000]]).unwrap(), Lsn(2));
    assert_eq!(log.segments_created(), 2);
    let (_, records) = open(&files.power_cut(0), Lsn::ZERO, Lsn(2)).unwrap();
    assert_eq!(records.len(), 2);
}

/// The files of a log in which the script was written, idle but not closed.
fn written(script: &Script) -> MemoryFiles {
    let files = MemoryFiles::new();
    let mut log = create(&files).unwrap();
    for lens in script {
        let first = log.last().next();
        log.append(first, time(first), &group(first, lens)).unwrap();
    }
    log.idle().unwrap();
    files
}

fn bytes_of(files: &MemoryFiles) -> Vec<(String, Vec<u8>)> {
    let names = files.list(dir()).unwrap();
    names.into_iter().map(|name| (name.clone(), files.read(&dir().join(name)).unwrap())).collect()
}

/// Changes one file of a log; opening must then say so, or find all. Says whether it was noticed.
fn damage(image: &MemoryFiles, name: &str, last: Lsn, change: &dyn Fn(&MemoryFiles, &Path)) -> bool {
    let files = image.fork();
    change(&files, &dir().join(name));
    let before = bytes_of(&files);
    let noticed = |error: Error| {
        assert!(matches!(error, Error::Damaged(_)), "{error}");
        assert_eq!(bytes_of(&files), before, "a damaged log was changed");
    };
    let checked = check(&files, dir(), DB).map(|report| assert_eq!(report.last, last, "{name}"));
    match open(&files, Lsn::ZERO, Lsn::ZERO) {
        Err(error) => {
            noticed(error);
            checked.map_err(noticed).unwrap_err();
            true
        }
        Ok((_, records)) => {
            assert_eq!(records.len() as u64, last.0, "{name}: silently short");
            assert!(records.iter().all(|r| r.payload == payload(r.lsn.0, r.payload.len())));
            checked.unwrap();
            false
        }
    }
}

fn damaged_script() -> (Vec<Vec<usize>>, Lsn) {
    let mut script = vec![vec![700, 10, 900], vec![60]];
    script.extend((0..9).map(|i| vec![i * 113, 5]));
    (script.clone(), Lsn(lens_of(&script).len() as u64))
}

#[test]
fn no_single_flipped_bit_hides_a_commit() {
    let (script, last) = damaged_script();
    let image = written(&script);
    let mut noticed = 0;
    for (name, bytes) in bytes_of(&image) {
        for at in (0..bytes.len()).step_by(if name == "SEGMENTS" { 1 } else { 5 }) {
            noticed += u32::from(damage(&image, &name, last, &|files, path| {
                let flipped = [bytes[at] ^ (1 << (at % 8))];
                files.open(path, OpenMode::Edit).unwrap().write_all_at(&flipped, at as u64).unwrap();
            }));
        }
    }
    assert!(noticed > 1000, "{noticed}");
}

#[test]
fn no_single_damaged_page_hides_a_commit() {
    let (script, last) = damaged_script();
    let image = written(&script);
    for (name, bytes) in bytes_of(&image) {
        for at in (0..bytes.len()).step_by(4096) {
            let n = 4096.min(bytes.len() - at);
            for garbage in [vec![0; n], vec![255; n], payload(9, n)] {
                let noticed = damage(&image, &name, last, &|files, path| {
                    files.open(path, OpenMode::Edit).unwrap().write_all_at(&garbage, at as u64).unwrap();
                });
                assert!(noticed || (4096..12288).contains(&at), "{name} at {at}");
            }
        }
    }
}

#[test]
fn no_shortened_or_deleted_file_hides_a_commit() {
    let (script, last) = damaged_script();
    let image = written(&script);
    assert!(bytes_of(&image).len() >= 3);
    for (name, bytes) in bytes_of(&image) {
        assert!(damage(&image, &name, last, &|files, path| files.remove(path).unwrap()));
        let len = bytes.len();
        for len in [0, 1, 8, len / 2, len - 4096.min(len), len - 1, len + 1] {
            assert!(damage(&image, &name, last, &|files, path| {
                files.open(path, OpenMode::Edit).unwrap().set_len(len as u64).unwrap();
            }));
        }
    }
}

#[test]
fn damage_before_the_writer_was_idle_is_told_from_a_torn_tail() {
    let files = MemoryFiles::new();
    let mut log = create(&files).unwrap();
    for lsn in 1..=3 {
        log.append(Lsn(lsn), 0, &[payload(lsn, 100)]).unwrap();
    }
    let size = record::size_of(100) as u64;
    let break_record = |lsn: u64| {
        let image = files.fork();
        let file = image.open(&directory::segment_path(dir(), 1), OpenMode::Edit).unwrap();
        file.write_all_at(b"broken", segment::DATA + (lsn - 1) * size + 60).unwrap();
        image
    };
    let error = open(&break_record(2), Lsn::ZERO, Lsn::ZERO).err().unwrap();
    let place = format!("0000000000000001.log at byte {}, record 2", segment::DATA + size);
    assert!(error.to_string().contains(&place), "{error}");
    assert!(error.report().detail.as_ref().unwrap().contains("up to Lsn 1 are whole"));
    let mut saved = Vec::new();
    let mut each = |record: Record| {
        saved.push(record.lsn);
        Ok(())
    };
    assert_eq!(rescue(&break_record(3), dir(), DB, Lsn(1), &mut each).unwrap(), Lsn(2));
    assert_eq!(saved, [Lsn(2)]);
    // Nobody but the caller can know that the last one was synced.
    assert!(open(&break_record(3), Lsn::ZERO, Lsn(3)).is_err());
    let torn = break_record(3);
    assert!(check(&torn, dir(), DB).unwrap().torn_bytes > 0);
    let (_, records) = open(&torn, Lsn::ZERO, Lsn(2)).unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(check(&torn, dir(), DB).unwrap().torn_bytes, 0);
}

#[test]
fn a_value_that_holds_a_log_is_no_record_when_it_is_torn() {
    let image = written(&[vec![100, 100], vec![100]]);
    let stolen = image.read(&directory::segment_path(dir(), 1)).unwrap();
    let files = FaultyFiles::over(&image);
    let (mut log, _) = open(&files, Lsn::ZERO, Lsn::ZERO).unwrap();
    let group = [stolen[12288..13200].to_vec(), stolen[12288..13800].to_vec()];
    files.set_faults(Faults { freeze_at: Some(files.calls() + 2), ..Faults::default() });
    log.append(Lsn(4), 0, &group).unwrap_err();
    for seed in 0..100 {
        let last = open(&files.power_cut(seed), Lsn::ZERO, Lsn::ZERO).unwrap().0.last();
        assert!((3..=5).contains(&last.0));
    }
}

#[test]
fn a_segment_of_another_database_or_another_time_is_noticed() {
    let script = [vec![100]];
    let ours = written(&script);
    let path = directory::segment_path(dir(), 1);
    let theirs = MemoryFiles::new();
    FileLog::create(theirs.share(), dir(), 8, SMALL).unwrap();
    let put = |bytes: &[u8]| {
        let files = ours.fork();
        files.write_atomically(&path, bytes).unwrap();
        open(&files, Lsn::ZERO, Lsn(1)).err().unwrap().to_string()
    };
    assert!(put(&theirs.read(&path).unwrap()).contains("another database"));
    let empty = MemoryFiles::new();
    create(&empty).unwrap();
    assert!(put(&empty.read(&path).unwrap()).contains("checkpoint says"));
    let error = FileLog::open(ours.share(), dir(), 8, Lsn::ZERO, Lsn::ZERO, SMALL, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("another database"));
}

#[test]
fn a_record_that_follows_another_one_is_noticed() {
    let [ours, theirs] = [1, 2].map(|content| {
        let files = MemoryFiles::new();
        let mut log = create(&files).unwrap();
        log.append(Lsn(1), 0, &[vec![content; 100]]).unwrap();
        log.append(Lsn(2), 0, &[vec![9; 100]]).unwrap();
        log.idle().unwrap();
        files
    });
    let path = directory::segment_path(dir(), 1);
    let size = record::size_of(100);
    let second = segment::DATA as usize + size..segment::DATA as usize + 2 * size;
    let file = ours.open(&path, OpenMode::Edit).unwrap();
    file.write_all_at(&theirs.read(&path).unwrap()[second.clone()], second.start as u64).unwrap();
    assert!(open(&ours, Lsn::ZERO, Lsn::ZERO).err().unwrap().to_string().contains("record 2"));
}

#[test]
fn an_older_list_of_segments_is_noticed() {
    let files = MemoryFiles::new();
    let mut log = create(&files).unwrap();
    let list = dir().join("SEGMENTS");
    let old = files.read(&list).unwrap();
    log.append(Lsn(1), 0, &[vec![1; 3000]]).unwrap();
    log.append(Lsn(2), 0, &[vec![2; 3000]]).unwrap();
    files.write_atomically(&list, &old).unwrap();
    let error = open(&files, Lsn::ZERO, Lsn::ZERO).err().unwrap();
    assert!(error.to_string().contains("SEGMENTS does not name it"), "{error}");
}

#[test]
fn a_reader_starts_anywhere_and_sees_what_is_durable() {
    let files = MemoryFiles::new();
    let options = LogOptions { segment_bytes: 300 << 10 };
    let mut log = FileLog::create(files.share(), dir(), DB, options).unwrap();
    let reader = log.reader();
    for lsn in (1..=900).step_by(3) {
        log.append(Lsn(lsn), 0, &group(Lsn(lsn), &[900, 1000, 20])).unwrap();
    }
    assert!(log.segments_created() > 2);
    let (reopened, _) = FileLog::open(files.share(), dir(), DB, Lsn(850), Lsn(900), options, &mut |_| Ok(())).unwrap();
    for reader in [reader, reopened.reader()] {
        for from in (0..=902).step_by(17).chain([899, 900, 901]) {
            let records: Vec<_> = reader.read(Lsn(from)).unwrap().map(Result::unwrap).collect();
            assert_eq!(records.len() as u64, 901_u64.saturating_sub(from.max(1)));
            assert!(records.iter().zip(from.max(1)..).all(|(r, lsn)| r.lsn == Lsn(lsn)));
            assert!(records.iter().all(|r| r.payload == payload(r.lsn.0, r.payload.len())));
        }
    }
}

#[test]
fn cutting_removes_whole_segments_below() {
    let files = MemoryFiles::new();
    let mut log = create(&files).unwrap();
    for lsn in 1..=20 {
        log.append(Lsn(lsn), 0, &[payload(lsn, 1900)]).unwrap();
    }
    assert_eq!(log.bytes(), 10 * (16 << 10));
    let reader = log.reader();
    let mut slow = reader.read(Lsn(1)).unwrap();
    slow.next().unwrap().unwrap();
    log.cut(Lsn(8)).unwrap();
    assert_eq!((log.oldest(), files.list(dir()).unwrap().len()), (Lsn(7), 8));
    assert_eq!(reader.read(Lsn(7)).unwrap().count(), 14);
    let error = reader.read(Lsn(6)).unwrap_err();
    assert_eq!(error.sqlstate().as_str(), "55000");
    // It still has the file in its hands, but not the next one.
    assert_eq!(slow.next().unwrap().unwrap().lsn, Lsn(2));
    assert_eq!(slow.next().unwrap().unwrap_err().sqlstate().as_str(), "55000");
    assert!(slow.next().is_none());
    log.cut(Lsn::MAX).unwrap();
    assert_eq!((log.oldest(), log.last()), (Lsn(19), Lsn(20)));
    log.close().unwrap();
    assert!(open(&files, Lsn(17), Lsn::ZERO).is_err(), "the state does not reach the log");
    assert_eq!(open(&files, Lsn(18), Lsn(20)).unwrap().1.len(), 2);
    assert!(open(&files, Lsn(21), Lsn::ZERO).is_err(), "the state is ahead of the log");
}

#[test]
fn limits_and_misuse_are_errors_and_change_nothing() {
    let files = MemoryFiles::new();
    let mut log = create(&files).unwrap();
    assert!(create(&files).is_err());
    assert!(matches!(log.append(Lsn(2), 0, &[vec![]]), Err(Error::Internal(_))));
    assert_eq!(log.append(Lsn(1), 0, &[]).unwrap(), Lsn::ZERO);
    let huge = vec![0; record::MAX_PAYLOAD + 1];
    assert_eq!(log.append(Lsn(1), 0, &[huge]).unwrap_err().sqlstate().as_str(), "54000");
    assert_eq!(log.append(Lsn(1), 0, &[vec![]]).unwrap(), Lsn(1));
    assert_eq!(open(&files, Lsn::ZERO, Lsn::ZERO).unwrap().1.len(), 1);
}

#[test]
fn a_real_disk_keeps_it_too() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let mut log = FileLog::create(files.clone(), &dir, DB, LogOptions::default()).unwrap();
    log.append(Lsn(1), 0, &group(Lsn(1), &[10, 20_000_000])).unwrap();
    log.append(Lsn(3), 0, &group(Lsn(3), &[5])).unwrap();
    log.close().unwrap();
    let mut lens = Vec::new();
    let mut each = |record: Record| {
        lens.push(record.payload.len());
        Ok(())
    };
    let (log, _) = FileLog::open(files, &dir, DB, Lsn::ZERO, Lsn(3), LogOptions::default(), &mut each).unwrap();
    assert_eq!((lens, log.segments_created()), (vec![10, 20_000_000, 5], 0));
}
