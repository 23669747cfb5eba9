//! Plans side by side on the same use: total cost of ownership, by scenario.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::engine::rating::{AddonKind, Bucket, Plan, RatingError, Usage, rate};
use crate::engine::types::document::Word;
use crate::engine::types::ledger::Meter;

/// Percent of an ordinary month, January first: what a cold chain sees where there is no year of
/// rows to tell.
const SEASON: [u32; 12] = [85, 80, 90, 95, 105, 120, 135, 130, 110, 95, 80, 75];
/// Alarms of a storm.
const STORM_ALARMS: u32 = 80_000;
/// Tickets and calls that it comes to when it is merged by 40 keys and counted once a minute.
const STORM_MERGED: (u32, u32) = (40, 2_440);
/// Most tickets a month at which plans are compared for their break-even.
const BREAK_EVEN_MAX: u32 = 20_000;

/// How use is assumed to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// As it was.
    Actual,
    /// With the seasons.
    Seasonal,
    /// With one month of a storm, a ticket for each alarm.
    Storm,
    /// With one month of a storm that the guard merges.
    StormGuarded,
    /// Nothing happens.
    Zero,
}

impl Word for Scenario {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("actual", Scenario::Actual),
        ("seasonal", Scenario::Seasonal),
        ("storm", Scenario::Storm),
        ("storm-guarded", Scenario::StormGuarded),
        ("zero", Scenario::Zero),
    ];
}

impl Scenario {
    /// The word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, member)| *member == self).map_or("", |(word, _)| *word)
    }

    /// Use of so many months, from the months that were.
    pub fn months(self, was: &[Usage], count: usize) -> Vec<Usage> {
        let ordinary = |month: usize| {
            let index = month % was.len().max(1);
            was.get(index).cloned().unwrap_or_default()
        };
        let add = |usage: &mut Usage, meter: Meter, count: u32| {
            usage.set(meter.name(), usage.quantity(meter.name()) + Decimal::from(count));
        };
        let month = |month: usize| {
            let mut usage = ordinary(month);
            match self {
                Scenario::Actual => {}
                Scenario::Seasonal => {
                    let percent = SEASON.get(month % 12).copied().unwrap_or(100);
                    scale(&mut usage, Decimal::from(percent) / Decimal::ONE_HUNDRED);
                }
                Scenario::Storm if month == 0 => {
                    add(&mut usage, Meter::TicketCreated, STORM_ALARMS);
                    add(&mut usage, Meter::ApiCall, STORM_ALARMS);
                }
                Scenario::StormGuarded if month == 0 => {
                    let (tickets, calls) = STORM_MERGED;
                    add(&mut usage, Meter::TicketCreated, tickets);
                    add(&mut usage, Meter::ApiCall, calls);
                }
                Scenario::Storm | Scenario::StormGuarded => {}
                Scenario::Zero => scale(&mut usage, Decimal::ZERO),
            }
            usage
        };
        (0..count).map(month).collect()
    }
}

fn scale(usage: &mut Usage, by: Decimal) {
    for meter in Meter::ALL {
        let quantity = usage.quantity(meter.name());
        if !quantity.is_zero() {
            usage.set(meter.name(), (quantity * by).round());
        }
    }
}

/// A plan that is compared, and the functions that are needed with it.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Functions that must be there.
    pub needed: &'a [String],
}

/// One plan in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ranked {
    /// Place, from 1.
    pub rank: usize,
    /// Id of the plan.
    pub plan: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Bills of all months, and add-ons.
    pub run: Decimal,
    /// What is paid once.
    pub one_off: Decimal,
    /// Both.
    pub total: Decimal,
    /// The dearest month.
    pub worst_month: Decimal,
    /// For each ticket; `None` without any.
    pub per_ticket: Option<Decimal>,
    /// Tickets a month from which on it is the cheapest by the month; `None` where it never is.
    pub break_even: Option<u32>,
    /// More than the cheapest.
    pub regret: Decimal,
    /// Costs that nobody has told: unknown, not 0.
    pub unknown: Vec<String>,
    /// Functions that are needed and not to be had.
    pub unavailable: Vec<String>,
    /// Why it stands there.
    pub why: String,
}

/// A scenario, its plans from the cheapest on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The scenario's word.
    pub scenario: &'static str,
    /// Months.
    pub months: usize,
    /// The plans.
    pub plans: Vec<Ranked>,
}

