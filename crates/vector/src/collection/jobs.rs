//! Background work: what is to be done, and doing it. The caller brings the threads.

use super::{Parts, VectorCollection, Writer};
use crate::history::{History, NEVER};
use crate::matrix::Matrix;
use crate::part::form::{Base, GraphForm, Plan};
use crate::part::growing::Growing;
use crate::part::sealed::{self, Sealed, Tier};
use crate::part::{Entries, Key};
use crate::section::Section;
use crate::{Error, Result};
use nodedb_env::Pages;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Which parts somebody works on, and which numbers new ones will have.
#[derive(Debug, Default)]
pub(super) struct Board(Arc<Mutex<BTreeSet<u64>>>);

impl Board {
    /// Takes parts, unless somebody has one of them.
    fn claim(&self, numbers: Vec<u64>) -> Option<Claim> {
        let mut busy = self.0.lock();
        if numbers.iter().any(|number| busy.contains(number)) {
            return None;
        }
        busy.extend(&numbers);
        Some(Claim { numbers, board: Arc::clone(&self.0) })
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.0.lock().contains(&number)
    }
}

/// Gives parts back when it is dropped.
#[derive(Debug)]
struct Claim {
    numbers: Vec<u64>,
    board: Arc<Mutex<BTreeSet<u64>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut busy = self.board.lock();
        self.numbers.iter().for_each(|number| _ = busy.remove(number));
    }
}

/// Something to do. While it lives, nobody else is given its parts.
#[derive(Debug)]
pub struct Job {
    work: Work,
    claim: Claim,
}

#[derive(Debug)]
enum Work {
    Build(Arc<Growing>),
    Merge(Vec<Arc<Sealed>>),
    Move(Arc<Sealed>, Tier),
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Builds the graph of a full part.
    Build,
    /// Makes one part of several, or one without what nobody sees any more.
    Merge,
    /// Brings a part into memory or lets it go, as the budget says.
    Move,
}

impl Job {
    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self.work {
            Work::Build(_) => JobKind::Build,
            Work::Merge(_) => JobKind::Merge,
            Work::Move(..) => JobKind::Move,
        }
    }

    /// How many vectors it goes through.
    #[must_use]
    pub fn vectors(&self) -> usize {
        match &self.work {
            Work::Build(part) => part.len(),
            Work::Merge(parts) => parts.iter().map(|part| part.len()).sum(),
            Work::Move(part, _) => part.len(),
        }
    }
}

/// What a new part is made of.
#[derive(Default)]
struct Gathered {
    keys: Vec<Key>,
    rows: Vec<u8>,
    factors: Vec<f32>,
    /// Entries that nobody at or above `since` sees.
    dropped: Vec<Key>,
}

impl VectorCollection {
    /// The most urgent work that nobody does yet: builds, then merges, then moves between tiers.
    #[must_use]
    pub fn next_job(&self) -> Option<Job> {
        // In this order: what is free on the board now is in a list that is read later, or has gone from it.
        let board = self.board.lock();
        let parts = self.parts();
        for part in &parts.frozen {
            if let Some(claim) = board.claim(vec![part.number]) {
                return Some(Job { work: Work::Build(part.clone()), claim });
            }
        }
        let merge = self.parts_to_merge(&parts, &board);
        if let Some(claim) = merge.first().and_then(|_| board.claim(merge.iter().map(|part| part.number).collect())) {
            return Some(Job { work: Work::Merge(merge), claim });
        }
        let (part, tier) = self.part_to_move(&parts)?;
        let claim = board.claim(vec![part.number])?;
        Some(Job { work: Work::Move(part, tier), claim })
    }

    /// The largest part that the smaller ones together come near, and these; or one that is worth sweeping.
    fn parts_to_merge(&self, parts: &Parts, board: &Board) -> Vec<Arc<Sealed>> {
        let is_free = |part: &&Arc<Sealed>| !board.has(part.number) && !part.is_damaged.load(Ordering::Acquire);
        let mut free: Vec<Arc<Sealed>> = parts.sealed.iter().filter(is_free).cloned().collect();
        free.sort_by_key(|part| std::cmp::Reverse(part.len()));
        for (at, part) in free.iter().enumerate() {
            let smaller: usize = free.iter().skip(at + 1).map(|part| part.len()).sum();
            if smaller > 0 && part.len() <= self.options.merge_factor * smaller {
                return free.split_off(at);
            }
        }
        let worth = free.into_iter().find(|part| self.is_worth_sweeping(part));
        worth.into_iter().collect()
    }

    /// Whether a quarter of a part is seen by nobody.
    fn is_worth_sweeping(&self, part: &Sealed) -> bool {
        if part.ended.count() * 4 <= part.len() {
            return false;
        }
        let (history, since) = (self.history.read(), self.since());
        let rows = (0..part.len() as u32).filter(|row| part.is_ended(*row)).filter_map(|row| part.key(row));
        rows.filter(|key| history.end(*key) <= since).count() * 4 > part.len()
    }

