//! Programs that the tasks start.

use crate::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let here = PathBuf::from(here);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// The cargo that started us.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// What a program prints; an error where it fails.
pub fn output(root: &Path, program: &str, args: &[&str]) -> Result<String> {
    let done = Command::new(program).args(args).current_dir(root).output();
    let done = done.map_err(|error| format!("could not run {program}: {error}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{program} {} failed: {}", args.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether a program, run in silence, ends well.
pub fn succeeds(root: &Path, program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program before the eyes of the user; whether it ended well.
pub fn show(root: &Path, program: &str, args: &[&str]) -> Result<bool> {
    println!("+ {program} {}", args.join(" "));
    let status = Command::new(program).args(args).current_dir(root).status();
    status.map(|status| status.success()).map_err(|error| format!("could not run {program}: {error}"))
}
