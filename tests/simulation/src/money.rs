//! What a run costs: the price plan and the budgets, as an operator writes them and as the model
//! reckons them, in cents.

use faultgate::engine::types::ledger::Meter;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

use crate::chance::Chance;
use crate::devices::SITES;

/// Prices and budgets of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Money {
    /// What a ticket costs.
    tickets: Price,
    /// What a request costs.
    calls: Price,
    /// What is paid whatever is used.
    base: i64,
    /// What may be spent.
    pub budgets: Vec<Budget>,
    /// Where days begin, and so months.
    zone: &'static str,
    /// When a month begins in the run, if one does.
    pub turns_at: Timestamp,
    /// When all is well again the budgets are lifted at once, not only when all that has its money is done.
    pub is_lifted_early: bool,
}

/// What so many of something cost.
#[derive(Clone, Debug, PartialEq)]
enum Price {
    /// Each the same.
    Each(i64),
    /// Each at the price of its tier: up to where, and how much.
    Graduated([(i64, i64); 3]),
    /// All at the price of the tier that is reached: more may cost less.
    Volume([(i64, i64); 3]),
    /// Packages of so many, begun ones in full.
    Package(i64, i64),
}

/// What an operator lets be spent in a month.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Its name.
    pub id: &'static str,
    /// Of one site only.
    pub site: Option<&'static str>,
    /// How much.
    pub amount: i64,
    /// Where amber and red begin, in percent.
    pub rungs: (i64, i64),
    /// Percent for critical faults only.
    pub reserve: i64,
    hold_max: TimeSpan,
}

/// Tickets, steps of ladders, requests.
pub type Use = [i64; 3];

/// Where a meter stands in what was used.
pub fn place(meter: Meter) -> usize {
    match meter {
        Meter::TicketCreated => 0,
        Meter::TicketEscalated => 1,
        Meter::ServiceVisit
        | Meter::ApiCall
        | Meter::MessageSent
        | Meter::StorageGbDay
        | Meter::DevicePeak
        | Meter::UserPeak => 2,
    }
}

/// What a step of a ladder costs.
const STEP: i64 = 50;
/// The zones of plans, and how long after the beginning of a run a month begins there.
const ZONES: [(&str, i64); 4] = [
    ("Asia/Shanghai", 1_000_000),
    ("America/New_York", 5),
    ("America/Los_Angeles", 8),
    ("Pacific/Honolulu", 10),
];

impl Money {
    /// Prices and budgets that are too small for a day of troubles, more or less.
    pub fn of(seed: u64, start: Timestamp) -> Money {
        let mut chance = Chance::of(seed, "money", 0);
        let tickets = match chance.below(4) {
            0 => Price::Each(chance.between(60, 150)),
            1 => Price::Graduated([(10, 150), (25, 100), (i64::MAX, 60)]),
            2 => Price::Volume([(8, 140), (20, 100), (i64::MAX, 70)]),
            _ => Price::Package(5, 400),
        };
        let calls = match chance.percent(70) {
            true => Price::Each(chance.between(1, 3)),
            false => Price::Package(50, 80),
        };
        let base = if chance.percent(30) { 300 } else { 0 };
        let mut budget = |id, site, amount: i64| Budget {
            id,
            site,
            amount,
            rungs: (chance.between(40, 55), chance.between(70, 85)),
            reserve: *chance.one(&[0, 10, 20]).unwrap_or(&0),
            hold_max: chance.secs(600, 14_400),
        };
        let mut budgets = vec![budget("all", None, 0), budget("部分", Some(SITES[0]), 0)];
        for (budget, most) in budgets.iter_mut().zip([7_000, 4_000]) {
            budget.amount = chance.between(2_000, most) + base;
        }
        match chance.below(4) {
            0 => drop(budgets.remove(0)),
            1 | 2 => drop(budgets.pop()),
            _ => {}
        }
        let (zone, hours) = chance.one(&ZONES).copied().unwrap_or(ZONES[0]);
        let turns_at = start + TimeSpan::from_secs(hours * 3_600);
        let is_lifted_early = chance.percent(30);
        Money { tickets, calls, base, budgets, zone, turns_at, is_lifted_early }
    }

    /// The same with budgets of so many percent.
    pub fn holding(&self, percent: i64) -> Money {
        let mut money = self.clone();
        money.budgets.iter_mut().for_each(|budget| budget.amount = budget.amount * percent / 100);
        money
    }

