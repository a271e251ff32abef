use super::*;
use nodedb_base::{RowChange, RowId, RowOp};
use nodedb_env::{Random, SeededRandom};
use proptest::prelude::*;

const INDEX: Incarnation = Incarnation(7);

/// Keys of an index and their rows.
type Entries = BTreeMap<Vec<u8>, u64>;

fn stretch(from: u16, to: u16) -> Stretch {
    let to = if to == u16::MAX { Bound::Unbounded } else { Bound::Included(to.to_be_bytes().to_vec()) };
    Stretch::new(&Bound::Excluded(from.to_be_bytes().to_vec()), &to)
}

fn change(row: u64, gone: Option<Vec<u8>>, come: Option<Vec<u8>>) -> RowChange {
    let entry = |key: Vec<u8>| KeyEntry { index: INDEX, unique: true, key };
    let (gone, come) = (gone.into_iter().map(entry).collect(), come.into_iter().map(entry).collect());
    RowChange::of_keys((Incarnation(1), RowId(row)), RowOp::Update, gone, come)
}

fn read(entries: &Entries, stretch: &Stretch, most: usize) -> (Vec<(Vec<u8>, u64)>, bool) {
    let all: Vec<_> = entries.range(stretch.bounds()).map(|(key, row)| (key.clone(), *row)).collect();
    let is_whole = all.len() <= most;
    (all.into_iter().take(most).collect(), is_whole)
}

fn check(cache: &KeyCache) {
    let cache = cache.0.lock();
    assert_eq!(cache.pieces.values().map(Piece::bytes).sum::<usize>(), cache.bytes);
    assert!(cache.bytes <= cache.budget);
    let pieces: Vec<_> = cache.pieces.iter().collect();
    for pair in pieces.windows(2) {
        let [((index, _), before), ((other, low), _)] = pair else { continue };
        let ends = before.to.as_ref().is_some_and(|to| to <= low);
        assert!(ends || index != other, "pieces have nothing in common");
    }
}

/// Readers of any commit, who read while others commit, are told what they would read, or nothing.
fn play(seed: u64, budget: usize, rounds: usize) -> (usize, usize) {
    let random = SeededRandom::new(seed);
    let below = |n: u64| random.u64() % n;
    let (cache, mut history) = (KeyCache::new(budget), vec![Entries::new()]);
    let (mut known, mut unknown) = (0, 0);
    let commit = |history: &mut Vec<Entries>| {
        let mut entries = history.last().cloned().unwrap_or_default();
        let mut rows = Vec::new();
        for _ in 0..=below(8) {
            let key = (below(4000) as u16).to_be_bytes().to_vec();
            let row = below(1 << 40);
            let gone = entries.get(&key).copied();
            // A key that goes from row to row comes before it goes, or after.
            let leaves = gone.map(|gone| change(gone, Some(key.clone()), None));
            let comes = (below(3) > 0).then(|| change(row, None, Some(key.clone())));
            match comes.is_some() {
                true => entries.insert(key, row),
                false => entries.remove(&key),
            };
            let mut both: Vec<_> = leaves.into_iter().chain(comes).collect();
            if below(2) == 0 {
                both.reverse();
            }
            rows.extend(both);
        }
        history.push(entries);
        cache.committed(Lsn(history.len() as u64 - 1), &Batch { rows, ..Batch::default() });
    };
    (0..300).for_each(|_| commit(&mut history));
    for _ in 0..rounds {
        if below(3) == 0 {
            commit(&mut history);
        }
        let at = history.len() - 1 - below(3) as usize;
        let (from, wide) = (below(4000) as u16, below(900) as u16);
        let asked = stretch(from, if below(9) == 0 { u16::MAX } else { from + wide });
        let real = read(&history[at], &asked, usize::MAX).0;
        let mut found: Vec<u64> = Vec::new();
        for part in cache.get(INDEX, &asked, Lsn(at as u64)) {
            match part {
                Part::Known(some) => {
                    known += some.rows().len();
                    found.extend(some.rows());
                }
                Part::Unknown(some) => {
                    let (entries, _) = read(&history[at], &some, usize::MAX);
                    unknown += entries.len();
                    found.extend(entries.iter().map(|(_, row)| row));
                    let (entries, is_whole) = read(&history[at], &some, 1 + below(2000) as usize);
                    if below(4) == 0 {
                        commit(&mut history);
                    }
                    cache.put(INDEX, some, Lsn(at as u64), &entries, is_whole);
                }
            }
        }
        assert_eq!(found, real.into_iter().map(|(_, row)| row).collect::<Vec<_>>());
        check(&cache);
    }
    (known, unknown)
}

