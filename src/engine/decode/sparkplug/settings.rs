//! `[source.sparkplug]`.

use crate::engine::types::document::Table;
use crate::engine::types::time::TimeSpan;

/// How this gateway acts as a Sparkplug host application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkplugSettings {
    /// Ask nodes for their births when something of them is missing.
    pub rebirth: bool,
    /// How long a message that another one overtook may still come.
    pub reorder_timeout: TimeSpan,
}

impl Default for SparkplugSettings {
    fn default() -> SparkplugSettings {
        SparkplugSettings { rebirth: true, reorder_timeout: TimeSpan::from_secs(5) }
    }
}

/// Reads the table.
pub(in crate::engine::decode) fn read(table: &Table<'_>) -> SparkplugSettings {
    table.not_built("host_id", "leave it out: the gateway asks for births, and publishes no STATE");
    let default = SparkplugSettings::default();
    SparkplugSettings {
        rebirth: table.or("rebirth", default.rebirth),
        reorder_timeout: table.or("reorder_timeout", default.reorder_timeout),
    }
}
