//! The lines on standard output.

use crate::failure::{Failure, Result};
use crate::model::Who;
use nodedb::Lsn;
use std::io::Write;

/// Says what was acknowledged, a line and a write each.
#[derive(Clone, Copy, Debug)]
pub struct Acks;

impl Acks {
    /// One more.
    pub fn say(self, lsn: Lsn, who: Who) -> Result<()> {
        let line = format!("{lsn} {who}\n");
        let mut out = std::io::stdout().lock();
        let said = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        said.map_err(|e| Failure::Outside(format!("could not say what was acknowledged: {e}")))
    }
}
