//! What a transaction holds while its commit is under way: it can be waited on or polled.

use nodedb_base::{Lsn, Result};
use parking_lot::{Condvar, Mutex};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The queue's end of a commit under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    turn: Option<Turn>,
    waker: Option<Waker>,
    abandoned: bool,
    done: bool,
}

/// What the holder of a ticket is told.
#[derive(Debug)]
pub(super) enum Turn {
    /// Its commit has ended.
    Done(Result<Lsn>),
    /// Nobody leads: it must lead now, and then look again.
    Lead,
}

impl Ticket {
    /// Blocks until there is something to do.
    pub(super) fn wait(&self) -> Turn {
        let mut state = self.0.state.lock();
        loop {
            match state.turn.take() {
                Some(turn) => return turn,
                None => self.0.changed.wait(&mut state),
            }
        }
    }

    /// Ready when there is something to do.
    pub(super) async fn turn(&self) -> Turn {
        poll_fn(|context| {
            let mut state = self.0.state.lock();
            match state.turn.take() {
                Some(turn) => Poll::Ready(turn),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Nobody waits any more. Tells whether the holder was to lead, which somebody else must do now.
    pub(super) fn abandon(&self) -> bool {
        let mut state = self.0.state.lock();
        state.abandoned = true;
        matches!(state.turn.take(), Some(Turn::Lead))
    }

    /// Its commit has ended. Only the first outcome counts.
    pub(super) fn done(&self, outcome: Result<Lsn>) {
        self.tell(Turn::Done(outcome));
    }

    /// Makes the holder lead; `false` if there is no holder any more.
    pub(super) fn lead(&self) -> bool {
        self.tell(Turn::Lead)
    }

    fn tell(&self, turn: Turn) -> bool {
        let mut state = self.0.state.lock();
        if state.abandoned || state.done {
            return false;
        }
        state.done = matches!(turn, Turn::Done(_));
        state.turn = Some(turn);
        let waker = state.waker.take();
        drop(state);
        self.0.changed.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}
