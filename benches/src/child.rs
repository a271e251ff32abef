//! The same program once more, in a process of its own.

use crate::{Result, wrong};
use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};

/// Runs this program with other arguments: how it ended, and what it wrote to standard output.
///
/// # Errors
/// If it cannot be started.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<(ExitStatus, String)> {
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    Ok((output.status, String::from_utf8(output.stdout)?))
}

/// As [`run`], for one that must end well.
///
/// # Errors
/// If it does not.
pub fn succeed<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let (status, output) = run(arguments)?;
    if status.success() { Ok(output) } else { wrong(format!("a child process ended with {status}")) }
}

/// As [`run`], for one that must end itself as if it were killed.
///
/// # Errors
/// If it ends in another way.
pub fn abort<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<()> {
    let (status, _) = run(arguments)?;
    if status.code().is_none() { Ok(()) } else { wrong(format!("a child process ended with {status}")) }
}
