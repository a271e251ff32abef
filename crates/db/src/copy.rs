//! COPY, from where its data are.

use crate::session::{Answer, Core, Work};
use nodedb_base::{Error, Result};
use nodedb_env::{Files, OpenMode};
use nodedb_query::CopyIn;
use std::io::ErrorKind;
use std::path::Path;

/// How much of a file is read at once.
const PIECE_BYTES: usize = 1 << 20;

impl Core {
    /// Runs a COPY from a file; one from STDIN is to be given its data.
    pub(crate) async fn start_copy(&mut self, copy: &CopyIn) -> Result<Answer> {
        self.with_transaction(false, |_, _, tx| copy.check(tx))?;
        let mut filled = copy.clone();
        let Some(path) = copy.file() else { return Ok(Answer::CopyIn(filled)) };
        read_file(&*self.db.env.outside, path, |piece| filled.write(piece))?;
        self.work(Work::Copy(&filled)).await
    }
}

/// Hands on a file that a statement names, piece by piece.
fn read_file(files: &dyn Files, path: &Path, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let unreadable = |error: std::io::Error| {
        let code = match error.kind() {
            ErrorKind::NotFound => "58P01",
            ErrorKind::PermissionDenied => "42501",
            _ => return Error::io(format_args!("read file \"{}\"", path.display()), &error),
        };
        Error::statement(code, format!("could not open file \"{}\" for reading: {error}", path.display()))
    };
    let file = files.open(path, OpenMode::Read).map_err(unreadable)?;
    let (mut piece, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        let length = file.read_at(&mut piece, offset).map_err(unreadable)?;
        if length == 0 {
            return Ok(());
        }
        sink(piece.get(..length).unwrap_or_default())?;
        offset += length as u64;
    }
}

/// The data of a COPY come from whoever waits for it.
pub(crate) fn needs_blocking() -> Error {
    Error::unsupported("COPY FROM STDIN in an asynchronous session").with_hint("Use a blocking session, or load().")
}
