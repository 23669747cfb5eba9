//! Mappings of well-known devices, written as an operator would write them.

use crate::engine::types::diagnostic::Source;

/// The files, by the word after `decoder =`.
pub(super) const PRESETS: [(&str, &str); 6] = [
    ("tasmota", include_str!("presets/tasmota.toml")),
    ("zigbee2mqtt", include_str!("presets/zigbee2mqtt.toml")),
    ("shelly", include_str!("presets/shelly.toml")),
    ("alink", include_str!("presets/alink.toml")),
    ("homie", include_str!("presets/homie.toml")),
    ("vda5050", include_str!("presets/vda5050.toml")),
];

/// The file of a preset.
pub(super) fn find(word: &str) -> Option<Source> {
    let (name, text) = PRESETS.iter().find(|(name, _)| *name == word)?;
    Some(Source { file: format!("preset {name}"), text: (*text).to_owned() })
}

#[cfg(test)]
mod tests;
