//! The list of devices, and all that is known of one of them.

use serde_json::{Value as Json, json};

use super::alarms;
use crate::engine::pipeline::{Device, Engine};
use crate::engine::types::alarm::AlarmRecord;
use crate::engine::types::listing::DeviceFilter;
use crate::engine::types::time::Timestamp;

/// A device in short.
pub(super) fn line(device: &Device, engine: &Engine) -> Json {
    let raised = records(device).filter(|record| record.state.is_raised()).count();
    let facts = &device.facts;
    json!({
        "id": facts.id, "class": facts.class, "site": facts.site,
        "region": facts.region, "customer": facts.customer,
        "labels": facts.labels, "offline": facts.offline,
        "rules": device.rules(), "raised": raised, "samples": device.samples,
        "registered": device.registered.is_some(),
        "quarantined": engine.is_quarantined(device),
        "model": device.nameplate().map(|plate| &plate.model),
        "serial": device.nameplate().map(|plate| &plate.serial),
    })
}

/// Those that fit, in the order of their ids.
pub(super) fn list(now: Timestamp, filter: &DeviceFilter, engine: &Engine) -> Json {
    let fits = |device: &&Device| {
        let facts = &device.facts;
        filter.like.as_ref().is_none_or(|like| facts.id.contains(like.as_str()))
            && filter.site.as_ref().is_none_or(|site| facts.site == *site)
    };
    let mut found: Vec<&Device> = engine.devices().iter().filter(fits).collect();
    found.sort_unstable_by(|a, b| a.facts.id.cmp(&b.facts.id));
    let listed = found.iter().skip(filter.skip).take(filter.most);
    let listed: Vec<Json> = listed.map(|device| line(device, engine)).collect();
    json!({ "now": now, "found": found.len(), "devices": listed })
}

/// A device in full, with its alarms.
pub(super) fn one(now: Timestamp, id: &str, engine: &Engine) -> Json {
    let Some(device) = engine.device(id) else { return Json::Null };
    let rows = records(device).map(|record| alarms::row(engine, record, &device.facts.site));
    let values = engine.values_of(device).map(|(metric, at, value)| {
        json!({ "metric": metric, "at": at, "value": value.map(ToString::to_string) })
    });
    let rules = engine.rules_of(device).map(|rule| &rule.spec.id);
    let mut told = line(device, engine);
    told["now"] = json!(now);
    told["newest"] = json!(device.newest());
    told["installed_at"] = json!(device.nameplate().and_then(|plate| plate.installed_at));
    told["warranty_until"] = json!(device.nameplate().and_then(|plate| plate.warranty_until));
    told["rule_ids"] = json!(rules.collect::<Vec<_>>());
    told["values"] = json!(values.collect::<Vec<_>>());
    told["alarms"] = json!(rows.collect::<Vec<_>>());
    told
}

fn records(device: &Device) -> impl Iterator<Item = &AlarmRecord> {
    device.alarms.iter().filter_map(|alarm| alarm.record.as_deref())
}
