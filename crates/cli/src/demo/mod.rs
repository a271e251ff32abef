pub fn run(_: &crate::args::Args, _: &crate::args::DemoArgs) -> Result<std::process::ExitCode, crate::console::Failure> { Err(crate::console::Failure::Told) }
pub fn writer(_: &crate::args::Args) -> Result<std::process::ExitCode, crate::console::Failure> { Err(crate::console::Failure::Told) }
