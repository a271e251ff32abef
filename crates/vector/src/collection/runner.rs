//! Threads for those who bring none of their own.

use super::VectorCollection;
use crate::{Error, Result};
use nodedb_env::Join;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// A thread that does a collection's jobs, until it is dropped.
///
/// It sleeps while there is nothing to do; whoever has made something to do wakes it. A job that fails stays to be done,
/// and is tried again at the next wake; the error is kept for [`Runner::last_error`].
pub struct Runner {
    collection: Arc<VectorCollection>,
    state: Arc<Shared>,
    thread: Option<Box<dyn Join>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    woken: bool,
    stopped: bool,
    is_idle: bool,
    error: Option<Error>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("collection", &self.collection).finish_non_exhaustive()
    }
}

impl Runner {
    /// Starts a thread of the collection's own environment.
    ///
    /// # Errors
    /// `Io` if there is none to be had.
    pub fn start(collection: Arc<VectorCollection>) -> Result<Self> {
        let state = Arc::new(Shared::default());
        state.state.lock().woken = true;
        let (shared, worker) = (state.clone(), collection.clone());
        let thread = collection.env.spawn.spawn("vector jobs", Box::new(move || work(&worker, &shared)));
        let thread = thread.map_err(|e| Error::Io("could not start a thread for vector jobs".to_owned(), e))?;
        Ok(Self { collection, state, thread: Some(thread) })
    }

    /// Tells it that there may be something to do: after insertions, or when `since` or the budget has changed.
    pub fn wake(&self) {
        let mut state = self.state.state.lock();
        state.woken = true;
        state.is_idle = false;
        self.state.changed.notify_all();
    }

    /// Waits until there is nothing left to do, or a job has failed.
    pub fn wait(&self) {
        self.wake();
        let mut state = self.state.state.lock();
        self.state.changed.wait_while(&mut state, |state| !state.is_idle);
    }

    /// What went wrong last, once.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.state.state.lock().error.take()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.state.state.lock().stopped = true;
        self.state.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A job that has panicked has poisoned the collection, which tells everybody.
            let _ = thread.join();
        }
    }
}

fn work(collection: &VectorCollection, shared: &Shared) {
    loop {
        {
            let mut state = shared.state.lock();
            if !state.woken {
                state.is_idle = true;
                shared.changed.notify_all();
            }
            shared.changed.wait_while(&mut state, |state| !state.woken && !state.stopped);
            state.woken = false;
            if state.stopped {
                return;
            }
        }
        while let Some(job) = collection.next_job() {
            if let Err(error) = collection.run(job) {
                tracing::error!(%error, "a vector job has failed");
                shared.state.lock().error = Some(error);
                break;
            }
            if shared.state.lock().stopped {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Element, Metric, Options, Search, Shape};

    #[test]
    fn insertions_are_found_while_it_builds() {
        let shape = Shape { metric: Metric::L2, element: Element::F32, dimension: 2 };
        let options = Options { seal_threshold: 64, ..Options::default() };
        let collection = Arc::new(VectorCollection::memory(shape, options).unwrap());
        let runner = Runner::start(collection.clone()).unwrap();
        for id in 0..1000_u64 {
            let vector = [id as f32, (id * 37 % 101) as f32];
            while let Err(Error::Busy(_)) = collection.insert(id, id + 1, vector.as_slice().into()) {
                runner.wait();
            }
            runner.wake();
            let found = collection.search(vector.as_slice().into(), &Search::nearest(1)).unwrap();
            assert_eq!(found.hits.first().map(|hit| hit.id), Some(id));
        }
        runner.wait();
        assert!(runner.last_error().is_none());
        let stats = collection.stats();
        assert!(stats.frozen.0 == 0 && stats.sealed.iter().sum::<usize>() + stats.growing == 1000, "{stats:?}");
        assert!(collection.next_job().is_none());
    }
}
