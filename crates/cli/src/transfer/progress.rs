//! How far a transfer has come: a bar on a terminal, else one line at the end.

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
        format!("{} in {seconds:.1} s ({} rows/s)", counted(rows), grouped(rate as u64))
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

/// `1 row`, `7,485 rows`
pub fn counted(rows: u64) -> String {
    format!("{} row{}", grouped(rows), if rows == 1 { "" } else { "s" })
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn thousands_are_grouped() {
        let shown: Vec<String> = [0, 1, 999, 1000, 1_234_567].into_iter().map(counted).collect();
        assert_eq!(shown, ["0 rows", "1 row", "999 rows", "1,000 rows", "1,234,567 rows"]);
    }
}
