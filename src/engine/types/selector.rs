//! Which devices something is about.

use super::device::DeviceFacts;
use super::diagnostic::did_you_mean;
use super::document::Table;
use super::glob;

/// Attributes that a selector may name, besides labels.
const ATTRIBUTES: [&str; 5] = ["class", "site", "region", "customer", "device"];

/// Every pattern must match; none at all matches every device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Attribute (`class`, `site`, `region`, `customer`, `device`, `labels.NAME`) and glob.
    pub patterns: Vec<(String, String)>,
}

impl Selector {
    /// Reads a selector. Keys in `besides` belong to something else in the same table.
    pub fn read(table: &Table<'_>, besides: &[&str]) -> Selector {
        let mut patterns = Vec::new();
        for (name, entry) in table.entries() {
            match name.value.as_str() {
                "labels" => {
                    let labels = entry.table(|labels| {
                        let pairs = labels.entries().into_iter().filter_map(|(label, entry)| {
                            Some((format!("labels.{}", label.value), entry.read::<String>()?))
                        });
                        Some(pairs.collect::<Vec<_>>())
                    });
                    patterns.extend(labels.unwrap_or_default());
                }
                other if ATTRIBUTES.contains(&other) || other.starts_with("labels.") => {
                    patterns.extend(entry.read::<String>().map(|glob| (other.to_owned(), glob)));
                }
                other if besides.contains(&other) => {}
                other => {
                    let message = format!("devices have no `{other}`");
                    let known: Vec<&str> = ATTRIBUTES.iter().chain(besides).copied().collect();
                    let hint = did_you_mean(other, &known);
                    table.place().error(name.span, "unknown-key", message, hint);
                }
            }
        }
        Selector { patterns }
    }

    /// True when some pattern is about this attribute.
    pub fn names(&self, attribute: &str) -> bool {
        self.patterns.iter().any(|(named, _)| named == attribute)
    }

    /// True when it is about this device.
    pub fn selects(&self, device: &DeviceFacts) -> bool {
        self.patterns.iter().all(|(attribute, pattern)| {
            device.attribute(attribute).is_some_and(|value| glob::matches(pattern, value))
        })
    }
}

/// True for a name that a device has: `class`, `site`, `region`, `customer`, `device` or
/// `labels.NAME`.
pub fn is_attribute(name: &str) -> bool {
    ATTRIBUTES.contains(&name)
        || name.strip_prefix("labels.").is_some_and(|label| !label.is_empty())
}
