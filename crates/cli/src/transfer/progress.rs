//! How far a transfer has come: a bar on a terminal, else one line at the end.

use crate::console::{counted, grouped};
use indicatif::{ProgressBar, ProgressStyle};
use nodedb_env::{Clock, Env};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

/// What the total of a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// Bytes of a file.
    Bytes(u64),
    /// Rows.
    Rows(u64),
    /// Nobody knows how much there is.
    Unknown,
}

/// A transfer that goes on.
pub struct Progress {
    bar: Option<ProgressBar>,
    clock: Arc<dyn Clock>,
    start: Duration,
}

impl Progress {
    /// Begins; there is a bar if somebody can see it.
    pub fn new(total: Total) -> Self {
        let clock = Env::real().clock;
        let bar = std::io::stderr().is_terminal().then(|| bar(total));
        Self { bar, start: clock.monotonic(), clock }
    }

    /// So far.
    pub fn set(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Prints a line on standard error, above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// The bar goes.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// `12 rows in 0.3 s (40 rows/s)`
    pub fn summary(&self, rows: u64) -> String {
        let seconds = (self.clock.monotonic() - self.start).as_secs_f64();
        let rate = rows as f64 / seconds.max(1e-6);
        format!("{} in {seconds:.1} s ({} rows/s)", counted(rows, "row"), grouped(rate as u64))
    }
}

fn bar(total: Total) -> ProgressBar {
    let (bar, template) = match total {
        Total::Bytes(n) => (ProgressBar::new(n), "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go"),
        Total::Rows(n) => (ProgressBar::new(n), "{wide_bar} {human_pos} of {human_len} rows, {per_sec}, {eta} to go"),
        Total::Unknown => (ProgressBar::new_spinner(), "{spinner} {human_pos} rows, {per_sec}, {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        // A bar of the usual looks does as well.
        Err(_) => bar,
    }
}
