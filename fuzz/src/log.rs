//! Hostile logs: opened at a prefix of what was written, or damage is reported.
//!
//! Two sorts of input:
//! - *Damaged*: a log that its writer wrote, and then bytes that were changed, files that were shortened or deleted.
//!   What opening finds is a prefix of what was written. If all of it was told to the disk (the writer was idle) and
//!   the damage is in one page or one file, nothing is missing either, or damage is reported.
//! - *Forged*: files after `docs/format/log.md`, with right checksums over whatever the fuzzer says. Here only so much
//!   holds: no panic, no memory beyond the files, records in order without gaps, and the same log at the next opening.
//!
//! A forged log is then given to a whole store, which applies its batches and reads them.

use arbitrary::{Arbitrary, Result, Unstructured};
use nodedb_base::{Batch, CatalogChange, Error, Incarnation, KeyEntry, LargeValue, Lsn, RowChange, RowId, RowOp};
use nodedb_env::{Env, File, Files, ManualClock, MemoryFiles, OpenMode, SeededRandom};
use nodedb_store::log::{CommitLog, FileLog, LogOptions, Record, Recovered, check, rescue};
use nodedb_store::{Store, StoreOptions, TransactionOptions, TreesKind};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const DIR: &str = "/db/db/5/log";
const DATABASE: u64 = 77;
const PAGE: usize = 4096;
const DATA: usize = 3 * PAGE;
const OPTIONS: LogOptions = LogOptions { segment_bytes: 16 << 10 };

fn dir() -> &'static Path {
    Path::new(DIR)
}

/// Damage, which is what may come; any other error is a bug, since these files do not fail.
fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Damaged(_))
}

fn open(files: &MemoryFiles, after: Lsn, witness: Lsn) -> nodedb_base::Result<(FileLog, Recovered, Vec<Record>)> {
    let mut records: Vec<Record> = Vec::new();
    let each = &mut |record: Record| {
        let expected = records.last().map_or(after, |last| last.lsn).0 + 1;
        assert_eq!(record.lsn.0, expected, "records out of order");
        records.push(record);
        Ok(())
    };
    let (log, found) = FileLog::open(Arc::new(files.clone()), dir(), DATABASE, after, witness, OPTIONS, each)?;
    assert_eq!(found.records, records.len() as u64);
    assert_eq!(found.last, log.last());
    Ok((log, found, records))
}

fn rescued(files: &MemoryFiles) -> nodedb_base::Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    let each = &mut |record: Record| {
        if let Some(last) = records.last() {
            assert_eq!(record.lsn.0, last.lsn.0 + 1, "rescued records out of order");
        }
        records.push(record);
        Ok(())
    };
    let last = rescue(files, dir(), DATABASE, Lsn::ZERO, each)?;
    assert!(records.last().is_none_or(|record| record.lsn == last));
    Ok(records)
}

// ---------------------------------------------------------------------------------------------------- damaged

/// A log that was written, what was written, and how much of it was told to the disk.
struct Written {
    files: MemoryFiles,
    records: Vec<Record>,
    idle: Lsn,
}

fn write(u: &mut Unstructured<'_>) -> Result<Written> {
    let files = MemoryFiles::new();
    let mut log = FileLog::create(Arc::new(files.clone()), dir(), DATABASE, OPTIONS).expect("a log");
    let (mut records, mut idle): (Vec<Record>, Lsn) = (Vec::new(), Lsn::ZERO);
    for _ in 0..u.int_in_range(0..=8)? {
        let mut group = Vec::new();
        for _ in 0..u.int_in_range(1..=3)? {
            let length = *u.choose(&[0_usize, 1, 7, 8, 200, 3000, 9000])?;
            group.push(vec![u.arbitrary::<u8>()?; length]);
        }
        let time = i64::from(u.arbitrary::<u16>()?);
        let last = log.append(log.last().next(), time, &group).expect("an append");
        let first = last.0 + 1 - group.len() as u64;
        records.extend((first..).zip(group).map(|(lsn, payload)| Record { lsn: Lsn(lsn), time, payload }));
        if u.arbitrary()? {
            log.idle().expect("idle");
            idle = last;
        }
    }
    Ok(Written { files, records, idle })
}

