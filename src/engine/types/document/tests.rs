use rust_decimal::Decimal;

use super::*;

fn found(text: &str, read: impl FnOnce(&Table<'_>) -> Option<()>) -> Vec<String> {
    let source = Source { file: "x.toml".into(), text: text.into() };
    let report = Report::default();
    read_document(Place { source: &source, report: &report }, read);
    report
        .into_sorted()
        .into_iter()
        .map(|d| format!("{}:{}:{} {} [{}]", d.line, d.column, d.code, d.message, d.hint))
        .collect()
}

#[test]
fn every_mistake_of_a_file_is_told_at_its_place() {
    let text = "n = \"x\"\nspan = \"30 sec\"\nprice = 0.6\nprcie = 1\n";
    let found = found(text, |table| {
        table.optional::<i64>("n");
        table.optional::<TimeSpan>("span");
        table.optional::<Decimal>("price");
        table.required::<String>("name").map(|_| ())
    });
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[0].contains("`name` is missing"), "{found:#?}");
    assert!(found[1].starts_with("1:5:wrong-type"), "{found:#?}");
    assert!(found[2].starts_with("2:8:wrong-value"), "{found:#?}");
    assert!(found[3].starts_with("3:9:wrong-type"), "{found:#?}");
    assert!(found[4].contains("did you mean `price`?"), "{found:#?}");
}

#[test]
fn a_file_that_is_not_toml_says_so_at_the_place() {
    let found = found("a = 1\nb = = 2\n", |_| Some(()));
    assert!(found[0].starts_with("2:5:syntax"), "{found:?}");
}
