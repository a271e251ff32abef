//! The memory of all queries together.

use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use std::fmt;

/// The part of the pool that those who can go to disk leave alone, as one in so many.
const RESERVE: usize = 4;

/// A budget in which those who can go to disk get equal shares, and leave a part to those who cannot.
///
/// `DataFusion`'s own `FairSpillPool` lets the former take all: then a sort that has gone to disk finds nothing left to
/// merge its runs with, and fails.
#[derive(Debug)]
pub struct QueryMemory {
    bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spillers: usize,
    spillable: usize,
    other: usize,
}

impl QueryMemory {
    /// So many bytes for all.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, state: Mutex::default() }
    }

    /// What one of those who can go to disk may have.
    fn share(&self, state: &State) -> usize {
        let reserved = (self.bytes / RESERVE).max(state.other);
        (self.bytes - reserved.min(self.bytes)) / state.spillers.max(1)
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query memory of {} bytes", self.bytes)
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &'static str {
        "query memory"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.state.lock().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut state = self.state.lock();
        state.spillers = state.spillers.saturating_sub(usize::from(consumer.can_spill()));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut state = self.state.lock();
        *state.of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, less: usize) {
        let mut state = self.state.lock();
        let used = state.of(reservation);
        *used = used.saturating_sub(less);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let mut state = self.state.lock();
        let (used, most) = if reservation.consumer().can_spill() {
            (reservation.size(), self.share(&state))
        } else {
            (state.spillable + state.other, self.bytes)
        };
        if used.saturating_add(additional) > most {
            let name = reservation.consumer().name();
            let message =
                format!("{additional} bytes more for {name} are over the {most} of {} that it may have", self.bytes);
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        *state.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state.lock();
        state.spillable + state.other
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl State {
    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        if reservation.consumer().can_spill() { &mut self.spillable } else { &mut self.other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn who_cannot_go_to_disk_finds_the_reserve() {
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryMemory::new(1000));
        let sort = MemoryConsumer::new("sort").with_can_spill(true).register(&pool);
        let merge = MemoryConsumer::new("merge").register(&pool);
        assert!(sort.try_grow(751).is_err());
        sort.try_grow(750).unwrap();
        assert!(merge.try_grow(251).is_err());
        merge.try_grow(250).unwrap();
        assert_eq!(pool.reserved(), 1000);
        merge.free();
        sort.shrink(700);
        merge.try_grow(900).unwrap();
        assert!(sort.try_grow(51).is_err(), "what others have is not there to be shared");
        let second = MemoryConsumer::new("second sort").with_can_spill(true).register(&pool);
        merge.free();
        assert!(second.try_grow(376).is_err());
        second.try_grow(375).unwrap();
    }
}
