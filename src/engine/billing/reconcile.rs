//! The supplier's invoice against the ledger: every row in one class, and the classes sum to the
//! difference.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::engine::rating::{Bill, Plan, Pricing};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use crate::engine::types::period::Period;
use crate::engine::types::time::Timestamp;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Both say the same.
    Matched,
    /// The invoice has it more than once.
    BilledTwice,
    /// Nobody here has caused it.
    Foreign,
    /// The ledger has it, the invoice has not.
    MissingOnInvoice,
    /// It belongs to another period for one of both.
    Cutoff,
    /// It was taken back in time, and is billed all the same.
    CancelledInWindow,
    /// Nobody knew whether it was carried out; the invoice says that it was.
    AmbiguousResolved,
    /// Another price.
    Price,
    /// Less than a minor unit for each.
    Rounding,
    /// Another currency, or tax.
    FxTax,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 10] = [
        Class::Matched,
        Class::BilledTwice,
        Class::Foreign,
        Class::MissingOnInvoice,
        Class::Cutoff,
        Class::CancelledInWindow,
        Class::AmbiguousResolved,
        Class::Price,
        Class::Rounding,
        Class::FxTax,
    ];

    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Class::Matched => "matched",
            Class::BilledTwice => "billed_twice",
            Class::Foreign => "foreign",
            Class::MissingOnInvoice => "missing_on_invoice",
            Class::Cutoff => "cutoff",
            Class::CancelledInWindow => "cancelled_in_window",
            Class::AmbiguousResolved => "ambiguous_resolved",
            Class::Price => "price",
            Class::Rounding => "rounding",
            Class::FxTax => "fx_tax",
        }
    }
}

/// A row of the supplier's invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    /// Line of the file.
    pub row: u64,
    /// The supplier's id of the ticket.
    pub ticket: String,
    /// The idempotency key that we sent.
    pub idem: String,
    /// The key that we gave the ticket.
    pub external_ref: String,
    /// Line of the plan, where the row is no single ticket.
    pub line: String,
    /// What was charged.
    pub amount: Decimal,
    /// Tax in it.
    pub tax: Decimal,
    /// ISO 4217 code; empty for ours.
    pub currency: String,
}

/// Reads an invoice: CSV with a head. Columns are known by their usual names; `amount` must be there.
///
/// # Errors
/// What is wrong, with the line.
pub fn read_invoice(text: &str) -> Result<Vec<Theirs>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let head = reader.headers().map_err(|error| error.to_string())?.clone();
    let column = |names: &[&str]| {
        head.iter().position(|name| names.contains(&name.trim().to_ascii_lowercase().as_str()))
    };
    let ticket = column(&["upstream_ticket", "ticket", "ticket_id", "工单号"]);
    let idem = column(&["idempotency_key", "idem"]);
    let external = column(&["external_ref", "reference", "外部编号"]);
    let line = column(&["line", "sku", "item", "项目"]);
    let tax = column(&["tax", "税额"]);
    let currency = column(&["currency", "币种"]);
    let amount = column(&["amount", "billed_cost", "cost", "total", "金额"]);
    let amount = amount.ok_or("the invoice has no column `amount`")?;
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let row = index as u64 + 2;
        let record = record.map_err(|error| format!("line {row}: {error}"))?;
        let cell = |column: Option<usize>| {
            column.and_then(|column| record.get(column)).unwrap_or("").trim().to_owned()
        };
        let money = |text: &str| {
            if text.is_empty() {
                return Ok(Decimal::ZERO);
            }
            let number = Decimal::from_str_exact(&text.replace(',', ""));
            number.map_err(|_| format!("line {row}: \"{text}\" is no amount; write 1234.50"))
        };
        rows.push(Theirs {
            row,
            ticket: cell(ticket),
            idem: cell(idem),
            external_ref: cell(external),
            line: cell(line),
            amount: money(&cell(Some(amount)))?,
            tax: money(&cell(tax))?,
            currency: cell(currency),
        });
    }
    Ok(rows)
}

/// One row that differs, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// What became of it.
    pub class: Class,
    /// Line of the invoice; `None` where only the ledger has it.
    pub row: Option<u64>,
    /// What it is: a movement, a ticket or a line of the plan.
    pub what: String,
    /// On the invoice.
    pub theirs: Decimal,
    /// In the ledger.
    pub ours: Decimal,
}

/// Number and difference of each class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// The invoice's sum.
    pub theirs: Decimal,
    /// Ours.
    pub ours: Decimal,
    /// Theirs less ours.
    pub difference: Decimal,
    /// Rows and difference by class; the differences sum to that of the whole.
    pub classes: BTreeMap<&'static str, (u64, Decimal)>,
    /// Every row that does not match.
    pub rows: Vec<Reconciled>,
}

