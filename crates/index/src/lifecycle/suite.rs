//! What every kind of index must do, seen through [`Kind`] alone.

use super::{Change, Kind};
use nodedb_base::{Error, Lsn, Result, RowId};
use nodedb_env::{Env, Random, SeededRandom};
use std::collections::BTreeMap;
use std::path::Path;

/// An index, and up to which commit its last checkpoint was.
type Opened = (Box<dyn Kind>, Lsn);

/// A kind, and what it is told of.
pub struct Tested {
    /// An empty one in a directory.
    pub create: fn(Env, &Path) -> Result<Box<dyn Kind>>,
    /// As its last checkpoint left it, and up to which commit that is.
    pub open: fn(Env, &Path) -> Result<Opened>,
    /// The bytes of a value that it holds, one for each number.
    pub value: fn(u64) -> Vec<u8>,
    /// A value that it does not hold.
    pub unheld: Option<Vec<u8>>,
}

/// A row that a commit has changed: its value's number, if the index is to hold it.
type Step = (u64, u64, Option<u64>);

/// The rows that an index must have as of each commit.
#[derive(Default)]
struct Model {
    steps: Vec<Step>,
}

impl Model {
    fn rows(&self, at: u64) -> Vec<RowId> {
        let mut rows = BTreeMap::new();
        rows.extend(self.steps.iter().filter(|(lsn, ..)| *lsn <= at).map(|(_, row, value)| (*row, *value)));
        rows.into_iter().filter_map(|(row, value)| value.map(|_| RowId(row))).collect()
    }
}

impl Tested {
    fn apply(&self, kind: &dyn Kind, (lsn, row, value): Step) {
        let bytes = value.map(self.value);
        let gone = (row % 2 == 0).then(|| self.unheld.clone()).flatten();
        let values = [bytes.as_deref().or(gone.as_deref())];
        // A row that is gone has no values at all, one that has become NULL has none that counts.
        let values = if values == [None] && row % 3 == 0 { &[][..] } else { &values[..] };
        kind.apply(Change { row: RowId(row), version: Lsn(lsn), values }).unwrap();
        assert_eq!(kind.holds(values), value.is_some(), "row {row}");
    }

    fn check(&self, kind: &dyn Kind, model: &Model, last: u64, what: &str) {
        for at in [last.saturating_sub(5), last.saturating_sub(1), last] {
            assert_eq!(kind.rows(Lsn(at)).unwrap(), model.rows(at), "{what}, as of {at} of {last}");
        }
        let held = model.rows(last).len();
        assert!(kind.entries() >= held && kind.size().entries >= held, "{what}: {:?}", kind.size());
    }

    /// Changes, background work, checkpoints, kills and openings in any order.
    pub fn lives(&self, seed: u64) {
        let (env, random, dir) = (Env::memory(), SeededRandom::new(seed), Path::new("/index"));
        let below = |n: u64| random.u64() % n;
        env.files.create_dir_all(dir).unwrap();
        let (mut kind, mut model) = ((self.create)(env.clone(), dir).unwrap(), Model::default());
        let (mut lsn, mut durable) = (0_u64, 0_u64);
        kind.checkpoint(Lsn(0)).unwrap();
        for round in 0..300 {
            match below(12) {
                0 => while kind.work().unwrap() {},
                // Commits beyond it may have come meanwhile.
                1 => {
                    let upper = durable.max(lsn.saturating_sub(below(4)));
                    // A kind may want to be asked again when all that it holds is below.
                    match kind.checkpoint(Lsn(upper)) {
                        Err(Error::Limit(_)) if upper < lsn => {}
                        written => {
                            written.unwrap();
                            durable = upper;
                        }
                    }
                }
                2 => kind.filled().unwrap(),
                3 => kind.set_budget(below(3) * 100_000),
                4 => kind.raise_since(Lsn(lsn.saturating_sub(5))),
                5 => {
                    drop(kind);
                    let (opened, upper) = (self.open)(env.clone(), dir).unwrap();
                    assert_eq!(upper, Lsn(durable));
                    kind = opened;
                    // What the log has behind the checkpoint, some of which it holds.
                    let behind = model.steps.iter().filter(|(lsn, ..)| *lsn > durable);
                    behind.for_each(|step| self.apply(&*kind, *step));
                }
                _ => {
                    lsn += 1;
                    for _ in 0..=below(20) {
                        let step = (lsn, below(150), (below(4) > 0).then(|| below(1000)));
                        if model.steps.iter().rev().any(|(at, row, _)| (*at, *row) == (lsn, step.1)) {
                            continue;
                        }
                        self.apply(&*kind, step);
                        model.steps.push(step);
                    }
                }
            }
            self.check(&*kind, &model, lsn, &format!("seed {seed}, round {round}"));
        }
        while kind.work().unwrap() {}
        self.check(&*kind, &model, lsn, "settled");
        assert!(!kind.is_behind(usize::MAX) && (kind.as_nearest().is_some() || kind.as_matches().is_some()));
    }
}

mod kinds {
    use super::Tested;
    use crate::text::{Cut, TextColumn, TextIndex, TextOptions};
    use crate::vector::{VectorIndex, VectorOptions};
    use nodedb_vector::{Element, Metric, Quantisation};

    const VECTORS: VectorOptions = VectorOptions {
        metric: Metric::Cosine,
        element: Element::F32,
        dimension: 2,
        m: 8,
        ef_construction: 32,
        quantisation: Quantisation::Bytes,
        seal_threshold: 64,
        build_threads: 2,
    };

    fn texts() -> TextOptions {
        let name = "body".to_owned();
        let column =
            TextColumn { name, cut: Cut::Words, language: None, stopwords: false, positions: true, boost: 1.0 };
        TextOptions { columns: vec![column] }
    }

    #[test]
    fn of_vectors() {
        let tested = Tested {
            create: |env, dir| Ok(Box::new(VectorIndex::create(env, dir, &VECTORS)?)),
            open: |env, dir| VectorIndex::open(env, dir, &VECTORS).map(|(kind, upper)| (Box::new(kind) as _, upper)),
            value: |n| [n as f32, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect(),
            // Without a direction.
            unheld: Some(vec![0; 8]),
        };
        (1..6).for_each(|seed| tested.lives(seed));
    }

    #[test]
    fn of_texts() {
        let tested = Tested {
            create: |env, dir| Ok(Box::new(TextIndex::create(env, dir, &texts())?)),
            open: |env, dir| TextIndex::open(env, dir, &texts()).map(|(kind, upper)| (Box::new(kind) as _, upper)),
            value: |n| format!("red fox {n} {}", "x ".repeat(n as usize % 40)).into_bytes(),
            unheld: None,
        };
        (1..6).for_each(|seed| tested.lives(seed));
    }
}
