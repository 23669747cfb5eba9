//! The comments of a ticket's life.

use super::draft::{Evidence, Speech, and_more, fault_lines};
use crate::engine::types::alarm::AlarmId;
use crate::engine::types::severity::Severity;
use crate::engine::types::text::{Language, one_line};
use crate::engine::types::ticket::Untold;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Another alarm joins a ticket that is open.
pub fn comment_joined(speech: Speech, evidence: &Evidence<'_>) -> String {
    let head = speech.say("同一工单新增告警。", "Another alarm joins this ticket.");
    format!("{head}\n{}", fault_lines(speech, evidence).join("\n"))
}

/// The fault is back after the ticket was over.
pub fn comment_reopened(speech: Speech, evidence: &Evidence<'_>) -> String {
    let head = speech.say("故障再次出现，重开工单。", "The fault is back: reopened.");
    format!("{head}\n{}", fault_lines(speech, evidence).join("\n"))
}

/// The fault of an alarm that waited for a reset is back; the ticket is open.
pub fn comment_back(speech: Speech, evidence: &Evidence<'_>) -> String {
    let head =
        speech.say("故障再次出现，需重新受理。", "The fault is back: somebody must take it again.");
    format!("{head}\n{}", fault_lines(speech, evidence).join("\n"))
}

/// Somebody has resolved the ticket, and the fault stands.
pub fn comment_still_raised(speech: Speech, evidence: &Evidence<'_>) -> String {
    let head = speech.say(
        "工单已被解决，但故障仍然存在，重开工单。",
        "This was resolved, and the fault still stands: reopened.",
    );
    format!("{head}\n{}", fault_lines(speech, evidence).join("\n"))
}

/// One of several alarms of a ticket is over.
pub fn comment_left(
    speech: Speech,
    rule: &str,
    device: &str,
    at: Timestamp,
    open: usize,
) -> String {
    match speech.language {
        Language::Chinese => {
            format!(
                "{rule} · {} 已于 {} 恢复；仍有 {open} 条告警。",
                one_line(device),
                speech.time(at)
            )
        }
        Language::English => format!(
            "{rule} on {} returned to normal at {}; {open} still raised.",
            one_line(device),
            speech.time(at)
        ),
    }
}

/// What has happened to the members of a ticket since it was last told; `raised` are left.
pub fn comment_members(speech: Speech, untold: &Untold, raised: u32) -> String {
    let Untold { joined, first_at, names, returned, withheld, .. } = untold;
    let first_at = speech.time(*first_at);
    let names: Vec<String> = names.iter().map(|name| one_line(name)).collect();
    let names = names.join(", ");
    let mut lines = Vec::new();
    match speech.language {
        Language::Chinese => {
            if *joined > 0 {
                lines.push(format!("又有 {joined} 条告警，首条 {first_at}：{names}"));
            }
            if *returned > 0 {
                lines.push(format!("{returned} 条已恢复"));
            }
            if !withheld.is_nothing() {
                lines.push(format!("因预算合并 {} 条更新", withheld.count));
            }
            lines.push(format!("仍有 {raised} 条告警"));
            lines.join("；") + "。"
        }
        Language::English => {
            if *joined > 0 {
                lines.push(format!("{joined} more alarms, first {first_at}: {names}"));
            }
            if *returned > 0 {
                lines.push(format!("{returned} returned to normal"));
            }
            if !withheld.is_nothing() {
                lines.push(format!("updates folded for the budget: {}", withheld.count));
            }
            lines.push(format!("{raised} still raised"));
            lines.join("; ") + "."
        }
    }
}

/// All alarms of a ticket that is over, a line each; `rest` are left out.
pub fn comment_all(speech: Speech, names: &[String], rest: usize) -> String {
    let mut lines = vec![speech.say("本工单的全部告警:", "All alarms of this ticket:").to_owned()];
    lines.extend(names.iter().map(|name| one_line(name)));
    if rest > 0 {
        lines.push(and_more(speech, rest));
    }
    lines.join("\n")
}

