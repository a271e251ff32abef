//! One error for the whole database, grouped by what the caller can do about it.

use std::fmt;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A SQLSTATE: five characters that name an error class and condition.
///
/// The codes are those of [PostgreSQL's appendix A](https://www.postgresql.org/docs/current/errcodes-appendix.html).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

impl SqlState {
    /// The five characters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What went wrong: SQLSTATE, what was attempted, and what may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The code.
    pub sqlstate: SqlState,
    /// One sentence: what was attempted and why it failed.
    pub message: String,
    /// Facts that do not fit the sentence.
    pub detail: Option<String>,
    /// What the reader may do.
    pub hint: Option<String>,
}

/// Everything that can go wrong in the database. The variant says what the caller can do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Run the transaction again: it lost a race (40001).
    #[error("{}", .0.message)]
    Retry(Box<Report>),
    /// Change the statement or its values: they can never work as they are.
    #[error("{}", .0.message)]
    Statement(Box<Report>),
    /// The data forbids it: a constraint of the schema (class 23).
    #[error("{}", .0.message)]
    Constraint(Box<Report>),
    /// Ask for less, or raise the setting that the message names (classes 53, 54), or wait longer (57).
    #[error("{}", .0.message)]
    Limit(Box<Report>),
    /// The outside world failed (class 58, 53100): look at the disk, then reopen.
    #[error("{}", .0.message)]
    Io(Box<Report>),
    /// Stored bytes are not what was written (XX001, XX002): restore, or open for rescue.
    #[error("{}", .0.message)]
    Damaged(Box<Report>),
    /// This handle is of no more use (class 08, 25, 57P): end the transaction or reopen the database.
    #[error("{}", .0.message)]
    Closed(Box<Report>),
    /// A bug of ours (XX000). Please report it.
    #[error("{}", .0.message)]
    Internal(Box<Report>),
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident $variant:ident;)*) => {
        impl Error {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(sqlstate: &'static str, message: impl Into<String>) -> Self {
                Self::$variant(Box::new(Report {
                    sqlstate: SqlState(sqlstate),
                    message: message.into(),
                    detail: None,
                    hint: None,
                }))
            }
        )*}
    };
}

constructors! {
    /// An error that the statement or its values cause.
    statement Statement;
    /// A violated constraint.
    constraint Constraint;
    /// A limit that was passed.
    limit Limit;
    /// A handle that can no longer be used.
    closed Closed;
}

impl Error {
    /// A lost race (40001).
    #[must_use]
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry(report("40001", message))
    }

    /// A construct that is known but not built (0A000).
    #[must_use]
    pub fn unsupported(construct: impl fmt::Display) -> Self {
        Self::Statement(report("0A000", format!("{construct} is not supported")))
    }

    /// A bug of ours (XX000).
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(report("XX000", message))
    }

    /// Stored bytes are not what was written (XX001).
    #[must_use]
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::Damaged(report("XX001", message))
    }

    /// The outside world failed while we were `doing` something. A full disk is 53100, all else 58030.
    #[must_use]
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let full = matches!(error.kind(), StorageFull | QuotaExceeded);
        let code = if full { "53100" } else { "58030" };
        Self::Io(report(code, format!("could not {doing}: {error}")))
    }

    /// The report inside.
    #[must_use]
    pub const fn report(&self) -> &Report {
        match self {
            Self::Retry(r)
            | Self::Statement(r)
            | Self::Constraint(r)
            | Self::Limit(r)
            | Self::Io(r)
            | Self::Damaged(r)
            | Self::Closed(r)
            | Self::Internal(r) => r,
        }
    }

    const fn report_mut(&mut self) -> &mut Report {
        match self {
            Self::Retry(r)
            | Self::Statement(r)
            | Self::Constraint(r)
            | Self::Limit(r)
            | Self::Io(r)
            | Self::Damaged(r)
            | Self::Closed(r)
            | Self::Internal(r) => r,
        }
    }

    /// The SQLSTATE.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        self.report().sqlstate
    }

    /// Adds what the reader may do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.report_mut().hint = Some(hint.into());
        self
    }

    /// Adds facts that do not fit the sentence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.report_mut().detail = Some(detail.into());
        self
    }
}

fn report(sqlstate: &'static str, message: impl Into<String>) -> Box<Report> {
    Box::new(Report { sqlstate: SqlState(sqlstate), message: message.into(), detail: None, hint: None })
}
