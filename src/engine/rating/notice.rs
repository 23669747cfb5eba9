//! The day by which notice of a plan must be given, and the reminder before it.

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use super::plan::Plan;
use crate::engine::types::text::Language;
use crate::engine::types::time::Timestamp;

/// How long before that day the reminder comes.
const REMIND_DAYS: u64 = 30;

/// A term that ends soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeDue {
    /// Id of the plan.
    pub plan: String,
    /// The last day for notice.
    pub by: NaiveDate,
    /// The last day of the term.
    pub ends: NaiveDate,
    /// Today.
    pub today: NaiveDate,
    /// What happens at the end, in the words of the contract.
    pub renewal: Option<String>,
}

/// What is to be told of the term of a plan at a time; `zone` where the plan names none. `None` while
/// there is time, and where nobody told when the term ends.
pub fn notice_due(plan: &Plan, zone: Tz, now: Timestamp) -> Option<NoticeDue> {
    let term = plan.term.as_ref()?;
    let ends = term.ends?;
    let zone = plan.period.map_or(zone, |calendar| calendar.zone);
    let today = now.to_chrono().with_timezone(&zone).date_naive();
    let by = ends.checked_sub_days(Days::new(u64::from(term.notice_days.unwrap_or(0))))?;
    let is_due = today >= by.checked_sub_days(Days::new(REMIND_DAYS))?;
    let due = NoticeDue { plan: plan.id.clone(), by, ends, today, renewal: term.renewal.clone() };
    is_due.then_some(due)
}

impl NoticeDue {
    /// The same for as long as the same is to be told: each is told once in the log.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.plan, self.by, self.stage())
    }

    fn stage(&self) -> u8 {
        match self.today {
            today if today <= self.by => 0,
            today if today <= self.ends => 1,
            _ => 2,
        }
    }

    /// What is to be told.
    pub fn text(&self, language: Language) -> String {
        let NoticeDue { plan, by, ends, today, renewal } = self;
        let days = (*by - *today).num_days();
        let renewal = renewal.as_deref();
        match (language, self.stage()) {
            (Language::English, 0) => format!(
                "notice of plan `{plan}` must be given by {by}, in {days} days: its term ends on {ends}; then: {}",
                renewal.unwrap_or("unknown")
            ),
            (Language::English, 1) => format!(
                "notice of plan `{plan}` had to be given by {by}: its term ends on {ends}; then: {}",
                renewal.unwrap_or("unknown")
            ),
            (Language::English, _) => format!("the term of plan `{plan}` ended on {ends}"),
            (Language::Chinese, 0) => format!(
                "套餐 `{plan}` 如不续约，须在 {by} 前（还有 {days} 天）通知：合同期至 {ends}；到期后：{}",
                renewal.unwrap_or("未知")
            ),
            (Language::Chinese, 1) => format!(
                "套餐 `{plan}` 的不续约通知期限 {by} 已过：合同期至 {ends}；到期后：{}",
                renewal.unwrap_or("未知")
            ),
            (Language::Chinese, _) => format!("套餐 `{plan}` 的合同期已于 {ends} 到期"),
        }
    }

    /// What to do about it.
    pub fn remedy(&self, language: Language) -> &'static str {
        match (language, self.stage()) {
            (Language::English, 0) => {
                "decide whether to stay: `faultgate bill compare` ranks other plans"
            }
            (Language::English, _) => "write the end of the next term into `[plan.term] ends`",
            (Language::Chinese, 0) => "决定是否续约：`faultgate bill compare` 可比较其他套餐",
            (Language::Chinese, _) => "把下一合同期的末日写入 `[plan.term] ends`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_plan;
    use super::*;
    use crate::engine::types::diagnostic::{Report, Source};
    use crate::engine::types::document::{Place, read_document};

    fn told(now: &str) -> Option<NoticeDue> {
        let text = "[plan]\nid = \"mix\"\ncurrency = \"CNY\"\n[plan.period]\ntimezone = \"Asia/Shanghai\"\n\
                    [plan.term]\nends = 2026-12-31\nnotice_days = 60\nrenewal = \"12 months more\"\n";
        let source = Source { file: "plan.toml".into(), text: text.into() };
        let report = Report::default();
        let plan = read_document(Place { source: &source, report: &report }, read_plan);
        let now = Timestamp::parse_rfc3339(now).expect("a time");
        notice_due(&plan.expect("a plan"), Tz::UTC, now)
    }

    #[test]
    fn the_reminder_comes_a_month_before_the_day_in_the_zone_of_the_plan() {
        assert_eq!(told("2026-10-01T15:59:59Z"), None);
        // 16:00 UTC is the 2nd of October in Shanghai, 30 days before the 1st of November.
        let first = told("2026-10-01T16:00:00Z").expect("due");
        assert_eq!(first.by.to_string(), "2026-11-01");
        assert!(first.text(Language::English).contains("by 2026-11-01, in 30 days"), "{first:?}");
        assert!(first.text(Language::Chinese).contains("还有 30 天"), "{first:?}");
    }

    #[test]
    fn it_is_told_once_before_once_after_the_day_and_once_after_the_end() {
        let key = |now| told(now).map(|due| due.key());
        assert_eq!(key("2026-10-10T00:00:00Z"), key("2026-11-01T00:00:00Z"));
        assert_ne!(key("2026-11-01T00:00:00Z"), key("2026-11-02T00:00:00Z"));
        assert_eq!(key("2026-11-02T00:00:00Z"), key("2026-12-31T00:00:00Z"));
        let over = told("2027-01-01T00:00:00Z").expect("it is over");
        assert_eq!(over.text(Language::English), "the term of plan `mix` ended on 2026-12-31");
    }
}
