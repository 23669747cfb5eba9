//! Plans are read whole or refused with every mistake; rated to the cent.

use std::path::Path;

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::engine::rating::{Bill, Plan, Usage, rate, read_plan};
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
    assert_eq!(read("[paln]\n").expect_err("no plan").len(), 2);
}

proptest::proptest! {
    #[test]
    fn a_graduated_price_never_falls_and_never_jumps_by_more_than_its_dearest_unit(quantity in 0_u32..2_000) {
        let amount = |quantity| Decimal::from_str_exact(&tiers("graduated", quantity)).expect("money");
        let step = amount(quantity + 1) - amount(quantity);
        proptest::prop_assert!(step > Decimal::ZERO && step <= Decimal::ONE);
    }
}
