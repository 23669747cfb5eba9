//! `[store]`.

use crate::engine::types::document::{Bytes, Located, Table};
use crate::engine::types::time::TimeSpan;

/// What the stores may take, where nothing is said.
const DISK_MAX: u64 = 2 << 30;
/// The least that they can be told to take: the logs of both have 8 MiB, and what is under way needs room.
const DISK_LEAST: u64 = 16 << 20;
/// How long tickets are kept that are over, where nothing is said.
const CLOSED_MAX: TimeSpan = TimeSpan::from_secs(400 * 86_400);
/// The least that something is kept.
const KEPT_LEAST: TimeSpan = TimeSpan::from_secs(1);

/// How long things are kept, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long tickets are kept that are over, and acts and lines of the digest.
    pub closed_max: TimeSpan,
    /// What the files of the stores may take before things go sooner, in bytes.
    pub disk_max: u64,
    /// Free space below which nothing more is accepted, in bytes.
    pub disk_free_min: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig { closed_max: CLOSED_MAX, disk_max: DISK_MAX, disk_free_min: 64 << 20 }
    }
}

/// Reads `[store]`.
pub(super) fn read(table: &Table<'_>) -> StoreConfig {
    let usual = StoreConfig::default();
    if let Some(engine) = table.optional::<Located<String>>("engine")
        && engine.value != "sled"
    {
        let message = format!("`engine`: \"{}\" is not supported in this version", engine.value);
        table.place().error(engine.span, "not-supported", message, "use \"sled\"");
    }
    let closed_max = table.table("retention", |entry| {
        // The gateway keeps no telemetry: there is nothing to let go.
        kept(entry, "telemetry");
        kept(entry, "closed_episodes")
    });
    let disk_max = table.optional::<Located<Bytes>>("max_disk");
    if let Some(Located { value: Bytes(bytes), span }) = &disk_max
        && *bytes < DISK_LEAST
    {
        let message = format!("`max_disk` must be at least {}MiB", DISK_LEAST >> 20);
        let hint = "the default is \"2GiB\"; the logs of both stores alone have 8MiB";
        table.place().error(span.clone(), "out-of-range", message, hint);
    }
    StoreConfig {
        closed_max: closed_max.unwrap_or(usual.closed_max),
        disk_max: disk_max.map_or(usual.disk_max, |found| found.value.0),
        ..usual
    }
}

fn kept(table: &Table<'_>, key: &'static str) -> Option<TimeSpan> {
    let found = table.optional::<Located<TimeSpan>>(key)?;
    if found.value < KEPT_LEAST {
        let message = format!("`retention.{key}` must be at least {KEPT_LEAST}");
        table.place().error(found.span, "out-of-range", message, "for example \"400d\"");
    }
    Some(found.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::diagnostic::{Report, Source};
    use crate::engine::types::document::{Place, read_document};

    fn read_text(text: &str) -> (Option<StoreConfig>, Vec<String>) {
        let source = Source { file: "f.toml".into(), text: text.into() };
        let report = Report::default();
        let place = Place { source: &source, report: &report };
        let store = read_document(place, |table| Some(read(table)));
        (store, report.into_sorted().into_iter().map(|found| found.message).collect())
    }

    #[test]
    fn what_is_kept_is_bounded_also_where_nothing_is_said() {
        let usual = StoreConfig::default();
        assert_eq!(usual.closed_max, TimeSpan::parse("400d").expect("a duration"));
        assert_eq!(usual.disk_max, 2 << 30);
        assert_eq!(read_text(""), (Some(usual), vec![]));
        assert_eq!(read_text("retention = { telemetry = \"30d\" }"), (Some(usual), vec![]));
    }

    #[test]
    fn a_retention_and_a_size_are_taken_and_nonsense_is_refused() {
        let text =
            "retention = { closed_episodes = \"2s\", telemetry = \"1d\" }\nmax_disk = \"1GiB\"";
        let (store, found) = read_text(text);
        let closed_max = TimeSpan::from_secs(2);
        let wanted = StoreConfig { closed_max, disk_max: 1 << 30, ..StoreConfig::default() };
        assert_eq!((store, found), (Some(wanted), vec![]));
        for (text, word) in [
            (
                "retention = { closed_episodes = \"0s\" }",
                "`retention.closed_episodes` must be at least 1s",
            ),
            (
                "retention = { telemetry = \"often\" }",
                "`retention.telemetry`: \"often\" is not a duration",
            ),
            ("retention = { tickets = \"1d\" }", "tickets`"),
            ("max_disk = \"1KiB\"", "`max_disk` must be at least 16MiB"),
            ("max_disk = \"much\"", "`max_disk`: \"much\" is not a size"),
            ("engine = \"redb\"", "`engine`: \"redb\""),
        ] {
            let (_, found) = read_text(text);
            assert!(found.iter().any(|message| message.contains(word)), "{word} in {found:?}");
        }
    }
}
