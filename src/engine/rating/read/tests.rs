//! Plans are read whole or refused with every mistake; rated to the cent.

use std::path::Path;

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::engine::rating::{Bill, Plan, Usage, ceiling, rate, read_plan};
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};

fn read(text: &str) -> Result<Plan, Vec<String>> {
    let source = Source { file: "plan.toml".into(), text: text.into() };
    let report = Report::default();
    let plan = read_document(Place { source: &source, report: &report }, read_plan);
    let told = |report: Report| {
        let found = report.into_sorted().into_iter();
        found.map(|d| format!("{}:{} {} {}", d.line, d.column, d.code, d.hint)).collect()
    };
    match plan {
        Some(plan) if !report.has_errors() => Ok(plan),
        _ => Err(told(report)),
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/billing")
}

fn bill(plan: &str, usage: &str) -> Bill {
    let plan = read(plan).unwrap_or_else(|found| panic!("{found:#?}"));
    rate(&plan, &Usage::from_json(usage).expect("usage")).expect("a bill")
}

#[test]
fn every_vector_is_rated_to_the_cent() {
    let vectors = std::fs::read_to_string(folder().join("vectors.json")).expect("vectors");
    let vectors: Vec<Json> = serde_json::from_str(&vectors).expect("JSON");
    for vector in vectors {
        let name = vector["plan"].as_str().expect("a plan");
        let file = folder().join(format!("plan-{name}.toml"));
        let plan = std::fs::read_to_string(file).expect("the plan");
        let bill = bill(&plan, &vector["usage"].to_string());
        let lines: Vec<Json> = bill
            .lines
            .iter()
            .map(|line| serde_json::json!([line.id, line.amount.to_string()]))
            .collect();
        assert_eq!(Json::from(lines), vector["lines"], "{name} {}", vector["usage"]);
        assert_eq!(bill.total.to_string(), vector["total"].as_str().expect("a total"));
    }
}

fn tiers(kind: &str, quantity: u32) -> String {
    let plan = format!(
        "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[line]]\nid = \"l\"\nkind = \"{kind}\"\nmeter = \"m\"\n\
         tiers = [ {{ up_to = \"100\", unit = \"1.00\" }}, {{ up_to = \"500\", unit = \"0.80\" }}, {{ unit = \"0.50\" }} ]\n"
    );
    bill(&plan, &format!("{{\"m\": \"{quantity}\"}}")).total.to_string()
}

#[test]
fn the_edges_of_tiers_belong_to_the_lower_one() {
    let edges = [0, 1, 100, 101, 500, 501, 1_000];
    let of = |kind| edges.map(|quantity| tiers(kind, quantity));
    let graduated = ["0.00", "1.00", "100.00", "100.80", "420.00", "420.50", "670.00"];
    assert_eq!(of("graduated"), graduated);
    let volume = ["0.00", "1.00", "100.00", "80.80", "400.00", "250.50", "500.00"];
    assert_eq!(of("volume"), volume);
    assert_eq!(of("stairstep"), ["1.00", "1.00", "1.00", "0.80", "0.80", "0.50", "0.50"]);
}

#[test]
fn a_package_that_was_begun_is_charged_in_full() {
    let plan = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[line]]\nid = \"l\"\nkind = \"package\"\n\
                meter = \"m\"\nincluded = \"100\"\nsize = \"400\"\nprice = \"3.00\"\n";
    let at = |quantity: u32| bill(plan, &format!("{{\"m\": \"{quantity}\"}}")).total.to_string();
    assert_eq!(
        [0, 1, 100, 101, 500, 501, 1_000].map(at),
        ["0.00", "0.00", "0.00", "3.00", "3.00", "6.00", "9.00"]
    );
}

