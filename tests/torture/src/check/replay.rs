//! The journal, replayed in memory onto what the last check proved.

use super::history::History;
use super::proved::{Account, Proved, Side, Slot};
use crate::failure::{Failure, Result, ensure};
use crate::model::{Act, Kind, Op, Who, side_rows};
use std::collections::BTreeMap;

/// One step in the history of an object.
#[derive(Clone, Copy)]
struct Step {
    act: Act,
    who: Who,
    lsn: Option<u64>,
}

/// The steps of each object, by version.
type Steps = BTreeMap<(Kind, i64), BTreeMap<i64, Step>>;

/// Changes `proved` as the commits say, in the order of the objects' versions.
pub fn replay(proved: &mut Proved, history: &History) -> Result<()> {
    for ((kind, id), steps) in sort(history)? {
        let lost = |ver: i64| Failure::Wrong(format!("{kind:?} {id} has no version {ver}"));
        let mut expected = version(proved, kind, id).ok_or_else(|| lost(0))?;
        let mut newest = 0;
        for (ver, step) in steps {
            expected += 1;
            ensure(ver == expected, || format!("{kind:?} {id}: version {expected} is missing, {ver} is there"))?;
            if let Some(lsn) = step.lsn {
                ensure(lsn > newest, || {
                    format!("{kind:?} {id}: version {ver} is of {lsn}, one before it of {newest}")
                })?;
                newest = lsn;
            }
            apply(proved, Op { act: step.act, id, ver }, step.who).ok_or_else(|| {
                Failure::Wrong(format!(
                    "{:?} of {kind:?} {id} as version {ver} ({}) was not possible",
                    step.act, step.who
                ))
            })?;
        }
    }
    let sum: i64 = proved.accounts.iter().map(|account| account.balance).sum();
    let expected = crate::model::ACCOUNTS * crate::model::BALANCE;
    ensure(sum == expected, || format!("the accounts have {sum} together, not {expected}"))
}

fn sort(history: &History) -> Result<Steps> {
    let mut steps = Steps::new();
    for (&who, commit) in &history.commits {
        for &op in &commit.ops {
            let object = steps.entry((op.kind(), op.id)).or_default();
            let step = Step { act: op.act, who, lsn: commit.lsn };
            if let Some(other) = object.insert(op.ver, step) {
                let what =
                    format!("{who} and {} both wrote version {} of {:?} {}", other.who, op.ver, op.kind(), op.id);
                return Err(Failure::Wrong(what));
            }
        }
    }
    Ok(steps)
}

fn version(proved: &Proved, kind: Kind, id: i64) -> Option<i64> {
    let at = usize::try_from(id).ok()?;
    match kind {
        Kind::Slot => proved.slots.get(at).map(|slot| slot.ver),
        Kind::Account => proved.accounts.get(at).map(|account| account.ver),
        Kind::Side => proved.sides.get(at).map(|side| side.ver),
    }
}

/// Does one thing; `None` if it cannot have happened.
fn apply(proved: &mut Proved, op: Op, who: Who) -> Option<()> {
    let (at, ver) = (usize::try_from(op.id).ok()?, op.ver);
    match op.act {
        Act::Put | Act::Delete => {
            let slot = proved.slots.get_mut(at)?;
            let possible = op.act == Act::Put || slot.alive;
            *slot = Slot { ver, alive: op.act == Act::Put, who };
            possible.then_some(())
        }
        Act::Give(amount) => {
            let account = proved.accounts.get_mut(at)?;
            *account = Account { ver, balance: account.balance + amount };
            Some(())
        }
        _ => apply_side(proved.sides.get_mut(at)?, op, who),
    }
}

fn apply_side(side: &mut Side, op: Op, who: Who) -> Option<()> {
    let possible = match op.act {
        Act::Create => !side.alive,
        Act::Index => side.alive && !side.indexed,
        Act::Unindex => side.alive && side.indexed,
        _ => side.alive,
    };
    side.ver = op.ver;
    match op.act {
        Act::Index => side.indexed = true,
        Act::Unindex => side.indexed = false,
        Act::Drop => *side = Side { ver: op.ver, ..Side::default() },
        _ => {
            side.alive = true;
            side.rows.extend(side_rows(who, op.id, op.ver));
        }
    }
    possible.then_some(())
}
