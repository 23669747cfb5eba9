//! `[[budget]]`: what the operators are willing to spend, apart from what the supplier's plan says.

use rust_decimal::Decimal;

use crate::engine::types::device::DeviceFacts;
use crate::engine::types::document::{Located, OneOf, Table};
use crate::engine::types::glob;
use crate::engine::types::period::PeriodUnit;
use crate::engine::types::time::TimeSpan;

/// How long an alarm is held for money before a human is told, where the budget does not say.
const HOLD_MAX: TimeSpan = TimeSpan::from_secs(4 * 3_600);

/// One `[[budget]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Id in notices and rows.
    pub id: String,
    /// Whose spending it bounds.
    pub scope: Scope,
    /// Money a period.
    pub amount: Decimal,
    /// Length of the periods.
    pub period: PeriodUnit,
    /// Where the rungs begin, in percent of the amount.
    pub thresholds: Thresholds,
    /// Percent of the amount that only critical faults may use.
    pub emergency_reserve_percent: u32,
    /// How long an alarm is held for money before a human is told.
    pub hold_max: TimeSpan,
    /// Greatest rise of a month's cost that a change of rules may bring, as `backtest` prices it.
    pub max_monthly_cost_delta: Option<Decimal>,
}

impl Budget {
    /// What all but critical and safety faults may spend.
    pub fn ordinary(&self) -> Decimal {
        let percent = Decimal::from(100_u32.saturating_sub(self.emergency_reserve_percent));
        self.amount.checked_mul(percent).map_or(Decimal::ZERO, |all| all / Decimal::ONE_HUNDRED)
    }
}

/// Where the rungs begin, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Green ends.
    pub amber: u32,
    /// Amber ends.
    pub red: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { amber: 70, red: 90 }
    }
}

/// Patterns of what a budget bounds; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Gateway: budgets that a fleet shares name those that they are for.
    pub gateway: Option<String>,
    /// Customer.
    pub customer: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Class of the device.
    pub device_class: Option<String>,
    /// Rule.
    pub rule: Option<String>,
}

/// Whose money an action spends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spender<'a> {
    /// Customer of the device.
    pub customer: &'a str,
    /// Site of the device.
    pub site: &'a str,
    /// Region of the device.
    pub region: &'a str,
    /// Class of the device.
    pub device_class: &'a str,
    /// The rule's id.
    pub rule: &'a str,
}

impl<'a> Spender<'a> {
    /// A rule on a device.
    pub fn of(device: &'a DeviceFacts, rule: &'a str) -> Spender<'a> {
        Spender {
            customer: &device.customer,
            site: &device.site,
            region: &device.region,
            device_class: &device.class,
            rule,
        }
    }
}

impl Scope {
    /// True when a budget of this scope must admit what `spender` does.
    pub fn covers(&self, spender: Spender<'_>) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, text))
        };
        fits(&self.customer, spender.customer)
            && fits(&self.site, spender.site)
            && fits(&self.region, spender.region)
            && fits(&self.device_class, spender.device_class)
            && fits(&self.rule, spender.rule)
    }

    /// True when it bounds something of the gateway of this id.
    pub fn is_on(&self, gateway: &str) -> bool {
        self.gateway.as_ref().is_none_or(|pattern| glob::matches(pattern, gateway))
    }

    /// True when it bounds the whole of each gateway that it is for.
    pub fn is_whole(&self) -> bool {
        let Scope { gateway: _, customer, site, region, device_class, rule } = self;
        [customer, site, region, device_class, rule].into_iter().all(Option::is_none)
    }
}

/// Reads every `[[budget]]` of one file, with the place of its id.
pub fn read_budgets(table: &Table<'_>) -> Vec<(Located<String>, Budget)> {
    table.tables("budget", |entry| {
        let id = entry.required::<Located<String>>("id");
        let amount = money(entry, "amount");
        let scope = entry.table("scope", read_scope).unwrap_or_default();
        let thresholds = entry.table("thresholds", read_thresholds).unwrap_or_default();
        let reserve = entry.optional::<Located<u32>>("emergency_reserve_percent");
        if let Some(reserve) = reserve.as_ref().filter(|reserve| reserve.value > 100) {
            let message = "`emergency_reserve_percent` must be from 0 to 100";
            let hint = "a part of the amount that only critical faults may use";
            entry.place().error(reserve.span.clone(), "out-of-range", message, hint);
        }
        if !entry.has("amount") {
            entry.required::<Decimal>("amount");
        }
        let period = entry.or("period", OneOf(PeriodUnit::Month)).0;
        let hold_max = entry.or("hold_max", HOLD_MAX);
        let max_monthly_cost_delta = money(entry, "max_monthly_cost_delta");
        let (id, amount) = (id?, amount?);
        let budget = Budget {
            id: id.value.clone(),
            scope,
            amount,
            period,
            thresholds,
            emergency_reserve_percent: reserve.map_or(0, |reserve| reserve.value.min(100)),
            hold_max,
            max_monthly_cost_delta,
        };
        Some((id, budget))
    })
}

fn money(table: &Table<'_>, key: &'static str) -> Option<Decimal> {
    let amount = table.optional::<Located<Decimal>>(key)?;
    if amount.value < Decimal::ZERO {
        let message = format!("`{key}` must not be negative");
        table.place().error(amount.span, "out-of-range", message, "for example \"3000.00\"");
        return None;
    }
    Some(amount.value)
}

fn read_scope(table: &Table<'_>) -> Option<Scope> {
    Some(Scope {
        gateway: table.optional("gateway"),
        customer: table.optional("customer"),
        site: table.optional("site"),
        region: table.optional("region"),
        device_class: table.optional("device_class"),
        rule: table.optional("rule"),
    })
}

fn read_thresholds(table: &Table<'_>) -> Option<Thresholds> {
    let default = Thresholds::default();
    let amber = table.or("amber", default.amber);
    let red = table.or("red", default.red);
    if !(amber <= red && red <= 100) {
        let message = format!("thresholds go up: amber {amber}, red {red}, at most 100");
        let hint = "percent of the amount, for example { amber = 70, red = 90 }";
        table.place().error(table.span(), "wrong-value", message, hint);
        return None;
    }
    Some(Thresholds { amber, red })
}