    /// The files of the operator: the plan, the budgets.
    pub fn texts(&self) -> [String; 2] {
        let mut plan = format!(
            "[plan]\nid = \"p\"\ncurrency = \"CNY\"\nminor_units = 2\n\
             period = {{ unit = \"month\", anchor_day = 1, timezone = \"{}\" }}\n",
            self.zone
        );
        if self.base > 0 {
            let price = cents(self.base);
            plan.push_str(&format!(
                "[[line]]\nid = \"base\"\nclass = \"recurring\"\nkind = \"fixed\"\nprice = {price}\n"
            ));
        }
        let lines = [
            ("ticket.created", &self.tickets),
            ("ticket.escalated", &Price::Each(STEP)),
            ("api.call", &self.calls),
        ];
        for (meter, price) in lines {
            let id = meter.split('.').next_back().unwrap_or_default();
            plan.push_str(&format!(
                "[[line]]\nid = \"{id}\"\nmeter = \"{meter}\"\n{}",
                price.text()
            ));
        }
        let mut budgets = String::new();
        for budget in &self.budgets {
            let scope = budget.site.map(|site| format!("site = \"{site}\"")).unwrap_or_default();
            let ((amber, red), reserve) = (budget.rungs, budget.reserve);
            budgets.push_str(&format!(
                "[[budget]]\nid = \"{id}\"\nscope = {{ {scope} }}\namount = {amount}\n\
                 thresholds = {{ amber = {amber}, red = {red} }}\n\
                 emergency_reserve_percent = {reserve}\nhold_max = \"{hold}s\"\n",
                id = budget.id,
                amount = cents(budget.amount),
                hold = budget.hold_max.micros() / 1_000_000,
            ));
        }
        [plan, budgets]
    }

    /// The most that anything from `low` to `high` costs.
    pub fn most(&self, budget: &Budget, low: Use, high: Use) -> i64 {
        let base = if budget.site.is_none() { self.base } else { 0 };
        let prices = [&self.tickets, &Price::Each(STEP), &self.calls];
        let lines = prices.iter().zip(low.iter().zip(high));
        base + lines.map(|(price, (low, high))| price.most(*low, high)).sum::<i64>()
    }

    /// True where more never costs less.
    pub fn only_rises(&self) -> bool {
        !matches!(self.tickets, Price::Volume(_))
    }
}

impl Price {
    fn of(&self, count: i64) -> i64 {
        match self {
            Price::Each(unit) => count * unit,
            Price::Graduated(tiers) => {
                let mut before = 0;
                let mut sum = 0;
                for (up_to, unit) in tiers {
                    sum += (count.min(*up_to) - before).max(0) * unit;
                    before = *up_to;
                }
                sum
            }
            Price::Volume(tiers) => {
                let reached = tiers.iter().find(|(up_to, _)| count <= *up_to);
                reached.map_or(0, |(_, unit)| count * unit)
            }
            Price::Package(size, price) => (count + size - 1) / size * price,
        }
    }

    fn most(&self, low: i64, high: i64) -> i64 {
        match self {
            // Every number in between: plainly.
            Price::Volume(_) => (low..=high).map(|count| self.of(count)).max().unwrap_or(0),
            Price::Each(_) | Price::Graduated(_) | Price::Package(..) => self.of(high),
        }
    }

    fn text(&self) -> String {
        let tiers = |tiers: &[(i64, i64); 3]| {
            let tier = |(up_to, unit): &(i64, i64)| match *up_to {
                i64::MAX => format!("{{ unit = {} }}", cents(*unit)),
                up_to => format!("{{ up_to = \"{up_to}\", unit = {} }}", cents(*unit)),
            };
            tiers.iter().map(tier).collect::<Vec<_>>().join(", ")
        };
        match self {
            Price::Each(unit) => format!("kind = \"per_unit\"\nunit = {}\n", cents(*unit)),
            Price::Graduated(of) => format!("kind = \"graduated\"\ntiers = [{}]\n", tiers(of)),
            Price::Volume(of) => format!("kind = \"volume\"\ntiers = [{}]\n", tiers(of)),
            Price::Package(size, price) => {
                format!("kind = \"package\"\nsize = \"{size}\"\nprice = {}\n", cents(*price))
            }
        }
    }
}

fn cents(amount: i64) -> String {
    format!("\"{}.{:02}\"", amount / 100, amount % 100)
}
