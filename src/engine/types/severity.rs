//! How bad a fault is.

use serde::{Deserialize, Serialize};

use super::document::Word;

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
