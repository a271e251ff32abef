//! What a statement is run with.

use crate::settings::Settings;
use crate::types::TextStyle;
use nodedb_base::Value;

/// What a statement is run with, beside its transaction.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The session's settings.
    pub settings: &'a Settings,
    /// Its parameters, `$1` first.
    pub parameters: &'a [Value],
    /// The time that `now()` gives: microseconds since 1970-01-01 UTC.
    pub now: i64,
}

impl Statement<'_> {
    /// How values are read and printed.
    #[must_use]
    pub const fn style(&self) -> &TextStyle {
        &self.settings.style
    }
}
