//! The `faultgate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    faultgate::cli::main()
}
