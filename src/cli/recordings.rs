//! Recordings as commands take them: which CSV mapping, how long they are, what was skipped.

use std::path::PathBuf;

use anyhow::Context;
use device_sim::recording::{self, CsvMapping, Recording};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Config;
use crate::engine::types::time::Timestamp;

/// How CSV files are read.
#[derive(Clone, Debug, clap::Args)]
pub struct CsvArgs {
    /// Source whose [source.csv] says what the columns of CSV files are
    #[arg(long, value_name = "NAME")]
    pub csv_source: Option<String>,
    /// Class of the devices in CSV files; in a folder, the name of the folder
    #[arg(long, value_name = "CLASS")]
    pub csv_class: Option<String>,
}

/// Which recordings, and how they are read.
#[derive(Clone, Debug, clap::Args)]
pub struct Input {
    /// Recordings (JSON Lines, captures, CSV; also gzip or zstd) or folders; several are merged by time
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub input: Vec<PathBuf>,
    #[command(flatten)]
    pub csv: CsvArgs,
}

impl CsvArgs {
    /// The mapping of the source that was named, else the one for a column `ts` and metrics.
    pub fn mapping(&self, config: &Config) -> anyhow::Result<CsvMapping> {
        let mapping = match &self.csv_source {
            None => CsvMapping::default(),
            Some(_) => self.source(config)?.map(|source| source.csv.clone()).unwrap_or_default(),
        };
        let class = self.csv_class.clone();
        Ok(CsvMapping { class, ..mapping })
    }

    /// The source that was named.
    pub fn source<'c>(
        &self,
        config: &'c Config,
    ) -> anyhow::Result<Option<&'c crate::config::SourceConfig>> {
        let Some(name) = &self.csv_source else { return Ok(None) };
        let found = config.sources.iter().find(|source| source.spec.name == *name);
        let known = config.sources.iter().map(|source| source.spec.name.as_str());
        let known = known.collect::<Vec<_>>().join(", ");
        found.map(Some).with_context(|| format!("there is no source `{name}`; there is {known}"))
    }
}

/// How much a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Messages.
    pub messages: u64,
    /// Oldest.
    pub first: Timestamp,
    /// Newest.
    pub last: Timestamp,
}

/// Reads everything once. A recording without a single message is an error that says why.
pub fn measure(paths: &[PathBuf], csv: &CsvMapping) -> anyhow::Result<Extent> {
    let mut recording = recording::open(paths, csv)?;
    let mut extent: Option<Extent> = None;
    for message in &mut recording {
        let at = Timestamp::from_micros(message.at_us);
        let so_far = extent.unwrap_or(Extent { messages: 0, first: at, last: at });
        extent = Some(Extent {
            messages: so_far.messages + 1,
            first: so_far.first.min(at),
            last: so_far.last.max(at),
        });
    }
    extent.with_context(|| {
        let why = recording.notes().lines().join("; ");
        if why.is_empty() { "there are no messages in it".to_owned() } else { why }
    })
}

/// Tells on standard error what reading has met. True when nothing is missing.
pub fn tell_notes(recording: &Recording) -> bool {
    for line in recording.notes().lines() {
        eprintln!("note: {line}");
    }
    !recording.is_incomplete()
}

/// A bar over so many messages; on a terminal only.
pub fn bar(messages: u64) -> ProgressBar {
    let bar = ProgressBar::new(messages);
    let template = "{bar:30} {percent:>3}%  {human_pos}/{human_len}  {msg}  {elapsed} (-{eta})";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