/// One fault. Says whether the file is named by the log at all.
fn damage(files: &MemoryFiles, u: &mut Unstructured<'_>) -> Result<()> {
    let names = files.list(dir()).expect("a list");
    let path = dir().join(u.choose(&names)?);
    let file = files.open(&path, OpenMode::Edit).expect("a file");
    let size = file.size().expect("a size");
    match u.int_in_range(0..=9)? {
        0 => files.remove(&path).expect("removed"),
        1 => file.set_len(u.int_in_range(0..=size)?).expect("cut"),
        2 => overwrite(&*file, u.int_in_range(0..=size / PAGE as u64)? * PAGE as u64, size, &[0; PAGE]),
        _ => {
            // Near to something: the beginnings of pages and of records are where it hurts.
            let page = u.int_in_range(0..=size / PAGE as u64)? * PAGE as u64;
            let at = page + u64::from(u.arbitrary::<u16>()?) % PAGE as u64;
            let left = PAGE - at as usize % PAGE;
            let n = u.int_in_range(1..=64)?.min(left);
            let bytes: Vec<u8> = (0..n).map(|_| u.arbitrary()).collect::<Result<_>>()?;
            overwrite(&*file, at, size, &bytes);
        }
    }
    Ok(())
}

fn overwrite(file: &dyn File, at: u64, size: u64, bytes: &[u8]) {
    let n = usize::try_from(size.saturating_sub(at)).expect("a size").min(bytes.len());
    file.write_all_at(&bytes[..n], at).expect("a write");
}

fn damaged(u: &mut Unstructured<'_>) -> Result<()> {
    let Written { files, records, idle } = write(u)?;
    let faults = u.int_in_range(0..=4)?;
    for _ in 0..faults {
        if files.list(dir()).expect("a list").is_empty() {
            break;
        }
        damage(&files, u)?;
    }
    let single = faults <= 1;
    let fresh = files.fork();
    let checked = check(&files, dir(), DATABASE);
    let saved = rescued(&files);
    if let Ok(saved) = &saved {
        assert!(records.starts_with(saved), "rescue gives what was not written");
    }
    match open(&files, Lsn::ZERO, Lsn::ZERO) {
        Ok((log, found, read)) => {
            assert!(records.starts_with(&read), "opening gives what was not written");
            assert!(!single || found.last >= idle, "one fault has hidden a commit: {} of {idle}", found.last);
            assert!(faults > 0 || read == records, "nothing was wrong");
            assert!(saved.is_ok_and(|saved| saved.len() >= read.len()), "rescue saves less than opening");
            assert_eq!(checked.map(|report| report.last).ok(), Some(found.last));
            goes_on(&files, log, &read);
        }
        Err(error) => {
            assert!(is_damage(&error), "{error}");
            assert!(faults > 0, "nothing was wrong: {error}");
            assert!(checked.is_err(), "check has found nothing");
        }
    }
    // With the word of a checkpoint, nothing that was acknowledged is missing, whatever is broken.
    if let Ok((_, found, _)) = open(&fresh, Lsn::ZERO, Lsn(records.len() as u64)) {
        assert_eq!(found.last.0 as usize, records.len());
    }
    Ok(())
}

/// A log that was opened takes commits, and shows them at the next opening.
fn goes_on(files: &MemoryFiles, mut log: FileLog, read: &[Record]) {
    let next = log.last().next();
    log.append(next, 1, &[b"more".to_vec()]).expect("an append");
    drop(log);
    let (log, _, again) = open(files, Lsn(next.0 - 1 - read.len() as u64), Lsn::ZERO).expect("the log goes on");
    assert_eq!(&again[..read.len()], read);
    assert_eq!(again[read.len()..], [Record { lsn: next, time: 1, payload: b"more".to_vec() }]);
    log.close().expect("closed");
    let (_, found, _) = open(files, Lsn::ZERO.max(Lsn(next.0 - 1)), next).expect("the log goes on");
    assert_eq!(found.last, next);
}

// ----------------------------------------------------------------------------------------------------- forged

