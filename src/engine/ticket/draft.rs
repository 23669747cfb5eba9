//! The text of a new ticket: subject, and body with the evidence.

use chrono_tz::Tz;

use super::template::render;
use crate::engine::types::alarm::Fingerprint;
use crate::engine::types::code::CodeReset;
use crate::engine::types::device::{DeviceFacts, Nameplate};
use crate::engine::types::job::Draft;
use crate::engine::types::message::Value;
use crate::engine::types::rule::RuleSpec;
use crate::engine::types::text::{Language, cut_chars, one_line};
use crate::engine::types::ticket::Storm;
use crate::engine::types::time::{TimeSpan, Timestamp};

/// Longest subject, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// A raise that is known this much later than it happened is shown with both times.
const LATE_MIN: TimeSpan = TimeSpan::from_secs(60);

/// The language and the zone that tickets speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// Language.
    pub language: Language,
    /// Zone of the times in texts.
    pub zone: Tz,
}

/// What is known about one fault.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The rule.
    pub rule: &'a RuleSpec,
    /// The device.
    pub device: &'a DeviceFacts,
    /// What the register says of it beside that: model, serial number, warranty.
    pub nameplate: Option<&'a Nameplate>,
    /// Fingerprint of the episode.
    pub fingerprint: &'a Fingerprint,
    /// Number of the episode.
    pub episode: u32,
    /// Event time of the raise.
    pub raised_at: Timestamp,
    /// Gateway time.
    pub now: Timestamp,
    /// The values that decided.
    pub values: Vec<Decided>,
    /// A sketch of the last values of the deciding metric; empty where there is none.
    pub sparkline: String,
    /// How often the alarm has changed within the last hour, and the score of that.
    pub flaps: (usize, f64),
    /// Other alarms of the device that are raised now.
    pub siblings: Vec<String>,
    /// Alarms of other devices of the site that are raised now.
    pub at_site: Vec<String>,
    /// Alarms of other devices that open the ticket with it.
    pub others: Vec<String>,
    /// The earlier tickets of this fault, with how they ended, newest first.
    pub earlier: Vec<String>,
    /// The last of them, and when it ended, where somebody comes again for the same fault.
    pub repeats: Option<(String, Timestamp)>,
    /// The console's page about the alarm, with what `explain` says.
    pub link: Option<String>,
}

/// One value that decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Name of the metric.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Event time of the reading.
    pub at: Timestamp,
}

