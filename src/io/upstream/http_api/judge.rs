//! What an answer means: the rules of the file first, then what HTTP says.

use super::answer::Answer;
use super::condition::Condition;
use super::spec::{Class, Errors, Op, Step};
use super::template::{Escape, Names, Template};
use crate::engine::types::text::{cut_chars, one_line};
use crate::engine::types::time::TimeSpan;

/// Longest text of an answer that is told, in characters.
const SAID_CHARS_MAX: usize = 300;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The class.
    pub class: Class,
    /// What was said, and what to do about it.
    pub reason: String,
    /// How long to wait.
    pub wait: Option<TimeSpan>,
}

/// Judges the answer to a step.
pub(super) fn judge(
    op: Op,
    step: &Step,
    errors: &Errors,
    answer: &Answer,
    names: &Names,
) -> Verdict {
    let verdict = |class, wait, hint: Option<&Template>| {
        let hint = hint.or(step.hint.as_ref());
        let hint = hint.and_then(|hint| hint.render(Escape::Raw, names).ok());
        let told = said(errors, answer, names);
        // A whole document says nothing beside the words of whoever wrote the hint.
        let document = (200..300).contains(&answer.status) && told.len() > SAID_CHARS_MAX / 2;
        let reason = match hint.filter(|hint| !hint.is_empty()) {
            Some(hint) if document => hint,
            Some(hint) => format!("{hint} ({told})"),
            None => told,
        };
        Verdict { class, reason, wait }
    };
    for rule in &errors.rules {
        let fits = (rule.status.is_empty() || rule.status.contains(&answer.status))
            && (rule.operations.is_empty() || rule.operations.contains(&op))
            && rule.when.iter().all(|condition| condition.holds(answer, names));
        if fits {
            return verdict(rule.class, rule.wait, rule.hint.as_ref());
        }
    }
    let holds = |condition: &Condition| condition.holds(answer, names);
    let good = if step.ok.is_empty() {
        (200..300).contains(&answer.status)
    } else {
        step.ok.contains(&answer.status)
    };
    let failed = step.fail_if.iter().chain(&errors.fail_if).any(holds);
    if good && !failed && step.ok_if.iter().all(holds) {
        return Verdict { class: Class::Ok, reason: String::new(), wait: None };
    }
    let class = match good {
        true => Class::Permanent,
        false if is_gone(op, step, answer.status) => Class::Gone,
        false => by_code(answer.status),
    };
    verdict(class, None, None)
}

/// True where it is the ticket that is not found: the step is for one, by its number.
fn is_gone(op: Op, step: &Step, status: u16) -> bool {
    let is_for_ticket = matches!(op, Op::Comment | Op::Escalate | Op::Resolve | Op::Reopen);
    is_for_ticket && matches!(status, 404 | 410) && step.path.text.contains("ticket }}")
}

/// What a code means by itself.
fn by_code(status: u16) -> Class {
    match status {
        // A wrong key is the operator's to mend; nothing is lost meanwhile.
        401 => Class::Auth,
        408 | 425 | 429 | 503 => Class::Retry,
        // A proxy or a handler that broke in the middle: it may have been carried out.
        500..=599 => Class::Unknown,
        _ => Class::Permanent,
    }
}

/// What the upstream said, as one line.
pub(super) fn said(errors: &Errors, answer: &Answer, names: &Names) -> String {
    let usual = ["message", "error", "errmsg", "msg", "error_description", "errors"];
    let told = errors.message.iter().flat_map(|place| place.all(answer, names));
    let mut told: Vec<String> = told.filter(|text| !text.is_empty()).collect();
    if told.is_empty() {
        let json = answer.json.as_ref();
        let found = usual.iter().filter_map(|name| json?.get(name)).find(|found| !found.is_null());
        told.extend(
            found.map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned)),
        );
    }
    let text = if told.is_empty() { answer.text.clone() } else { told.join("; ") };
    let text = one_line(cut_chars(&text, SAID_CHARS_MAX));
    format!("{}: {}", answer.status, text.trim()).trim_end_matches([':', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Body, ErrorRule};
    use super::*;

    fn step() -> Step {
        Step::new("POST", Template::ours("x"), Body::None)
    }

    fn class(errors: &Errors, step: &Step, answer: &Answer) -> (Class, String) {
        let verdict = judge(Op::Create, step, errors, answer, &Names::new());
        (verdict.class, verdict.reason)
    }

    #[test]
    fn a_ticket_that_is_not_found_is_gone_and_nothing_else_that_is_not_found() {
        let of_ticket = Step::new("PUT", Template::ours("issues/{{ ticket }}.json"), Body::None);
        let class = |op, step: &Step, status| {
            let answer = Answer::of(status, &[], "");
            judge(op, step, &Errors::default(), &answer, &Names::new()).class
        };
        assert_eq!(class(Op::Comment, &of_ticket, 404), Class::Gone);
        assert_eq!(class(Op::Resolve, &of_ticket, 410), Class::Gone);
        assert_eq!(class(Op::Comment, &of_ticket, 403), Class::Permanent);
        assert_eq!(class(Op::Comment, &step(), 404), Class::Permanent);
        assert_eq!(class(Op::Create, &step(), 404), Class::Permanent);
    }

    fn condition(text: &str) -> Condition {
        Condition::parse(Template::ours(text)).expect("a condition")
    }

    #[test]
    fn codes_mean_what_http_says_where_the_file_says_nothing() {
        let errors = Errors::default();
        for (status, expected) in [
            (200, Class::Ok),
            (204, Class::Ok),
            (302, Class::Permanent),
            (401, Class::Auth),
            (403, Class::Permanent),
            (429, Class::Retry),
            (503, Class::Retry),
            (500, Class::Unknown),
        ] {
            assert_eq!(
                class(&errors, &step(), &Answer::of(status, &[], "")).0,
                expected,
                "{status}"
            );
        }
        let only = Step { ok: vec![201], ..step() };
        assert_eq!(class(&errors, &only, &Answer::of(200, &[], "")).0, Class::Permanent);
    }

    #[test]
    fn a_good_code_with_an_error_in_the_body_is_a_failure_that_says_why() {
        let errors = Errors { fail_if: vec![condition("/errcode != 0")], ..Errors::default() };
        let answer = Answer::of(200, &[], r#"{"errcode":310000,"errmsg":"关键词不匹配"}"#);
        assert_eq!(
            class(&errors, &step(), &answer),
            (Class::Permanent, "200: 关键词不匹配".to_owned())
        );
        let needs = Step { ok_if: vec![condition("/id")], ..step() };
        assert_eq!(
            class(&Errors::default(), &needs, &Answer::of(200, &[], "{}")).0,
            Class::Permanent
        );
    }

    #[test]
    fn a_rule_of_the_file_decides_before_the_code_does() {
        let rule = ErrorRule {
            status: vec![403, 200],
            when: vec![condition("'quota' in text")],
            operations: [Op::Create].into(),
            class: Class::Retry,
            wait: Some(TimeSpan::from_secs(600)),
            hint: Some(Template::ours("buy more")),
        };
        let errors = Errors { rules: vec![rule], ..Errors::default() };
        let full = Answer::of(200, &[], "quota exceeded");
        let verdict = judge(Op::Create, &step(), &errors, &full, &Names::new());
        assert_eq!((verdict.class, verdict.wait), (Class::Retry, Some(TimeSpan::from_secs(600))));
        assert!(verdict.reason.starts_with("buy more (200: "), "{}", verdict.reason);
        let verdict = judge(Op::Comment, &step(), &errors, &full, &Names::new());
        assert_eq!(verdict.class, Class::Ok);
    }
}
