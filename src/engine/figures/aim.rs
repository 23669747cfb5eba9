//! What the figures are held against: the targets of ISA-18.2 and EEMUA 191.

use super::{CHATTERS, FLOOD_BEGINS, FLOOD_ENDS, Figures};
use crate::engine::types::text::Language;

/// A figure that has a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Alarms in ten minutes, on average.
    Rate,
    /// Alarms in the worst ten minutes.
    Worst,
    /// Share of the time in flood.
    Flood,
    /// Alarms that chatter.
    Chattering,
    /// Episodes that are gone at once.
    Fleeting,
    /// Episodes that stay for more than a day.
    Stale,
    /// Share of the ten most frequent alarms.
    TopTen,
    /// How severe alarms are.
    Priorities,
}

impl Aim {
    /// Every figure, in the order in which they are told.
    pub const ALL: [Aim; 8] = [
        Aim::Rate,
        Aim::Worst,
        Aim::Flood,
        Aim::Chattering,
        Aim::Fleeting,
        Aim::Stale,
        Aim::TopTen,
        Aim::Priorities,
    ];

    /// What to aim at.
    pub fn target(self) -> &'static str {
        match self {
            Aim::Rate => "1 – 2",
            Aim::Worst => "≤ 10",
            Aim::Flood => "< 1 %",
            Aim::Chattering | Aim::Fleeting => "0",
            Aim::Stale => "< 5",
            Aim::TopTen => "< 5 %",
            Aim::Priorities => "5/15/80",
        }
    }

    /// True where the figures keep to it; `None` for what is not known. Fewer alarms than the target
    /// says are no miss.
    pub fn is_met(self, figures: &Figures) -> Option<bool> {
        match self {
            Aim::Rate => Some(figures.per_10_min <= 2.0),
            Aim::Worst => Some(figures.worst_10_min <= FLOOD_BEGINS),
            Aim::Flood => Some(figures.flood_percent < 1.0),
            Aim::Chattering => Some(figures.chattering == 0),
            Aim::Fleeting => Some(figures.fleeting == 0),
            Aim::Stale => Some(figures.stale < 5),
            Aim::TopTen => figures.top_10_percent.map(|percent| percent < 5.0),
            Aim::Priorities => {
                let of = figures.priorities;
                of.map(|shares| shares.critical <= 5.0 && shares.critical + shares.major <= 20.0)
            }
        }
    }

    /// The figure as text; `None` for what is not known.
    pub fn value(self, figures: &Figures) -> Option<String> {
        Some(match self {
            Aim::Rate => format!("{:.2}", figures.per_10_min),
            Aim::Worst => figures.worst_10_min.to_string(),
            Aim::Flood => format!("{:.1} %", figures.flood_percent),
            Aim::Chattering => figures.chattering.to_string(),
            Aim::Fleeting => figures.fleeting.to_string(),
            Aim::Stale => figures.stale.to_string(),
            Aim::TopTen => format!("{:.1} %", figures.top_10_percent?),
            Aim::Priorities => {
                let shares = figures.priorities?;
                let (critical, major) = (shares.critical, shares.major);
                format!("{critical:.0}/{major:.0}/{:.0}", shares.minor_and_lower)
            }
        })
    }

    /// What it is, for people.
    pub fn say(self, language: Language) -> String {
        let (chinese, english) = match self {
            Aim::Rate => ("每 10 分钟告警".to_owned(), "alarms per 10 minutes".to_owned()),
            Aim::Worst => ("最多的 10 分钟".to_owned(), "in the worst 10 minutes".to_owned()),
            Aim::Flood => (
                format!(
                    "洪泛时间占比（10 分钟内多于 {FLOOD_BEGINS} 起，到少于 {FLOOD_ENDS} 起止）"
                ),
                format!(
                    "share of the time in flood (more than {FLOOD_BEGINS} in 10 minutes, until fewer than {FLOOD_ENDS})"
                ),
            ),
            Aim::Chattering => (
                format!("抖动告警（1 分钟内 {CHATTERS} 次）"),
                format!("alarms that chatter ({CHATTERS} times within a minute)"),
            ),
            Aim::Fleeting => (
                "瞬时告警（10 秒内自行消失）".to_owned(),
                "episodes that are fleeting (gone within 10 s, nobody did anything)".to_owned(),
            ),
            Aim::Stale => (
                "陈旧告警（持续超过 24 小时）".to_owned(),
                "episodes that are stale (raised for more than 24 h)".to_owned(),
            ),
            Aim::TopTen => {
                ("最频繁的十个占比".to_owned(), "share of the ten most frequent alarms".to_owned())
            }
            Aim::Priorities => {
                ("紧急/重要/其余，%".to_owned(), "critical / major / minor and lower, %".to_owned())
            }
        };
        match language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }
}