#[test]
fn a_plan_with_mistakes_is_refused_with_all_of_them_at_their_places() {
    let head = "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n";
    let found = |text: &str| read(&format!("{head}{text}")).expect_err(text);
    let line = "[[line]]\nid = \"l\"\nkind = \"per_unit\"\nmeter = \"m\"\n";
    assert_eq!(
        found(&format!("{line}unit = 0.6\n")),
        ["8:8 wrong-type write it in quotes: \"0.60\""]
    );
    assert_eq!(
        found(&format!("{line}unit = \"-1\"\n")),
        ["8:8 out-of-range use `[[adjust]]` for discounts"]
    );
    assert_eq!(found(&format!("{line}unti = \"1\"\n"))[1], "8:1 unknown-key did you mean `unit`?");
    assert_eq!(
        found("[[line]]\nid = \"l\"\nkind = \"gradated\"\n"),
        ["6:8 wrong-value did you mean `graduated`?"]
    );
    let volume = "[[line]]\nid = \"l\"\nkind = \"volume\"\nmeter = \"m\"\n";
    let open = "tiers = [ { unit = \"1\" } ]\n";
    assert_eq!(
        found(&format!("{volume}included = \"5\"\n{open}")),
        ["8:12 wrong-key make it the first tier, with unit \"0\""]
    );
    let down = "tiers = [ { up_to = \"9\", unit = \"1\" }, { up_to = \"5\", unit = \"1\" }, { unit = \"1\" } ]\n";
    assert_eq!(
        found(&format!("{volume}{down}"))[0],
        "8:50 wrong-value tiers go up, and count from the first unit of all"
    );
    let closed = "tiers = [ { up_to = \"9\", unit = \"1\" } ]\n";
    assert_eq!(found(&format!("{volume}{closed}"))[0], "4:1 wrong-value leave out its `up_to`");
    let adjust =
        "[[adjust]]\nid = \"a\"\nkind = \"cap\"\namount = \"1\"\nclasses = [\"recuring\"]\n";
    assert_eq!(found(adjust), ["8:12 unknown-reference did you mean `recurring`?"]);
    let twice = format!("{line}unit = \"1\"\n{line}unit = \"1\"\n");
    assert_eq!(found(&twice), ["10:6 duplicate-id ids of lines and adjustments are unique"]);
    let off =
        "[[adjust]]\nid = \"a\"\nkind = \"percent\"\npercent = \"-110\"\nclasses = [\"usage\"]\n";
    assert_eq!(found(off)[0], "7:11 out-of-range at least \"-100\"");
    let meters = "[[meter]]\nid = \"m\"\nagg = \"sum\"\n".repeat(2);
    assert_eq!(found(&meters), ["8:6 duplicate-id leave one of them out"]);
    let period = "[plan.period]\ntimezone = \"Asia/Shangai\"\n[plan.close]\ncron = \"at noon\"\n";
    let told = found(period);
    assert!(
        told[0].starts_with("5:12 wrong-value") && told[1].starts_with("7:8 wrong-value"),
        "{told:?}"
    );
    let code = read("[plan]\nid = \"p\"\ncurrency = \"yuan\"\n").expect_err("no code");
    assert_eq!(code, ["3:12 wrong-value three capital letters of ISO 4217, e.g. \"CNY\""]);
    assert_eq!(read("[paln]\n").expect_err("no plan").len(), 2);
}

#[test]
fn every_line_tells_its_arithmetic() {
    let plan = std::fs::read_to_string(folder().join("plan-combo.toml")).expect("the plan");
    let usage = r#"{"seats": "14", "sites": "3", "ticket.created": "4321", "api.call": "345678",
        "storage.gb_month": "52.375", "device.peak": "275"}"#;
    let told: Vec<String> = bill(&plan, usage)
        .lines
        .iter()
        .map(|line| format!("{}: {}", line.id, line.working))
        .collect();
    assert_eq!(
        told,
        [
            "base: a period",
            "seat: (14 − 10) × 38.50 = 154",
            "site: 3 of 3 included = 0",
            "ticket.t1: (3000 − 2000) × 0.80 = 800",
            "ticket.t2: (4321 − 3000) × 0.65 = 858.65",
            "api: ⌈(345678 − 100000) / 10000⌉ × 0.45 = 11.25",
            "storage: 52.375 × 0.18 = 9.4275",
            "peak: (275 − 200) × 1.125 = 84.375",
            "discount.yearly: 953.00 × -12.5 % = -119.125",
            "cap.usage: 1500.00 at most − 1763.71 = -263.71",
            "credit.sla: credit of 50.00, at most 2333.88 = -50",
        ]
    );
}

#[test]
fn the_ceiling_of_an_interval_is_its_dearest_total_even_where_more_costs_less() {
    let of = |kind: &str| {
        let plan = format!(
            "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[line]]\nid = \"l\"\nkind = \"{kind}\"\nmeter = \"m\"\n\
             tiers = [ {{ up_to = \"10\", unit = \"9.00\" }}, {{ up_to = \"20\", unit = \"5.00\" }}, {{ unit = \"1.00\" }} ]\n"
        );
        read(&plan).unwrap_or_else(|found| panic!("{found:#?}"))
    };
    for plan in ["volume", "stairstep", "graduated"].map(of) {
        for low in 0_u32..26 {
            for high in low..26 {
                let usage = |quantity: u32| {
                    let mut usage = Usage::default();
                    usage.set("m", quantity.into());
                    usage
                };
                let total = |quantity| rate(&plan, &usage(quantity)).expect("a bill").total;
                let dearest = (low..=high).map(total).max().expect("an interval");
                let ceiling = ceiling(&plan, &usage(low), &usage(high)).expect("a bill").total;
                assert_eq!(ceiling, dearest, "{low} to {high}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_graduated_price_never_falls_and_never_jumps_by_more_than_its_dearest_unit(quantity in 0_u32..2_000) {
        let amount = |quantity| Decimal::from_str_exact(&tiers("graduated", quantity)).expect("money");
        let step = amount(quantity + 1) - amount(quantity);
        proptest::prop_assert!(step > Decimal::ZERO && step <= Decimal::ONE);
    }
}
