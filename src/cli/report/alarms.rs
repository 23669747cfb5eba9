//! `faultgate report alarms`: the figures of ISA-18.2 and EEMUA 191, of all, by site and by rule.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value as Json;

use super::super::bill::Tongue;
use super::super::books::Opened;
use super::super::console::{cut, table};
use super::super::recordings::{self, CsvArgs, Input};
use super::super::rules::suggest::{self, Found, Proposal, Search};
use super::super::{Format, Globals, remote};
use crate::config::{self, Config};
use crate::engine::figures::{self, Aim, Figures, Frequent, Report};
use crate::engine::types::question::Question;
use crate::engine::types::text::Language;
use crate::engine::types::ticket::TicketRecord;
use crate::engine::types::time::TimeSpan;
use crate::io::clock;

/// Columns of the name of a rule; an alarm has twice as many.
const NAME_WIDTH_MAX: usize = 30;
/// Columns of the name of a site: the table fits 100 with it.
const SITE_WIDTH_MAX: usize = 16;

/// `faultgate report alarms`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Days back from now
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=40))]
    days: u16,
    /// Recordings; with them each of the most frequent alarms gets a change of its rule, as a diff
    #[arg(long, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
    /// A fault that lasted this long must still be raised
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = TimeSpan::parse)]
    lasting: TimeSpan,
    /// Language of words; that of the configuration by default
    #[arg(long, value_enum)]
    language: Option<Tongue>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    // A store that is opened here must not be open below.
    let mut answer = remote::ask(globals, "/api/v1/tickets", &Question::Tickets)?;
    let tickets: Vec<TicketRecord> = serde_json::from_value(answer["tickets"].take())?;
    let spells = Opened::open(&config, None)?.spells()?;
    let now = clock::now();
    let from = now - TimeSpan::from_secs(i64::from(args.days) * 86_400);
    let report = figures::report(&spells, &tickets, from, now);
    let found = propose(args, &config, &report)?;
    let proposals = found.as_ref().map(|found| &*found.proposals);
    if args.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&as_json(&report, proposals)?)?);
    } else {
        print!("{}", text(&report, proposals, Tongue::or(args.language, config.gateway.language)));
    }
    let is_whole = found.is_none_or(|found| recordings::tell_notes(&found.recording));
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Looks for changes of the rules of the most frequent alarms; `None` without a recording.
fn propose(args: &Args, config: &Config, report: &Report) -> anyhow::Result<Option<Found>> {
    if args.input.is_empty() {
        return Ok(None);
    }
    let top = report.all.iter().flat_map(|all| &all.top_10);
    let mut rules: Vec<&str> = top.map(|one| one.alarm.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let input = Input { input: args.input.clone(), csv: args.csv.clone() };
    let search = Search { input: &input, rules: &[], plans: &[], lasting: args.lasting };
    search.run(config, |old| suggest::raised(old, &rules)).map(Some)
}

/// The report, each of the most frequent alarms with the change that is proposed.
fn as_json(report: &Report, proposals: Option<&[Proposal]>) -> anyhow::Result<Json> {
    let mut told = serde_json::to_value(report)?;
    // Nobody is on duty here: there is no roster.
    told["operators"] = Json::Null;
    for one in told["all"]["top_10"].as_array_mut().into_iter().flatten() {
        let rule = one["alarm"]["rule"].as_str().unwrap_or_default();
        let own = proposals.into_iter().flatten().find(|proposal| proposal.rule() == rule);
        one["proposal"] = own.map(Proposal::as_json).unwrap_or_default();
    }
    Ok(told)
}

fn say<'t>(language: Language, chinese: &'t str, english: &'t str) -> &'t str {
    match language {
        Language::Chinese => chinese,
        Language::English => english,
    }
}

fn text(report: &Report, proposals: Option<&[Proposal]>, language: Language) -> String {
    let say = |chinese, english| say(language, chinese, english);
    let Some(all) = &report.all else {
        return say("未知：网关尚未记录任何告警\n", "unknown: the gateway has kept no alarm yet\n")
            .to_owned();
    };
    let mut text = match language {
        Language::Chinese => format!("{} 至 {} 的告警\n", report.from, report.to),
        Language::English => format!("alarms from {} to {}\n", report.from, report.to),
    };
    text.push_str(&pools(report, all, language));
    text.push_str(say(
        "按值班人员：未知（本版本没有值班表）\n",
        "by operator: unknown, as this version has no roster\n",
    ));
    if !all.top_10.is_empty() {
        let name = |one: &Frequent| cut(&one.alarm.to_string(), 2 * NAME_WIDTH_MAX);
        let rows = all.top_10.iter().map(|one| vec![name(one), one.raised.to_string()]);
        let head = [say("最频繁的告警", "most frequent"), say("次数", "raised")];
        text.push_str(&table(&head, &rows.collect::<Vec<_>>()));
        text.push_str(&changes(proposals, language));
    }
    text.push_str(&invalid(report, language));
    text
}

/// What is proposed for the rules of the most frequent alarms.
fn changes(proposals: Option<&[Proposal]>, language: Language) -> String {
    let say = |chinese: &str, english: &str| say(language, chinese, english).to_owned();
    let Some(proposals) = proposals else {
        return say(
            "加上 `--input 录制文件`，即可为它们给出死区或延时的修改建议\n",
            "`--input RECORDING` proposes dead-bands and delays for them\n",
        );
    };
    let mut text = String::new();
    for proposal in proposals {
        let (rule, [before, after]) = (proposal.rule(), proposal.raised);
        let (faults, later) = proposal.keeps();
        text.push_str(&say(
            &format!("{rule}：{before} → {after} 次告警；持续的故障 {faults} 个全部保留，最多晚 {later}\n"),
            &format!("{rule}: {before} -> {after} alarms; all of {faults} faults that lasted are kept, at most {later} later\n"),
        ));
        text.push_str(&proposal.diff);
    }
    if text.is_empty() {
        text = say("没有既减少告警又不漏故障的修改\n", "nothing helps that loses no fault\n");
    }
    text
}

/// All, each site, and what to aim at.
fn pools(report: &Report, all: &Figures, language: Language) -> String {
    let say = |chinese, english| say(language, chinese, english);
    let unknown = say("未知", "unknown");
    let mut rows = vec![row(say("全部", "all"), all, unknown)];
    rows.extend(report.sites.iter().map(|(site, figures)| {
        let name = if site.is_empty() { say("（无站点）", "(no site)") } else { site };
        row(name, figures, unknown)
    }));
    let target = [say("目标", "target"), ""].into_iter().chain(Aim::ALL.map(Aim::target));
    rows.push(target.map(str::to_owned).collect());
    let head = match language {
        Language::Chinese => [
            "站点",
            "告警",
            "每10分钟",
            "最多",
            "洪泛",
            "抖动",
            "瞬时",
            "陈旧",
            "前十",
            "紧急/重要/其余 %",
        ],
        Language::English => [
            "site",
            "raised",
            "/10 min",
            "most",
            "flood",
            "chatter",
            "fleeting",
            "stale",
            "top 10",
            "crit/major/rest %",
        ],
    };
    table(&head, &rows)
}

fn row(name: &str, figures: &Figures, unknown: &str) -> Vec<String> {
    let value = |aim: Aim| aim.value(figures).unwrap_or_else(|| unknown.to_owned());
    let head = [cut(name, SITE_WIDTH_MAX), figures.raised.to_string()];
    head.into_iter().chain(Aim::ALL.map(value)).collect()
}

/// Tickets that nobody needed, by rule.
fn invalid(report: &Report, language: Language) -> String {
    let (head, unknown) = match language {
        Language::Chinese => {
            (["规则", "已结束工单", "重复", "自行恢复", "未发现故障", "无效率（至少）"], "未知")
        }
        Language::English => (
            [
                "rule",
                "tickets over",
                "duplicate",
                "recovered",
                "no fault found",
                "invalid, at least",
            ],
            "unknown",
        ),
    };
    let rows: Vec<Vec<String>> = report
        .invalid
        .iter()
        .map(|(rule, invalid)| {
            let percent = invalid.percent().map(|percent| format!("{percent:.1} %"));
            let found = invalid.no_fault_found.map(|count| count.to_string());
            vec![
                cut(rule, NAME_WIDTH_MAX),
                invalid.over.to_string(),
                invalid.duplicate.to_string(),
                invalid.recovered_by_itself.to_string(),
                found.unwrap_or_else(|| unknown.to_owned()),
                percent.unwrap_or_else(|| unknown.to_owned()),
            ]
        })
        .collect();
    if rows.is_empty() { String::new() } else { table(&head, &rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::time::Timestamp;

    #[test]
    fn nothing_known_is_said_in_both_languages_and_is_not_0() {
        let report = figures::report(&[], &[], Timestamp::EPOCH, Timestamp::EPOCH);
        assert_eq!(
            text(&report, None, Language::English),
            "unknown: the gateway has kept no alarm yet\n"
        );
        assert_eq!(text(&report, None, Language::Chinese), "未知：网关尚未记录任何告警\n");
    }
}
