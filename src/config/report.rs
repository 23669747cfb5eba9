//! Diagnostics for people (as the compiler shows them) and for programs.

use annotate_snippets::{AnnotationKind, Level as Style, Renderer, Snippet};

use crate::engine::types::diagnostic::{Diagnostic, Level, Source};

/// Every diagnostic with its line, the offending text underlined, and the hint.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for found in diagnostics {
        let style = match found.severity {
            Level::Error => Style::ERROR,
            Level::Warning => Style::WARNING,
        };
        let title = style.primary_title(found.message.as_str()).id(found.code);
        let source = sources.iter().find(|source| source.file == found.file);
        let mut group = match source {
            Some(source) => {
                let span = within(&source.text, found.span.start, found.span.end);
                let snippet = Snippet::source(source.text.as_str()).path(found.file.as_str());
                title.element(snippet.annotation(AnnotationKind::Primary.span(span)))
            }
            None => title.elements(Vec::<annotate_snippets::Element<'_>>::new()),
        };
        if !found.hint.is_empty() {
            group = group.element(Style::HELP.message(found.hint.as_str()));
        }
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text
}

/// `[{file,line,column,code,severity,message,hint}]`.
pub fn to_json(diagnostics: &[Diagnostic]) -> String {
    // Texts and numbers only: this cannot fail, and an empty list would be a lie.
    serde_json::to_string_pretty(diagnostics).unwrap_or_else(|error| format!("\"{error}\""))
}

/// The span within the text, on one line: the head of a table stands for the whole of it.
fn within(text: &str, start: usize, end: usize) -> std::ops::Range<usize> {
    let start = start.min(text.len());
    let line = text.get(start..).and_then(|rest| rest.find('\n')).unwrap_or(text.len() - start);
    start..end.clamp(start, start + line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::diagnostic::Report;

    #[test]
    fn a_mistake_in_a_chinese_line_is_underlined_where_it_stands() {
        let text = "title = \"冷柜\"\nwhne = \"冷柜 > 3\"\n";
        let source = Source { file: "rules/冷链.toml".into(), text: text.into() };
        let report = Report::default();
        let at = text.find("whne").expect("there");
        report.error(
            &source,
            at..at + 4,
            "unknown-key",
            "unknown key `whne`",
            "did you mean `when`?",
        );
        let shown = render(&report.into_sorted(), &[source], false);
        assert!(shown.contains("error[unknown-key]: unknown key `whne`"), "{shown}");
        assert!(shown.contains("rules/冷链.toml:2:1"), "{shown}");
        assert!(shown.contains("^^^^"), "{shown}");
        assert!(shown.contains("help: did you mean `when`?"), "{shown}");
    }

    #[test]
    fn places_past_the_end_and_empty_files_are_shown_too() {
        for text in ["", "x = 1", "表"] {
            let source = Source { file: "x.toml".into(), text: text.into() };
            let report = Report::default();
            report.error(&source, text.len()..text.len() + 9, "missing-key", "`a` is missing", "");
            assert!(render(&report.into_sorted(), &[source], false).contains("`a` is missing"));
        }
    }
}
