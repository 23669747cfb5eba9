//! Price plans from TOML: every mistake told at its place.

use rust_decimal::Decimal;

use super::plan::{Adjust, AdjustKind, Divisor, Line, Plan, Pricing, Rounding, Tier};
use super::terms::{read_addon, read_close, read_meter, read_one_off, read_period, read_term};
use crate::engine::types::diagnostic::did_you_mean;
use crate::engine::types::document::{Located, OneOf, Table};

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
    check_classes(table, &lines, &adjusts);
    if let Some(plan) = &mut plan {
        plan.meters = meters;
        plan.lines = lines.into_iter().map(|(_, line)| line).collect();
        plan.adjusts = adjusts.into_iter().map(|(_, _, adjust)| adjust).collect();
        plan.addons = addons;
        plan.one_offs = one_offs;
    }
    plan
}

fn read_head(table: &Table<'_>) -> Option<Plan> {
    let id = table.required::<String>("id");
    let currency = table.required::<String>("currency");
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
        currency: currency?,
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

fn read_line(table: &Table<'_>) -> Option<(Located<String>, Line)> {
    let id = table.required::<Located<String>>("id");
    let class = table.or("class", "usage".to_owned());
    let kind = table.required::<Located<String>>("kind")?;
    let pricing = match kind.value.as_str() {
        "fixed" => needed(table, "price").map(|price| Pricing::Fixed { price }),
        "per_unit" => read_per_unit(table),
        "package" => read_package(table),
        "graduated" => {
            let (source, tiers) = (read_source(table), read_tiers(table));
            let included = amount(table, "included").unwrap_or_default();
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
    Some((id, line))
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

type ReadAdjust = (Located<String>, Vec<Located<String>>, Adjust);

fn read_adjust(table: &Table<'_>) -> Option<ReadAdjust> {
    let id = table.required::<Located<String>>("id");
    let classes = table.required::<Vec<Located<String>>>("classes");
    let kind = table.required::<Located<String>>("kind")?;
    let kind = match kind.value.as_str() {
        "percent" => table.required::<Decimal>("percent").map(AdjustKind::Percent),
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

fn check_ids(table: &Table<'_>, lines: &[(Located<String>, Line)], adjusts: &[ReadAdjust]) {
    let mut seen: Vec<&str> = Vec::new();
    let ids = lines.iter().map(|(id, _)| id).chain(adjusts.iter().map(|(id, _, _)| id));
    for id in ids {
        if seen.contains(&id.value.as_str()) {
            let message = format!("`{}` is there twice", id.value);
            let hint = "ids of lines and adjustments are unique";
            table.place().error(id.span.clone(), "duplicate-id", message, hint);
        }
        seen.push(&id.value);
    }
}

/// Every class is one of some line, and no adjustment changes a part of what an earlier one
/// changed as a whole: what that part is could not be told.
fn check_classes(table: &Table<'_>, lines: &[(Located<String>, Line)], adjusts: &[ReadAdjust]) {
    let mut known: Vec<&str> = lines.iter().map(|(_, line)| line.class.as_str()).collect();
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