    /// A part that is not in the tier in which the budget wants it: the codes of as many as possible, then the vectors.
    fn part_to_move(&self, parts: &Parts) -> Option<(Arc<Sealed>, Tier)> {
        let mut left = self.budget.load(Ordering::Acquire) as usize;
        let mut wanted = Vec::new();
        for tier in [Tier::Codes, Tier::Memory] {
            for part in parts.sealed.iter().rev() {
                let before = if tier == Tier::Memory { part.tier_bytes(Tier::Codes) } else { 0 };
                let more = part.tier_bytes(tier) - before;
                let reached = tier == Tier::Codes || wanted.iter().any(|(number, _)| *number == part.number);
                if reached && more <= left {
                    left -= more;
                    wanted.retain(|(number, _)| *number != part.number);
                    wanted.push((part.number, tier));
                }
            }
        }
        let tier_of =
            |part: &Sealed| wanted.iter().find(|(number, _)| *number == part.number).map_or(Tier::Mapped, |w| w.1);
        let is_free = |part: &&Arc<Sealed>| !part.is_damaged.load(Ordering::Acquire);
        // What is to go makes room for what is to come.
        let mut moves: Vec<_> = parts.sealed.iter().filter(is_free).map(|part| (part.clone(), tier_of(part))).collect();
        moves.retain(|(part, tier)| part.tier() != *tier);
        moves.sort_by_key(|(part, tier)| part.tier() < *tier);
        moves.into_iter().next()
    }

    /// Does a job. What it makes takes its place when it is whole; searches and insertions go on meanwhile.
    ///
    /// # Errors
    /// `Io` if files or memory cannot be had: the parts stay as they are, and the job is given out again. `Damaged` if a
    /// part is: it stays, is left out of merges from now on, and [`VectorCollection::scrub`] tells what is lost.
    /// `Poisoned` if it has panicked.
    pub fn run(&self, job: Job) -> Result<()> {
        self.check_alive()?;
        let span = tracing::info_span!("vector job", kind = ?job.kind(), vectors = job.vectors());
        let _entered = span.enter();
        let result = catch_unwind(AssertUnwindSafe(|| match &job.work {
            Work::Build(part) => self.build(part),
            Work::Merge(parts) => self.merge(parts),
            Work::Move(part, tier) => part.set_tier(*tier).inspect_err(|e| note_damage(part, e)),
        }));
        drop(job.claim);
        result.unwrap_or_else(|_| {
            self.is_poisoned.store(true, Ordering::Release);
            self.check_alive()
        })
    }

    /// Does all jobs until there are none.
    ///
    /// # Errors
    /// The first job's that fails.
    pub fn settle(&self) -> Result<()> {
        while let Some(job) = self.next_job() {
            self.run(job)?;
        }
        Ok(())
    }

    fn build(&self, part: &Arc<Growing>) -> Result<()> {
        let mut gathered = Gathered::default();
        self.gather(part.as_ref(), &mut gathered)?;
        let sealed = self.make_part(&gathered, None)?;
        self.install(sealed, &[part.number], &gathered.dropped)
    }

    fn merge(&self, parts: &[Arc<Sealed>]) -> Result<()> {
        let Some(largest) = parts.first() else { return Ok(()) };
        let mut gathered = Gathered::default();
        let numbers = self.gather_from(largest, &mut gathered)?;
        for part in parts.iter().skip(1) {
            self.gather_from(part, &mut gathered)?;
        }
        let loaded = largest.loaded()?;
        // Of a graph that loses more than half of its nodes, not much is left.
        let is_worth_reusing = numbers.iter().flatten().count() * 2 > numbers.len();
        let form = loaded.form.as_graph().filter(|_| is_worth_reusing);
        let base = form.map(|form| Base { form, numbers: &numbers });
        let sealed = self.make_part(&gathered, base)?;
        let gone: Vec<u64> = parts.iter().map(|part| part.number).collect();
        self.install(sealed, &gone, &gathered.dropped)
    }

    fn gather_from(&self, part: &Arc<Sealed>, gathered: &mut Gathered) -> Result<Vec<Option<u32>>> {
        self.gather(part.as_ref(), gathered).inspect_err(|e| note_damage(part, e))
    }

    /// The entries of a part that somebody may still see; the number of each in what is gathered.
    fn gather(&self, part: &impl Entries, gathered: &mut Gathered) -> Result<Vec<Option<u32>>> {
        let since = self.since();
        let mut numbers = Vec::with_capacity(part.len());
        let keys: Vec<Option<Key>> = (0..part.len() as u32).map(|row| part.key(row)).collect();
        let gone: BTreeSet<u32> = {
            let history = self.history.read();
            let is_gone = |(row, key): &(u32, &Option<Key>)| {
                part.is_ended(*row) && key.is_some_and(|key| history.end(key) <= since)
            };
            (0_u32..).zip(&keys).filter(is_gone).map(|(row, _)| row).collect()
        };
        part.each_row(&mut |row, vector| {
            let Some(key) = keys.get(row as usize).copied().flatten() else { return Ok(()) };
            if gone.contains(&row) {
                gathered.dropped.push(key);
                numbers.push(None);
                return Ok(());
            }
            numbers.push(Some(gathered.keys.len() as u32));
            gathered.keys.push(key);
            gathered.rows.extend_from_slice(vector.bytes);
            gathered.factors.push(vector.factor);
            Ok(())
        })?;
        Ok(numbers)
    }

