//! The book of rules keeps its promises: every rule is tested both ways and bound to its devices,
//! and `docs/book.md` names what a user has to know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A file of the book.
struct Chapter {
    path: PathBuf,
    table: Table,
}

impl Chapter {
    fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    /// The tables of one kind: `rule`, `test`, `codes`.
    fn tables(&self, kind: &str) -> impl Iterator<Item = &Table> {
        let array = self.table.get(kind).and_then(Value::as_array);
        array.into_iter().flatten().filter_map(Value::as_table)
    }

    /// A key of a rule, or what `[defaults]` says.
    fn key<'a>(&'a self, rule: &'a Table, key: &str) -> Option<&'a Value> {
        let defaults = self.table.get("defaults").and_then(Value::as_table);
        rule.get(key).or_else(|| defaults?.get(key))
    }

    fn place(&self, rule: &Table) -> String {
        format!("{}: {}", self.path.display(), text(rule, "id"))
    }
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no text `{key}` in {table:?}"))
}

fn book() -> Vec<Chapter> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/book");
    let folders = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut chapters: Vec<Chapter> = files
        .map(|entry| {
            let path = entry.unwrap().path();
            let table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            Chapter { path: path.strip_prefix(&root).unwrap().to_owned(), table }
        })
        .collect();
    chapters.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!chapters.is_empty(), "no book under {}", root.display());
    chapters
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_rule_of_the_book_is_raised_and_returned_by_a_test_of_its_own_file() {
    for chapter in book() {
        let expected: BTreeSet<(&str, &str)> = chapter
            .tables("test")
            .flat_map(|test| test["expect"].as_array().unwrap())
            .map(|expect| expect.as_table().unwrap())
            .map(|expect| (text(expect, "rule"), text(expect, "event")))
            .collect();
        for rule in chapter.tables("rule") {
            for event in ["raised", "returned"] {
                let pair = (text(rule, "id"), event);
                assert!(expected.contains(&pair), "{} is never {event}", chapter.place(rule));
            }
        }
        let near =
            chapter.tables("test").filter(|test| test["expect"].as_array().unwrap().is_empty());
        assert!(near.count() > 0, "{}: nothing comes near and raises nothing", chapter.name());
    }
}

#[test]
fn every_rule_of_the_book_looks_at_the_devices_of_its_own_class_or_table_only() {
    for chapter in book() {
        for rule in chapter.tables("rule") {
            let place = chapter.place(rule);
            let selector = chapter.key(rule, "match").and_then(Value::as_table).expect(&place);
            let codes = selector.get("labels").and_then(|labels| labels.get("codes"));
            let bound = selector.get("class").or(codes).and_then(Value::as_str);
            assert_eq!(bound, Some(chapter.name().as_str()), "{place}");
            assert!(text(rule, "id").starts_with(&format!("{}-", chapter.name())), "{place}");
        }
    }
}

#[test]
fn every_rule_of_the_book_speaks_chinese_and_english() {
    for chapter in book() {
        for rule in chapter.tables("rule") {
            for key in ["title", "advice"] {
                let spoken = chapter.key(rule, key).and_then(Value::as_table);
                let place = chapter.place(rule);
                let spoken = spoken.unwrap_or_else(|| panic!("{place} has no `{key}`"));
                assert!(!text(spoken, "zh").is_ascii(), "{place}: `{key}` in Chinese");
                assert!(!text(spoken, "en").is_empty(), "{place}: `{key}` in English");
            }
        }
    }
}

#[test]
fn what_must_never_be_held_back_has_a_ticket_of_its_own() {
    for chapter in book() {
        let codes: Vec<&Table> = chapter.tables("codes").collect();
        let entries = codes.iter().flat_map(|table| table["entries"].as_array().unwrap());
        let dangerous_code = entries.filter_map(Value::as_table).any(is_safety);
        for rule in chapter.tables("rule").filter(|rule| is_safety(rule) || dangerous_code) {
            let per = rule.get("ticket").and_then(|ticket| ticket.get("per"));
            assert_eq!(per.and_then(Value::as_str), Some("alarm"), "{}", chapter.place(rule));
        }
    }
}

fn is_safety(table: &Table) -> bool {
    table.get("safety").and_then(Value::as_bool) == Some(true)
}

#[test]
fn the_page_of_the_book_names_every_class_metric_table_and_kind_of_fault() {
    let page = page();
    let mut missing = BTreeSet::new();
    let mut must_name = |word: &str| {
        if !page.contains(&format!("`{word}`")) {
            missing.insert(word.to_owned());
        }
    };
    for chapter in book() {
        must_name(&chapter.name());
        let samples = chapter.tables("test").flat_map(|test| test["samples"].as_array().unwrap());
        for sample in samples.filter_map(Value::as_table) {
            sample.keys().filter(|key| *key != "at").for_each(|metric| must_name(metric));
        }
        for table in chapter.tables("codes") {
            assert!(page.contains(text(table, "source")), "{}: its source", chapter.name());
            for entry in table["entries"].as_array().unwrap() {
                let class = text(entry.as_table().unwrap(), "class");
                class.split('.').for_each(&mut must_name);
            }
        }
    }
    assert!(missing.is_empty(), "docs/book.md does not name {missing:?}");
}
