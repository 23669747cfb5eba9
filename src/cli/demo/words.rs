//! What the demo says, in English and in Chinese.

use chrono_tz::Tz;

use crate::cli::console::width;
use crate::engine::types::decision::TicketEvent;
use crate::engine::types::text::Language;
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::Timestamp;

/// Columns of the event and of the severity: as wide as their longest word.
const EVENT_WIDTH: usize = 10;
const SEVERITY_WIDTH: usize = 8;

/// How the demo speaks.
#[derive(Clone, Copy, Debug)]
pub struct Speech {
    /// Language.
    pub language: Language,
    /// Zone of the times.
    pub zone: Tz,
    /// A recording: its days matter.
    pub with_date: bool,
}

/// Counts for the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tickets opened.
    pub opened: u64,
    /// Steps of ladders.
    pub escalated: u64,
    /// Tickets resolved.
    pub resolved: u64,
}

/// The language of the environment: `LC_ALL`, `LC_MESSAGES`, `LANG`, as POSIX has it.
pub fn of_environment() -> Language {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_MESSAGES")).or_else(|| set("LANG"));
    match locale {
        Some(locale) if locale.to_lowercase().starts_with("zh") => Language::Chinese,
        Some(_) | None => Language::English,
    }
}

impl Speech {
    /// One of two texts.
    pub fn say<'t>(&self, zh: &'t str, en: &'t str) -> &'t str {
        match self.language {
            Language::Chinese => zh,
            Language::English => en,
        }
    }

    /// A line under the head: a name, and what stands behind it.
    pub fn entry(&self, zh: &str, en: &str, value: &str) -> String {
        format!("{}{value}", padded(self.say(zh, en), 10))
    }

    /// A ticket's line, without its cost; `None` for what only machines want to know.
    pub fn line(
        &self,
        event: &TicketEvent,
        ticket: &TicketRecord,
        at: Timestamp,
    ) -> Option<String> {
        // An opening is told when the ticket is there, not when it was decided on.
        let is_opening = matches!(event, TicketEvent::Delivered { action: "open", .. });
        let at = if is_opening { ticket.opened_at } else { at };
        let (word, rest) = match event {
            TicketEvent::Delivered { .. } if is_opening => {
                (self.say("开单", "opened"), ticket.title.clone())
            }
            TicketEvent::Joined => (self.say("并入", "joined"), ticket.title.clone()),
            TicketEvent::Escalated { step } => {
                let step = match self.language {
                    Language::Chinese => format!("第 {step} 级：{}", ticket.title),
                    Language::English => format!("step {step}: {}", ticket.title),
                };
                (self.say("升级", "escalated"), step)
            }
            TicketEvent::Resolved => (self.say("恢复", "resolved"), ticket.title.clone()),
            TicketEvent::Gone => (self.say("已删", "gone"), ticket.title.clone()),
            TicketEvent::Reopened | TicketEvent::StillRaised => {
                (self.say("重开", "reopened"), ticket.title.clone())
            }
            TicketEvent::Delayed { reason, .. } => (self.say("推迟", "delayed"), reason.clone()),
            TicketEvent::DeadLettered { reason, .. } => {
                (self.say("被拒", "refused"), reason.clone())
            }
            TicketEvent::Delivered { .. } | TicketEvent::Opened => return None,
        };
        let severity = ticket.severity.say(self.language);
        Some(format!(
            "{}  {:<6} {} {} {rest}",
            self.time(at),
            ticket.id.to_string(),
            padded(word, EVENT_WIDTH),
            padded(severity, SEVERITY_WIDTH),
        ))
    }

    /// A time in the zone.
    pub fn time(&self, at: Timestamp) -> String {
        let format = if self.with_date { "%Y-%m-%d %H:%M:%S" } else { "%H:%M:%S" };
        at.to_chrono().with_timezone(&self.zone).format(format).to_string()
    }

    /// The last line.
    pub fn end(&self, counts: Counts, cost: &str, plan: &str) -> String {
        let Counts { opened, escalated, resolved } = counts;
        match self.language {
            Language::Chinese => format!(
                "开单 {opened} 张，升级 {escalated} 次，恢复 {resolved} 张；按价目 {plan} 共 {cost}"
            ),
            Language::English => format!(
                "{opened} opened, {escalated} escalated, {resolved} resolved; {cost} on plan {plan}"
            ),
        }
    }
}

fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}