/// Everything that the ticket covers is over.
pub fn comment_resolved(speech: Speech, at: Timestamp, lasted: TimeSpan) -> String {
    let lasted = whole_seconds(lasted);
    match speech.language {
        Language::Chinese => format!("设备已于 {} 恢复正常，持续 {lasted}。", speech.time(at)),
        Language::English => format!("Back to normal at {} after {lasted}.", speech.time(at)),
    }
}

/// The gateway was put back from a backup, and the fault is raised.
pub fn comment_restored(speech: Speech, backup_at: Timestamp) -> String {
    let at = speech.time(backup_at);
    match speech.language {
        Language::Chinese => {
            format!("网关已由 {at} 的备份恢复；故障仍然存在，因此工单保持打开。")
        }
        Language::English => format!(
            "The gateway was put back from a backup of {at}; the fault is still there, and the ticket stays open."
        ),
    }
}

/// Nobody has taken the ticket in time.
pub fn comment_escalated(
    speech: Speech,
    step: usize,
    (waited, is_taken): (TimeSpan, bool),
    severity: Severity,
) -> String {
    let severity = severity.say(speech.language);
    match (speech.language, is_taken) {
        (Language::Chinese, false) => {
            format!("升级：第 {step} 级，{waited} 内无人受理。严重程度：{severity}。")
        }
        (Language::Chinese, true) => {
            format!("升级：第 {step} 级，已受理，{waited} 后仍未完成。严重程度：{severity}。")
        }
        (Language::English, false) => format!(
            "Escalated, step {step}: nobody has taken this for {waited}. Severity: {severity}."
        ),
        (Language::English, true) => format!(
            "Escalated, step {step}: taken, and not done after {waited}. Severity: {severity}."
        ),
    }
}

/// An alarm is worse than it was when the ticket was taken.
pub fn comment_worse(speech: Speech, alarm: &AlarmId, severity: Severity) -> String {
    let (rule, device) = (&alarm.rule, one_line(&alarm.device));
    let severity = severity.say(speech.language);
    match speech.language {
        Language::Chinese => {
            format!("{rule} · {device} 的严重程度升为 {severity}，需重新受理。")
        }
        Language::English => {
            format!("{rule} on {device} is {severity} now: somebody must take it again.")
        }
    }
}

/// Why a ticket comes so late.
pub fn late_note(speech: Speech, since: Timestamp, until: Timestamp, late: TimeSpan) -> String {
    let (since, until, late) = (speech.time(since), speech.time(until), whole_seconds(late));
    match speech.language {
        Language::Chinese => {
            format!("迟到: {late}（工单系统 {since} 至 {until} 无法访问）")
        }
        Language::English => format!(
            "Late: by {late} (the ticket system could not be reached from {since} to {until})"
        ),
    }
}

/// An alarm changes too often: nothing more is said until it is steady.
pub fn comment_unsteady(speech: Speech, alarm: &AlarmId, changes: u32, score: f64) -> String {
    let (rule, device) = (&alarm.rule, one_line(&alarm.device));
    match speech.language {
        Language::Chinese => format!(
            "{rule} · {device} 频繁抖动：一小时内变化 {changes} 次（评分 {score:.2}）。稳定之前按持续报警处理，不再逐次通知。"
        ),
        Language::English => format!(
            "{rule} on {device} is flapping: {changes} changes within an hour (score {score:.2}). \
             It counts as raised, and is not told again, until it is steady."
        ),
    }
}

/// An alarm has calmed down.
pub fn comment_steady(
    speech: Speech,
    alarm: &AlarmId,
    changes: u32,
    lasted: TimeSpan,
    raised: bool,
) -> String {
    let (rule, device) = (&alarm.rule, one_line(&alarm.device));
    let lasted = whole_seconds(lasted);
    let now = match raised {
        true => speech.say("目前仍在报警", "it is raised now"),
        false => speech.say("目前已恢复", "it is back to normal now"),
    };
    match speech.language {
        Language::Chinese => {
            format!("{rule} · {device} 不再抖动：{lasted} 内共变化 {changes} 次，{now}。")
        }
        Language::English => {
            format!("{rule} on {device} is steady: {changes} changes in {lasted}; {now}.")
        }
    }
}

fn whole_seconds(span: TimeSpan) -> TimeSpan {
    TimeSpan::from_secs(span.micros().div_euclid(1_000_000))
}
