//! One session of the writer: what it does is drawn from its seed, on what it finds.

use super::acks::Acks;
use crate::failure::{Failure, Result, ensure};
use crate::model::{ACCOUNTS, Act, BALANCE, Item, Op, SESSIONS, SLOTS, Who, write_ops};
use crate::random::Random;
use crate::sql::{Client, lost_a_race};
use nodedb::{Database, Value};

const JOURNAL: &str = "INSERT INTO journal VALUES ($1, $2, $3, $4)";

/// A session that writes.
pub struct Worker {
    pub(super) client: Client,
    pub(super) random: Random,
    database: Database,
    /// The newest commit that was acknowledged.
    last: Who,
    acks: Acks,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Items,
    Transfer,
    Both,
    Share,
    Side,
    Nothing,
    Look,
}

impl Worker {
    /// Session `session` of a life.
    pub fn new(database: &Database, seed: u64, life: i64, session: i64, acks: Acks) -> Self {
        let random = Random::of(&[seed, life.cast_unsigned(), session.cast_unsigned()]);
        let last = Who { life, session, seq: 0 };
        Self { client: Client::new(database), random, database: database.clone(), last, acks }
    }

    /// Works until something fails.
    pub fn run(&mut self) -> Result<()> {
        loop {
            let task = self.draw();
            match self.attempt(task) {
                Err(failure) if lost_a_race(&failure) => self.give_up()?,
                other => other?,
            }
        }
    }

    fn draw(&mut self) -> Task {
        match self.random.below(100) {
            0..45 => Task::Items,
            45..70 => Task::Transfer,
            70..80 => Task::Both,
            80..83 => Task::Share,
            83..91 => Task::Side,
            91..97 => Task::Nothing,
            _ => Task::Look,
        }
    }

    fn attempt(&mut self, task: Task) -> Result<()> {
        let who = Who { seq: self.last.seq + 1, ..self.last };
        match task {
            Task::Look => return self.look(),
            Task::Nothing => self.journal(who, &[])?,
            _ => {
                let serializable = self.random.one_in(8);
                let begin = if serializable { "BEGIN ISOLATION LEVEL SERIALIZABLE" } else { "BEGIN" };
                self.client.session.execute(begin, &[])?;
                let ops = self.work(task, who)?;
                self.journal(who, &ops)?;
                self.figures(who)?;
                self.client.session.execute("COMMIT", &[])?;
            }
        }
        self.acknowledge(who)
    }

    fn acknowledge(&mut self, who: Who) -> Result<()> {
        let lsn = self.client.session.last_commit();
        let lsn = lsn.ok_or_else(|| Failure::Wrong(format!("commit {who} has no Lsn")))?;
        self.last = who;
        self.acks.say(lsn, who)
    }

    fn give_up(&mut self) -> Result<()> {
        if self.client.session.in_transaction() {
            self.client.session.execute("ROLLBACK", &[])?;
        }
        Ok(())
    }

    fn work(&mut self, task: Task, who: Who) -> Result<Vec<Op>> {
        let mut ops = Vec::new();
        if matches!(task, Task::Items | Task::Both) {
            self.items(who, &mut ops)?;
        }
        if matches!(task, Task::Transfer | Task::Both) {
            self.transfer(&mut ops)?;
        }
        match task {
            Task::Share => self.share(&mut ops)?,
            Task::Side => self.side(who, &mut ops)?,
            _ => {}
        }
        if self.random.one_in(8) {
            self.regret()?;
        }
        Ok(ops)
    }

    fn journal(&mut self, who: Who, ops: &[Op]) -> Result<()> {
        self.client.touch(1, JOURNAL, &[who.life.into(), who.session.into(), who.seq.into(), write_ops(ops).into()])
    }

    /// Now and then the first session notes what the store has done since this life began.
    fn figures(&mut self, who: Who) -> Result<()> {
        if who.session != 0 || who.seq % 16 != 0 {
            return Ok(());
        }
        if who.seq % 256 == 0 {
            self.database.checkpoint()?;
        }
        let stats = self.database.stats();
        let figure = |n: u64| Value::Int8(n.cast_signed());
        let (flushes, compactions) = (figure(stats.trees.flushes), figure(stats.trees.compactions));
        let (checkpoints, segments) = (figure(stats.checkpoints), figure(stats.log_segments));
        let row = [who.life.into(), flushes, compactions, checkpoints, segments];
        self.client.touch(
            1,
            "UPDATE lives SET flushes = $2, compactions = $3, checkpoints = $4, segments = $5 WHERE life = $1",
            &row,
        )
    }

    /// Some different numbers below `end`: mostly such as are this session's own, else anybody's.
    fn some(&mut self, end: i64, most: u64) -> Vec<i64> {
        let sessions = SESSIONS.cast_signed();
        let mut some = Vec::new();
        for _ in 0..=self.random.below(most) {
            let any = self.random.int(end);
            let own = any - any % sessions + self.last.session;
            some.push(if self.random.one_in(5) { any } else { own });
        }
        some.sort_unstable();
        some.dedup();
        some
    }

