//! The thread that flushes and compacts. It sleeps until a commit finds the memtables full, or the store closes.
//!
//! A failure or a panic here poisons the store: nothing that was acknowledged is lost, but no commit succeeds
//! until the store is reopened.

use crate::store::Shared;
use nodedb_base::{Error, Result};
use nodedb_env::Join;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

enum Message {
    Flush,
    Stop,
}

/// The handle of the thread.
pub struct Background {
    messages: SyncSender<Message>,
    thread: Mutex<Option<Box<dyn Join>>>,
}

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// `Io` if the thread cannot be started.
    pub fn start(shared: Arc<Shared>) -> Result<Self> {
        // One waiting message is enough: a flush takes all that is there.
        let (messages, inbox) = sync_channel(1);
        let ask = messages.clone();
        shared.committer.on_flush_wanted(move || drop(ask.try_send(Message::Flush)));
        let spawn = shared.env.spawn.clone();
        let work = Box::new(move || run(&shared, &inbox));
        let thread = spawn.spawn("nodedb-store", work).map_err(|e| Error::io("start a thread", &e))?;
        Ok(Self { messages, thread: Mutex::new(Some(thread)) })
    }

    /// Lets it finish what it does, and ends it.
    pub fn stop(&self) {
        if let Some(thread) = self.thread.lock().take() {
            let _ = self.messages.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

fn run(shared: &Shared, inbox: &Receiver<Message>) {
    while let Ok(Message::Flush) = inbox.recv() {
        let span = tracing::info_span!("flush");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _entered = span.enter();
            shared.checkpoint()?;
            shared.compact()
        }));
        let failed = match outcome {
            Ok(Ok(())) => continue,
            Ok(Err(e)) => e,
            Err(_) => Error::internal("the thread that flushes and compacts panicked"),
        };
        shared.committer.poison(failed);
        shared.committer.notify_room();
    }
}
