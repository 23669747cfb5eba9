//! Price plans from TOML: every mistake told at its place.

use rust_decimal::Decimal;

use super::plan::{Adjust, AdjustKind, Divisor, Line, Plan, Pricing, Rounding, Tier};
use super::terms::{read_addon, read_close, read_meter, read_one_off, read_period, read_term};
use crate::engine::types::diagnostic::{did_you_mean, nearest};
use crate::engine::types::document::{Located, OneOf, Table};
use crate::engine::types::ledger::Meter;

/// Classes that every plan may adjust, whether or not it has a line of them.
const CLASSES: [&str; 2] = ["recurring", "usage"];
/// The newest version of the plan format.
const SCHEMA: i64 = 1;

/// Reads a price plan.
pub fn read_plan(table: &Table<'_>) -> Option<Plan> {
    if let Some(schema) = table.optional::<Located<i64>>("schema")
        && schema.value != SCHEMA
    {
        let message = format!("this version reads schema {SCHEMA}, not {}", schema.value);
        table.place().error(schema.span, "schema", message, "update faultgate");
    }
    if !table.has("plan") {
        table.place().error(0..0, "missing-key", "`[plan]` is missing", "add `[plan]`");
    }
    let mut plan = table.table("plan", read_head);
    let meters = table.tables("meter", read_meter);
    let lines = table.tables("line", read_line);
    let adjusts = table.tables("adjust", read_adjust);
    let addons = table.tables("addon", read_addon);
    let one_offs = table.tables("one_off", read_one_off);
    check_ids(table, &lines, &adjusts);
    check_once(table, "meter", meters.iter().map(|(id, _)| id));
    check_once(table, "addon", addons.iter().map(|(id, _)| id));
    check_once(table, "one_off", one_offs.iter().map(|(id, _)| id));
    let own: Vec<&str> = meters.iter().map(|(id, _)| id.value.as_str()).collect();
    warn_of_unknown_meters(table, &lines, &own);
    check_classes(table, &lines, &adjusts);
    if let Some(plan) = &mut plan {
        plan.meters = meters.into_iter().map(|(_, meter)| meter).collect();
        plan.lines = lines.into_iter().map(|read| read.line).collect();
        plan.adjusts = adjusts.into_iter().map(|(_, _, adjust)| adjust).collect();
        plan.addons = addons.into_iter().map(|(_, addon)| addon).collect();
        plan.one_offs = one_offs.into_iter().map(|(_, one_off)| one_off).collect();
    }
    plan
}

fn read_head(table: &Table<'_>) -> Option<Plan> {
    let id = table.required::<String>("id");
    let currency = table.required::<Located<String>>("currency");
    let is_code = |code: &str| code.len() == 3 && code.bytes().all(|c| c.is_ascii_uppercase());
    if let Some(currency) = currency.as_ref().filter(|currency| !is_code(&currency.value)) {
        let message = format!("`currency`: \"{}\" is not a currency code", currency.value);
        let hint = "three capital letters of ISO 4217, e.g. \"CNY\"";
        table.place().error(currency.span.clone(), "wrong-value", message, hint);
    }
    let minor_units = table.optional::<Located<u32>>("minor_units");
    if let Some(units) = minor_units.as_ref().filter(|units| units.value > 6) {
        let message = "`minor_units` must be from 0 to 6";
        table.place().error(units.span.clone(), "out-of-range", message, "2 for most currencies");
    }
    Some(Plan {
        version: table.optional("version"),
        minor_units: minor_units.map_or(2, |units| units.value.min(6)),
        rounding: table.or("rounding", OneOf(Rounding::HalfEven)).0,
        period: table.table("period", read_period),
        close: table.table("close", read_close),
        term: table.table("term", read_term),
        meters: Vec::new(),
        lines: Vec::new(),
        adjusts: Vec::new(),
        addons: Vec::new(),
        one_offs: Vec::new(),
        id: id?,
        currency: currency?.value,
    })
}

