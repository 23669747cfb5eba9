//! What is wrong in a file that an operator wrote: place, cause, remedy.

use std::cell::RefCell;
use std::ops::Range;

use serde::Serialize;

/// A file that an operator wrote: where it is and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as the operator named it.
    pub file: String,
    /// The whole text.
    pub text: String,
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The file is refused.
    Error,
    /// The file is accepted, and the operator is told.
    Warning,
}

/// One finding, with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Path of the file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters (not bytes), from 1.
    pub column: usize,
    /// Stable name of the kind of finding, e.g. `unknown-key`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Level,
    /// What is wrong.
    pub message: String,
    /// What to do next; empty when the message says it.
    pub hint: String,
    /// The offending bytes of the text, for the underline.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// Collects the findings of one check; shared by all that read one set of files.
#[derive(Debug, Default)]
pub struct Report {
    found: RefCell<Vec<Diagnostic>>,
    /// What each table was asked for, for the test of the schemas.
    #[cfg(test)]
    pub(crate) asked: RefCell<Vec<Asked>>,
}

/// The keys that a reader knows in a table.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Asked {
    /// Dotted name of the table; empty for the file.
    pub table: String,
    /// The keys.
    pub keys: Vec<&'static str>,
    /// Those that are refused by name.
    pub refused: Vec<&'static str>,
    /// The operator chooses further keys.
    pub open: bool,
}

impl Report {
    /// Notes an error at `span` of `source`.
    pub fn error(
        &self,
        source: &Source,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(source, span, code, Level::Error, message.into(), hint.into());
    }

    /// Notes a warning at `span` of `source`.
    pub fn warning(
        &self,
        source: &Source,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(source, span, code, Level::Warning, message.into(), hint.into());
    }

    /// True when at least one error (not only warnings) was noted.
    pub fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|found| found.severity == Level::Error)
    }

    /// Number of findings so far.
    pub fn len(&self) -> usize {
        self.found.borrow().len()
    }

    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The findings in the order of file, line and column.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
        });
        found
    }

    fn note(
        &self,
        source: &Source,
        span: Range<usize>,
        code: &'static str,
        severity: Level,
        message: String,
        hint: String,
    ) {
        let (line, column) = position(&source.text, span.start);
        let file = source.file.clone();
        let found = Diagnostic { file, line, column, code, severity, message, hint, span };
        self.found.borrow_mut().push(found);
    }
}

/// Line and column (in characters) of a byte offset, both from 1.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

/// The candidate nearest to `word` when it is near enough to be a slip of the hand.
///
/// Near enough: an edit distance (Damerau-Levenshtein, adjacent swaps count one) of at most a
/// third of the longer word, at least 1.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (word.chars().count().max(candidate.chars().count()) / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean` with the nearest candidate, else the list of what is allowed.
pub fn did_you_mean(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if candidates.is_empty() => String::new(),
        None => format!("known here: {}", candidates.join(", ")),
    }
}

fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_so_that_chinese_text_points_right() {
        assert_eq!(position("标题 = \"冷柜\"\nx", "标题 = ".len()), (1, 6));
        assert_eq!(position("a\nbc", 3), (2, 2));
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_a_stranger_is_not() {
        assert_eq!(nearest("on_dealy", ["off_delay", "on_delay"]), Some("on_delay"));
        assert_eq!(nearest("severity", ["on_delay", "latch"]), None);
    }
}
