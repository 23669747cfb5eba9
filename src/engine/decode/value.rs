//! One value a topic, and text that is kept as it is.

use super::{Captured, Decoded, News, Refusal};
use crate::engine::types::decision::Rejection;
use crate::engine::types::message::{Reading, Value};
use crate::engine::types::text::cut_bytes;

/// Longest text value, in bytes; longer ones are cut on a character boundary.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

/// A payload that is one number, `true`, `false`, or a text.
pub(super) fn read_value(
    captured: Captured,
    payload: &[u8],
    out: &mut Vec<Decoded>,
    refused: &mut Vec<Refusal>,
) -> Result<(), Refusal> {
    let text = utf8(payload)?.trim();
    let reading = match text {
        "true" => Reading::Good(Value::Bool(true)),
        "false" => Reading::Good(Value::Bool(false)),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Reading::Good(Value::Int(number)),
            (_, Ok(number)) if number.is_finite() => Reading::Good(Value::Float(number)),
            (_, Ok(_)) => {
                refused.push(Refusal::new(Rejection::Number, text));
                Reading::Bad
            }
            _ => Reading::Good(Value::Text(cut_bytes(text, TEXT_BYTES_MAX).into())),
        },
    };
    let metric = captured.metric.unwrap_or_else(|| "value".to_owned());
    let news = News::Readings { at: None, readings: vec![(metric, reading)] };
    out.push(Decoded { facts: captured.facts, news });
    Ok(())
}

/// A payload that is kept as text.
pub(super) fn read_raw(
    captured: Captured,
    payload: &[u8],
    out: &mut Vec<Decoded>,
) -> Result<(), Refusal> {
    let text = cut_bytes(utf8(payload)?, TEXT_BYTES_MAX);
    let metric = captured.metric.unwrap_or_else(|| "raw".to_owned());
    let readings = vec![(metric, Reading::Good(Value::Text(text.into())))];
    out.push(Decoded { facts: captured.facts, news: News::Readings { at: None, readings } });
    Ok(())
}

/// The payload as text.
pub(super) fn utf8(payload: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(payload).map_err(|error| {
        let detail = format!("not UTF-8 at byte {}", error.valid_up_to());
        Refusal::new(Rejection::InvalidUtf8, &detail)
    })
}
