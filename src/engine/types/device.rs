//! What is known about a device.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::document::Table;

/// Who and where a device is: from its topic, or from the register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceFacts {
    /// The id that it reports under.
    pub id: String,
    /// Kind of machine, e.g. `freezer`.
    pub class: String,
    /// Where it stands.
    pub site: String,
    /// The wider area, for the roster.
    pub region: String,
    /// Whose machine it is.
    pub customer: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Its last will or birth message said that it is gone. Kept, since nobody says it twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

/// What stands on a device, and in its papers; for the ticket, never for a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nameplate {
    /// Model of the maker.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// When it was put up.
    pub installed_at: Option<NaiveDate>,
    /// Last day of the warranty.
    pub warranty_until: Option<NaiveDate>,
}

impl DeviceFacts {
    /// Reads what an operator's file says of the device `id`; what it leaves out is empty.
    pub fn read(table: &Table<'_>, id: String) -> DeviceFacts {
        let labels = table.table("labels", |entry| {
            let pairs = entry.entries().into_iter();
            Some(pairs.filter_map(|(name, value)| Some((name.value, value.read()?))).collect())
        });
        DeviceFacts {
            id,
            class: table.or("class", String::new()),
            site: table.or("site", String::new()),
            region: table.or("region", String::new()),
            customer: table.or("customer", String::new()),
            labels: labels.unwrap_or_default(),
            offline: false,
        }
    }

    /// The attribute that a selector or a condition names (`class`, `site`, `labels.NAME` ...);
    /// `None` for a name that is no attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        Some(match name {
            "device" | "id" => &self.id,
            "class" => &self.class,
            "site" => &self.site,
            "region" => &self.region,
            "customer" => &self.customer,
            _ => self.labels.get(name.strip_prefix("labels.")?).map_or("", String::as_str),
        })
    }
}
