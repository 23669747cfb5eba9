//! A rule file with one key of one rule set to another value: all other bytes stay as they are.

use std::ops::Range;

use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Located, Place, Table, read_document};

/// Where things stand in a `[[rule]]`.
struct Spots {
    /// The value of the key that is to be set.
    value: Option<Range<usize>>,
    /// Whatever the new line is put after.
    after: Range<usize>,
    /// The rule has lines of its own.
    has_lines: bool,
}

/// The text with `key = value` in the rule `id`. `None` for a rule that is not in this file, or
/// that stands within one line.
pub fn amend(source: &Source, id: &str, key: &'static str, value: &str) -> Option<String> {
    let report = Report::default();
    let rules = read_document(Place { source, report: &report }, |table| {
        Some(table.tables("rule", |entry| spots(entry, source, id, key)))
    })?;
    let spots = rules.into_iter().next()?;
    let (range, written) = match spots.value {
        Some(range) => (range, value.to_owned()),
        None if spots.has_lines => {
            let rest = source.text.get(spots.after.end..)?;
            let end = spots.after.end + rest.find('\n').unwrap_or(rest.len());
            (end..end, format!("\n{key} = {value}"))
        }
        None => return None,
    };
    let mut text = source.text.clone();
    text.replace_range(range, &written);
    Some(text)
}

fn spots(entry: &Table<'_>, source: &Source, id: &str, key: &'static str) -> Option<Spots> {
    let own = entry.optional::<Located<String>>("id").filter(|own| own.value == id)?;
    let text = |key| entry.optional::<Located<String>>(key).map(|text| text.span);
    let after = text("when").unwrap_or(own.span);
    let head = source.text.get(entry.span().start..).unwrap_or("");
    Some(Spots { value: text(key), after, has_lines: head.starts_with('[') })
}

#[cfg(test)]
mod tests {
    use super::amend;
    use crate::engine::types::diagnostic::Source;

    fn amended(text: &str, key: &'static str, value: &str) -> Option<String> {
        amend(&Source { file: "r.toml".into(), text: text.into() }, "b", key, value)
    }

    #[test]
    fn only_the_key_of_that_rule_changes() {
        let text = "# 冷链\n[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\non_delay = \"1m\"\n\n\
                    [[rule]]   # b\nid = \"b\"\nwhen = \"t > 1\" # 限值\non_delay = '1m' # 一分钟\n";
        let set = amended(text, "on_delay", "\"5m\"").expect("amended");
        assert_eq!(set, text.replace("'1m'", "\"5m\""));
        let added = amended(text, "clear_when", "\"t < 0\"").expect("amended");
        assert_eq!(added, text.replace("# 限值\n", "# 限值\nclear_when = \"t < 0\"\n"));
    }

    #[test]
    fn a_rule_on_one_line_or_of_another_file_is_left_alone() {
        assert_eq!(
            amended("rule = [{ id = \"b\", when = \"t > 1\" }]", "off_delay", "\"1m\""),
            None
        );
        assert_eq!(
            amended("[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\n", "off_delay", "\"1m\""),
            None
        );
    }
}
