//! `faultgate backup` and `faultgate restore`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::{Format, Globals, remote};
use crate::config::{self, Config};
use crate::io::backup::{self, Head, RestoreOptions, Sources};
use crate::io::clock;
use crate::io::desk::Desk;
use crate::io::durable;
use crate::io::journal::Journal;
use crate::io::store::StoreOptions;

/// Only its owner reads a backup: all that devices and people said is in it.
const MODE: u32 = 0o600;

/// `faultgate backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// A file, or a folder in which the backup gets a name of its own
    #[arg(long, value_name = "FILE|DIR")]
    output: PathBuf,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `faultgate restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// What `faultgate backup` has written
    file: PathBuf,
    /// Set the stores aside that are in the data folder
    #[arg(long)]
    replace: bool,
    /// Take a ledger whose chain is broken as it is
    #[arg(long)]
    broken_ledger: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn configured(globals: &Globals) -> anyhow::Result<Config> {
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    Ok(config)
}

/// Writes a backup of the gateway, which may run; it is read again before it is put in place.
pub fn backup(args: &BackupArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let config = configured(globals)?;
    let path = output(&args.output, &config);
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let told = || format!("{}: cannot be written", beside.display());
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).to_owned();
    let mut file = options.open(&beside).with_context(told)?;
    let written = write(&config, &mut file).and_then(|()| {
        file.sync_all().with_context(told)?;
        Ok(backup::verify(&beside)?)
    });
    let (_, tally) = match written {
        Ok(whole) => whole,
        Err(error) => {
            // The first error says more.
            drop(std::fs::remove_file(&beside));
            return Err(error.context("there is no backup"));
        }
    };
    std::fs::rename(&beside, &path).with_context(told)?;
    durable::sync_folder(&path).with_context(told)?;
    match args.format {
        Format::Json => println!("{}", json!({ "path": path, "records": tally })),
        Format::Text => println!(
            "{}: {} records of the gateway, {} of the desk, {} rule sets; {} bytes",
            path.display(),
            tally.gateway,
            tally.desk,
            tally.files,
            tally.bytes
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn output(asked: &Path, config: &Config) -> PathBuf {
    if !asked.is_dir() {
        return asked.to_owned();
    }
    let now = clock::now().to_chrono().format("%Y%m%dT%H%M%SZ");
    asked.join(format!("faultgate-{}-{now}.backup", config.gateway.id))
}

fn write(config: &Config, file: &mut File) -> anyhow::Result<()> {
    if remote::is_running(config)? {
        return remote::download(config, "/api/v1/backup", file);
    }
    let (store, desk) = (config.gateway.data.join("gateway"), config.gateway.data.join("desk"));
    if !store.exists() {
        bail!(
            "no gateway answers at {} and there is no store at {}",
            config.listen,
            store.display()
        );
    }
    let options = StoreOptions { min_free_bytes: 0, ..StoreOptions::default() };
    let (journal, _) = Journal::open(&store, options)?;
    let desk = desk.exists().then(|| Desk::open(&desk, options, None)).transpose()?;
    let head = Head {
        gateway: config.gateway.id.clone(),
        at: clock::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let sources = Sources { journal: &journal, desk: desk.as_ref(), data: &config.gateway.data };
    let mut out = BufWriter::new(file);
    backup::write(sources, &head, &mut out)?;
    Ok(out.flush()?)
}

/// Restores a backup into the data folder.
pub fn restore(args: &RestoreArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let data = match &globals.data {
        Some(data) => data.clone(),
        None => configured(globals)?.gateway.data,
    };
    let options = RestoreOptions { replace: args.replace, broken_ledger: args.broken_ledger };
    let restored = backup::restore(&args.file, &data, clock::now(), options)?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&restored)?),
        Format::Text => {
            println!(
                "{}: the gateway `{}` as it was at {}; {} rows of the ledger are intact",
                data.display(),
                restored.head.gateway,
                restored.head.at,
                restored.ledger_rows
            );
            println!(
                "tickets that were opened after that time are found again with their faults; look \
                 upstream at those whose fault is over by now"
            );
            for folder in &restored.set_aside {
                println!("{}: what was there before", folder.display());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
