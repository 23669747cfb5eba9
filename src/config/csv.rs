//! `[source.csv]`: how the columns of a recorded CSV file become messages of the source.

use device_sim::recording::{CsvDevice, CsvMapping};

use crate::engine::decode::{Payload, SourceSpec};
use crate::engine::types::document::{Located, Table};

/// Reads the table; without it the time is in `ts`, the device is the name of the file, and all
/// other columns are metrics. With `decoder = "csv"` the table says how payloads are read.
pub fn read(source: &Table<'_>, spec: &SourceSpec) -> CsvMapping {
    let is_free = !matches!(spec.payload, Payload::Csv(_));
    let mapping = is_free.then(|| read_table(source)).flatten().unwrap_or_default();
    match spec.topics.first() {
        Some(topic) => CsvMapping { topic: topic.template(), ..mapping },
        None => mapping,
    }
}

fn read_table(source: &Table<'_>) -> Option<CsvMapping> {
    source.table("csv", |table| {
        let default = CsvMapping::default();
        Some(CsvMapping {
            timestamp: table.or("timestamp", default.timestamp),
            device: read_device(table),
            metrics: table.or("metrics", Vec::new()),
            ..CsvMapping::default()
        })
    })
}

fn read_device(table: &Table<'_>) -> CsvDevice {
    let column = table.optional::<Located<String>>("device");
    let fixed = table.optional::<String>("device_id");
    match (column, fixed) {
        (None, None) => CsvDevice::FileName,
        (Some(column), None) => CsvDevice::Column(column.value),
        (None, Some(id)) => CsvDevice::Fixed(id),
        (Some(column), Some(id)) => {
            let message = "`device` names a column, `device_id` one device for all rows";
            table.place().error(column.span, "wrong-value", message, "write only one of them");
            CsvDevice::Fixed(id)
        }
    }
}