#[test]
fn readers_are_told_what_they_would_read() {
    let (known, unknown) = play(1, 1 << 20, 3000);
    assert!(known > unknown, "{known} {unknown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn readers_are_told_what_they_would_read_in_little_room(seed: u64, kilobytes in 2_usize..64) {
        play(seed, kilobytes << 10, 300);
    }
}

#[test]
fn who_reads_for_too_long_puts_nothing() {
    let cache = KeyCache::new(1 << 20);
    let asked = stretch(0, 100);
    assert_eq!(cache.get(INDEX, &asked, Lsn(0)).len(), 1);
    for lsn in 1..=MOST_LOGGED as u64 + 1 {
        let batch = Batch { rows: vec![change(lsn, None, Some(9_u16.to_be_bytes().to_vec()))], ..Batch::default() };
        cache.committed(Lsn(lsn), &batch);
    }
    cache.put(INDEX, asked.clone(), Lsn(0), &[], true);
    assert!(cache.0.lock().pieces.is_empty());
    cache.put(INDEX, asked.clone(), Lsn(1), &[(9_u16.to_be_bytes().to_vec(), 1)], true);
    let parts = cache.get(INDEX, &asked, Lsn(MOST_LOGGED as u64 + 1));
    let [Part::Known(known)] = parts.as_slice() else { panic!("{parts:?}") };
    assert_eq!(known.rows(), [MOST_LOGGED as u64 + 1]);
}

/// One query that reads much does not take all the room.
#[test]
fn what_is_large_is_not_kept() {
    let cache = KeyCache::new(64 << 10);
    let asked = stretch(0, u16::MAX);
    let _ = cache.get(INDEX, &asked, Lsn(0));
    let many: Vec<_> = (0..2000_u16).map(|n| (n.to_be_bytes().to_vec(), u64::from(n))).collect();
    cache.put(INDEX, asked.clone(), Lsn(0), &many, true);
    assert!(cache.0.lock().pieces.is_empty());
    cache.put(INDEX, asked.clone(), Lsn(0), &many[..100], false);
    assert_eq!(cache.0.lock().pieces.len(), 1);
}

/// Short keys and long ones.
#[test]
fn what_fills_the_room_is_kept() {
    for long in [2, 100, 3000, 8000] {
        let cache = KeyCache::new(1 << 20);
        let asked = Stretch::new(&Bound::Unbounded, &Bound::Unbounded);
        let _ = cache.get(INDEX, &asked, Lsn(0));
        let fitting = (cache.room() / (long + ENTRY_BYTES)) as u16;
        let key = |n: u16| [&n.to_be_bytes()[..], &vec![7; long - 2]].concat();
        let entries: Vec<_> = (0..fitting).map(|n| (key(n), u64::from(n))).collect();
        cache.put(INDEX, asked, Lsn(0), &entries, false);
        assert!(!cache.0.lock().pieces.is_empty(), "{long}");
    }
}

/// Indexes that are gone are forgotten, whatever their number was.
#[test]
fn many_indexes_are_not_followed_for_ever() {
    let cache = KeyCache::new(1 << 20);
    for index in 0..3 * MOST_INDEXES as u32 {
        let asked = Stretch::new(&Bound::Unbounded, &Bound::Unbounded);
        let _ = cache.get(Incarnation(index), &asked, Lsn(0));
        cache.put(Incarnation(index), asked.clone(), Lsn(0), &[(vec![1], 1)], true);
        check(&cache);
        assert!(matches!(cache.get(Incarnation(index), &asked, Lsn(0)).as_slice(), [Part::Known(_)]));
    }
    assert!(cache.0.lock().followed.len() <= MOST_INDEXES);
}
