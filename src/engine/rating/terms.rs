//! The parts of a plan that say when, how long and what else: read and checked, not charged.

use rust_decimal::Decimal;

use super::read::amount;
use crate::engine::types::document::{Located, OneOf, Table, Word};
use crate::engine::types::time::TimeSpan;

/// `[plan.period]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Length.
    pub unit: PeriodUnit,
    /// Day of the month on which a period begins, 1 to 31; shorter months use their last day.
    pub anchor_day: u32,
    /// IANA name of the zone in which days begin.
    pub timezone: String,
}

/// Length of a billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodUnit {
    /// A calendar month.
    Month,
    /// Three months.
    Quarter,
    /// Twelve months.
    Year,
}

impl Word for PeriodUnit {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("month", PeriodUnit::Month),
        ("quarter", PeriodUnit::Quarter),
        ("year", PeriodUnit::Year),
    ];
}

/// `[plan.close]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// When to look for overdue periods.
    pub cron: String,
    /// How long late rows are waited for.
    pub grace: Option<TimeSpan>,
}

/// `[plan.term]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What one is bound to, in the words of the contract.
    pub commitment: Option<String>,
    /// Days before the end by which notice must be given.
    pub notice_days: Option<u32>,
    /// What happens at the end, in the words of the contract.
    pub renewal: Option<String>,
    /// Greatest rise at renewal, percent.
    pub max_price_rise_percent: Option<Decimal>,
    /// Whose the data are.
    pub data_owner: Option<String>,
    /// How they come out.
    pub export: Option<String>,
    /// Money for leaving.
    pub exit_fee: Option<Decimal>,
    /// Plan that one may move up to.
    pub upgrade_to: Option<String>,
}

/// `[[meter]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterDefinition {
    /// Name in the usage.
    pub id: String,
    /// How movements become a quantity.
    pub aggregation: Aggregation,
    /// Length of the buckets of `max`.
    pub bucket: Option<TimeSpan>,
}

/// How movements become a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// How many.
    Count,
    /// Sum of the quantities.
    Sum,
    /// Greatest quantity in a bucket.
    Max,
    /// How many different ones.
    Unique,
    /// Quantity times its duration.
    TimeWeighted,
    /// The newest quantity.
    Latest,
}

impl Word for Aggregation {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("count", Aggregation::Count),
        ("sum", Aggregation::Sum),
        ("max", Aggregation::Max),
        ("unique", Aggregation::Unique),
        ("time_weighted", Aggregation::TimeWeighted),
        ("latest", Aggregation::Latest),
    ];
}

/// `[[addon]]`: a function and whether it costs more. One that is not listed is unknown, not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addon {
    /// Name of the function.
    pub id: String,
    /// Included, extra or unavailable.
    pub kind: AddonKind,
    /// Money, of an extra.
    pub price: Option<Decimal>,
    /// What the price is for, e.g. `month`.
    pub per: Option<String>,
}

/// Whether a function costs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddonKind {
    /// In the price.
    Included,
    /// For more money.
    Extra,
    /// Not to be had.
    Unavailable,
}

impl Word for AddonKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("included", AddonKind::Included),
        ("extra", AddonKind::Extra),
        ("unavailable", AddonKind::Unavailable),
    ];
}

/// `[[one_off]]`: what is paid once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOff {
    /// Name.
    pub id: String,
    /// Money; `None`: unknown, not free.
    pub amount: Option<Decimal>,
    /// What kind of cost it is.
    pub bucket: Bucket,
    /// Where the number comes from.
    pub source: Option<String>,
}

/// Kind of a cost that is paid once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The right to use it.
    Licence,
    /// Setting it up.
    Implementation,
    /// Keeping it up.
    Maintenance,
    /// People's time.
    Labour,
}

impl Word for Bucket {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("licence", Bucket::Licence),
        ("implementation", Bucket::Implementation),
        ("maintenance", Bucket::Maintenance),
        ("labour", Bucket::Labour),
    ];
}

pub(super) fn read_period(table: &Table<'_>) -> Option<Period> {
    let unit = table.or("unit", OneOf(PeriodUnit::Month)).0;
    let anchor_day = table.optional::<Located<u32>>("anchor_day");
    if let Some(day) = anchor_day.as_ref().filter(|day| !(1..=31).contains(&day.value)) {
        table.place().error(
            day.span.clone(),
            "out-of-range",
            "`plan.period.anchor_day` must be from 1 to 31",
            "shorter months use their last day",
        );
    }
    Some(Period {
        unit,
        anchor_day: anchor_day.map_or(1, |day| day.value),
        timezone: table.required("timezone")?,
    })
}

pub(super) fn read_close(table: &Table<'_>) -> Option<Close> {
    let cron: Located<String> = table.required("cron")?;
    let fields = cron.value.split_whitespace().count();
    if !(5..=7).contains(&fields) {
        table.place().error(
            cron.span,
            "wrong-value",
            format!("`plan.close.cron` has {fields} fields"),
            "write minute, hour, day, month, weekday: \"5 0 1 * *\"",
        );
    }
    Some(Close { cron: cron.value, grace: table.optional("grace") })
}

pub(super) fn read_term(table: &Table<'_>) -> Option<Term> {
    Some(Term {
        commitment: table.optional("commitment"),
        notice_days: table.optional("notice_days"),
        renewal: table.optional("renewal"),
        max_price_rise_percent: amount(table, "max_price_rise_percent"),
        data_owner: table.optional("data_owner"),
        export: table.optional("export"),
        exit_fee: amount(table, "exit_fee"),
        upgrade_to: table.optional("upgrade_to"),
    })
}

pub(super) fn read_meter(table: &Table<'_>) -> Option<MeterDefinition> {
    let id = table.required("id");
    let aggregation = table.required::<OneOf<Aggregation>>("agg");
    let bucket = table.optional::<Located<TimeSpan>>("bucket");
    if let (Some(bucket), Some(OneOf(aggregation))) = (&bucket, aggregation)
        && aggregation != Aggregation::Max
    {
        table.place().error(
            bucket.span.clone(),
            "wrong-value",
            "`meter.bucket` is only for `agg = \"max\"`",
            "remove it",
        );
    }
    Some(MeterDefinition {
        id: id?,
        aggregation: aggregation?.0,
        bucket: bucket.map(|bucket| bucket.value),
    })
}

pub(super) fn read_addon(table: &Table<'_>) -> Option<Addon> {
    let id = table.required("id");
    let kind = table.required::<OneOf<AddonKind>>("kind");
    let price = amount(table, "price");
    let per = table.optional("per");
    if price.is_some() && matches!(kind, Some(OneOf(AddonKind::Included | AddonKind::Unavailable)))
    {
        table.place().error(
            table.span(),
            "wrong-value",
            "addon: only `kind = \"extra\"` has a price",
            "remove `price`",
        );
    }
    Some(Addon { id: id?, kind: kind?.0, price, per })
}

pub(super) fn read_one_off(table: &Table<'_>) -> Option<OneOff> {
    let id = table.required("id");
    let amount = amount(table, "amount");
    let bucket = table.required::<OneOf<Bucket>>("bucket");
    let source = table.optional("source");
    Some(OneOff { id: id?, amount, bucket: bucket?.0, source })
}
