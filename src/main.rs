//! The `faultgate` binary.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

// A gateway runs for years: what a storm took must go back to the system.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    faultgate::cli::main()
}