/// Compares offers over the same months. Plans in other currencies are not converted.
///
/// # Errors
/// A plan that cannot rate the use.
pub fn compare(
    offers: &[Offer<'_>],
    scenario: Scenario,
    months: &[Usage],
) -> Result<Comparison, RatingError> {
    let tickets: Decimal =
        months.iter().map(|month| month.quantity(Meter::TicketCreated.name())).sum();
    let mut plans = Vec::new();
    for offer in offers {
        plans.push(rank(offer, months, tickets)?);
    }
    plans.sort_by(|a, b| {
        let missing = (!a.unavailable.is_empty()).cmp(&!b.unavailable.is_empty());
        missing.then(a.total.cmp(&b.total)).then_with(|| a.plan.cmp(&b.plan))
    });
    let best = plans.first().map(|best| (best.plan.clone(), best.total));
    let break_even = break_even(offers, months.first())?;
    for (index, plan) in plans.iter_mut().enumerate() {
        plan.rank = index + 1;
        plan.break_even = break_even.get(&plan.plan).copied();
        if let Some((cheapest, total)) = &best {
            plan.regret = plan.total - total;
            plan.why = why(plan, cheapest);
        }
    }
    Ok(Comparison { scenario: scenario.word(), months: months.len(), plans })
}

fn rank(offer: &Offer<'_>, months: &[Usage], tickets: Decimal) -> Result<Ranked, RatingError> {
    let plan = offer.plan;
    let bills = months.iter().map(|month| Ok(rate(plan, month)?.total));
    let bills: Vec<Decimal> = bills.collect::<Result<_, RatingError>>()?;
    let (mut unknown, mut unavailable, mut addons) = (Vec::new(), Vec::new(), Decimal::ZERO);
    for needed in offer.needed {
        match plan.addons.iter().find(|addon| addon.id == *needed) {
            None => unknown.push(needed.clone()),
            Some(addon) => match (addon.kind, addon.price) {
                (AddonKind::Included, _) => {}
                (AddonKind::Unavailable, _) => unavailable.push(needed.clone()),
                (AddonKind::Extra, None) => unknown.push(needed.clone()),
                (AddonKind::Extra, Some(price)) => {
                    let times = match addon.per.as_deref() {
                        Some("year") => Decimal::from(months.len()) / Decimal::from(12),
                        Some("once") => Decimal::ONE,
                        Some(_) | None => Decimal::from(months.len()),
                    };
                    addons += price * times;
                }
            },
        }
    }
    for (word, bucket) in Bucket::WORDS {
        let mut of = plan.one_offs.iter().filter(|one_off| one_off.bucket == *bucket).peekable();
        if of.peek().is_none() || of.any(|one_off| one_off.amount.is_none()) {
            unknown.push((*word).to_owned());
        }
    }
    let one_off: Decimal = plan.one_offs.iter().filter_map(|one_off| one_off.amount).sum();
    let run = plan.fixed(bills.iter().copied().sum::<Decimal>() + addons);
    let total = plan.fixed(run + one_off);
    let per_ticket = (!tickets.is_zero()).then(|| plan.fixed(total / tickets));
    Ok(Ranked {
        rank: 0,
        plan: plan.id.clone(),
        currency: plan.currency.clone(),
        run,
        one_off,
        total,
        worst_month: bills.into_iter().max().unwrap_or_default(),
        per_ticket,
        break_even: None,
        regret: Decimal::ZERO,
        unknown,
        unavailable,
        why: String::new(),
    })
}

/// Tickets a month from which on each plan is the cheapest, by its bill.
fn break_even(
    offers: &[Offer<'_>],
    month: Option<&Usage>,
) -> Result<BTreeMap<String, u32>, RatingError> {
    let mut found = BTreeMap::new();
    for count in (0..=BREAK_EVEN_MAX).step_by(10) {
        let mut usage = month.cloned().unwrap_or_default();
        usage.set(Meter::TicketCreated.name(), Decimal::from(count));
        let mut cheapest: Option<(Decimal, &str)> = None;
        for offer in offers {
            let total = rate(offer.plan, &usage)?.total;
            if cheapest.is_none_or(|(least, _)| total < least) {
                cheapest = Some((total, &offer.plan.id));
            }
        }
        if let Some((_, plan)) = cheapest {
            found.entry(plan.to_owned()).or_insert(count);
        }
    }
    Ok(found)
}

fn why(plan: &Ranked, cheapest: &str) -> String {
    let mut reasons = Vec::new();
    if plan.rank == 1 {
        reasons.push("least in all".to_owned());
    } else {
        reasons.push(format!("{} more than {cheapest}", plan.regret));
    }
    if !plan.unavailable.is_empty() {
        reasons.push(format!("does not have {}", plan.unavailable.join(", ")));
    }
    if let Some(count) = plan.break_even.filter(|_| plan.rank > 1) {
        reasons.push(format!("least by the month from {count} tickets on"));
    }
    if !plan.unknown.is_empty() {
        reasons.push(format!("unknown: {}", plan.unknown.join(", ")));
    }
    reasons.join("; ")
}