/// What the ledger says of one movement.
#[derive(Clone, Debug)]
struct Ours {
    idem: String,
    state: LedgerState,
    reversed: bool,
    in_period: bool,
    time: Timestamp,
    amount: Decimal,
    taken: bool,
}

/// Holds an invoice against the tickets of the ledger, priced by the plan. `rows` are those of the
/// ledger from before the period to after it; `bill` is ours for the period.
pub fn reconcile(
    plan: &Plan,
    bill: &Bill,
    period: &Period,
    theirs: &[Theirs],
    rows: impl Iterator<Item = LedgerRow>,
) -> Reconciliation {
    let mut book = Book::read(period, rows);
    book.price(plan);
    let mut lines = Vec::new();
    let mut fixed: BTreeMap<&str, Decimal> = bill
        .lines
        .iter()
        .filter(|line| !is_of_tickets(plan, &line.id))
        .map(|line| (line.id.as_str(), line.amount))
        .collect();
    for row in theirs {
        lines.push(if let Some(ours) = fixed.remove(row.line.as_str()) {
            let class = compare(plan, row, ours);
            Reconciled {
                class,
                row: Some(row.row),
                what: row.line.clone(),
                theirs: row.amount,
                ours,
            }
        } else {
            book.take(plan, row)
        });
    }
    for (line, ours) in fixed.into_iter().filter(|(_, amount)| !amount.is_zero()) {
        let class = Class::MissingOnInvoice;
        lines.push(Reconciled {
            class,
            row: None,
            what: line.to_owned(),
            theirs: Decimal::ZERO,
            ours,
        });
    }
    book.rest(period, &mut lines);
    let mut classes: BTreeMap<&'static str, (u64, Decimal)> =
        Class::ALL.iter().map(|class| (class.word(), (0, Decimal::ZERO))).collect();
    for line in &lines {
        let (count, sum) = classes.entry(line.class.word()).or_default();
        *count += 1;
        *sum += line.theirs - line.ours;
    }
    let sum = |of: fn(&Reconciled) -> Decimal| lines.iter().map(of).sum::<Decimal>();
    let (theirs, ours) = (sum(|line| line.theirs), sum(|line| line.ours));
    lines.retain(|line| line.class != Class::Matched);
    Reconciliation { theirs, ours, difference: theirs - ours, classes, rows: lines }
}

fn is_of_tickets(plan: &Plan, id: &str) -> bool {
    plan.lines.iter().any(|line| {
        let own =
            id == line.id || id.strip_prefix(&line.id).is_some_and(|rest| rest.starts_with('.'));
        own && line.pricing.source() == Some(Meter::TicketCreated.name())
    })
}

fn compare(plan: &Plan, row: &Theirs, ours: Decimal) -> Class {
    let difference = row.amount - ours;
    let foreign = !row.currency.is_empty() && row.currency != plan.currency;
    if difference.is_zero() {
        Class::Matched
    } else if foreign || (!row.tax.is_zero() && difference == row.tax) {
        Class::FxTax
    } else if difference.abs() <= Decimal::new(1, plan.minor_units) {
        Class::Rounding
    } else {
        Class::Price
    }
}

/// Movements of tickets by the three keys that an invoice may name them by.
struct Book {
    ours: Vec<Ours>,
    keys: BTreeMap<String, usize>,
}

impl Book {
    fn read(period: &Period, rows: impl Iterator<Item = LedgerRow>) -> Book {
        let mut book = Book { ours: Vec::new(), keys: BTreeMap::new() };
        let mut by_sequence: BTreeMap<u64, usize> = BTreeMap::new();
        for row in rows.filter(|row| row.meter == Meter::TicketCreated) {
            if let Some(index) = row.reverses.and_then(|reversed| by_sequence.get(&reversed)) {
                if let Some(ours) = book.ours.get_mut(*index) {
                    ours.reversed = true;
                }
                continue;
            }
            let known = book.keys.get(&format!("i/{}", row.idem)).copied();
            let index = known.unwrap_or_else(|| {
                book.ours.push(Ours {
                    idem: row.idem.clone(),
                    state: row.state,
                    reversed: false,
                    in_period: period.contains(row.time),
                    time: row.time,
                    amount: Decimal::ZERO,
                    taken: false,
                });
                book.ours.len() - 1
            });
            if let Some(ours) = book.ours.get_mut(index) {
                ours.state = row.state;
            }
            by_sequence.insert(row.sequence, index);
            let sent = row.idem.split('/').next().unwrap_or_default();
            let ticket = row.upstream_ticket.as_deref().unwrap_or_default();
            let keys =
                [("i", row.idem.as_str()), ("i", sent), ("t", ticket), ("e", &row.external_ref)];
            for (kind, key) in keys.into_iter().filter(|(_, key)| !key.is_empty()) {
                book.keys.entry(format!("{kind}/{key}")).or_insert(index);
            }
        }
        book
    }

