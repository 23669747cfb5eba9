//! What a budget admits, and that it is never overshot.

use std::sync::Arc;

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{Admission, Guard};
use crate::engine::guard::{Budget, Scope, Spender, Thresholds};
use crate::engine::rating::{ActivePlan, Plan, Usage, read_plan};
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter, Rung};
use crate::engine::types::period::PeriodUnit;
use crate::engine::types::tariff::{Quantities, Share, Tariff};
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::{TimeSpan, Timestamp};

fn plan(text: &str) -> Plan {
    let source = Source { file: "plan.toml".into(), text: text.into() };
    let report = Report::default();
    let plan = read_document(Place { source: &source, report: &report }, read_plan);
    plan.filter(|_| !report.has_errors()).unwrap_or_else(|| panic!("{:#?}", report.into_sorted()))
}

fn example(name: &str) -> Plan {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/billing");
    plan(&std::fs::read_to_string(folder.join(format!("plan-{name}.toml"))).expect("a plan"))
}

fn budget(id: &str, amount: &str) -> Budget {
    Budget {
        id: id.into(),
        scope: Scope::default(),
        amount: amount.parse().expect("money"),
        period: PeriodUnit::Month,
        thresholds: Thresholds::default(),
        emergency_reserve_percent: 0,
        hold_max: TimeSpan::from_secs(3_600),
        max_monthly_cost_delta: None,
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn guard(budgets: Vec<Budget>, plan: Plan) -> Guard {
    let tariff: Arc<dyn Tariff> = Arc::new(ActivePlan::new(plan, Usage::default()));
    Guard::new(budgets, Some(tariff), Tz::UTC, at("2026-03-02T00:00:00Z"))
}

fn row(idem: &str, meter: Meter, qty: u32, state: LedgerState) -> LedgerRow {
    LedgerRow {
        meter,
        qty: Decimal::from(qty),
        state,
        idem: idem.into(),
        customer: "acme".into(),
        device_class: "freezer".into(),
        recorded: at("2026-03-02T00:00:00Z"),
        ..LedgerRow::sample()
    }
}

fn ticket(count: u32) -> Quantities {
    Quantities::ZERO.with(Meter::TicketCreated, Decimal::from(count))
}

const ANYBODY: Spender<'_> =
    Spender { customer: "acme", site: "上海", region: "", device_class: "freezer", rule: "hot" };

#[test]
fn a_budget_of_1000_admits_1835_tickets_on_the_tiered_plan() {
    let mut guard = guard(vec![budget("all", "1000.00")], example("tiered-standard"));
    let now = at("2026-03-02T00:00:00Z");
    let mut admitted = 0;
    while guard.admission(ANYBODY, &ticket(1)) == Admission::Ordinary {
        guard
            .book(now, &row(&admitted.to_string(), Meter::TicketCreated, 1, LedgerState::Reserved));
        admitted += 1;
    }
    assert_eq!(admitted, 1_835);
}

#[test]
fn what_is_in_flight_counts_until_it_is_known_not_to_have_happened() {
    let mut guard = guard(vec![budget("all", "2.40")], example("payg-ticket"));
    let now = at("2026-03-02T00:00:00Z");
    let mut book = |idem, state| guard.book(now, &row(idem, Meter::TicketCreated, 1, state));
    book("a", LedgerState::Reserved);
    book("b", LedgerState::Reserved);
    book("a", LedgerState::Ambiguous);
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Refused);
    guard.book(now, &row("a", Meter::TicketCreated, 1, LedgerState::Released));
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Ordinary);
    guard.book(now, &row("b", Meter::TicketCreated, 1, LedgerState::Committed));
    guard.book(now, &row("c", Meter::TicketCreated, 1, LedgerState::Committed));
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Refused);
}

#[test]
fn the_requests_of_an_attempt_that_was_killed_count_as_made_until_the_period_is_over() {
    let text = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[line]]\nid = \"a\"\nkind = \"per_unit\"\nmeter = \"api.call\"\nunit = \"1.00\"\n";
    let mut guard = guard(vec![budget("all", "5.00")], plan(text));
    let now = at("2026-03-02T00:00:00Z");
    guard.book(now, &row("a", Meter::ApiCall, 4, LedgerState::Reserved));
    guard.book(now, &row("a", Meter::ApiCall, 4, LedgerState::Ambiguous));
    let calls = |calls: u32| Quantities::ZERO.with(Meter::ApiCall, Decimal::from(calls));
    assert_eq!(guard.admission(ANYBODY, &calls(1)), Admission::Ordinary);
    assert_eq!(guard.admission(ANYBODY, &calls(2)), Admission::Refused);
    assert!(guard.roll(at("2026-04-01T00:00:00Z")));
    assert_eq!(guard.admission(ANYBODY, &calls(5)), Admission::Ordinary);
}

