//! What can go wrong, by what the caller can do about it.

use std::fmt;
use std::io;
use std::path::Path;

/// `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// A vector, a parameter or a call cannot be what it is. Nothing was changed. Correct it.
    Invalid(String),
    /// More waits to be built than memory was given for. Nothing was changed. Run jobs, then try again.
    Busy(String),
    /// The system could not read or write. The collection goes on with what it has in memory; what the last checkpoint
    /// made durable is still so.
    Io(String, io::Error),
    /// A file is not what was written. Feed what is missing again, or make the collection anew.
    Damaged(String),
    /// A job has panicked. Open the collection anew.
    Poisoned(String),
}

impl Error {
    pub(crate) fn invalid(what: impl fmt::Display) -> Self {
        Self::Invalid(what.to_string())
    }

    pub(crate) fn damaged(what: impl fmt::Display) -> Self {
        Self::Damaged(what.to_string())
    }

    /// For `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io(format!("could not {doing} {}", path.display()), error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) | Self::Busy(what) | Self::Damaged(what) | Self::Poisoned(what) => f.write_str(what),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}
