//! `faultgate generate`: shell completions and the man page.

use std::io::stdout;
use std::process::ExitCode;

use clap::CommandFactory;

use super::Cli;

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The man page, in roff
    Man,
}

/// Prints it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    match args.what {
        What::Completions { shell } => {
            clap_complete::generate(shell, &mut command, "faultgate", &mut stdout());
        }
        What::Man => clap_mangen::Man::new(command).render(&mut stdout())?,
    }
    Ok(ExitCode::SUCCESS)
}