#[test]
fn what_was_lost_counts_until_its_period_is_over_in_whichever_order_a_start_reads_it() {
    let text = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[line]]\nid = \"a\"\nkind = \"per_unit\"\nmeter = \"api.call\"\nunit = \"1.00\"\n";
    let year = Budget { period: PeriodUnit::Year, ..budget("year", "9.00") };
    let mut guard = guard(vec![budget("month", "5.00"), year], plan(text));
    let (before, now) = (at("2026-02-20T20:00:00Z"), at("2026-03-02T00:00:00Z"));
    let on = |idem, state, recorded| LedgerRow { recorded, ..row(idem, Meter::ApiCall, 4, state) };
    // The process was killed: the start books that before it reads the ledger.
    guard.book(now, &on("a", LedgerState::Ambiguous, now));
    let rows = [
        on("b", LedgerState::Reserved, before),
        on("b", LedgerState::Ambiguous, before),
        on("a", LedgerState::Reserved, now),
    ];
    guard.restore(rows.into_iter());
    let calls = |calls: u32| Quantities::ZERO.with(Meter::ApiCall, Decimal::from(calls));
    assert_eq!(guard.admission(ANYBODY, &calls(1)), Admission::Ordinary, "one of each");
    assert_eq!(guard.admission(ANYBODY, &calls(2)), Admission::Refused);
    assert!(guard.roll(at("2026-04-01T00:00:00Z")));
    assert_eq!(guard.admission(ANYBODY, &calls(1)), Admission::Ordinary);
    assert_eq!(guard.admission(ANYBODY, &calls(2)), Admission::Refused, "the year goes on");
    assert!(guard.roll(at("2027-01-01T00:00:00Z")));
    assert_eq!(guard.admission(ANYBODY, &calls(5)), Admission::Ordinary);
}

#[test]
fn every_budget_that_covers_the_spender_must_admit() {
    let mut narrow = budget("上海", "1.20");
    narrow.scope.site = Some("上*".into());
    let mut guard = guard(vec![budget("all", "100.00"), narrow], example("payg-ticket"));
    let now = at("2026-03-02T00:00:00Z");
    guard.book(now, &row("a", Meter::TicketCreated, 1, LedgerState::Reserved));
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Refused);
    let elsewhere = Spender { site: "北京", ..ANYBODY };
    assert_eq!(guard.admission(elsewhere, &ticket(1)), Admission::Ordinary);
    assert_eq!(guard.rung(ANYBODY), Some(Rung::Stop));
    assert_eq!(guard.rung(elsewhere), Some(Rung::Green));
}

#[test]
fn a_rung_is_told_once_a_period_and_left_only_well_below_its_threshold() {
    let mut guard = guard(vec![budget("all", "120.00")], example("payg-ticket"));
    let now = at("2026-03-02T00:00:00Z");
    let mut told = Vec::new();
    for n in 0..100 {
        let reserved = row(&n.to_string(), Meter::TicketCreated, 1, LedgerState::Reserved);
        told.extend(guard.book(now, &reserved).into_iter().map(|notice| (n + 1, notice.rung)));
    }
    assert_eq!(told, [(70, Rung::Amber), (90, Rung::Red), (100, Rung::Stop)]);
    let mut left = Vec::new();
    for n in 0..100 {
        let before = guard.rung(ANYBODY);
        let freed = row(&n.to_string(), Meter::TicketCreated, 1, LedgerState::Released);
        assert_eq!(guard.book(now, &freed), []);
        if guard.rung(ANYBODY) != before {
            left.push((99 - n, guard.rung(ANYBODY)));
        }
    }
    assert_eq!(left, [(94, Some(Rung::Red)), (84, Some(Rung::Amber)), (64, Some(Rung::Green))]);
    assert!(guard.roll(at("2026-04-01T00:00:00Z")));
    let again = row("x", Meter::TicketCreated, 70, LedgerState::Reserved);
    assert_eq!(guard.book(at("2026-04-01T00:00:00Z"), &again).len(), 1);
}

