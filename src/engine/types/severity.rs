//! How bad a fault is.

use serde::{Deserialize, Serialize};

use super::document::Word;
use super::text::Language;

/// The five severities, worst first; the order is the order of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 紧急
    Critical,
    /// 重要
    Major,
    /// 次要
    Minor,
    /// 警告
    Warning,
    /// 提示
    Info,
}

impl Severity {
    /// All severities, worst first.
    pub const ALL: [Severity; 5] =
        [Severity::Critical, Severity::Major, Severity::Minor, Severity::Warning, Severity::Info];

    /// The word in rule files, JSON and URLs.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Major => "major",
            Severity::Minor => "minor",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }

    /// The word for people, as the glossary has it.
    pub fn say(self, language: Language) -> &'static str {
        match (language, self) {
            (Language::English, severity) => severity.word(),
            (Language::Chinese, Severity::Critical) => "紧急",
            (Language::Chinese, Severity::Major) => "重要",
            (Language::Chinese, Severity::Minor) => "次要",
            (Language::Chinese, Severity::Warning) => "警告",
            (Language::Chinese, Severity::Info) => "提示",
        }
    }
}

impl Word for Severity {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("critical", Severity::Critical),
        ("major", Severity::Major),
        ("minor", Severity::Minor),
        ("warning", Severity::Warning),
        ("info", Severity::Info),
    ];
}
