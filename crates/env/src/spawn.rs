//! Threads.

use std::io;
use std::panic::RefUnwindSafe;
use std::thread;

/// Where work goes on beside the caller's.
pub trait Spawn: Send + Sync + RefUnwindSafe {
    /// Starts `work` under a name that debuggers show.
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>>;
}

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
    fn joining_waits_and_tells_of_panics() {
        assert!(Threads.spawn("ok", Box::new(|| {})).unwrap().join().is_ok());
        assert!(Threads.spawn("bad", Box::new(|| panic!("on purpose"))).unwrap().join().is_err());
    }
}