#[test]
fn a_period_that_will_not_last_is_amber_before_the_money_is_gone() {
    let mut guard = guard(vec![budget("all", "1000.00")], example("tiered-standard"));
    let early = at("2026-03-02T00:00:00Z");
    let spent = row("a", Meter::TicketCreated, 1_210, LedgerState::Committed);
    assert_eq!(guard.book(early, &spent), []);
    assert_eq!(guard.rung(ANYBODY), Some(Rung::Green));
    guard.measure(at("2026-03-13T00:00:00Z"));
    assert_eq!(guard.rung(ANYBODY), Some(Rung::Red));
}

#[test]
fn a_new_period_has_its_money_whole_but_for_what_is_still_in_flight() {
    let mut guard = guard(vec![budget("all", "2.40")], example("payg-ticket"));
    let now = at("2026-03-02T00:00:00Z");
    guard.book(now, &row("spent", Meter::TicketCreated, 1, LedgerState::Committed));
    guard.book(now, &row("open", Meter::TicketCreated, 1, LedgerState::Ambiguous));
    guard.book(now, &row("open", Meter::TicketCreated, 1, LedgerState::Reserved));
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Refused);
    assert!(guard.roll(at("2026-04-01T00:00:00Z")));
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Ordinary);
    assert_eq!(guard.admission(ANYBODY, &ticket(2)), Admission::Refused);
}

#[test]
fn the_reserve_is_for_critical_faults_only() {
    let mut all = budget("all", "12.00");
    all.emergency_reserve_percent = 10;
    let mut guard = guard(vec![all], example("payg-ticket"));
    let now = at("2026-03-02T00:00:00Z");
    guard.book(now, &row("a", Meter::TicketCreated, 9, LedgerState::Committed));
    assert_eq!(guard.admission(ANYBODY, &ticket(1)), Admission::Reserve);
    assert_eq!(guard.admission(ANYBODY, &ticket(2)), Admission::Refused);
}

#[test]
fn a_storm_costs_least_when_its_alarms_are_counted_on_few_tickets() {
    let text = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[line]]\nid = \"t\"\nkind = \"per_unit\"\nmeter = \"ticket.created\"\nunit = \"1.20\"\n\
                [[line]]\nid = \"a\"\nkind = \"per_unit\"\nmeter = \"api.call\"\nunit = \"0.01\"\n";
    let prices = ActivePlan::new(plan(text), Usage::default());
    let cost = |tickets: u32, calls: u32| {
        let moved = ticket(tickets).with(Meter::ApiCall, Decimal::from(calls));
        prices.ceiling(&moved, &moved, 30, Share::Part).map(|cost| cost.to_string())
    };
    assert_eq!(cost(80_000, 0).as_deref(), Some("96000.00"));
    assert_eq!(cost(0, 80_000).as_deref(), Some("800.00"));
    assert_eq!(cost(40, 0).as_deref(), Some("48.00"));
    // A ticket of each key, and a counter of each written once a minute for an hour.
    assert_eq!(cost(0, 40 + 40 * 60).as_deref(), Some("24.40"));
}

/// How a guard decides whether one more unit is admitted.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As the gateway does.
    Bound,
    /// What is in flight is forgotten.
    SpentOnly,
    /// As if everything that is in flight were carried out.
    SpentAndReserved,
}

