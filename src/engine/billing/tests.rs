//! The marks of the billing page: corrections, shares, forecasts, reconciliation, comparison.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::*;
use crate::engine::rating::{ActivePlan, Plan, Usage, rate, read_plan};
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::ledger::{LedgerRow, LedgerState, Meter};
use crate::engine::types::period::{Calendar, Period};
use crate::engine::types::severity::Severity;
use crate::engine::types::text::Language;
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

fn dec(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn june() -> Period {
    Calendar::months(Tz::UTC).named("2026-06").expect("a month")
}

fn tickets(count: u32) -> Usage {
    let mut usage = Usage::default();
    usage.set("ticket.created", Decimal::from(count));
    usage.set("days_in_period", Decimal::from(30));
    usage
}

/// Row `n` of the ledger: a ticket, one every minute from `start` on.
fn row(n: u64, start: Timestamp, state: LedgerState) -> LedgerRow {
    let time = start + TimeSpan::from_secs(60 * i64::try_from(n).expect("small"));
    LedgerRow {
        sequence: n,
        meter: Meter::TicketCreated,
        qty: Decimal::ONE,
        state,
        idem: format!("f{n}-1/ticket.created"),
        ticket: TicketId(n),
        upstream_ticket: Some(format!("UP-{n}")),
        external_ref: format!("f{n}"),
        action: "open".into(),
        device: format!("fz-{n}"),
        rule: "hot".into(),
        site: ["上海", "北京"][usize::from(n.is_multiple_of(3))].into(),
        customer: "acme".into(),
        region: String::new(),
        device_class: "freezer".into(),
        revision: String::new(),
        plan: "tiered-standard".into(),
        budget_rung: None,
        reverses: None,
        severity: Severity::Major,
        time,
        recorded: time,
        prev_hash: String::new(),
        hash: String::new(),
    }
}

#[test]
fn a_late_row_takes_the_old_line_back_and_charges_the_new_one() {
    let volume = plan(
        "[plan]\nid = \"v\"\ncurrency = \"CNY\"\n[[line]]\nid = \"ticket\"\nkind = \"volume\"\nmeter = \"ticket.created\"\n\
         tiers = [ { up_to = \"15\", unit = \"10\" }, { unit = \"5\" } ]\n",
    );
    let bill = |plan: &Plan, count| rate(plan, &tickets(count)).expect("a bill");
    let amounts = |plan: &Plan, before, after| {
        let corrections = correct("2026-06-01", &bill(plan, before), &bill(plan, after));
        corrections.into_iter().map(|correction| correction.amount.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(amounts(&volume, 15, 16), ["-150.00", "80.00"]);
    assert!(amounts(&volume, 15, 15).is_empty());
    let tiered = example("tiered-standard");
    let sum = |before, after| {
        amounts(&tiered, before, after).iter().map(|amount| dec(amount)).sum::<Decimal>()
    };
    assert_eq!(sum(1_998, 2_001), dec("1.65"));
    assert_eq!(sum(80_000, 80_750), Decimal::ZERO);
}

#[test]
fn shares_sum_to_the_whole_and_the_largest_remainders_get_the_cents() {
    let parts = |total: &str, weights: &[u32]| {
        let weights: Vec<Decimal> = weights.iter().map(|weight| Decimal::from(*weight)).collect();
        let parts = split(dec(total), &weights, 2);
        parts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(parts("1815.31", &[2_000, 1_321, 1_000]), ["840.23", "554.97", "420.11"]);
    assert_eq!(parts("100.00", &[1, 1, 1]), ["33.34", "33.33", "33.33"]);
    assert_eq!(parts("-100.00", &[1, 1, 1]), ["-33.34", "-33.33", "-33.33"]);
    assert_eq!(parts("0.02", &[0, 0, 0]), ["0.01", "0.01", "0.00"]);
}

#[test]
fn a_chargeback_by_site_sums_to_the_bill() {
    let plan = example("tiered-standard");
    let start = june().start;
    let rows = (1..=5_123).map(|n| row(n, start, LedgerState::Committed));
    let bill = rate(&plan, &tickets(5_123)).expect("a bill");
    let shares = chargeback(&plan, &bill, By::Site, rows);
    let names: Vec<&str> = shares.iter().map(|share| share.name.as_str()).collect();
    assert_eq!(names, ["上海", "北京"]);
    assert_eq!(shares.iter().map(|share| share.amount).sum::<Decimal>(), dec("2487.74"));
}

#[test]
fn twelve_days_of_a_month_say_where_it_ends() {
    let active = ActivePlan::new(example("tiered-standard"), Usage::default());
    let (period, now) = (june(), at("2026-06-13T00:00:00Z"));
    // 1,210 tickets, evenly over the twelve days.
    let rows = (0..1_210_u64).map(|n| {
        let mut row = row(n + 1, period.start, LedgerState::Committed);
        row.time = period.start + TimeSpan::from_secs(i64::try_from(n).expect("small") * 856);
        row
    });
    let told = forecast(&active, &period, now, Tz::UTC, Some(dec("1000.00")), rows.clone());
    assert_eq!((told.method, told.spent), ("linear", dec("625.00")));
    assert_eq!(told.quantities["ticket.created"].p50, dec("3025"));
    let spend = told.spend.expect("a forecast");
    assert_eq!(spend.p50, dec("1560.25"));
    assert!(spend.p10 <= spend.p50 && spend.p50 <= spend.p90);
    assert_eq!(told.tickets_left, Some(1_835 - 1_210));
    assert_eq!(told.next_ticket, dec("0.60"));
    assert_eq!(told.reached_on.map(|day| day.to_string()).as_deref(), Some("2026-06-19"));
    let young = at("2026-06-06T00:00:00Z");
    let early = rows.filter(|row| row.time < young);
    let told = forecast(&active, &period, young, Tz::UTC, None, early);
    assert_eq!((told.method, told.spend), ("not enough data", None));
}

#[test]
fn four_weeks_of_rows_tell_the_hours_of_the_week_apart() {
    let active = ActivePlan::new(example("payg-ticket"), Usage::default());
    let now = at("2026-06-15T00:00:00Z");
    // Ten tickets every Monday at nine, nothing else, since the 4th of May.
    let mondays =
        (0..6).map(|week| at("2026-05-04T09:00:00Z") + TimeSpan::from_secs(week * 7 * 86_400));
    let rows =
        mondays.flat_map(|monday| (1..=10).map(move |n| row(n, monday, LedgerState::Committed)));
    let told = forecast(&active, &june(), now, Tz::UTC, None, rows);
    assert_eq!(told.method, "seasonal");
    // The 1st and the 8th were; the 15th, the 22nd and the 29th come.
    assert_eq!(told.so_far["ticket.created"], dec("20"));
    assert_eq!(told.quantities["ticket.created"].p50, dec("50"));
}

/// An invoice of 5,131 rows against a ledger of 5,123 tickets, with every kind of difference.
#[test]
fn every_row_of_an_invoice_is_in_one_class_and_the_classes_sum_to_the_difference() {
    let plan = example("tiered-standard");
    let period = june();
    let mut rows: Vec<LedgerRow> =
        (1..=5_123).map(|n| row(n, period.start, LedgerState::Committed)).collect();
    let bill = rate(&plan, &tickets(5_123)).expect("a bill");
    // Besides them: one before the period, one that was refused, one taken back, one nobody knows of.
    let mut before = row(6_001, period.start, LedgerState::Committed);
    before.time = at("2026-05-31T23:59:00Z");
    let refused = row(6_002, period.start, LedgerState::Released);
    let back = row(6_003, period.start, LedgerState::Committed);
    let mut reversal = row(6_004, period.start, LedgerState::Committed);
    (reversal.reverses, reversal.qty) = (Some(6_003), -Decimal::ONE);
    let unknown = row(6_005, period.start, LedgerState::Ambiguous);
    rows.extend([before, refused, back, reversal, unknown]);
    let price = |n: u64| match n {
        ..1_001 => "0",
        1_001..=2_000 => "0.60",
        2_001..=5_000 => "0.45",
        _ => "0.315",
    };
    let mut invoice =
        "upstream_ticket,idempotency_key,external_ref,line,amount,tax,currency\n".to_owned();
    let mut count = 0;
    let mut add = |text: String| {
        invoice.push_str(&text);
        invoice.push('\n');
        count += 1;
    };
    add("ignored,,,base,499.00,,CNY".to_owned());
    for n in 2..=5_123_u64 {
        add(match n {
            1_500 => format!("UP-{n},,,,0.90,,CNY"),
            1_501 => format!("UP-{n},,,,0.61,,CNY"),
            1_502 => format!("UP-{n},,,,0.636,0.036,CNY"),
            1_503 => format!(",f{n}-1,,,{},,CNY", price(n)),
            1_504 => format!(",,f{n},,{},,CNY", price(n)),
            _ => format!("UP-{n},,,,{},,CNY", price(n)),
        });
    }
    add("UP-3000,,,,0.45,,CNY".to_owned());
    add("STRANGER-1,,,,7.00,,CNY".to_owned());
    add("STRANGER-2,,,,7.00,,CNY".to_owned());
    for n in [6_001, 6_002, 6_003, 6_005] {
        add(format!("UP-{n},,,,0.315,,CNY"));
    }
    add("UP-5123,,,,0.315,,CNY".to_owned());
    assert_eq!(count, 5_131);
    let theirs = read_invoice(&invoice).expect("an invoice");
    let found = reconcile(&plan, &bill, &period, &theirs, rows.into_iter());
    let counts: BTreeMap<&str, u64> =
        found.classes.iter().map(|(class, (count, _))| (*class, *count)).collect();
    let wanted = [
        ("ambiguous_resolved", 1),
        ("billed_twice", 2),
        ("cancelled_in_window", 2),
        ("cutoff", 1),
        ("foreign", 2),
        ("fx_tax", 1),
        ("matched", 5_120),
        ("missing_on_invoice", 1),
        ("price", 1),
        ("rounding", 1),
    ];
    assert_eq!(counts, BTreeMap::from(wanted));
    let classes: Decimal = found.classes.values().map(|(_, sum)| *sum).sum();
    assert_eq!(classes, found.difference);
    let invoiced: Decimal = theirs.iter().map(|row| row.amount).sum();
    assert_eq!((found.theirs, found.ours), (invoiced, dec("2487.745")));
}

#[test]
fn an_invoice_that_cannot_be_read_names_its_line() {
    assert_eq!(read_invoice("a,b\n1,2\n"), Err("the invoice has no column `amount`".to_owned()));
    let wrong = read_invoice("工单号,金额\nUP-1,0.60\nUP-2,sixty\n");
    assert_eq!(wrong, Err("line 3: \"sixty\" is no amount; write 1234.50".to_owned()));
}

fn drafted() -> Statement {
    let active = ActivePlan::new(example("tiered-standard"), Usage::default());
    let mut tally = Tally::new(june(), &active);
    (1..=5_123).for_each(|n| tally.take(&row(n, june().start, LedgerState::Committed)));
    let late = vec![Correction {
        period: "2026-05-01".into(),
        line: "=ticket".into(),
        amount: dec("-1.65"),
    }];
    Statement::draft(&active, &tally, late).expect("a statement").statement
}

#[test]
fn a_statement_has_the_same_total_as_text_csv_and_html_in_both_languages() {
    let statement = drafted();
    assert_eq!(statement.total, dec("2486.09"));
    let table = |head: &[&str], rows: &[Vec<String>]| format!("{head:?}{rows:?}");
    for language in [Language::English, Language::Chinese] {
        assert!(text(&statement, language, table).contains("2486.09"));
        assert!(html(&statement, language).contains("2486.09 CNY"));
        let csv = csv(&statement, language);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<csv::StringRecord> =
            reader.records().map(|row| row.expect("a row")).collect();
        let sum: Decimal = rows.iter().map(|row| dec(&row[6])).sum();
        assert_eq!(sum, statement.total);
        assert!(rows.iter().any(|row| &row[3] == "'=ticket"), "{csv}");
    }
}

#[test]
fn a_closed_statement_notices_any_change() {
    let mut closed = drafted();
    closed.seal("[plan]", at("2026-07-01T00:05:00Z"), "");
    assert!(closed.is_intact());
    let mut changed = closed.clone();
    changed.usage[0].1 += Decimal::ONE;
    assert!(!changed.is_intact());
    let json = serde_json::to_string(&closed).expect("JSON");
    assert_eq!(serde_json::from_str::<Statement>(&json).expect("a statement"), closed);
}

#[test]
fn every_overdue_period_is_closed_after_months_offline_and_none_before_its_grace() {
    let mut plan = example("tiered-standard");
    let first = at("2026-01-15T00:00:00Z");
    let now = at("2026-04-02T00:00:00Z");
    let mut last: Option<Period> = None;
    let mut closed = Vec::new();
    while let Some(period) = overdue(&plan, Tz::UTC, last.as_ref(), first, now) {
        closed.push(period.id.clone());
        last = Some(period);
    }
    assert_eq!(closed, ["2026-01-01", "2026-02-01", "2026-03-01"]);
    let text = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[plan.period]\ntimezone = \"UTC\"\n[plan.close]\ncron = \"5 0 * * *\"\ngrace = \"24h\"\n";
    plan = self::plan(text);
    let due = |now| overdue(&plan, Tz::UTC, None, at("2026-03-15T00:00:00Z"), at(now)).is_some();
    assert!(!due("2026-04-02T00:04:00Z"));
    assert!(due("2026-04-02T00:05:00Z"));
}

#[test]
fn a_change_of_plan_within_a_period_charges_each_for_its_days() {
    let (old, new) = (example("subscription-yearly"), example("tiered-standard"));
    let mut seats = tickets(0);
    seats.set("seats", Decimal::from(12));
    let told = preview((&old, &seats), (&new, &tickets(1_100)), &seats, 10, 30).expect("a preview");
    // 399 + 99 + 12 × 45 = 1,038, less 10 %, for 10 of 30 days; 499 for 20 of them, and 100 × 0.60.
    assert_eq!((told.before.total, told.after.total), (dec("311.40"), dec("392.67")));
    assert_eq!((told.total, told.kept), (dec("704.07"), dec("934.20")));
}

#[test]
fn levels_count_by_their_time_and_peaks_by_their_height() {
    let text = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[meter]]\nid = \"storage.gb_day\"\nagg = \"time_weighted\"\n\
                [[meter]]\nid = \"user.peak\"\nagg = \"latest\"\n[[meter]]\nid = \"message.sent\"\nagg = \"unique\"\n\
                [[meter]]\nid = \"ticket.created\"\nagg = \"count\"\n";
    let active = ActivePlan::new(plan(text), Usage::default());
    let mut tally = Tally::new(june(), &active);
    let mut take = |n: u64, meter: Meter, qty: &str, time: &str| {
        let mut row = row(n, june().start, LedgerState::Committed);
        (row.meter, row.qty, row.time) = (meter, dec(qty), at(time));
        tally.take(&row);
    };
    // Ten gigabytes from May on, twenty from the 11th on.
    take(1, Meter::StorageGbDay, "10", "2026-05-20T00:00:00Z");
    take(2, Meter::StorageGbDay, "20", "2026-06-11T00:00:00Z");
    take(3, Meter::UserPeak, "7", "2026-06-20T00:00:00Z");
    take(4, Meter::UserPeak, "5", "2026-06-21T00:00:00Z");
    take(5, Meter::DevicePeak, "318", "2026-06-02T00:00:00Z");
    take(6, Meter::DevicePeak, "300", "2026-06-03T00:00:00Z");
    take(7, Meter::MessageSent, "4", "2026-06-03T00:00:00Z");
    take(8, Meter::TicketCreated, "3", "2026-06-03T00:00:00Z");
    take(9, Meter::TicketCreated, "3", "2026-07-03T00:00:00Z");
    let quantity = |meter| tally.quantity(meter).to_string();
    assert_eq!(quantity(Meter::StorageGbDay), "500");
    assert_eq!(quantity(Meter::UserPeak), "5");
    assert_eq!(quantity(Meter::DevicePeak), "318");
    assert_eq!(quantity(Meter::MessageSent), "1");
    assert_eq!(quantity(Meter::TicketCreated), "1");
}

#[test]
fn plans_are_ranked_by_scenario_and_unknown_costs_are_not_nothing() {
    let plans = ["payg-ticket", "tiered-standard", "subscription-yearly"].map(example);
    let offers: Vec<Offer<'_>> = plans.iter().map(|plan| Offer { plan, needed: &[] }).collect();
    let months = [tickets(500)];
    let first = |scenario: Scenario| {
        let comparison =
            compare(&offers, scenario, &scenario.months(&months, 12)).expect("a comparison");
        let best = &comparison.plans[0];
        (best.plan.clone(), best.total.to_string())
    };
    // 498 less 10 percent, twelve times, whatever happens.
    assert_eq!(first(Scenario::Actual), ("subscription-yearly".into(), "5378.40".into()));
    assert_eq!(first(Scenario::Storm), ("subscription-yearly".into(), "5378.40".into()));
    assert_eq!(first(Scenario::Zero), ("payg-ticket".into(), "0.00".into()));
    let storm =
        compare(&offers, Scenario::Storm, &Scenario::Storm.months(&months, 12)).expect("one");
    let payg = storm.plans.iter().find(|plan| plan.plan == "payg-ticket").expect("there");
    assert_eq!(payg.worst_month, dec("96600.00"));
    assert_eq!(payg.regret, payg.total - dec("5378.40"));
    assert_eq!(payg.unknown, ["licence", "implementation", "maintenance", "labour"]);
    assert_eq!(payg.break_even, Some(0));
}

#[test]
fn an_exported_event_is_a_cloudevent_and_comes_back_as_its_row() {
    let mut sent = row(7, june().start, LedgerState::Committed);
    sent.seal("before");
    let event = event("sh-01", &sent);
    assert_eq!(event["source"], "urn:faultgate:gw:sh-01");
    assert_eq!(event["type"], "com.faultgate.ticket.created.v1");
    assert_eq!(event["specversion"], "1.0");
    let back = row_of_event(&event.to_string()).expect("a row");
    assert_eq!(back, sent);
    assert!(back.is_intact());
}
