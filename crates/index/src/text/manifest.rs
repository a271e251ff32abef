//! Which parts make up an index, and up to which commit. `docs/format/text-index.md` has the bytes.

use nodedb_base::{Error, Lsn, Result};
use nodedb_env::Env;
use serde::{Deserialize, Serialize};
use std::path::Path;

const MAGIC: &[u8; 8] = b"NODEDBTX";
const VERSION: u32 = 1;
const NAME: &str = "manifest";
/// Magic, version, checksum.
const HEADER: usize = 16;

/// What a checkpoint makes durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Every commit up to this one is in the parts.
    pub upper: u64,
    /// Readers of an older time are not served.
    pub since: u64,
    /// The number of the next part.
    pub next: u64,
    pub parts: Vec<ManifestPart>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestPart {
    pub number: u64,
    pub documents: u32,
    /// The checksum of its `meta.json`.
    pub meta: u32,
    /// Documents that have ended, and the commits that ended them.
    pub ended: Vec<(u32, u64)>,
}

impl Manifest {
    pub fn write(&self, env: &Env, dir: &Path) -> Result<()> {
        let body = serde_json::to_vec(self).map_err(|e| Error::internal(format!("write a manifest: {e}")))?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(crc32c::crc32c(&body).to_le_bytes());
        bytes.extend(body);
        let path = dir.join(NAME);
        env.files.write_atomically(&path, &bytes).map_err(|e| Error::io(format_args!("write {}", path.display()), &e))
    }

    /// # Errors
    /// `Damaged` if it is not there or not what was written.
    pub fn read(env: &Env, dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let damaged = |why: &dyn std::fmt::Display| Error::damaged(format!("{}: {why}", path.display()));
        let bytes = env.files.read(&path).map_err(|e| damaged(&e))?;
        let (header, body) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged(&"it is too short"))?;
        let word = |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        if !header.starts_with(MAGIC) || word(8) != VERSION {
            return Err(damaged(&"it is no manifest of this version"));
        }
        if word(12) != crc32c::crc32c(body) {
            return Err(damaged(&"the checksum is wrong"));
        }
        serde_json::from_slice(body).map_err(|e| damaged(&e))
    }

    pub const fn upper(&self) -> Lsn {
        Lsn(self.upper)
    }
}