/// An amount of money or a quantity, 0 or more.
pub(super) fn amount(table: &Table<'_>, key: &'static str) -> Option<Decimal> {
    let amount = table.optional::<Located<Decimal>>(key)?;
    if amount.value < Decimal::ZERO {
        let message = format!("`{key}` must not be negative");
        table.place().error(amount.span, "out-of-range", message, "use `[[adjust]]` for discounts");
        return None;
    }
    Some(amount.value)
}

fn needed(table: &Table<'_>, key: &'static str) -> Option<Decimal> {
    table.required::<Located<Decimal>>(key)?;
    amount(table, key)
}

/// A line, and where its names stand.
struct ReadLine {
    id: Located<String>,
    meter: Option<Located<String>>,
    line: Line,
}

fn read_line(table: &Table<'_>) -> Option<ReadLine> {
    let id = table.required::<Located<String>>("id");
    let meter = table.optional::<Located<String>>("meter");
    let class = table.or("class", "usage".to_owned());
    let kind = table.required::<Located<String>>("kind")?;
    let pricing = match kind.value.as_str() {
        "fixed" => needed(table, "price").map(|price| Pricing::Fixed { price }),
        "per_unit" => read_per_unit(table),
        "package" => read_package(table),
        "graduated" => {
            let (source, tiers) = (read_source(table), read_tiers(table));
            let included = amount(table, "included").unwrap_or_default();
            let covered = tiers.iter().flatten().find(|tier: &&Tier| {
                tier.up_to.is_some_and(|up_to| up_to <= included) && !included.is_zero()
            });
            if let Some(up_to) = covered.and_then(|tier| tier.up_to) {
                let message = format!(
                    "nothing is charged in the tier up to {up_to}: {included} units are included"
                );
                let hint = "`up_to` counts from the first unit of all, those included among them";
                table.place().warning(table.span(), "unreached-tier", message, hint);
            }
            source.zip(tiers).map(|(source, tiers)| Pricing::Graduated { source, included, tiers })
        }
        "volume" | "stairstep" => {
            if let Some(included) = table.optional::<Located<Decimal>>("included") {
                let message = format!("`included` has no meaning on a {} line", kind.value);
                let hint = "make it the first tier, with unit \"0\"";
                table.place().error(included.span, "wrong-key", message, hint);
            }
            let (source, tiers) = (read_source(table), read_tiers(table));
            source.zip(tiers).map(|(source, tiers)| match kind.value.as_str() {
                "volume" => Pricing::Volume { source, tiers },
                _ => Pricing::Stairstep { source, tiers },
            })
        }
        other => {
            let known = ["fixed", "per_unit", "package", "graduated", "volume", "stairstep"];
            let message = format!("`kind`: \"{other}\" is not one of {}", known.join(", "));
            let hint = did_you_mean(other, &known);
            table.place().error(kind.span, "wrong-value", message, hint);
            None
        }
    };
    let id = id?;
    let line = Line { id: id.value.clone(), class, pricing: pricing? };
    Some(ReadLine { id, meter, line })
}

/// What is charged: a meter, or a quantity that is told with the usage.
fn read_source(table: &Table<'_>) -> Option<String> {
    let meter = table.optional::<Located<String>>("meter");
    let quantity = table.optional::<Located<String>>("quantity");
    match (meter, quantity) {
        (Some(source), None) | (None, Some(source)) => Some(source.value),
        (Some(_), Some(quantity)) => {
            let message = "a line charges either a `meter` or a `quantity`";
            table.place().error(quantity.span, "wrong-key", message, "remove one of them");
            None
        }
        (None, None) => {
            let message = "the line does not say what it charges";
            let hint = "add `meter = \"ticket.created\"` or `quantity = \"seats\"`";
            table.place().error(table.span(), "missing-key", message, hint);
            None
        }
    }
}

