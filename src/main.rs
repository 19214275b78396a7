//! The `sesame` command.

use std::process::ExitCode;

/// Faster than the system's under many threads, and it gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sesame::cli::run()
}
