pub fn run(_: &crate::args::Args) -> Result<std::process::ExitCode, crate::console::Failure> { Err(crate::console::Failure::Told) }