fn read_per_unit(table: &Table<'_>) -> Option<Pricing> {
    let source = read_source(table);
    let unit = needed(table, "unit");
    let included = amount(table, "included").unwrap_or_default();
    let prorate = match table.optional::<Located<String>>("prorate") {
        Some(word) if word.value == "day" => true,
        Some(word) => {
            let message = format!("`prorate`: \"{}\" is not one of day", word.value);
            table.place().error(word.span, "wrong-value", message, "write \"day\" or leave it out");
            false
        }
        None => false,
    };
    let divide_by = table.optional::<OneOf<Divisor>>("divide_by").map(|OneOf(divisor)| divisor);
    Some(Pricing::PerUnit { source: source?, unit: unit?, included, prorate, divide_by })
}

fn read_package(table: &Table<'_>) -> Option<Pricing> {
    let source = read_source(table);
    let price = needed(table, "price");
    let included = amount(table, "included").unwrap_or_default();
    let size = table.required::<Located<Decimal>>("size")?;
    if size.value <= Decimal::ZERO {
        let message = "`size` must be more than 0";
        table.place().error(size.span, "out-of-range", message, "for example \"1000\"");
        return None;
    }
    Some(Pricing::Package { source: source?, size: size.value, price: price?, included })
}

fn read_tiers(table: &Table<'_>) -> Option<Vec<Tier>> {
    if !table.has("tiers") {
        let hint = "add `tiers = [ { up_to = \"100\", unit = \"1.00\" }, { unit = \"0.80\" } ]`";
        table.place().error(table.span(), "missing-key", "`tiers` is missing", hint);
        return None;
    }
    let mut last = Some(Decimal::ZERO);
    let mut right = true;
    let tiers = table.tables("tiers", |entry| {
        let up_to = entry.optional::<Located<Decimal>>("up_to");
        let unit = needed(entry, "unit");
        let flat = amount(entry, "flat").unwrap_or_default();
        match (last, &up_to) {
            (None, _) => {
                let message = "only the last tier may be open";
                entry.place().error(
                    entry.span(),
                    "wrong-value",
                    message,
                    "give the one before it `up_to`",
                );
                right = false;
            }
            (Some(before), Some(bound)) if bound.value <= before => {
                let message = format!("`up_to` {} is not above {before}", bound.value);
                let hint = "tiers go up, and count from the first unit of all";
                entry.place().error(bound.span.clone(), "wrong-value", message, hint);
                right = false;
            }
            _ => {}
        }
        last = up_to.as_ref().map(|bound| bound.value);
        Some(Tier { up_to: up_to.map(|bound| bound.value), unit: unit?, flat })
    });
    if last.is_some() && right {
        let message = "the last tier must be open";
        table.place().error(table.span(), "wrong-value", message, "leave out its `up_to`");
        right = false;
    }
    right.then_some(tiers)
}

/// A part of a sum; more than all of it cannot be taken off.
fn read_percent(table: &Table<'_>) -> Option<Decimal> {
    let percent = table.required::<Located<Decimal>>("percent")?;
    if percent.value < -Decimal::ONE_HUNDRED {
        let message = format!("`percent` {} takes off more than everything", percent.value);
        table.place().error(percent.span, "out-of-range", message, "at least \"-100\"");
        return None;
    }
    Some(percent.value)
}

type ReadAdjust = (Located<String>, Vec<Located<String>>, Adjust);