    /// Builds a part, writes it and opens it; `None` if there is nothing in it.
    fn make_part(&self, gathered: &Gathered, base: Option<Base<'_>>) -> Result<Option<Sealed>> {
        if gathered.keys.is_empty() {
            return Ok(None);
        }
        let (shape, count) = (self.options.shape, gathered.keys.len());
        let no_memory = |e| Error::Io("no memory for a part".to_owned(), e);
        let rows = Pages::copy(&gathered.rows).map_err(no_memory)?;
        let length = rows.len();
        let rows = Section::new(&(Arc::new(rows) as Arc<_>), 0..length);
        let rows = rows.ok_or_else(|| Error::damaged("rows that are no bytes"))?;
        let factors = if shape.has_factors() { Some(Section::of(&gathered.factors).map_err(no_memory)?) } else { None };
        let rows = Matrix::new(shape, count, rows, factors)?;
        let plan = Plan {
            parameters: self.options.graph,
            quantisation: self.options.quantisation,
            threads: self.options.build_threads,
            spawn: &*self.env.spawn,
            base,
        };
        let form = GraphForm::build(&rows, &plan)?;
        let number = self.writer.lock().take_number();
        // Until it is in the list of parts, no checkpoint may take its file for one that is left over.
        let claim = self.board.lock().claim(vec![number]);
        let files = &*self.env.files;
        sealed::write(files, &self.dir, number, &gathered.keys, &rows, &form)?;
        let sealed = Sealed::open(files, &self.dir, number, shape)?;
        sealed.set_tier(self.tier_for(&sealed))?;
        self.board.lock().keep(claim);
        Ok(Some(sealed))
    }

    /// The tier that a new part may have within what the budget leaves.
    fn tier_for(&self, part: &Sealed) -> Tier {
        let used: usize = self.parts().sealed.iter().map(|part| part.tier_bytes(part.tier())).sum();
        let left = (self.budget.load(Ordering::Acquire) as usize).saturating_sub(used);
        let fits = |tier: &Tier| part.tier_bytes(*tier) <= left;
        [Tier::Memory, Tier::Codes].into_iter().find(fits).unwrap_or(Tier::Mapped)
    }

    /// Forgets events of entries that merges have dropped, once nobody searches a list of parts that still had them.
    pub(super) fn prune(&self, writer: &mut Writer, history: &mut History) -> Result<()> {
        let (since, now) = (self.since(), self.parts());
        // All of them: a later list may have lost another entry of an id that an earlier one lost one of.
        if writer.to_prune.iter().any(|(parts, _)| parts.strong_count() > 0) {
            return Ok(());
        }
        for id in std::mem::take(&mut writer.to_prune).into_iter().flat_map(|(_, ids)| ids) {
            let versions = now.entries_of(id)?.into_iter().map(|entry| entry.version);
            let missing = writer.missing.range((id, 0)..=(id, u64::MAX)).map(|key| key.1);
            let versions: Vec<u64> = versions.chain(missing).collect();
            history.prune(id, since, &versions);
        }
        Ok(())
    }

    /// Puts a part in the place of others.
    fn install(&self, sealed: Option<Sealed>, gone: &[u64], dropped: &[Key]) -> Result<()> {
        let mut writer = self.writer.lock();
        let mut history = self.history.write();
        if let Some(sealed) = &sealed {
            mark_ended(sealed, &history);
        }
        let made = sealed.as_ref().map(|sealed| sealed.number);
        let parts = self.parts();
        let stays = |number: u64| !gone.contains(&number);
        let next = Parts {
            growing: parts.growing.clone(),
            frozen: parts.frozen.iter().filter(|part| stays(part.number)).cloned().collect(),
            sealed: parts
                .sealed
                .iter()
                .filter(|part| stays(part.number))
                .cloned()
                .chain(sealed.map(Arc::new))
                .collect(),
        };
        drop(parts);
        self.replace_parts(&mut writer, Arc::new(next), dropped.iter().map(|key| key.0).collect());
        let pruned = self.prune(&mut writer, &mut history);
        // The board is never asked for with the history held.
        drop(history);
        made.into_iter().for_each(|number| self.board.lock().release(number));
        pruned
    }
}

impl Board {
    /// Keeps what was claimed until it is released by number.
    fn keep(&self, claim: Option<Claim>) {
        if let Some(mut claim) = claim {
            claim.numbers.clear();
        }
    }

    fn release(&self, number: u64) {
        self.0.lock().remove(&number);
    }
}

fn note_damage(part: &Sealed, error: &Error) {
    if matches!(error, Error::Damaged(_)) {
        part.is_damaged.store(true, Ordering::Release);
    }
}

/// Marks the entries of a part that something newer has come after.
pub(super) fn mark_ended(part: &Sealed, history: &History) {
    if history.is_empty() {
        return;
    }
    for row in 0..part.len() as u32 {
        if part.key(row).is_some_and(|key| history.end(key) != NEVER) {
            part.ended.set(row);
        }
    }
}
