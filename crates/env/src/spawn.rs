//! Threads.

use std::io;
use std::panic::RefUnwindSafe;
use std::thread;

/// Where work goes on beside the caller's.
pub trait Spawn: Send + Sync + RefUnwindSafe {
    /// Starts `work` under a name that debuggers show.
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>>;

    /// Does work that can be shared out, by up to so many threads at once, of which the caller's is one; returns when
    /// all have done. The work must be whole even if only the caller does it.
    fn together(&self, threads: usize, work: SharedWork<'_>) {
        let _ = threads;
        work();
    }
}

/// See [`Spawn::together`].
pub type SharedWork<'w> = &'w (dyn Fn() + Sync);

/// Work that was started. Dropping it lets the work go on.
pub trait Join: Send {
    /// Waits for the end; `Err` holds what the work panicked with.
    fn join(self: Box<Self>) -> thread::Result<()>;

    /// Whether the work has ended.
    fn is_finished(&self) -> bool;
}

/// The operating system's threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Spawn for Threads {
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>> {
        Ok(Box::new(thread::Builder::new().name(name.to_owned()).spawn(work)?))
    }

    fn together(&self, threads: usize, work: SharedWork<'_>) {
        thread::scope(|scope| {
            for _ in 1..threads {
                // Where no thread is to be had, there is one less to share the work.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }
}

impl Join for thread::JoinHandle<()> {
    fn join(self: Box<Self>) -> thread::Result<()> {
        (*self).join()
    }

    fn is_finished(&self) -> bool {
        Self::is_finished(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_shared() {
        let (turns, workers) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Barrier::new(3));
        Threads.together(3, &|| {
            workers.wait();
            turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(turns.into_inner(), 3);
    }

    #[test]
    fn joining_waits_and_tells_of_panics() {
        assert!(Threads.spawn("ok", Box::new(|| {})).unwrap().join().is_ok());
        assert!(Threads.spawn("bad", Box::new(|| panic!("on purpose"))).unwrap().join().is_err());
    }
}
