//! Rows of the ledger as CloudEvents 1.0, one JSON object a line.

use serde_json::{Value as Json, json};

use crate::engine::types::ledger::LedgerRow;

/// What stands before the id of the gateway in `source`.
const SOURCE: &str = "urn:faultgate:gw:";

/// A row as a CloudEvent of the gateway `gateway`.
pub fn event(gateway: &str, row: &LedgerRow) -> Json {
    let mut data = serde_json::to_value(row).unwrap_or_default();
    if !row.revision.is_empty() {
        data["rule_revision"] = format!("{}@{}", row.rule, row.revision).into();
    }
    json!({
        "specversion": "1.0",
        "id": row.sequence.to_string(),
        "source": format!("{SOURCE}{gateway}"),
        "type": format!("com.faultgate.{}.v1", row.meter.name()),
        "subject": if row.customer.is_empty() { &row.device } else { &row.customer },
        "time": row.time,
        "recordedtime": row.recorded,
        "sequence": format!("{:020}", row.sequence),
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// The row of an exported event.
///
/// # Errors
/// What of it is no event of ours.
pub fn row_of_event(line: &str) -> Result<LedgerRow, serde_json::Error> {
    let mut event: Json = serde_json::from_str(line)?;
    serde_json::from_value(event["data"].take())
}
