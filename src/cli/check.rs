//! `faultgate check`: every error of every file at once, and what cannot be meant.

mod online;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::console::{cut, table};
use super::{Format, Globals};
use crate::config::{self, Config, GatewayConfig, Parts, files, report};
use crate::engine::billing::forecast;
use crate::engine::detect::{self, Rule};
use crate::engine::guard::Budget;
use crate::engine::policy::{self, Policy};
use crate::engine::rating::{self, Plan};
use crate::engine::types::diagnostic::{Diagnostic, Level, Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::period::Calendar;
use crate::engine::types::text::Language;
use crate::io::clock;

/// Widest cell that says what a rule keeps.
const KEEPS_WIDTH_MAX: usize = 50;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files, folders of them, configurations or price plans; without any, the configuration and its rules
    paths: Vec<PathBuf>,
    /// Show what each rule keeps in memory for each device
    #[arg(long)]
    cost: bool,
    /// Call the upstreams of the configuration as well: who am I, can a lost ticket be found again
    #[arg(long)]
    online: bool,
    /// Open a ticket in each upstream and resolve it; calls them as `--online` does
    #[arg(long)]
    probe: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What was found in which files.
struct Checked {
    diagnostics: Vec<Diagnostic>,
    sources: Vec<Source>,
    /// `None` where the rules have errors.
    policy: Option<Policy>,
    /// Id of the gateway; `None` where its configuration has errors.
    gateway: Option<String>,
}

/// Checks and reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let Checked { diagnostics, sources, policy, gateway } = check(args, globals)?;
    let errors = diagnostics.iter().filter(|found| found.severity == Level::Error).count();
    match args.format {
        Format::Json => println!("{}", report::to_json(&diagnostics)),
        Format::Text => {
            eprint!(
                "{}",
                report::render(&diagnostics, &sources, super::console::colour_on_stderr())
            );
            let warnings = diagnostics.len() - errors;
            println!("{} checked: {errors} errors, {warnings} warnings", files_of(sources.len()));
            if let Some(policy) = &policy {
                print_budgets(policy, gateway.as_deref());
            }
            if let Some(policy) = policy.filter(|policy| !policy.rules.is_empty()) {
                print_cost(&policy, args.cost);
            }
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn files_of(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn check(args: &Args, globals: &Globals) -> anyhow::Result<Checked> {
    let report = Report::default();
    let named = configuration(args, globals);
    let loaded = config::load(named.as_deref(), &report)?;
    let told = report.into_sorted();
    // Of its own: rules are told to be right or wrong whatever the configuration is.
    let report = Report::default();
    let mut sources: Vec<Source> = Vec::new();
    let is_named = |path: &&PathBuf| named.as_ref() == Some(*path);
    let asked: Vec<PathBuf> = args.paths.iter().filter(|path| !is_named(path)).cloned().collect();
    let is_all = asked.is_empty();
    sources.extend(loaded.source.filter(|_| is_all || !told.is_empty()));
    let paths = match is_all {
        true => configured(&loaded.parts.gateway, &report),
        false => asked.iter().cloned().chain(config::ladders_beside(&asked)).collect(),
    };
    let config = loaded.config.as_ref();
    let mut rules = Vec::new();
    let read = files::read_each(&paths, &report).context("cannot read what is to be checked")?;
    sources.extend(read.broken);
    // The one plan among rules and budgets is the one in force; several are only compared.
    let alone = read.sources.iter().filter(|source| policy::is_plan(source)).count() == 1;
    let in_force = alone && read.sources.len() > 1;
    let is_loaded = |source: &Source| is_same_file(Path::new(&source.file), named.as_deref());
    for source in read.sources {
        if config::is_config(&source) {
            if !is_loaded(&source) {
                config::inspect(&source, &report);
                sources.push(source);
            }
        } else if policy::is_plan(&source) && !in_force {
            let place = Place { source: &source, report: &report };
            let plan = read_document(place, rating::read_plan);
            warn_unbounded(plan.as_ref(), place);
            warn_notice(plan.as_ref(), config, place);
            sources.push(source);
        } else {
            rules.push(source);
        }
    }
    let policy = compile(&rules, &loaded.parts, config, &report);
    let mut online = Vec::new();
    if let Some(config) = config.filter(|_| args.online || args.probe) {
        let tell = args.format == Format::Text;
        online = online::check(config, sources.first(), args.probe, tell)?;
    }
    sources.extend(rules);
    let diagnostics = told.into_iter().chain(report.into_sorted()).chain(online).collect();
    let gateway = loaded.config.map(|config| config.gateway.id);
    Ok(Checked { diagnostics, sources, policy, gateway })
}

/// The configuration: the one that is named, else one that is to be checked, itself or in its folder.
fn configuration(args: &Args, globals: &Globals) -> Option<PathBuf> {
    let among = args.paths.iter().find_map(|path| {
        let inside = path.join(config::DEFAULT_FILE);
        if inside.is_file() {
            return Some(inside);
        }
        let text = std::fs::read_to_string(path).ok()?;
        let source = Source { file: path.display().to_string(), text };
        config::is_config(&source).then(|| path.clone())
    });
    globals.config.clone().or(among)
}

fn is_same_file(one: &Path, other: Option<&Path>) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    other.is_some_and(|other| real(one).is_some() && real(one) == real(other))
}

/// Where the rules of the configuration are. What is not there is told.
fn configured(gateway: &GatewayConfig, report: &Report) -> Vec<PathBuf> {
    let paths = gateway.with_register(&gateway.rules);
    let (there, missing): (Vec<PathBuf>, Vec<PathBuf>) =
        paths.into_iter().partition(|path| path.exists());
    for path in missing {
        let file = path.display().to_string();
        let message = format!("{file}: is not there, or cannot be read");
        let hint = "`[gateway]` names it in the configuration";
        report.error(&Source { file, text: String::new() }, 0..0, "unreadable", message, hint);
    }
    there
}

/// Compiles the set; `None` where it has errors. What cannot be meant is told as well.
fn compile(
    rules: &[Source],
    parts: &Parts,
    config: Option<&Config>,
    report: &Report,
) -> Option<Policy> {
    let names: Vec<&str> = parts.upstreams.iter().map(String::as_str).collect();
    let policy = policy::compile(rules, &names, report);
    if let (Some(policy), Some(source)) = (&policy, rules.iter().find(|s| policy::is_plan(s))) {
        let place = Place { source, report };
        let plan = policy.plan.as_ref().map(|active| active.plan());
        warn_unbounded(plan.filter(|_| policy.budgets.is_empty()), place);
        warn_notice(plan, config, place);
    }
    if policy.is_some() {
        detect::lint(rules, config.and_then(Config::yields).as_ref(), report);
    }
    policy
}

/// What is charged by use can come to any sum.
fn warn_unbounded(plan: Option<&Plan>, place: Place<'_>) {
    let Some(plan) = plan.filter(|plan| plan.charges_by_use()) else { return };
    let message = format!("nothing bounds what plan `{}` can come to: it charges by use", plan.id);
    let hint =
        "put it in force with `[gateway] plan` and bound it with a `[[budget]]` in budgets.toml";
    let head = place.source.text.find("[plan]").unwrap_or(0);
    place.warning(head..head + "[plan]".len(), "unbounded-price", message, hint);
}

/// The term of a plan ends soon.
fn warn_notice(plan: Option<&Plan>, config: Option<&Config>, place: Place<'_>) {
    let zone = config.map_or(chrono_tz::Tz::UTC, |config| config.gateway.zone);
    let language = config.map_or(Language::English, |config| config.gateway.language);
    let due = plan.and_then(|plan| rating::notice_due(plan, zone, clock::now()));
    if let Some(due) = due {
        let head = place.source.text.find("[plan.term]").unwrap_or(0);
        let span = head..head + "[plan.term]".len();
        place.warning(span, "notice-due", due.text(language), due.remedy(language));
    }
}

/// What the budgets of the whole gateway pay for, from nothing on.
fn print_budgets(policy: &Policy, gateway: Option<&str>) {
    let Some(active) = &policy.plan else { return };
    let zone = active.plan().period.map_or(chrono_tz::Tz::UTC, |calendar| calendar.zone);
    let is_ours = |budget: &&Budget| gateway.is_none_or(|gateway| budget.scope.is_on(gateway));
    for budget in policy.budgets.iter().filter(|b| b.scope.is_whole()).filter(is_ours) {
        let calendar = Calendar { unit: budget.period, ..Calendar::months(zone) };
        let (period, amount) = (calendar.period(clock::now()), budget.amount);
        let start = period.start;
        let told = forecast(active, &period, start, zone, Some(amount), std::iter::empty());
        println!(
            "budget `{}`: {amount} {} pay for {} tickets a period on plan `{}`, the first at {}",
            budget.id,
            told.currency,
            told.tickets_left.unwrap_or(0),
            active.plan().id,
            told.next_ticket
        );
    }
}

fn print_cost(policy: &Policy, each: bool) {
    let mut rules: Vec<&Rule> = policy.rules.iter().map(|rule| &**rule).collect();
    rules.sort_by(|a, b| {
        b.bytes_per_device().cmp(&a.bytes_per_device()).then_with(|| a.spec.id.cmp(&b.spec.id))
    });
    let Some(dearest) = rules.first() else { return };
    if !each {
        println!(
            "{} rules; rule `{}` keeps most for each device, at most {}; --cost shows all",
            rules.len(),
            dearest.spec.id,
            bytes(dearest.bytes_per_device())
        );
        return;
    }
    let row = |rule: &&Rule| {
        vec![
            cut(&rule.spec.id, 28),
            bytes(rule.bytes_per_device()),
            cut(&keeps(rule, policy), KEEPS_WIDTH_MAX),
        ]
    };
    let rows: Vec<Vec<String>> = rules.iter().map(row).collect();
    print!("{}", table(&["rule", "bytes a device", "keeps"], &rows));
    println!("at most; rules that read the same metric of a device share what is kept of it");
}

/// Which metrics and windows, the longest window of each metric once.
fn keeps(rule: &Rule, policy: &Policy) -> String {
    let conditions = || [Some(&rule.when), rule.clear_when.as_ref()].into_iter().flatten();
    let mut metrics: Vec<_> =
        conditions().flat_map(|condition| condition.metrics().iter().copied()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let name = |metric| {
        let windows = conditions().flat_map(|condition| condition.windows());
        let longest = windows.filter(|(of, _)| *of == metric).map(|(_, window)| *window).max();
        let name = policy.metrics.text(metric);
        longest.map_or_else(|| name.to_owned(), |window| format!("{name} over {window}"))
    };
    let names: Vec<String> = metrics.into_iter().map(name).collect();
    let learned = if rule.learns() { "; what is usual" } else { "" };
    format!("{}{learned}", names.join(", "))
}

fn bytes(count: usize) -> String {
    if count < 10_240 { format!("{count} B") } else { format!("{} KiB", count.div_ceil(1_024)) }
}