/// A number that is right, near to it, or any.
fn near(u: &mut Unstructured<'_>, right: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=15)? {
        0 => u.arbitrary()?,
        1 => right.wrapping_add(1),
        2 => right.wrapping_sub(1),
        3 => *u.choose(&[0, 1, u64::MAX, u64::MAX - 1, 1 << 32, 1 << 63])?,
        _ => right,
    })
}

struct Forged {
    number: u64,
    first: u64,
    length: u64,
    salt: u64,
    bytes: Vec<u8>,
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

fn forge_segment(u: &mut Unstructured<'_>, number: u64, first: u64, previous: u64) -> Result<(Forged, u64, u64)> {
    let pages: usize = u.int_in_range(3..=8)?;
    let mut bytes = vec![0; pages * PAGE];
    let length = bytes.len() as u64;
    let (number, first, length) = (near(u, number)?, near(u, first)?, near(u, length)?);
    bytes[..8].copy_from_slice(b"NDBLOG01");
    for (i, field) in [near(u, DATABASE)?, number, length, first, near(u, previous)?].into_iter().enumerate() {
        put(&mut bytes, 8 + 8 * i, &field.to_le_bytes());
    }
    let salt = xxh3_64(&bytes[..PAGE - 8]);
    put(&mut bytes, PAGE - 8, &salt.to_le_bytes());
    let (last, sum) = forge_records(u, &mut bytes, salt, first.wrapping_sub(1), previous)?;
    for slot in [1, 2] {
        if u.arbitrary()? {
            let lsn = near(u, last)?.to_le_bytes();
            let sum = xxh3_64_with_seed(&lsn, salt.wrapping_add((slot * PAGE) as u64));
            put(&mut bytes, slot * PAGE, &lsn);
            put(&mut bytes, slot * PAGE + 8, &sum.to_le_bytes());
        }
    }
    Ok((Forged { number, first, length, salt, bytes }, last, sum))
}

fn forge_records(
    u: &mut Unstructured<'_>,
    bytes: &mut [u8],
    salt: u64,
    before: u64,
    previous: u64,
) -> Result<(u64, u64)> {
    let (mut at, mut last, mut previous) = (DATA, before, previous);
    let mut synced = before;
    for _ in 0..u.int_in_range(0..=6)? {
        if u.ratio(1, 16)? {
            at += 8 * u.int_in_range(0..=8)?;
        }
        let seal = u.ratio(1, 8)?;
        let payload = if seal { Vec::new() } else { payload(u)? };
        let lsn = near(u, if seal { last } else { last.wrapping_add(1) })?;
        if u.arbitrary()? {
            synced = last;
        }
        let mut body = payload.clone();
        body.resize(payload.len().next_multiple_of(8), 0);
        let mut head = [0; 48];
        put(&mut head, 8, &near(u, xxh3_64(&body))?.to_le_bytes());
        put(&mut head, 16, &lsn.to_le_bytes());
        put(&mut head, 24, &u.arbitrary::<i64>()?.to_le_bytes());
        put(&mut head, 32, &(near(u, previous)? as u32).to_le_bytes());
        let ahead = if seal { u64::MAX } else { lsn.wrapping_sub(1).wrapping_sub(synced) };
        put(&mut head, 36, &(near(u, ahead)? as u32).to_le_bytes());
        put(&mut head, 40, &(near(u, payload.len() as u64)? as u32).to_le_bytes());
        put(&mut head, 44, &(near(u, if seal { 2 } else { 1 })? as u32).to_le_bytes());
        let sum = xxh3_64_with_seed(&head[8..], salt.wrapping_add(at as u64));
        put(&mut head, 0, &sum.to_le_bytes());
        put(bytes, at, &head);
        put(bytes, at + 48, &body);
        if !seal {
            at += 48 + body.len();
            (last, previous) = (lsn, sum);
        }
    }
    Ok((last, previous))
}

fn payload(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(if u.ratio(1, 4)? { u.arbitrary::<Vec<u8>>()? } else { batch(u)?.encode() })
}

fn short(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let n = u.int_in_range(0..=12)?;
    (0..n).map(|_| u.arbitrary()).collect()
}

/// A batch that says what no transaction of ours would.
fn batch(u: &mut Unstructured<'_>) -> Result<Batch> {
    let mut batch = Batch::default();
    for _ in 0..u.int_in_range(0..=3)? {
        let kind = *u.choose(&[b'F', b'i', b'r', b't', b'u', b'x'])?;
        let mut key = vec![kind];
        match kind {
            b'r' => {
                key.extend(u32::from(u.arbitrary::<u8>()?).to_be_bytes());
                key.extend(near(u, 65_537)?.to_be_bytes());
            }
            _ if u.ratio(1, 8)? => key.extend(short(u)?),
            _ => key.extend(u32::from(u.arbitrary::<u8>()?).to_be_bytes()),
        }
        let value = match u.int_in_range(0..=3)? {
            0 => None,
            1 => Some(br#"{"id":1,"schema":2200,"name":"t","incarnation":2,"columns":[{"name":"a","type":"int8","not_null":true,"default":null}],"primary_key":{"name":"p","columns":[0],"index":null},"indexes":[],"checks":[],"foreign_keys":[]}"#.to_vec()),
            2 => Some(u.arbitrary::<u32>()?.to_be_bytes().to_vec()),
            _ => Some(short(u)?),
        };
        batch.catalog.push(CatalogChange { key, value });
    }
    for _ in 0..u.int_in_range(0..=3)? {
        let op = *u.choose(&[RowOp::Insert, RowOp::Update, RowOp::Delete, RowOp::Index])?;
        let (incarnation, row) = (Incarnation(u.int_in_range(1..=3)?), RowId(near(u, 1)?));
        let mut large = Vec::new();
        if u.ratio(1, 3)? {
            large.push(LargeValue {
                column: u.arbitrary()?,
                value: if u.arbitrary()? { Some(short(u)?) } else { None },
            });
        }
        let keys = |u: &mut Unstructured<'_>| -> Result<Vec<KeyEntry>> {
            let one = |u: &mut Unstructured<'_>| {
                Ok(KeyEntry { index: Incarnation(u.int_in_range(1..=3)?), unique: u.arbitrary()?, key: short(u)? })
            };
            let n = u.int_in_range(0..=2)?;
            (0..n).map(|_| one(u)).collect()
        };
        let new = if u.arbitrary()? { short(u)? } else { [vec![1, 1, 0], row.0.to_le_bytes().to_vec()].concat() };
        batch.rows.push(RowChange { incarnation, row, op, new, large, keys_gone: keys(u)?, keys_come: keys(u)? });
    }
    Ok(batch)
}

