//! What can be wrong, told apart by who noticed.

use std::fmt;
use std::path::Path;

/// `Result` with [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a program ends.
#[derive(Debug)]
pub enum Failure {
    /// The database itself reported an error.
    Reported(nodedb::Error),
    /// The database answered, and the answer is wrong.
    Wrong(String),
    /// A file of ours, or the terminal.
    Outside(String),
}

impl Failure {
    /// The exit status.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Reported(_) => 1,
            Self::Wrong(_) => 2,
            Self::Outside(_) => 3,
        }
    }

    /// Something that was done with a file has failed.
    pub fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::Outside(format!("could not {doing} {}: {error}", path.display()))
    }
}

impl From<nodedb::Error> for Failure {
    fn from(error: nodedb::Error) -> Self {
        Self::Reported(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported(error) => {
                write!(f, "reported: {}: {error}", error.sqlstate())?;
                let report = error.report();
                [&report.detail, &report.hint].into_iter().flatten().try_for_each(|more| write!(f, " {more}"))
            }
            Self::Wrong(what) => write!(f, "WRONG: {what}"),
            Self::Outside(what) => f.write_str(what),
        }
    }
}

/// Fails with [`Failure::Wrong`] unless something holds.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Failure::Wrong(otherwise())) }
}
