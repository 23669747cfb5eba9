//! `[source.sparkplug]`.

use crate::engine::types::document::{Located, Table};
use crate::engine::types::time::TimeSpan;

/// How this gateway acts as a Sparkplug host application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkplugSettings {
    /// Its name in `spBv1.0/STATE/<host_id>`; empty to publish no state.
    pub host_id: String,
    /// Ask nodes for their births when something of them is missing.
    pub rebirth: bool,
    /// How long a message that another one overtook may still come.
    pub reorder_timeout: TimeSpan,
}

impl SparkplugSettings {
    /// What holds where nothing is said.
    pub(in crate::engine::decode) fn of(source: &str) -> SparkplugSettings {
        SparkplugSettings {
            host_id: format!("faultgate-{source}"),
            rebirth: true,
            reorder_timeout: TimeSpan::from_secs(5),
        }
    }
}

/// Reads the table of the source with this name.
pub(in crate::engine::decode) fn read(table: &Table<'_>, source: &str) -> SparkplugSettings {
    let default = SparkplugSettings::of(source);
    let host_id = table.optional::<Located<String>>("host_id").map(|id| {
        if id.value.contains(['/', '+', '#', '\0']) {
            let message = format!("`host_id`: \"{}\" must not have / + #", id.value);
            table.place().error(id.span, "wrong-value", message, "for example \"scada-1\"");
        }
        id.value
    });
    SparkplugSettings {
        host_id: host_id.unwrap_or(default.host_id),
        rebirth: table.or("rebirth", default.rebirth),
        reorder_timeout: table.or("reorder_timeout", default.reorder_timeout),
    }
}
