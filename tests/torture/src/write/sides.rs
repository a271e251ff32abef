//! Tables that come and go. Each belongs to one session; nobody else touches it.

use super::session::Worker;
use crate::failure::{Failure, Result, ensure};
use crate::model::{Act, Op, SESSIONS, SIDES, Who, side_rows};

/// A table grows no further than this.
const LONGEST: i64 = 150;

/// What the row of a table in `sides` says.
struct Side {
    op: Op,
    alive: bool,
    indexed: bool,
    filled: i64,
}

impl Worker {
    /// Makes a table, drops it, gives it an index or takes it, or puts rows into it.
    pub(super) fn side(&mut self, who: Who, ops: &mut Vec<Op>) -> Result<()> {
        let sessions = SESSIONS.cast_signed();
        let id = self.random.int(SIDES / sessions) * sessions + who.session;
        let mut side = self.read_side(id)?;
        side.op.act = self.draw_act(&side);
        self.change_table(who, &mut side)?;
        let row = [id.into(), side.op.ver.into(), side.alive.into(), side.indexed.into(), side.filled.into()];
        let sql = "UPDATE sides SET ver = $2, alive = $3, indexed = $4, filled = $5 WHERE id = $1";
        self.client.touch(1, sql, &row)?;
        ops.push(side.op);
        Ok(())
    }

    fn read_side(&mut self, id: i64) -> Result<Side> {
        let sql = "SELECT ver, alive, indexed, filled FROM sides WHERE id = $1";
        let rows = self.client.integers(sql, &[id.into()])?;
        let &[[ver, alive, indexed, filled]] = rows.as_slice() else {
            return Err(Failure::Wrong(format!("side {id} is there {} times", rows.len())));
        };
        let op = Op { act: Act::Fill, id, ver: ver + 1 };
        Ok(Side { op, alive: alive == 1, indexed: indexed == 1, filled })
    }

    fn draw_act(&mut self, side: &Side) -> Act {
        match self.random.below(8) {
            _ if !side.alive => Act::Create,
            _ if side.filled > LONGEST => Act::Drop,
            0 => Act::Drop,
            1 if side.indexed => Act::Unindex,
            1 => Act::Index,
            _ => Act::Fill,
        }
    }

    fn change_table(&mut self, who: Who, side: &mut Side) -> Result<()> {
        let id = side.op.id;
        match side.op.act {
            Act::Create => {
                self.define(&format!("CREATE TABLE side_{id} (k BIGINT PRIMARY KEY, v BIGINT NOT NULL)"))?;
                (side.alive, side.indexed, side.filled) = (true, false, 0);
                self.fill(who, side)
            }
            Act::Drop => {
                (side.alive, side.indexed, side.filled) = (false, false, 0);
                self.define(&format!("DROP TABLE side_{id}"))
            }
            Act::Index => {
                side.indexed = true;
                self.define(&format!("CREATE INDEX side_{id}_v ON side_{id} (v)"))
            }
            Act::Unindex => {
                side.indexed = false;
                self.define(&format!("DROP INDEX side_{id}_v"))
            }
            _ => self.fill(who, side),
        }
    }

    fn define(&mut self, sql: &str) -> Result<()> {
        self.client.session.execute(sql, &[]).map(drop).map_err(Into::into)
    }

    fn fill(&mut self, who: Who, side: &mut Side) -> Result<()> {
        let rows = side_rows(who, side.op.id, side.op.ver);
        let count = rows.len() as u64;
        let rows: Vec<String> = (side.filled..).zip(rows).map(|(k, v)| format!("({k}, {v})")).collect();
        let sql = format!("INSERT INTO side_{} VALUES {}", side.op.id, rows.join(", "));
        let put = self.client.session.execute(&sql, &[])?;
        ensure(put == count, || format!("`{sql}` put {put} rows"))?;
        side.filled += count.cast_signed();
        Ok(())
    }
}