impl Speech {
    /// The text in its language.
    pub(super) fn say(self, zh: &'static str, en: &'static str) -> &'static str {
        match self.language {
            Language::Chinese => zh,
            Language::English => en,
        }
    }

    /// A time at the place of the gateway.
    pub(super) fn time(self, at: Timestamp) -> String {
        at.to_chrono().with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// The same, without what it has in common with a time that is told beside it.
    fn time_beside(self, at: Timestamp, other: Timestamp) -> String {
        let [at, other] = [at, other].map(|at| at.to_chrono().with_timezone(&self.zone));
        let is_same_day = at.date_naive() == other.date_naive();
        at.format(if is_same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
    }
}

/// The ticket for a new fault. A template that fails on the values never holds a ticket back: the
/// rule's id stands in for the title, and the body says why.
pub fn compose(speech: Speech, evidence: &Evidence<'_>) -> Draft {
    let mut notes = Vec::new();
    let rule = evidence.rule;
    let title = render(rule.title.get(speech.language), evidence).unwrap_or_else(|fault| {
        notes.push(format!("{}: {fault}", speech.say("标题模板有误", "The title template failed")));
        rule.id.clone()
    });
    let advice = render(rule.advice.get(speech.language), evidence).unwrap_or_else(|fault| {
        notes
            .push(format!("{}: {fault}", speech.say("建议模板有误", "The advice template failed")));
        String::new()
    });
    let title = format!("{} · {}", one_line(&title), one_line(&evidence.device.id));
    let mut body: Vec<String> = repeat_line(speech, evidence).into_iter().collect();
    body.extend(fault_lines(speech, evidence));
    if !advice.is_empty() {
        body.push(format!("{}: {advice}", speech.say("建议", "Advice")));
    }
    body.extend(notes);
    Draft {
        title: cut_chars(&title, TITLE_CHARS_MAX).to_owned(),
        body: body.join("\n"),
        severity: rule.severity,
        safety: rule.safety,
        queue: rule.ticket.queue.clone(),
        device: evidence.device.id.clone(),
        rule: rule.id.clone(),
        site: evidence.device.site.clone(),
        raised_at: evidence.raised_at,
        plot: None,
    }
}

/// The ticket that the alarms of a storm join; `evidence` is that of the one which opens it.
pub fn compose_storm(speech: Speech, evidence: &Evidence<'_>, storm: &Storm) -> Draft {
    let draft = compose(speech, evidence);
    let (pool, first) = (one_line(&storm.pool), one_line(&storm.first));
    let first_at = speech.time(storm.first_at);
    let (title, head) = match speech.language {
        Language::Chinese => (
            format!("报警风暴 {pool} · 首发 {first}"),
            format!(
                "短时间内报警过多，后续报警并入本工单；紧急报警照常升级，安全报警仍单独开单。\n首发: {first}（{first_at}）\n风暴中的第一条:"
            ),
        ),
        Language::English => (
            format!("Alarm storm {pool} · first: {first}"),
            format!(
                "Too many alarms in a short time: those that follow join this ticket. Critical ones \
                 still climb the ladder, safety ones still have tickets of their own.\n\
                 First out: {first} ({first_at})\nThe one that opens this ticket:"
            ),
        ),
    };
    Draft {
        title: cut_chars(&title, TITLE_CHARS_MAX).to_owned(),
        body: format!("{head}\n{}", draft.body),
        ..draft
    }
}

/// The evidence, a line each.
pub(super) fn fault_lines(speech: Speech, evidence: &Evidence<'_>) -> Vec<String> {
    let (rule, device) = (evidence.rule, evidence.device);
    let mut lines = Vec::new();
    let mut line = |zh, en, text: String| {
        if !text.is_empty() {
            lines.push(format!("{}: {}", speech.say(zh, en), one_line(&text)));
        }
    };
    let class =
        if device.class.is_empty() { String::new() } else { format!(" ({})", device.class) };
    line("设备", "Device", format!("{}{class}", device.id));
    if let Some(plate) = evidence.nameplate {
        line("型号", "Model", plate.model.clone());
        line("序列号", "Serial number", plate.serial.clone());
        let installed = plate.installed_at.map(|day| day.to_string());
        line("安装日期", "Installed", installed.unwrap_or_default());
        line("质保", "Warranty", warranty(speech, plate, evidence.raised_at));
    }
    line("站点", "Site", device.site.clone());
    line("客户", "Customer", device.customer.clone());
    let severity = rule.severity.say(speech.language).to_owned();
    let safety = if rule.safety { speech.say("，安全", ", safety") } else { "" };
    line("严重程度", "Severity", format!("{severity}{safety}"));
    if let Some(code) = &rule.code {
        let reset = match code.reset {
            Some(CodeReset::Manual) => speech.say("，需现场复位", ", needs a reset at the device"),
            Some(CodeReset::Auto) => speech.say("，自动复位", ", resets by itself"),
            None => "",
        };
        line("故障码", "Fault code", format!("{} · {}{reset}", code.code, code.class));
        line("故障码表", "Code table", code.table.clone());
    }
    line("发生时间", "Raised at", speech.time(evidence.raised_at));
    if evidence.now.since(evidence.raised_at) >= LATE_MIN {
        line("得知时间", "Known at", speech.time(evidence.now));
    }
    let values: Vec<String> =
        evidence.values.iter().map(|one| told_value(speech, one, evidence.raised_at)).collect();
    line("判定值", "Values", values.join(", "));
    line("趋势", "Trend", evidence.sparkline.clone());
    let delay = if rule.on_delay == TimeSpan::ZERO {
        String::new()
    } else {
        format!(" {} {}", speech.say("持续", "for"), rule.on_delay)
    };
    line("规则", "Rule", format!("{} @{}: {}{delay}", rule.id, rule.revision, rule.when));
    line("抖动评分", "Flap score", flap_score(speech, evidence.flaps));
    line("同设备告警", "Also raised here", evidence.siblings.join(", "));
    line("同站点告警", "Also raised at the site", evidence.at_site.join(", "));
    line("同组告警", "With it", evidence.others.join(", "));
    line("历史工单", "Earlier tickets", evidence.earlier.join(", "));
    line("查看", "See", evidence.link.clone().unwrap_or_default());
    line("标识", "Fingerprint", format!("{} #{}", evidence.fingerprint, evidence.episode));
    lines
}

/// That somebody comes again for the same fault.
fn repeat_line(speech: Speech, evidence: &Evidence<'_>) -> Option<String> {
    let (ticket, ended_at) = evidence.repeats.as_ref()?;
    let (ticket, ended_at) = (one_line(ticket), speech.time(*ended_at));
    Some(match speech.language {
        Language::Chinese => format!("重复上门: 同一故障，上次工单 {ticket} 于 {ended_at} 结束"),
        Language::English => {
            format!("Repeat visit: the same fault, of which ticket {ticket} ended at {ended_at}")
        }
    })
}

fn told_value(speech: Speech, decided: &Decided, raised_at: Timestamp) -> String {
    let Decided { name, value, at } = decided;
    format!("{name} = {value} ({})", speech.time_beside(*at, raised_at))
}

/// What is told of an alarm that has changed before within the hour.
fn flap_score(speech: Speech, (changes, score): (usize, f64)) -> String {
    if changes < 2 {
        return String::new();
    }
    match speech.language {
        Language::Chinese => format!("{score:.2}（一小时内变化 {changes} 次）"),
        Language::English => format!("{score:.2} ({changes} changes within an hour)"),
    }
}

/// Whether the device is in warranty on the day of the fault, at the place of the gateway.
fn warranty(speech: Speech, plate: &Nameplate, at: Timestamp) -> String {
    let Some(until) = plate.warranty_until else {
        return String::new();
    };
    let today = at.to_chrono().with_timezone(&speech.zone).date_naive();
    let state = match today <= until {
        true => speech.say("保内", "in warranty"),
        false => speech.say("保外", "out of warranty"),
    };
    match speech.language {
        Language::Chinese => format!("{state}，质保期至 {until}"),
        Language::English => format!("{state}, until {until}"),
    }
}

/// Of a list that would be too long, how many are left out.
pub fn and_more(speech: Speech, rest: usize) -> String {
    match speech.language {
        Language::Chinese => format!("另有 {rest} 条"),
        Language::English => format!("{rest} more"),
    }
}

/// The last values as a line of eight heights, from the least to the greatest of them.
pub fn sparkline(values: &[f64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = greatest - least;
    if values.len() < 2 || !range.is_finite() {
        return String::new();
    }
    values
        .iter()
        .map(|value| {
            let share = if range > 0.0 { (value - least) / range } else { 0.0 };
            HEIGHTS[((share * 7.0).round() as usize).min(7)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_sparkline_shows_the_shape_of_the_last_values() {
        assert_eq!(sparkline(&[-20.0, -20.0, -13.0, -6.0]), "▁▁▅█");
        assert_eq!(sparkline(&[1.0]), "");
        assert_eq!(sparkline(&[3.0, 3.0]), "▁▁");
    }
}
