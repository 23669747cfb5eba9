//! What is allowed and surely not meant: a rule that can never fire, a parameter that nothing
//! reads, a dead-band of the wrong sign.

use std::ops::Range;

use super::Rule;
use super::rule_file::RuleDraft;
use crate::engine::types::document::Place;
use crate::engine::types::rule::Mode;

/// Notes the warnings of one rule.
pub(super) fn lint(rule: &Rule, draft: &RuleDraft, place: Place<'_>) {
    let warn = |span: Range<usize>, code, message: String, hint: &str| {
        place.warning(span, code, format!("rule `{}`: {message}", rule.spec.id), hint);
    };
    let when = draft.when_span();
    if rule.spec.mode != Mode::Off {
        match rule.when.constant() {
            Some(false) => {
                let hint = "its constants alone decide it; is a comparison turned round?";
                warn(when.clone(), "never-fires", "`when` can never hold".to_owned(), hint);
            }
            Some(true) => {
                let hint = "its constants alone decide it; it is raised on every device";
                warn(when.clone(), "always-fires", "`when` always holds".to_owned(), hint);
            }
            None => {
                if let Some(why) = rule.when.contradiction() {
                    let message = format!("`when` can never hold: {why}");
                    warn(
                        when.clone(),
                        "never-fires",
                        message,
                        "join the two with `||`, or mend one",
                    );
                }
            }
        }
    }
    if let (Some(clear), Some(span)) = (&rule.clear_when, draft.clear_span())
        && let Some(why) = rule.when.overlap(clear)
    {
        let hint = "the return lies on the other side of `when`, some way off: a dead-band";
        let message = format!("`clear_when` holds where `when` does: {why}");
        warn(span, "dead-band", message, hint);
    }
    for (name, span) in draft.param_spans() {
        let in_text = |text: &str| text.contains(&format!("params.{name}"));
        let texts = [&rule.spec.title, &rule.spec.advice];
        let in_condition =
            in_text(&rule.spec.when) || rule.spec.clear_when.as_deref().is_some_and(in_text);
        if !in_condition && !texts.iter().any(|text| text.texts().any(in_text)) {
            let message = format!("nothing reads the parameter `{name}`");
            warn(
                span.clone(),
                "unused-param",
                message,
                "read it as `params.NAME`, or leave it out",
            );
        }
    }
}