fn read_adjust(table: &Table<'_>) -> Option<ReadAdjust> {
    let id = table.required::<Located<String>>("id");
    let classes = table.required::<Vec<Located<String>>>("classes");
    let kind = table.required::<Located<String>>("kind")?;
    let kind = match kind.value.as_str() {
        "percent" => read_percent(table).map(AdjustKind::Percent),
        "cap" => needed(table, "amount").map(AdjustKind::Cap),
        "minimum" => needed(table, "amount").map(AdjustKind::Minimum),
        "credit" => needed(table, "amount").map(AdjustKind::Credit),
        other => {
            let known = ["percent", "cap", "minimum", "credit"];
            let message = format!("`kind`: \"{other}\" is not one of {}", known.join(", "));
            let hint = did_you_mean(other, &known);
            table.place().error(kind.span, "wrong-value", message, hint);
            None
        }
    };
    let (id, classes, kind) = (id?, classes?, kind?);
    let names = classes.iter().map(|class| class.value.clone()).collect();
    let adjust = Adjust { id: id.value.clone(), kind, classes: names };
    Some((id, classes, adjust))
}

fn check_ids(table: &Table<'_>, lines: &[ReadLine], adjusts: &[ReadAdjust]) {
    let mut seen: Vec<&str> = Vec::new();
    let ids = lines.iter().map(|read| &read.id).chain(adjusts.iter().map(|(id, _, _)| id));
    for id in ids {
        if seen.contains(&id.value.as_str()) {
            let message = format!("`{}` is there twice", id.value);
            let hint = "ids of lines and adjustments are unique";
            table.place().error(id.span.clone(), "duplicate-id", message, hint);
        }
        seen.push(&id.value);
    }
}

/// A meter of another name may be told with the usage; one that looks like a slip is told.
fn warn_of_unknown_meters(table: &Table<'_>, lines: &[ReadLine], own: &[&str]) {
    let metered: Vec<&str> = Meter::ALL.iter().map(|meter| meter.name()).collect();
    for meter in lines.iter().filter_map(|read| read.meter.as_ref()) {
        let known = own.iter().chain(&metered).any(|known| *known == meter.value);
        let near = nearest(&meter.value, metered.iter().copied());
        let is_slip = |near: &&str| !known && near.len().abs_diff(meter.value.len()) <= 1;
        if let Some(near) = near.filter(is_slip) {
            let message = format!("the gateway does not meter `{}`", meter.value);
            let hint = format!("did you mean `{near}`? Else add it as `[[meter]]`");
            table.place().warning(meter.span.clone(), "unknown-meter", message, hint);
        }
    }
}

/// Names that may not be there twice.
fn check_once<'a>(table: &Table<'_>, kind: &str, ids: impl Iterator<Item = &'a Located<String>>) {
    let mut seen: Vec<&str> = Vec::new();
    for id in ids {
        if seen.contains(&id.value.as_str()) {
            let message = format!("{kind} `{}` is there twice", id.value);
            table.place().error(id.span.clone(), "duplicate-id", message, "leave one of them out");
        }
        seen.push(&id.value);
    }
}

/// Every class is one of some line, and no adjustment changes a part of what an earlier one
/// changed as a whole: what that part is could not be told.
fn check_classes(table: &Table<'_>, lines: &[ReadLine], adjusts: &[ReadAdjust]) {
    let mut known: Vec<&str> = lines.iter().map(|read| read.line.class.as_str()).collect();
    known.extend(CLASSES);
    for (index, (id, classes, adjust)) in adjusts.iter().enumerate() {
        for class in classes.iter().filter(|class| !known.contains(&class.value.as_str())) {
            let message = format!("no line has the class `{}`", class.value);
            let hint = did_you_mean(&class.value, &known);
            table.place().error(class.span.clone(), "unknown-reference", message, hint);
        }
        for (_, _, before) in adjusts.iter().take(index) {
            let shared = before.classes.iter().filter(|class| adjust.classes.contains(class));
            let shared = shared.count();
            if shared > 0 && shared < before.classes.len() {
                let message =
                    format!("`{}` changes a part of what `{}` changed", id.value, before.id);
                let hint = "put it before, or over the same classes";
                table.place().error(id.span.clone(), "wrong-value", message, hint);
            }
        }
    }
}

#[cfg(test)]
mod tests;