/// A plan of a random kind over three meters, cheap enough that a few units reach the cap.
fn random_plan(random: &mut impl FnMut(u32) -> u32) -> Plan {
    let mut text = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n".to_owned();
    for (id, meter) in [("t", "ticket.created"), ("e", "ticket.escalated"), ("a", "api.call")] {
        let (a, b, c) = (1 + random(9), 1 + random(9), 1 + random(9));
        let (e, f) = (1 + random(4), 6 + random(6));
        let tiers = format!(
            "tiers = [ {{ up_to = \"{e}\", unit = \"{a}.25\", flat = \"{}\" }}, {{ up_to = \"{f}\", unit = \"{b}.5\" }}, {{ unit = \"{c}\" }} ]",
            random(3)
        );
        let included = random(3);
        let priced = match random(6) {
            0 => format!(
                "kind = \"per_unit\"\nmeter = \"{meter}\"\nunit = \"{a}.335\"\nincluded = \"{included}\""
            ),
            1 => format!(
                "kind = \"package\"\nmeter = \"{meter}\"\nsize = \"{e}\"\nprice = \"{a}\"\nincluded = \"{included}\""
            ),
            2 => format!(
                "kind = \"graduated\"\nmeter = \"{meter}\"\nincluded = \"{included}\"\n{tiers}"
            ),
            3 => format!("kind = \"stairstep\"\nmeter = \"{meter}\"\n{tiers}"),
            4 => format!("kind = \"fixed\"\nprice = \"{a}\""),
            _ => format!("kind = \"volume\"\nmeter = \"{meter}\"\n{tiers}"),
        };
        text.push_str(&format!("[[line]]\nid = \"{id}\"\n{priced}\n"));
    }
    let adjust = match random(5) {
        0 => "kind = \"percent\"\npercent = \"-12.5\"".to_owned(),
        1 => format!("kind = \"cap\"\namount = \"{}\"", 20 + random(30)),
        2 => format!("kind = \"minimum\"\namount = \"{}\"", random(30)),
        3 => format!("kind = \"credit\"\namount = \"{}\"", random(10)),
        _ => return plan(&text),
    };
    plan(&format!("{text}[[adjust]]\nid = \"x\"\nclasses = [\"usage\"]\n{adjust}\n"))
}

/// What is done: a ticket is opened, commented on or escalated, with as many requests as these may take.
fn steps(open: u32, follow: u32) -> [Quantities; 3] {
    let calls = |calls: u32| Quantities::ZERO.with(Meter::ApiCall, Decimal::from(calls));
    [
        calls(open + follow).with(Meter::TicketCreated, Decimal::ONE),
        calls(follow),
        calls(follow).with(Meter::TicketEscalated, Decimal::ONE),
    ]
}

/// One history of tickets on one budget.
struct History<'a> {
    guard: Guard,
    prices: ActivePlan,
    cap: Decimal,
    way: Way,
    random: &'a mut dyn FnMut(u32) -> u32,
    /// What was really carried out, and what may yet be.
    committed: Quantities,
    pending: Quantities,
    /// What is set aside.
    open: Vec<(String, Meter, u32)>,
    tickets: Vec<TicketId>,
    worst: Decimal,
    rows: u32,
}