    /// Each ticket of the period at its own price, in the order of time.
    fn price(&mut self, plan: &Plan) {
        let counts = |ours: &&mut Ours| {
            ours.in_period && ours.state == LedgerState::Committed && !ours.reversed
        };
        let mut billed: Vec<&mut Ours> = self.ours.iter_mut().filter(counts).collect();
        billed.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.idem.cmp(&b.idem)));
        let all = Decimal::from(billed.len());
        for (index, ours) in billed.into_iter().enumerate() {
            let number = Decimal::from(index + 1);
            let prices = plan.lines.iter().map(|line| price_of(&line.pricing, number, all));
            ours.amount = prices.sum();
        }
    }

    fn take(&mut self, plan: &Plan, row: &Theirs) -> Reconciled {
        let keys = [("t", &row.ticket), ("i", &row.idem), ("e", &row.external_ref)];
        let keys = keys.into_iter().filter(|(_, key)| !key.is_empty());
        let index =
            keys.map(|(kind, key)| format!("{kind}/{key}")).find_map(|key| self.keys.get(&key));
        let named = [&row.ticket, &row.idem, &row.external_ref, &row.line];
        let what = named.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        let line =
            |class, ours| Reconciled { class, row: Some(row.row), what, theirs: row.amount, ours };
        let Some(ours) = index.copied().and_then(|index| self.ours.get_mut(index)) else {
            return line(Class::Foreign, Decimal::ZERO);
        };
        if ours.taken {
            return line(Class::BilledTwice, Decimal::ZERO);
        }
        ours.taken = true;
        if !ours.in_period {
            return line(Class::Cutoff, Decimal::ZERO);
        }
        if ours.reversed {
            return line(Class::CancelledInWindow, Decimal::ZERO);
        }
        match ours.state {
            LedgerState::Released => line(Class::CancelledInWindow, Decimal::ZERO),
            LedgerState::Reserved | LedgerState::Ambiguous => {
                line(Class::AmbiguousResolved, Decimal::ZERO)
            }
            LedgerState::Committed => line(compare(plan, row, ours.amount), ours.amount),
        }
    }

    /// What the invoice has not: of the last hour of the period it may be on the next one.
    fn rest(&self, period: &Period, lines: &mut Vec<Reconciled>) {
        let near = period.end - crate::engine::types::time::TimeSpan::from_secs(3_600);
        let counts = |ours: &&Ours| {
            ours.in_period && !ours.taken && ours.state == LedgerState::Committed && !ours.reversed
        };
        for ours in self.ours.iter().filter(counts) {
            let class = if ours.time >= near { Class::Cutoff } else { Class::MissingOnInvoice };
            let (what, theirs) = (ours.idem.clone(), Decimal::ZERO);
            lines.push(Reconciled { class, row: None, what, theirs, ours: ours.amount });
        }
    }
}

/// The price of the `number`th of `all` units: what it adds to the line, in its tier.
fn price_of(pricing: &Pricing, number: Decimal, all: Decimal) -> Decimal {
    if pricing.source() != Some(Meter::TicketCreated.name()) {
        return Decimal::ZERO;
    }
    let one = Decimal::ONE;
    match pricing {
        Pricing::Fixed { .. } => Decimal::ZERO,
        Pricing::PerUnit { unit, included, .. } => {
            if number > *included {
                *unit
            } else {
                Decimal::ZERO
            }
        }
        Pricing::Package { size, price, included, .. } => {
            let packages = |units: Decimal| ((units - included).max(Decimal::ZERO) / size).ceil();
            (packages(number) - packages(number - one)) * price
        }
        Pricing::Graduated { included, tiers, .. } => {
            let mut from = *included;
            for tier in tiers {
                if number > from && tier.up_to.is_none_or(|end| number <= end) {
                    let flat = if number - one <= from { tier.flat } else { Decimal::ZERO };
                    return tier.unit + flat;
                }
                from = tier.up_to.unwrap_or(from).max(from);
            }
            Decimal::ZERO
        }
        Pricing::Volume { tiers, .. } => {
            let reached = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| all <= end));
            let flat = if number == one { one } else { Decimal::ZERO };
            reached.map_or(Decimal::ZERO, |tier| tier.unit + tier.flat * flat)
        }
        Pricing::Stairstep { tiers, .. } => {
            let reached = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| all <= end));
            let first = number == one;
            reached.filter(|_| first).map_or(Decimal::ZERO, |tier| tier.unit + tier.flat)
        }
    }
}
