//! `faultgate bill forecast|chargeback|reconcile|compare|change`: answers out of ledger and plans.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use rust_decimal::Decimal;
use serde_json::json;

use super::super::books::{Accounts, From};
use super::super::console::{cut, table};
use super::super::{Format, Globals, backtest};
use crate::config::files;
use crate::engine::billing::{self, By, Offer, Scenario, Tally, calendar, read_invoice};
use crate::engine::guard::Budget;
use crate::engine::rating::{ActivePlan, Plan, Usage, rate};
use crate::engine::types::document::Word;
use crate::engine::types::ledger::LedgerRow;
use crate::engine::types::time::{TimeSpan, Timestamp};
use crate::service::billing::{Books, draft};

/// Rows of a reconciliation that people are shown.
const DIFFERENCES_MAX: usize = 40;
/// What of the ledger a forecast looks at.
const HISTORY: TimeSpan = TimeSpan::from_secs(56 * 86_400);

/// `bill forecast`.
#[derive(Debug, clap::Args)]
pub struct ForecastArgs {
    #[command(flatten)]
    from: From,
    /// Money to hold it against, in place of the budget of the whole gateway
    #[arg(long, value_name = "AMOUNT")]
    budget: Option<Decimal>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `bill chargeback`.
#[derive(Debug, clap::Args)]
pub struct ChargebackArgs {
    #[command(flatten)]
    from: From,
    /// Who shares
    #[arg(long, value_enum)]
    by: Sharer,
    /// The period: a month or a day of it; without it the current one
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Sharer {
    /// Customers
    Customer,
    /// Sites
    Site,
    /// Regions
    Region,
    /// Classes of devices
    DeviceClass,
    /// Rules
    Rule,
}

/// `bill reconcile`.
#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    from: From,
    /// The supplier's invoice: CSV with a head, `amount` and at least one of `upstream_ticket`,
    /// `idempotency_key`, `external_ref`, `line`
    invoice: PathBuf,
    /// The period: a month or a day of it; without it the current one
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `bill compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Price plans
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    plans: Vec<PathBuf>,
    /// How use goes on: actual, seasonal, storm, storm-guarded, zero; all of them by default
    #[arg(long, num_args = 1.., value_name = "SCENARIO")]
    scenario: Vec<String>,
    /// Months
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=120))]
    months: u16,
    /// A month of use in a file, in place of the ledger: one JSON object as for `bill rate`
    #[arg(long, value_name = "FILE")]
    usage: Option<PathBuf>,
    /// An exported ledger (JSON Lines), in place of the gateway's
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Functions that must be there, by the ids of add-ons
    #[arg(long, num_args = 1.., value_name = "ADDON")]
    need: Vec<String>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `bill change`.
#[derive(Debug, clap::Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    from: From,
    /// The new plan
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// First day on the new plan
    #[arg(long, value_name = "DAY")]
    on: chrono::NaiveDate,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Where the current period will end.
pub fn forecast(args: &ForecastArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = args.from.open(globals)?;
    let period = accounts.period(None)?;
    let budget = args.budget.or_else(|| whole_budget(&accounts));
    let rows = accounts.rows(period.start.min(accounts.now - HISTORY))?.into_iter();
    let (active, now, zone) = (&accounts.active, accounts.now, accounts.zone());
    let told = billing::forecast(active, &period, now, zone, budget, rows);
    if args.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(ExitCode::SUCCESS);
    }
    let currency = &told.currency;
    println!("period {}, spent {} {currency}, method: {}", told.period, told.spent, told.method);
    let range = |name: &str, range: &billing::Range| {
        vec![name.to_owned(), range.p10.to_string(), range.p50.to_string(), range.p90.to_string()]
    };
    let mut rows: Vec<Vec<String>> =
        told.quantities.iter().map(|(meter, quantity)| range(meter, quantity)).collect();
    rows.extend(told.spend.as_ref().map(|spend| range("spend", spend)));
    if !rows.is_empty() {
        print!("{}", table(&["at the end", "p10", "p50", "p90"], &rows));
    }
    println!("the next ticket costs {} {currency}", told.next_ticket);
    if let (Some(budget), Some(left)) = (told.budget, told.tickets_left) {
        let reached = told
            .reached_on
            .map_or_else(|| "it lasts".to_owned(), |day| format!("it is used up on {day}"));
        println!("budget {budget} {currency}: {left} tickets left; {reached}");
    }
    Ok(ExitCode::SUCCESS)
}

fn whole_budget(accounts: &Accounts) -> Option<Decimal> {
    let config = &accounts.config;
    let policy = backtest::read_policy(config, &config.gateway.rules).ok()?;
    let gateway = config.gateway.id.as_str();
    let whole = |budget: &&Budget| budget.scope.is_whole() && budget.scope.is_on(gateway);
    policy.budgets.iter().find(whole).map(|budget| budget.amount)
}

/// Who pays which part of a period.
pub fn chargeback(args: &ChargebackArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = args.from.open(globals)?;
    let period = accounts.period(args.period.as_deref())?;
    let drafted = draft(&accounts.books, &accounts.active, &period, &[])?;
    let by = match args.by {
        Sharer::Customer => By::Customer,
        Sharer::Site => By::Site,
        Sharer::Region => By::Region,
        Sharer::DeviceClass => By::DeviceClass,
        Sharer::Rule => By::Rule,
    };
    let rows = accounts.rows(period.start)?.into_iter().filter(|row| period.contains(row.time));
    let shares = billing::chargeback(accounts.active.plan(), &drafted.bill, by, rows);
    let total = drafted.bill.total;
    if args.format == Format::Json {
        let told = json!({
            "period": period.id, "currency": drafted.bill.currency, "shares": shares, "total": total,
        });
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(ExitCode::SUCCESS);
    }
    let name = |name: &str| if name.is_empty() { "-".to_owned() } else { cut(name, 60) };
    let mut rows: Vec<Vec<String>> =
        shares.iter().map(|share| vec![name(&share.name), share.amount.to_string()]).collect();
    rows.push(vec!["total".to_owned(), format!("{total} {}", drafted.bill.currency)]);
    print!("{}", table(&["who", "amount"], &rows));
    Ok(ExitCode::SUCCESS)
}

/// The supplier's invoice against the ledger; 1 where they differ.
pub fn reconcile(args: &ReconcileArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = args.from.open(globals)?;
    let period = accounts.period(args.period.as_deref())?;
    let file = args.invoice.display();
    let text = std::fs::read_to_string(&args.invoice);
    let text = text.with_context(|| format!("{file}: cannot be read as UTF-8"))?;
    let theirs = read_invoice(&text).map_err(|wrong| anyhow::anyhow!("{file}: {wrong}"))?;
    let drafted = draft(&accounts.books, &accounts.active, &period, &[])?;
    // A ticket that the invoice names may be of any time.
    let mut rows: Vec<LedgerRow> = Vec::new();
    accounts.books.rows_from(1, &mut |row| rows.push(row))?;
    let plan = accounts.active.plan();
    let found = billing::reconcile(plan, &drafted.bill, &period, &theirs, rows.into_iter());
    let same = found.rows.is_empty();
    if args.format == Format::Json {
        let classes: serde_json::Map<String, serde_json::Value> = found
            .classes
            .iter()
            .map(|(class, (count, sum))| {
                ((*class).to_owned(), json!({ "rows": count, "difference": sum }))
            })
            .collect();
        let told = json!({
            "period": period.id, "theirs": found.theirs, "ours": found.ours,
            "difference": found.difference, "classes": classes, "rows": found.rows,
        });
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        let counted = found.classes.iter().filter(|(_, (count, _))| *count > 0);
        let rows = counted.map(|(class, (count, sum))| {
            vec![(*class).to_owned(), count.to_string(), sum.to_string()]
        });
        print!("{}", table(&["class", "rows", "difference"], &rows.collect::<Vec<_>>()));
        println!(
            "invoice {}, ledger {}, difference {}",
            found.theirs, found.ours, found.difference
        );
        for row in found.rows.iter().take(DIFFERENCES_MAX) {
            let line = row.row.map_or_else(|| "ledger".to_owned(), |row| format!("line {row}"));
            println!(
                "{line}: {} {}: {} against {}",
                row.class.word(),
                row.what,
                row.theirs,
                row.ours
            );
        }
        let more = found.rows.len().saturating_sub(DIFFERENCES_MAX);
        if more > 0 {
            println!("and {more} more; --format json has all");
        }
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Plans side by side.
pub fn compare(args: &CompareArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let plans = args.plans.iter().map(|path| backtest::read_plan(path));
    let plans = plans.collect::<anyhow::Result<Vec<Plan>>>()?;
    let was = match &args.usage {
        Some(file) => vec![read_usage(file)?],
        None => months_of_ledger(args, globals, plans.first().context("no plan")?)?,
    };
    let scenarios = if args.scenario.is_empty() {
        Scenario::WORDS.iter().map(|(_, scenario)| *scenario).collect()
    } else {
        let read = |word: &String| {
            let words: Vec<&str> = Scenario::WORDS.iter().map(|(word, _)| *word).collect();
            Scenario::parse_word(word)
                .with_context(|| format!("`--scenario {word}` is not one of {}", words.join(", ")))
        };
        args.scenario.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?
    };
    let offers: Vec<Offer<'_>> =
        plans.iter().map(|plan| Offer { plan, needed: &args.need }).collect();
    let mut comparisons = Vec::new();
    for scenario in scenarios {
        let months = scenario.months(&was, usize::from(args.months));
        comparisons.push(billing::compare(&offers, scenario, &months)?);
    }
    if args.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&json!({ "scenarios": comparisons }))?);
        return Ok(ExitCode::SUCCESS);
    }
    for comparison in &comparisons {
        println!("{}, {} months", comparison.scenario, comparison.months);
        let row = |plan: &billing::Ranked| {
            vec![
                plan.rank.to_string(),
                cut(&plan.plan, 22),
                plan.total.to_string(),
                plan.one_off.to_string(),
                plan.worst_month.to_string(),
                plan.per_ticket.map_or_else(|| "-".to_owned(), |each| each.to_string()),
            ]
        };
        let rows: Vec<Vec<String>> = comparison.plans.iter().map(row).collect();
        print!("{}", table(&["", "plan", "in all", "once", "worst month", "a ticket"], &rows));
        for plan in &comparison.plans {
            println!("  {}: {}", plan.plan, plan.why);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_usage(file: &Path) -> anyhow::Result<Usage> {
    let text = files::read(file)?;
    let mut usage = Usage::from_json(&text.text).with_context(|| text.file.clone())?;
    if usage.days_in_period().is_none() {
        usage.set("days_in_period", Decimal::from(30));
    }
    Ok(usage)
}

/// Use of the whole months of the ledger, the newest twelve; of the current one where there is none.
fn months_of_ledger(
    args: &CompareArgs,
    globals: &Globals,
    plan: &Plan,
) -> anyhow::Result<Vec<Usage>> {
    let mut config = crate::config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    let books = super::super::books::Opened::open(&config, args.ledger.as_deref())?;
    let policy = backtest::read_policy(&config, &config.gateway.rules)?;
    let told = policy.plan.map(|active| active.told().clone()).unwrap_or_default();
    let active = ActivePlan::new(plan.clone(), told);
    let calendar = calendar(plan, config.gateway.zone);
    let mut tallies: Vec<Tally> = Vec::new();
    let mut newest = Timestamp::EPOCH;
    books.rows_from(1, &mut |row| {
        newest = newest.max(row.time);
        let known = tallies.iter().position(|tally| tally.period().contains(row.time));
        let index = known.unwrap_or_else(|| {
            tallies.push(Tally::new(calendar.period(row.time), &active));
            tallies.len() - 1
        });
        if let Some(tally) = tallies.get_mut(index) {
            tally.take(&row);
        }
    })?;
    tallies.sort_by_key(|tally| tally.period().start);
    if tallies.is_empty() {
        bail!("the ledger has no rows; give a month with `--usage FILE`");
    }
    if tallies.len() > 1 {
        tallies.retain(|tally| !tally.period().contains(newest));
    }
    let skipped = tallies.len().saturating_sub(12);
    Ok(tallies.iter().skip(skipped).map(|tally| tally.usage(&active)).collect())
}

/// What a change of plan within the period would come to.
pub fn change(args: &ChangeArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let accounts = args.from.open(globals)?;
    let period = accounts.period(Some(&args.on.to_string()))?;
    let new = backtest::read_plan(&args.to)?;
    let old = accounts.active.plan();
    let from = crate::engine::types::period::first_instant(accounts.zone(), args.on);
    let first: chrono::NaiveDate = period.id.parse().context("the period has no first day")?;
    let day = u32::try_from((args.on - first).num_days()).unwrap_or(0);
    let in_force = |plan: &Plan| ActivePlan::new(plan.clone(), accounts.active.told().clone());
    let (old_active, new_active) = (in_force(old), in_force(&new));
    let mut before = Tally::new(period.clone(), &old_active);
    let mut after = Tally::new(period.clone(), &new_active);
    let mut all = before.clone();
    for row in accounts.rows(period.start)? {
        if row.time < from {
            before.take(&row)
        } else {
            after.take(&row)
        }
        all.take(&row);
    }
    let used = [before.usage(&old_active), after.usage(&new_active), all.usage(&old_active)];
    let [used_before, used_after, used] = used;
    let told = billing::preview((old, &used_before), (&new, &used_after), &used, day, period.days)?;
    let whole = rate(&new, &used)?.total;
    if args.format == Format::Json {
        let told = json!({
            "period": period.id, "on": args.on, "before": told.before, "after": told.after,
            "total": told.total, "kept": told.kept, "new_for_all": whole,
        });
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(ExitCode::SUCCESS);
    }
    let rest = period.days.saturating_sub(day);
    println!("{day} days on {}: {}", old.id, told.before.total);
    println!("{rest} days on {}: {}", new.id, told.after.total);
    println!("in all {} {}; without the change {}", told.total, new.currency, told.kept);
    Ok(ExitCode::SUCCESS)
}