fn forge(u: &mut Unstructured<'_>) -> Result<MemoryFiles> {
    let files = MemoryFiles::new();
    files.create_dir_all(dir()).expect("a directory");
    let (mut number, mut next, mut previous) = (u.int_in_range(1..=3)?, 1 + u64::from(u.ratio(1, 4)?) * 6, 0);
    let mut segments = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        let (segment, last, sum) = forge_segment(u, number, next, previous)?;
        (number, next, previous) = (segment.number.wrapping_add(1), last.wrapping_add(1), sum);
        segments.push(segment);
    }
    let mut list = Vec::from(*b"NDBSEGS1");
    list.extend(near(u, DATABASE)?.to_le_bytes());
    // The last one may be a file that the list does not name.
    let named = if u.ratio(1, 8)? { segments.len() - 1 } else { segments.len() };
    list.extend((near(u, named as u64)? as u32).to_le_bytes());
    list.extend([0; 4]);
    for segment in &segments[..named] {
        for field in [segment.number, segment.first, segment.length, segment.salt] {
            list.extend(near(u, field)?.to_le_bytes());
        }
    }
    let sum = xxh3_64(&list);
    list.extend(sum.to_le_bytes());
    files.write_atomically(&dir().join("SEGMENTS"), &list).expect("written");
    for segment in &segments {
        let path = dir().join(format!("{:016x}.log", segment.number));
        files.write_atomically(&path, &segment.bytes).expect("written");
    }
    if u.ratio(1, 16)? {
        files.write_atomically(&dir().join("SEGMENTS.tmp"), b"x").expect("written");
        files.rename(&dir().join("SEGMENTS.tmp"), &dir().join("000000000000000g.log")).expect("renamed");
    }
    Ok(files)
}

