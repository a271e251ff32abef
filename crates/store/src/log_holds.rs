//! Readers of the log that lag behind: derived indexes, change feeds, replicas. The log is kept from the least
//! durable of them on, up to a cap; a reader beyond the cap is told so, and starts anew from a snapshot.

use nodedb_base::{Error, Lsn, Result};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All holds on a log.
#[derive(Debug, Default)]
pub(crate) struct LogHolds {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// From where each reader needs the log; `None` once it was lost.
    from: BTreeMap<u64, Option<Lsn>>,
}

/// Keeps the log from an Lsn on, as long as it lives and the cap allows.
#[derive(Debug)]
pub struct LogHold {
    id: u64,
    all: Arc<LogHolds>,
}

impl LogHolds {
    pub(crate) fn hold(self: &Arc<Self>, from: Lsn) -> LogHold {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.from.insert(id, Some(from));
        LogHold { id, all: self.clone() }
    }

    /// Below which the log may be cut, when all below `flushed` is in the trees. With more than the cap in the log,
    /// readers that need more than that lose their hold.
    pub(crate) fn cut_below(&self, flushed: Lsn, log_bytes: u64, cap: u64) -> Lsn {
        let mut state = self.state.lock();
        if log_bytes > cap {
            for from in state.from.values_mut().filter(|from| from.is_some_and(|lsn| lsn < flushed)) {
                *from = None;
            }
        }
        state.from.values().flatten().copied().min().unwrap_or(flushed).min(flushed)
    }
}

impl LogHold {
    /// The reader has made durable what is below `from`.
    ///
    /// # Errors
    /// `Limit` (55000) if the log was cut beyond the reader: it must start anew from a snapshot.
    pub fn advance(&self, from: Lsn) -> Result<()> {
        let mut state = self.all.state.lock();
        match state.from.get_mut(&self.id) {
            Some(Some(held)) => {
                *held = from.max(*held);
                Ok(())
            }
            _ => Err(Error::limit("55000", "the log was cut beyond this reader")
                .with_hint("Rebuild from a snapshot, or raise the cap of the log.")),
        }
    }
}

impl Drop for LogHold {
    fn drop(&mut self) {
        self.all.state.lock().from.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_durable_reader_decides_until_the_cap() {
        let holds = Arc::new(LogHolds::default());
        let (slow, fast) = (holds.hold(Lsn(5)), holds.hold(Lsn(9)));
        assert_eq!(holds.cut_below(Lsn(20), 10, 100), Lsn(5));
        slow.advance(Lsn(7)).unwrap();
        assert_eq!(holds.cut_below(Lsn(20), 10, 100), Lsn(7));
        assert_eq!(holds.cut_below(Lsn(8), 101, 100), Lsn(8), "the slow one is lost, the fast one ahead");
        assert_eq!(slow.advance(Lsn(8)).unwrap_err().sqlstate().as_str(), "55000");
        fast.advance(Lsn(10)).unwrap();
        drop(fast);
        assert_eq!(holds.cut_below(Lsn(20), 10, 100), Lsn(20));
    }
}