impl History<'_> {
    fn cost(&self, quantities: &Quantities) -> Decimal {
        self.prices.ceiling(quantities, quantities, 31, Share::Whole).expect("a price")
    }

    fn admits(&self, step: &Quantities) -> bool {
        match self.way {
            Way::Bound => self.guard.admission(ANYBODY, step) == Admission::Ordinary,
            Way::SpentOnly => self.cost(&self.committed.plus(step)) <= self.cap,
            Way::SpentAndReserved => {
                self.cost(&self.committed.plus(&self.pending).plus(step)) <= self.cap
            }
        }
    }

    fn tell(&mut self, idem: &str, meter: Meter, qty: u32, state: LedgerState) {
        self.guard.apply(at("2026-03-02T00:00:00Z"), &row(idem, meter, qty, state));
    }

    fn set_aside(&mut self, meter: Meter, qty: u32) {
        self.rows += 1;
        let idem = format!("{}/{}", self.rows, meter.name());
        self.tell(&idem, meter, qty, LedgerState::Reserved);
        self.open.push((idem, meter, qty));
    }

    fn carried_out(&mut self, meter: Meter, qty: u32) {
        self.committed[meter] += Decimal::from(qty);
        self.worst = self.worst.max(self.cost(&self.committed) - self.cap);
    }

    /// A ticket is opened, commented on, escalated or closed.
    fn step(&mut self, (open, follow): (u32, u32)) {
        let kind = if self.tickets.is_empty() { 0 } else { (self.random)(4) as usize };
        let Some(step) = steps(open, follow).get(kind).copied() else {
            // What closes a ticket was paid for when it was opened.
            let index = (self.random)(self.tickets.len() as u32) as usize;
            let closed = self.tickets.remove(index);
            self.guard.free_closing(closed);
            self.set_aside(Meter::ApiCall, follow);
            return;
        };
        if !self.admits(&step) {
            return;
        }
        self.pending = self.pending.plus(&step);
        self.set_aside(Meter::ApiCall, if kind == 0 { open } else { follow });
        if kind == 0 {
            self.set_aside(Meter::TicketCreated, 1);
            let ticket = TicketId(u64::from(self.rows));
            self.tickets.push(ticket);
            self.guard.keep_closing(ticket, follow, ANYBODY);
        } else if kind == 2 {
            self.set_aside(Meter::TicketEscalated, 1);
        }
    }

    /// Something that was set aside ends: carried out in part or whole, given back, or never to be
    /// known. An attempt that has not succeeded asks for the next one.
    fn end_one(&mut self) {
        if (self.random)(3) == 0 || self.open.is_empty() {
            return;
        }
        let index = (self.random)(self.open.len() as u32) as usize;
        let (idem, meter, qty) = self.open[index].clone();
        let ending = (self.random)(4);
        if ending == 3 && meter != Meter::ApiCall {
            self.tell(&idem, meter, qty, LedgerState::Ambiguous);
            return;
        }
        self.open.remove(index);
        self.pending[meter] -= Decimal::from(qty);
        let made = if meter == Meter::ApiCall { (self.random)(qty + 1) } else { qty };
        match ending {
            0 => return self.tell(&idem, meter, qty, LedgerState::Released),
            // Killed: the requests were made, and the guard will never hear of it.
            3 => self.tell(&idem, meter, qty, LedgerState::Ambiguous),
            _ if made == 0 => self.tell(&idem, meter, qty, LedgerState::Released),
            _ => self.tell(&idem, meter, made, LedgerState::Committed),
        }
        self.carried_out(meter, made);
        let more = qty + (self.random)(2) * qty;
        let calls = Quantities::ZERO.with(Meter::ApiCall, Decimal::from(more));
        if meter == Meter::ApiCall && (self.random)(2) == 0 && self.admits(&calls) {
            self.pending = self.pending.plus(&calls);
            self.set_aside(Meter::ApiCall, more);
        }
    }
}

/// The greatest sum by which what was really carried out ever passed the cap, in one history of tickets
/// that are opened, commented on, escalated and closed, whose attempts take several requests, are tried
/// again, and end in any order.
fn overshoot(
    plan: &Plan,
    (cap, length): (u32, u32),
    way: Way,
    random: &mut impl FnMut(u32) -> u32,
) -> Decimal {
    let cap = Decimal::from(cap);
    let mut history = History {
        guard: guard(vec![budget("all", &cap.to_string())], plan.clone()),
        prices: ActivePlan::new(plan.clone(), Usage::default()),
        cap,
        way,
        committed: Quantities::ZERO,
        pending: Quantities::ZERO,
        open: Vec::new(),
        tickets: Vec::new(),
        worst: Decimal::ZERO,
        rows: 0,
        random,
    };
    let before = history.cost(&Quantities::ZERO);
    let allowance = (1 + (history.random)(3), 1 + (history.random)(2));
    for _ in 0..length {
        history.step(allowance);
        history.end_one();
    }
    // What is paid whatever is used was there before the guard.
    if before > cap { Decimal::ZERO } else { history.worst }
}

/// The greatest overshoot over so many histories.
fn worst(histories: u32, steps: u32, way: Way) -> Decimal {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u32| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        ((seed >> 33) as u32) % below.max(1)
    };
    let mut worst = Decimal::ZERO;
    let plans: Vec<Plan> = (0..200).map(|_| random_plan(&mut random)).collect();
    for history in 0..histories as usize {
        let cap = (8 + random(40), steps);
        worst = worst.max(overshoot(&plans[history % plans.len()], cap, way, &mut random));
    }
    worst
}

#[test]
fn no_history_of_any_plan_overshoots_its_cap() {
    assert_eq!(worst(60_000, 14, Way::Bound), Decimal::ZERO);
    assert_eq!(worst(5_000, 60, Way::Bound), Decimal::ZERO);
}

#[test]
fn guards_that_forget_what_is_in_flight_or_hope_for_all_of_it_overshoot() {
    assert!(worst(2_000, 24, Way::SpentOnly) > Decimal::ONE);
    assert!(worst(2_000, 24, Way::SpentAndReserved) > Decimal::ONE);
}
