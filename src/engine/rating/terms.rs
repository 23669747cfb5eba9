//! The parts of a plan that say when, how long and what else: read and checked, not charged.

use chrono::NaiveDate;
use chrono_tz::Tz;
use croner::Cron;
use rust_decimal::Decimal;

use super::read::amount;
use crate::engine::types::calendar::{read_cron, read_zone};
use crate::engine::types::document::{Located, OneOf, Table, Word};
use crate::engine::types::ledger::Aggregation;
use crate::engine::types::period::{Calendar, PeriodUnit};
use crate::engine::types::time::{TimeSpan, Timestamp};

/// `[plan.close]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// When to look for overdue periods, in the zone of the period; at once where it is absent.
    cron: Option<Box<Cron>>,
    /// How long late rows are waited for.
    pub grace: TimeSpan,
}

impl Close {
    /// When a period that ended at `end` is closed at the earliest.
    pub fn due(&self, end: Timestamp, zone: Tz) -> Timestamp {
        let waited = end + self.grace;
        let local = waited.to_chrono().with_timezone(&zone);
        let woken =
            self.cron.as_ref().and_then(|cron| cron.find_next_occurrence(&local, true).ok());
        woken.map_or(waited, |at| Timestamp::from_micros(at.timestamp_micros()))
    }
}

/// `[plan.term]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What one is bound to, in the words of the contract.
    pub commitment: Option<String>,
    /// The last day of the term.
    pub ends: Option<NaiveDate>,
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

pub(super) fn read_period(table: &Table<'_>) -> Option<Calendar> {
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
    table.required::<String>("timezone")?;
    let zone = read_zone(table, "timezone")?;
    Some(Calendar { unit, anchor_day: anchor_day.map_or(1, |day| day.value.clamp(1, 31)), zone })
}

pub(super) fn read_close(table: &Table<'_>) -> Option<Close> {
    let cron = read_cron(table, "cron").map(|cron| Box::new(cron.value));
    Some(Close { cron, grace: table.or("grace", TimeSpan::ZERO) })
}

pub(super) fn read_term(table: &Table<'_>) -> Option<Term> {
    Some(Term {
        commitment: table.optional("commitment"),
        ends: table.optional("ends"),
        notice_days: table.optional("notice_days"),
        renewal: table.optional("renewal"),
        max_price_rise_percent: amount(table, "max_price_rise_percent"),
        data_owner: table.optional("data_owner"),
        export: table.optional("export"),
        exit_fee: amount(table, "exit_fee"),
        upgrade_to: table.optional("upgrade_to"),
    })
}

/// What was read, and where its id stands.
pub(super) type Named<T> = (Located<String>, T);

pub(super) fn read_meter(table: &Table<'_>) -> Option<Named<MeterDefinition>> {
    let id = table.required::<Located<String>>("id");
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
    let (id, OneOf(aggregation)) = (id?, aggregation?);
    let bucket = bucket.map(|bucket| bucket.value);
    Some((id.clone(), MeterDefinition { id: id.value, aggregation, bucket }))
}

pub(super) fn read_addon(table: &Table<'_>) -> Option<Named<Addon>> {
    let id = table.required::<Located<String>>("id");
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
    let (id, OneOf(kind)) = (id?, kind?);
    Some((id.clone(), Addon { id: id.value, kind, price, per }))
}

pub(super) fn read_one_off(table: &Table<'_>) -> Option<Named<OneOff>> {
    let id = table.required::<Located<String>>("id");
    let amount = amount(table, "amount");
    let bucket = table.required::<OneOf<Bucket>>("bucket");
    let source = table.optional("source");
    let (id, OneOf(bucket)) = (id?, bucket?);
    Some((id.clone(), OneOff { id: id.value, amount, bucket, source }))
}
