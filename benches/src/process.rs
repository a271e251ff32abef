//! What the kernel says of this process (Linux).

use crate::{Result, wrong};
use std::path::Path;

/// Bytes written so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Sent to the disk, or to be sent, in whole pages.
    pub disk: u64,
    /// Handed to `write` and its like.
    pub calls: u64,
}

/// Bytes that this process has written so far.
///
/// # Errors
/// If there is no `/proc`.
pub fn written() -> Result<Written> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    Ok(Written { disk: field(&text, "write_bytes:")?, calls: field(&text, "wchar:")? })
}

/// The most memory that this process has had in RAM at one time, in bytes.
///
/// # Errors
/// If there is no `/proc`.
pub fn peak_memory() -> Result<u64> {
    Ok(field(&std::fs::read_to_string("/proc/self/status")?, "VmHWM:")? * 1024)
}

/// Memory in RAM, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Of this process alone.
    pub private: u64,
    /// Files that are mapped.
    pub mapped: u64,
}

/// The memory that this process has in RAM.
///
/// # Errors
/// If there is no `/proc`.
pub fn memory() -> Result<Memory> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    Ok(Memory { private: field(&text, "RssAnon:")? * 1024, mapped: field(&text, "RssFile:")? * 1024 })
}

/// Seconds of processor time that all threads have used.
///
/// # Errors
/// If there is no `/proc`.
pub fn processor_seconds() -> Result<f64> {
    let mut nanos = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos as f64 / 1e9)
}

fn field(text: &str, name: &str) -> Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    match rest.and_then(|rest| rest.split_whitespace().next()).map(str::parse) {
        Some(number) => Ok(number?),
        None => wrong(format!("the kernel does not say {name}")),
    }
}

/// Bytes of all files below a directory.
///
/// # Errors
/// If it cannot be read.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { disk_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