    fn items(&mut self, who: Who, ops: &mut Vec<Op>) -> Result<()> {
        for id in self.some(SLOTS, 3) {
            let slot = self.client.integers("SELECT ver, alive FROM slots WHERE id = $1", &[id.into()])?;
            let &[[ver, alive]] = slot.as_slice() else {
                return Err(Failure::Wrong(format!("slot {id} is there {} times", slot.len())));
            };
            let delete = alive == 1 && self.random.one_in(4);
            let op = Op { act: if delete { Act::Delete } else { Act::Put }, id, ver: ver + 1 };
            self.unpart(id)?;
            match (delete, alive == 1) {
                (true, _) => self.client.touch(1, "DELETE FROM items WHERE id = $1", &[id.into()])?,
                (false, false) => self.put("INSERT INTO items VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", who, op)?,
                (false, true) => self.put(
                    "UPDATE items SET ver = $2, val = $3, tag = $4, code = $5, body = $6, doc = $7, vec = $8 \
                     WHERE id = $1",
                    who,
                    op,
                )?,
            }
            self.slot(who, op)?;
            ops.push(op);
        }
        Ok(())
    }

    fn unpart(&mut self, item: i64) -> Result<()> {
        self.client.execute("DELETE FROM parts WHERE item = $1", &[item.into()]).map(drop)
    }

    fn put(&mut self, sql: &'static str, who: Who, op: Op) -> Result<()> {
        let item = Item::of(who, op.id, op.ver);
        let parts = item.parts.clone();
        self.client.touch(1, sql, &item.row(op.id, op.ver))?;
        for (no, amount) in (1_i64..).zip(parts) {
            self.client.touch(1, "INSERT INTO parts VALUES ($1, $2, $3)", &[op.id.into(), no.into(), amount.into()])?;
        }
        Ok(())
    }

    fn slot(&mut self, who: Who, op: Op) -> Result<()> {
        let alive = Value::Bool(op.act == Act::Put);
        let row = [op.id.into(), op.ver.into(), alive, who.life.into(), who.session.into(), who.seq.into()];
        let sql = "UPDATE slots SET ver = $2, alive = $3, life = $4, session = $5, seq = $6 WHERE id = $1";
        self.client.touch(1, sql, &row)
    }

    /// From one account to some others, each written by its key.
    fn transfer(&mut self, ops: &mut Vec<Op>) -> Result<()> {
        let accounts = self.some(ACCOUNTS, 3);
        let Some((giver, takers)) = accounts.split_first() else { return Ok(()) };
        let gift = self.random.int(50) + 1;
        let sum = gift * i64::try_from(takers.len()).unwrap_or(0);
        self.give(*giver, -sum, ops)?;
        takers.iter().try_for_each(|taker| self.give(*taker, gift, ops))
    }

    fn give(&mut self, id: i64, amount: i64, ops: &mut Vec<Op>) -> Result<()> {
        let account = self.client.integers("SELECT ver, balance FROM accounts WHERE id = $1", &[id.into()])?;
        let &[[ver, balance]] = account.as_slice() else {
            return Err(Failure::Wrong(format!("account {id} is there {} times", account.len())));
        };
        let row = [id.into(), (ver + 1).into(), (balance + amount).into()];
        self.client.touch(1, "UPDATE accounts SET ver = $2, balance = $3 WHERE id = $1", &row)?;
        ops.push(Op { act: Act::Give(amount), id, ver: ver + 1 });
        Ok(())
    }

    /// From one account to its eight neighbours, these in one statement.
    fn share(&mut self, ops: &mut Vec<Op>) -> Result<()> {
        let first = self.random.int(ACCOUNTS - 9);
        let range = [(first + 1).into(), (first + 9).into()];
        let sql = "SELECT id, ver FROM accounts WHERE id >= $1 AND id < $2 ORDER BY id";
        let takers = self.client.integers::<2>(sql, &range)?;
        self.client.touch(
            8,
            "UPDATE accounts SET ver = ver + 1, balance = balance + 1 WHERE id >= $1 AND id < $2",
            &range,
        )?;
        ops.extend(takers.into_iter().map(|[id, ver]| Op { act: Act::Give(1), id, ver: ver + 1 }));
        self.give(first, -8, ops)
    }

    /// Does harm and goes back to before it.
    fn regret(&mut self) -> Result<()> {
        let id = self.random.int(ACCOUNTS);
        self.client.session.execute("SAVEPOINT harm", &[])?;
        self.client.touch(1, "UPDATE accounts SET balance = balance + 1000000 WHERE id = $1", &[id.into()])?;
        self.client.execute("DELETE FROM parts WHERE item = $1", &[id.into()])?;
        self.client.session.execute("ROLLBACK TO SAVEPOINT harm", &[])?;
        self.client.session.execute("RELEASE SAVEPOINT harm", &[])?;
        Ok(())
    }

    /// Looks at what must hold in every snapshot.
    fn look(&mut self) -> Result<()> {
        self.client.session.execute("BEGIN", &[])?;
        let all = self.client.integer("SELECT sum(balance) FROM accounts", &[])?;
        let slots = self.client.integer("SELECT count(*) FROM slots WHERE alive", &[])?;
        let items = self.client.integer("SELECT count(*) FROM items", &[])?;
        self.client.session.execute("ROLLBACK", &[])?;
        ensure(all == ACCOUNTS * BALANCE, || format!("a snapshot has {all} in all accounts"))?;
        ensure(slots == items, || format!("a snapshot has {slots} live slots and {items} items"))
    }
}
