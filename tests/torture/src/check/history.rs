//! What was acknowledged and what the journal says: that they agree.

use super::proved::Proved;
use crate::failure::{Failure, Result, ensure};
use crate::model::{Op, Who, parse_ops};
use crate::sql::{Client, integers};
use nodedb::{Lsn, Value};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// An acknowledged commit.
pub struct Ack {
    lsn: u64,
    who: Who,
}

/// The lines since the last check; `proved` then says that they have been read.
pub fn read_acks(path: &Path, proved: &mut Proved) -> Result<Vec<Ack>> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(proved.acks_bytes))?;
        file.read_to_string(&mut text)
    });
    read.map_err(|e| Failure::file("read", path, &e))?;
    proved.acks_bytes += text.len() as u64;
    text.lines().map(parse_ack).collect()
}

fn parse_ack(line: &str) -> Result<Ack> {
    let numbers: Option<Vec<i64>> = line.split(' ').map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[lsn, life, session, seq]) => Ok(Ack { lsn: lsn.unsigned_abs(), who: Who { life, session, seq } }),
        _ => Err(Failure::Outside(format!("no writer has printed `{line}`"))),
    }
}

/// A commit that the journal knows.
pub struct Commit {
    /// What it did.
    pub ops: Vec<Op>,
    /// When, if it was acknowledged.
    pub lsn: Option<u64>,
}

/// All commits since the last check.
pub struct History {
    /// The commits.
    pub commits: BTreeMap<Who, Commit>,
    /// The newest life.
    pub life: i64,
    /// How many were not acknowledged.
    pub in_flight: usize,
    /// Rows of the journal that were proved before and are still there: all of them, or none.
    pub old: i64,
}

impl History {
    /// Reads the journal and puts the acknowledgements to it.
    pub fn read(client: &mut Client, proved: &Proved, acks: &[Ack]) -> Result<Self> {
        let life = client.integer("SELECT max(life) FROM lives", &[])?;
        let lives = client.integer("SELECT count(*) FROM lives", &[])?;
        ensure(lives == life && life >= proved.life, || format!("of {life} lives {lives} are there"))?;
        let mut commits = BTreeMap::new();
        let mut old = 0;
        for row in client.query("SELECT life, session, seq, ops FROM journal", &[])? {
            let (who, ops) = journal_row(&row)?;
            ensure(who.life <= life, || format!("commit {who} is there, its life is not"))?;
            old += i64::from(who.life <= proved.life);
            if who.life > proved.life && commits.insert(who, Commit { ops, lsn: None }).is_some() {
                return Err(Failure::Wrong(format!("commit {who} is in the journal twice")));
            }
        }
        ensure(old == 0 || old == proved.journal_rows, || {
            format!("of {} journal rows that go together, {old} are there", proved.journal_rows)
        })?;
        for ack in acks {
            let commit = commits.get_mut(&ack.who);
            let commit = commit.ok_or_else(|| Failure::Wrong(format!("LOST: commit {} ({})", ack.lsn, ack.who)))?;
            let before = commit.lsn.replace(ack.lsn);
            ensure(before.is_none(), || format!("commit {} was acknowledged twice", ack.who))?;
        }
        let in_flight = commits.values().filter(|commit| commit.lsn.is_none()).count();
        Ok(Self { commits, life, in_flight, old })
    }

    /// Sessions have no gaps and at most one commit in flight, and Lsns only rise.
    pub fn check_order(&self, proved: &Proved, last: Lsn) -> Result<()> {
        let mut lsns = HashMap::new();
        let mut end_of_life = proved.last_lsn;
        let (mut life, mut newest) = (0, proved.last_lsn);
        let mut before: Option<(Who, Option<u64>)> = None;
        for (&who, commit) in &self.commits {
            if who.life != life {
                (life, end_of_life) = (who.life, newest);
            }
            check_session(before, who)?;
            let floor = before.filter(|(b, _)| b.session == who.session && b.life == who.life);
            let floor = floor.and_then(|(_, lsn)| lsn).unwrap_or(end_of_life);
            if let Some(lsn) = commit.lsn {
                ensure(lsn > floor, || format!("commit {lsn} ({who}) came after {floor}"))?;
                let other = lsns.insert(lsn, who);
                ensure(other.is_none(), || format!("Lsn {lsn} belongs to {who} and to {other:?}"))?;
                newest = newest.max(lsn);
            }
            before = Some((who, commit.lsn));
        }
        ensure(newest <= last.0, || format!("Lsn {newest} was acknowledged, the database ends at {last}"))
    }

    /// The newest Lsn that was acknowledged.
    pub fn last_lsn(&self) -> u64 {
        self.commits.values().filter_map(|commit| commit.lsn).max().unwrap_or(0)
    }
}

fn journal_row(row: &[Value]) -> Result<(Who, Vec<Op>)> {
    let Some((Value::Text(ops), numbers)) = row.split_last() else {
        return Err(Failure::Wrong(format!("the journal says {row:?}")));
    };
    let [life, session, seq] = integers(numbers)?;
    Ok((Who { life, session, seq }, parse_ops(ops)?))
}

/// A commit follows the one before it in its session, which was acknowledged.
fn check_session(before: Option<(Who, Option<u64>)>, who: Who) -> Result<()> {
    match before.filter(|(b, _)| (b.life, b.session) == (who.life, who.session)) {
        None => ensure(who.seq == 1, || format!("{who} is the first of its session")),
        Some((b, lsn)) => {
            ensure(who.seq == b.seq + 1, || format!("{who} follows {b}"))?;
            ensure(lsn.is_some(), || format!("{b} was not acknowledged, and yet {who} follows it"))
        }
    }
}
