//! One value a topic, and text that is kept as it is.

use super::readings::Readings;
use super::scalar::{TEXT_BYTES_MAX, parse_bare};
use super::{Captured, Heard, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::names::{Metric, Names};
use crate::engine::types::text::cut_bytes;

/// A payload that is one number, `true`, `false`, or a text.
pub(super) fn read_value(
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let text = utf8(payload)?.trim();
    let reading = parse_bare(text).reading(1.0, 0.0, &mut heard.refused);
    let mut readings = Readings::new(metrics);
    if let Some(reading) = reading {
        readings.add(captured.metric.as_deref().unwrap_or("value"), reading)?;
    }
    heard.readings(captured.facts, None, readings);
    Ok(())
}

/// A payload that is kept as text.
pub(super) fn read_raw(
    metrics: &Names<Metric>,
    captured: Captured,
    payload: &[u8],
    heard: &mut Heard,
) -> Result<(), Refusal> {
    let text = cut_bytes(utf8(payload)?, TEXT_BYTES_MAX);
    let mut readings = Readings::new(metrics);
    let name = captured.metric.as_deref().unwrap_or("raw");
    readings.add(name, Reading::Good(Value::Text(text.into())))?;
    heard.readings(captured.facts, None, readings);
    Ok(())
}

/// The payload as text.
pub(super) fn utf8(payload: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(payload).map_err(|error| {
        let detail = format!("not UTF-8 at byte {}", error.valid_up_to());
        Refusal::new(Rejection::InvalidUtf8, &detail)
    })
}
