//! What a transaction holds while its commit is under way: it can be waited on or polled.

use nodedb_base::{Lsn, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};
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
    blocked: bool,
    abandoned: bool,
    done: bool,
    /// Others that have their answer and are to be woken by this holder.
    others: Vec<Wake>,
}

/// What the holder of a ticket is told.
#[derive(Debug)]
pub(super) enum Turn {
    /// Its commit has ended.
    Done(Result<Lsn>),
    /// Nobody leads: it must lead now, and then look again.
    Lead,
}

/// A holder that has been told something and sleeps.
#[derive(Debug)]
struct Wake(Ticket, Option<Waker>);

impl Wake {
    fn wake(self) {
        self.0.0.changed.notify_one();
        if let Some(waker) = self.1 {
            waker.wake();
        }
    }
}

impl Ticket {
    /// Blocks until there is something to do.
    pub(super) fn wait(&self) -> Turn {
        let mut state = self.0.state.lock();
        while state.turn.is_none() {
            state.blocked = true;
            self.0.changed.wait(&mut state);
            state.blocked = false;
        }
        // The loop has seen it.
        take(state).unwrap_or(Turn::Lead)
    }

    /// Ready when there is something to do.
    pub(super) async fn turn(&self) -> Turn {
        poll_fn(|context| {
            let mut state = self.0.state.lock();
            if state.turn.is_none() {
                state.waker = Some(context.waker().clone());
            }
            take(state).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Nobody waits any more. Tells whether the holder was to lead, which somebody else must do now.
    pub(super) fn abandon(&self) -> bool {
        let mut state = self.0.state.lock();
        state.abandoned = true;
        matches!(take(state), Some(Turn::Lead))
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
        let told = self.settle(turn, Vec::new());
        let is_told = told.is_some();
        told.into_iter().for_each(Wake::wake);
        is_told
    }

    /// Says it without waking the holder, which will wake `others`; `None` if there is no holder any more.
    fn settle(&self, turn: Turn, others: Vec<Wake>) -> Option<Wake> {
        let mut state = self.0.state.lock();
        if state.abandoned || state.done {
            drop(state);
            others.into_iter().for_each(Wake::wake);
            return None;
        }
        state.done = matches!(turn, Turn::Done(_));
        state.turn = Some(turn);
        state.others = others;
        Some(Wake(self.clone(), state.waker.take()))
    }

    fn is_awaited(&self) -> bool {
        let state = self.0.state.lock();
        (state.blocked || state.waker.is_some()) && !state.abandoned
    }
}

/// What the holder is told, if anything; it wakes the others that it was given.
fn take(mut state: MutexGuard<'_, State>) -> Option<Turn> {
    let turn = state.turn.take()?;
    let others = std::mem::take(&mut state.others);
    drop(state);
    others.into_iter().for_each(Wake::wake);
    Some(turn)
}

/// Ends many commits. Waking takes longer than anything else that a leader does between two syncs, so it wakes one
/// holder only, and that one the others. The leader's own ticket, on which nobody sleeps, is not that one.
pub(super) fn answer(mut answers: Vec<(Ticket, Result<Lsn>)>) {
    let sleeper = answers.iter().position(|(ticket, _)| ticket.is_awaited());
    let sleeper = sleeper.map(|at| answers.swap_remove(at));
    let settle = |(ticket, outcome): (Ticket, _)| ticket.settle(Turn::Done(outcome), Vec::new());
    let others: Vec<_> = answers.into_iter().filter_map(settle).collect();
    match sleeper {
        Some((ticket, outcome)) => ticket.settle(Turn::Done(outcome), others).into_iter().for_each(Wake::wake),
        None => others.into_iter().for_each(Wake::wake),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Wake as TaskWake};

    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicUsize);

    impl TaskWake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    fn poll(ticket: &Ticket, count: &Arc<Count>) -> Poll<Turn> {
        let waker = Waker::from(count.clone());
        std::pin::pin!(ticket.turn()).poll(&mut Context::from_waker(&waker))
    }

    fn answers(tickets: &[Ticket]) -> Vec<(Ticket, Result<Lsn>)> {
        tickets.iter().map(|ticket| (ticket.clone(), Ok(Lsn(1)))).collect()
    }

    #[test]
    fn who_is_woken_wakes_the_others() {
        let tickets: Vec<_> = (0..4).map(|_| Ticket::default()).collect();
        let counts: Vec<_> = (0..4).map(|_| Arc::new(Count::default())).collect();
        // The first is the leader's own: nobody sleeps on it.
        for (ticket, count) in tickets.iter().zip(&counts).skip(1) {
            assert!(poll(ticket, count).is_pending());
        }
        answer(answers(&tickets));
        assert_eq!(counts.iter().map(|count| count.get()).collect::<Vec<_>>(), [0, 1, 0, 0]);
        assert!(matches!(poll(&tickets[1], &counts[1]), Poll::Ready(Turn::Done(Ok(Lsn(1))))));
        assert_eq!(counts.iter().map(|count| count.get()).collect::<Vec<_>>(), [0, 1, 1, 1]);
        assert!(matches!(poll(&tickets[0], &counts[0]), Poll::Ready(Turn::Done(Ok(Lsn(1))))));
    }

    #[test]
    fn who_goes_away_wakes_the_others_nevertheless() {
        let tickets: Vec<_> = (0..3).map(|_| Ticket::default()).collect();
        let counts: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
        tickets.iter().zip(&counts).for_each(|(ticket, count)| assert!(poll(ticket, count).is_pending()));
        answer(answers(&tickets));
        assert!(!tickets[0].abandon());
        assert_eq!(counts.iter().map(|count| count.get()).collect::<Vec<_>>(), [1, 1, 1]);
        let gone = Ticket::default();
        gone.abandon();
        answer(answers(&[gone]));
    }
}
