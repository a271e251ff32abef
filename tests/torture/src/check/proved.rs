//! What the last check has proved, in a file of our own beside the database.

use super::history::History;
use crate::failure::{Failure, Result, ensure};
use crate::model::{ACCOUNTS, BALANCE, SIDES, SLOTS, Who};
use crate::sql::Client;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// An item that could be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// Its version.
    pub ver: i64,
    /// Whether it is there.
    pub alive: bool,
    /// Who wrote it.
    pub who: Who,
}

/// An account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Its version.
    pub ver: i64,
    /// What it has.
    pub balance: i64,
}

/// A table that comes and goes.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Its version.
    pub ver: i64,
    /// Whether it is there.
    pub alive: bool,
    /// Whether it has an index.
    pub indexed: bool,
    /// Its values, by key.
    pub rows: Vec<i64>,
}

/// What the store has done in all lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Memtables written.
    pub flushes: i64,
    /// Tables merged.
    pub compactions: i64,
    /// Checkpoints.
    pub checkpoints: i64,
    /// Segments of the log.
    pub segments: i64,
}

impl Figures {
    /// What the writers have noted.
    pub fn read(client: &mut Client) -> Result<Self> {
        let sql = "SELECT sum(flushes), sum(compactions), sum(checkpoints), sum(segments) FROM lives";
        match client.integers(sql, &[])?.as_slice() {
            &[[flushes, compactions, checkpoints, segments]] => {
                Ok(Self { flushes, compactions, checkpoints, segments })
            }
            rows => Err(Failure::Wrong(format!("a sum has {} rows", rows.len()))),
        }
    }
}

/// A state of the database that was right.
#[derive(Debug)]
pub struct Proved {
    /// The newest life that it has seen.
    pub life: i64,
    /// The newest commit that was acknowledged then.
    pub last_lsn: u64,
    /// How much of the file of acknowledgements it has seen.
    pub acks_bytes: u64,
    /// Rows of the journal, which the next life deletes in one commit.
    pub journal_rows: i64,
    /// Commits since the start.
    pub commits: i64,
    /// Figures since the start.
    pub figures: Figures,
    /// All slots.
    pub slots: Vec<Slot>,
    /// All accounts.
    pub accounts: Vec<Account>,
    /// All tables that come and go.
    pub sides: Vec<Side>,
}

impl Default for Proved {
    fn default() -> Self {
        Self {
            life: 0,
            last_lsn: 0,
            acks_bytes: 0,
            journal_rows: 0,
            commits: 0,
            figures: Figures::default(),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            accounts: (0..ACCOUNTS).map(|_| Account { ver: 0, balance: BALANCE }).collect(),
            sides: (0..SIDES).map(|_| Side::default()).collect(),
        }
    }
}

impl Proved {
    /// What is proved of the database in a directory; of one that was never checked, what it begins with.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("proved");
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| Failure::Outside(format!("{} is broken", path.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Failure::file("read", &path, &e)),
        }
    }

    /// Takes over what a check has found right.
    pub fn accept(&mut self, history: &History, figures: Figures) -> Result<()> {
        let (a, b) = (self.figures, figures);
        let back = a.flushes > b.flushes || a.checkpoints > b.checkpoints || a.compactions > b.compactions;
        ensure(!back, || format!("the figures of all lives went back from {a:?} to {b:?}"))?;
        let found = i64::try_from(history.commits.len()).unwrap_or(i64::MAX);
        self.journal_rows = history.old + found;
        self.life = history.life;
        self.commits += found;
        self.last_lsn = self.last_lsn.max(history.last_lsn());
        self.figures = figures;
        Ok(())
    }

    /// Writes it so that it survives a power cut.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let (path, aside) = (dir.join("proved"), dir.join("proved.new"));
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(self.print().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&aside, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|e| Failure::file("write", &path, &e))
    }

    fn print(&self) -> String {
        let Figures { flushes, compactions, checkpoints, segments } = self.figures;
        let Self { life, last_lsn, acks_bytes, journal_rows, commits, .. } = self;
        let mut text = format!("{life} {last_lsn} {acks_bytes} {journal_rows} {commits}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, " {flushes} {compactions} {checkpoints} {segments}");
        for Slot { ver, alive, who } in &self.slots {
            let _ = writeln!(text, "{ver} {} {who}", i64::from(*alive));
        }
        for Account { ver, balance } in &self.accounts {
            let _ = writeln!(text, "{ver} {balance}");
        }
        for Side { ver, alive, indexed, rows } in &self.sides {
            let _ = write!(text, "{ver} {} {}", i64::from(*alive), i64::from(*indexed));
            rows.iter().for_each(|row| text.push_str(&format!(" {row}")));
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(|line| line.split(' ').map(str::parse).collect::<Result<Vec<i64>, _>>().ok());
        let head = lines.next()??;
        let &[life, last_lsn, acks_bytes, journal_rows, commits, flushes, compactions, checkpoints, segments] =
            head.as_slice()
        else {
            return None;
        };
        let figures = Figures { flushes, compactions, checkpoints, segments };
        let (last_lsn, acks_bytes) = (last_lsn.unsigned_abs(), acks_bytes.unsigned_abs());
        let mut all = Self { life, last_lsn, acks_bytes, journal_rows, commits, figures, ..Self::default() };
        for slot in &mut all.slots {
            let &[ver, alive, life, session, seq] = lines.next()??.as_slice() else { return None };
            *slot = Slot { ver, alive: alive == 1, who: Who { life, session, seq } };
        }
        for account in &mut all.accounts {
            let &[ver, balance] = lines.next()??.as_slice() else { return None };
            *account = Account { ver, balance };
        }
        for side in &mut all.sides {
            let line = lines.next()??;
            let (&[ver, alive, indexed], rows) = line.split_first_chunk()?;
            *side = Side { ver, alive: alive == 1, indexed: indexed == 1, rows: rows.to_vec() };
        }
        lines.next().is_none().then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proved_can_be_read_again() {
        let mut proved = Proved { life: 3, last_lsn: 17, ..Proved::default() };
        proved.slots[7] = Slot { ver: 2, alive: true, who: Who { life: 1, session: 2, seq: 3 } };
        proved.sides[9] = Side { ver: 4, alive: true, indexed: true, rows: vec![5, 6] };
        let text = proved.print();
        assert_eq!(Proved::parse(&text).unwrap().print(), text);
        let cut = text.trim_end().rsplit_once('\n').unwrap().0;
        assert!(Proved::parse(cut).is_none());
    }
}
