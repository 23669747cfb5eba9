//! `faultgate schema`: JSON Schema of the files that operators write.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::schema::{self, File};
use crate::engine::types::text::Language;

/// Which schema.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of file
    file: FileKind,
    /// Language of the descriptions; the other one stands beside it
    #[arg(long, value_enum, default_value = "en")]
    language: Tongue,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FileKind {
    /// Rule files and devices.toml
    Rules,
    /// faultgate.toml
    Config,
    /// Price plans
    Plan,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tongue {
    /// English
    En,
    /// 中文
    #[value(name = "zh-CN", alias = "zh")]
    Zh,
}

/// Prints it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = match args.file {
        FileKind::Rules => File::Rules,
        FileKind::Config => File::Gateway,
        FileKind::Plan => File::Plan,
    };
    let language = match args.language {
        Tongue::En => Language::English,
        Tongue::Zh => Language::Chinese,
    };
    println!("{}", serde_json::to_string_pretty(&schema::schema(file, language))?);
    Ok(ExitCode::SUCCESS)
}
