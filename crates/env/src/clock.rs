//! The time of day, and time that only goes forward.

use parking_lot::Mutex;
use std::panic::RefUnwindSafe;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock.
pub trait Clock: Send + Sync + RefUnwindSafe {
    /// Microseconds since 1970-01-01 00:00 UTC. May jump, back too.
    fn now(&self) -> i64;

    /// Time since some fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place where the clock comes in")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place where the clock comes in")]
    fn now(&self) -> i64 {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    state: Mutex<(i64, Duration)>,
}

impl ManualClock {
    /// A clock that shows `now`, in microseconds since 1970.
    #[must_use]
    pub const fn new(now: i64) -> Self {
        Self { state: Mutex::new((now, Duration::ZERO)) }
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        state.0 = state.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
        state.1 = state.1.saturating_add(by);
    }

    /// Somebody sets the time of day; monotonic time does not notice.
    pub fn set(&self, now: i64) {
        self.state.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.state.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().1
    }
}

// A panic leaves two plain numbers behind, each of them whole.
impl RefUnwindSafe for ManualClock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::new(5);
        clock.advance(Duration::from_micros(3));
        clock.set(100);
        assert_eq!((clock.now(), clock.monotonic()), (100, Duration::from_micros(3)));
    }

    #[test]
    fn the_system_clock_is_past_2020_and_goes_forward() {
        let clock = SystemClock::new();
        assert!(clock.now() > 1_577_836_800_000_000);
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