fn forged(u: &mut Unstructured<'_>) -> Result<()> {
    let files = forge(u)?;
    let (after, witness) = (Lsn(near(u, 0)?), Lsn(near(u, 0)?));
    let whole = u.arbitrary()?;
    let checked = check(&files, dir(), DATABASE);
    let saved = rescued(&files);
    for outcome in [checked.as_ref().err(), saved.as_ref().err()].into_iter().flatten() {
        assert!(is_damage(outcome), "{outcome}");
    }
    if let Ok(records) = &saved {
        for record in records {
            if let Ok(batch) = Batch::decode(&record.payload) {
                assert_eq!(batch.encode(), record.payload, "a batch has two forms");
            }
        }
    }
    if whole {
        a_store(&files.fork(), u)?;
    }
    match open(&files.fork(), after, witness) {
        Err(error) => assert!(is_damage(&error), "{error}"),
        Ok((log, _, read)) => drop((log, read)),
    }
    let oldest = checked.as_ref().map_or(Lsn(1), |report| report.oldest);
    match open(&files, oldest.previous(), Lsn::ZERO) {
        Err(error) => {
            assert!(is_damage(&error), "{error}");
            assert!(checked.is_err(), "check has found nothing: {error}");
        }
        Ok((log, found, read)) => {
            assert_eq!(checked.map(|report| report.last).ok(), Some(found.last));
            goes_on(&files, log, &read);
        }
    }
    Ok(())
}

/// The rest of a database around the log: what cannot be is damage, and what can be is read to the end.
fn a_store(files: &MemoryFiles, u: &mut Unstructured<'_>) -> Result<()> {
    let checked = |mut bytes: Vec<u8>| {
        let sum = xxh3_64(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    };
    let mut format = Vec::from(*b"NodeDB\0\0");
    format.extend(1_u32.to_le_bytes());
    format.extend(DATABASE.to_le_bytes());
    files.write_atomically(Path::new("/db/FORMAT"), &checked(format)).expect("written");
    let mut checkpoint = Vec::from(*b"NDBCHKPT");
    checkpoint.push(1);
    for field in [DATABASE, 0, near(u, 0)?, near(u, 0)?, near(u, 0)?] {
        checkpoint.extend(field.to_le_bytes());
    }
    let marks: u8 = u.int_in_range(0..=2)?;
    checkpoint.push(marks);
    for _ in 0..marks {
        checkpoint.extend(near(u, 5)?.to_le_bytes());
        checkpoint.extend(near(u, 1)?.to_le_bytes());
    }
    files.write_atomically(Path::new("/db/db/5/CHECKPOINT"), &checked(checkpoint)).expect("written");
    let env = Env {
        files: Arc::new(files.clone()),
        clock: Arc::new(ManualClock::new(1)),
        random: Arc::new(SeededRandom::new(1)),
        ..Env::memory()
    };
    let options = StoreOptions { segment_bytes: OPTIONS.segment_bytes, ..StoreOptions::default() };
    let store = match Store::open_with(env, Path::new("/db"), TreesKind::Rebuilt, options) {
        Ok(store) => store,
        Err(error) => {
            let sane = is_damage(&error) || matches!(error, Error::Limit(_) | Error::Internal(_));
            assert!(sane, "{error}");
            return Ok(());
        }
    };
    if let Ok(tx) = store.begin(TransactionOptions::default()) {
        for table in tx.catalog().tables() {
            for row in
                tx.view().rows(table.incarnation, RowId(0), RowId(u64::MAX), u.arbitrary()?).into_iter().flatten()
            {
                let Ok(row) = row else { break };
                let _ = nodedb_store::row::large_columns(&table.types(), &row.bytes);
            }
            let _ = tx.next_row_id(table.incarnation);
        }
    }
    let _ = store.verify();
    let _ = store.close();
    Ok(())
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // Too little data is no input.
    let _ = bool::arbitrary(&mut u).and_then(|forge| if forge { forged(&mut u) } else { damaged(&mut u) });
}
