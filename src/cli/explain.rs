//! `faultgate explain`: why an alarm, a ticket or an episode is as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

use super::remote;
use super::{Format, Globals};
use crate::engine::rating::{self, Plan};
use crate::engine::types::question::Question;

/// What to explain.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// RULE/DEVICE, tk-1, an episode's id, a fingerprint, or the upstream's id of a ticket;
    /// `rejected` for the first message of each kind that was refused
    id: String,
    /// Price plans: what the calls for each ticket cost
    #[arg(long, value_name = "FILE", num_args = 1..)]
    plan: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Explains.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    if args.id == "rejected" {
        return rejected(args, globals);
    }
    let path = format!("/api/v1/explain/{}", args.id);
    let plans = args.plan.iter().map(|file| super::backtest::read_plan(file));
    let plans = plans.collect::<anyhow::Result<Vec<Plan>>>()?;
    let mut answer = remote::ask(globals, &path, &Question::Explain(args.id.clone()))?;
    if answer.is_null() {
        anyhow::bail!(
            "nothing has the id `{}`; see `faultgate alarms list --all` (a ticket that is over is kept as long as `[store] retention` says)",
            args.id
        );
    }
    if !plans.is_empty() {
        price(&mut answer, &plans, globals)?;
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Text => print_text(&answer),
    }
    Ok(ExitCode::SUCCESS)
}

/// What was refused since the start, and the first of each kind.
fn rejected(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = remote::ask(globals, "/api/v1/rejected", &Question::Rejected)?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Text => {
            let all: Vec<&Json> = list(&answer["rejected"]).collect();
            if all.is_empty() {
                println!("nothing was refused since the start of the gateway");
            }
            for rejected in all {
                let (source, reason) = (s(&rejected["source"]), s(&rejected["reason"]));
                let first = &rejected["first"];
                println!("{source}: {reason}, {} times, first {}", first["count"], s(&first["at"]));
                println!("  {}", s(&first["detail"]));
                if first["topic"] != "" {
                    println!("  topic    {}", s(&first["topic"]));
                    println!("  payload  {} ({} bytes)", s(&first["payload"]), first["bytes"]);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is told of alarms, tickets and what waits, for people.
pub(super) fn print_text(answer: &Json) {
    if list(&answer["alarms"]).next().is_none() {
        for now in list(&answer["now"]) {
            println!("alarm {}/{}: never began", s(&now["rule"]), s(&now["device"]));
            print_missing(now);
        }
    }
    for alarm in list(&answer["alarms"]) {
        print_alarm(alarm, &answer["rules"]);
        let same =
            |now: &&Json| ["rule", "device", "key"].iter().all(|part| now[*part] == alarm[*part]);
        list(&answer["now"]).filter(same).for_each(print_missing);
    }
    for ticket in list(&answer["tickets"]) {
        print_ticket(ticket);
    }
    for job in list(&answer["waiting"]) {
        let state = &job["state"];
        println!(
            "waiting {}/{} {}: {} {} {}",
            s(&job["key"]["ticket"]),
            job["key"]["number"],
            s(&job["action"]["do"]),
            s(&state["state"]),
            s(&state["not_before"]),
            s(&state["reason"])
        );
    }
}

fn print_alarm(alarm: &Json, rules: &Json) {
    let key = super::lists::key(alarm);
    let slash = if key.is_empty() { "" } else { "/" };
    let (rule, device, state) = (s(&alarm["rule"]), s(&alarm["device"]), s(&alarm["state"]));
    println!("alarm {rule}/{device}{slash}{key}: {state}");
    for rule in list(rules).filter(|rule| rule["id"] == alarm["rule"]) {
        println!("  rule {}@{}: when {}", s(&rule["id"]), s(&rule["revision"]), s(&rule["when"]));
        println!("    for {}, back after {}", s(&rule["on_delay"]), s(&rule["off_delay"]));
    }
    let episode = &alarm["episode"];
    if !episode.is_null() {
        println!(
            "  episode {} ({}): raised {}, returned {}, closed {}",
            episode["number"],
            s(&episode["id"]),
            s(&episode["raised_at"]),
            s(&episode["returned_at"]),
            s(&episode["closed_at"])
        );
        println!("  fingerprint {}", s(&episode["fingerprint"]));
        for value in list(&episode["values"]) {
            println!("    {} = {}", s(&value[0]), s(&value[1]));
        }
        if !episode["held_by"].is_null() {
            println!("  no ticket of its own: {}", s(&episode["held_by"]));
        }
    }
    for entry in list(&alarm["history"]) {
        let late = if entry["at"] == entry["now"] {
            String::new()
        } else {
            format!(" (known {})", s(&entry["now"]))
        };
        println!("  {}{late}  {}", s(&entry["at"]), s(&entry["what"]));
    }
}

fn print_missing(now: &Json) {
    let clear = now["clear_when"].as_str().map(|clear| format!(", clear_when {clear}"));
    println!("  now: when {}{}", s(&now["when"]), clear.unwrap_or_default());
    for missing in list(&now["missing"]) {
        println!("    {}", s(missing));
    }
}

/// A ticket in short.
pub(super) fn print_ticket(ticket: &Json) {
    println!(
        "ticket {} (upstream {} {}): {}, severity {}, {} alarms",
        s(&ticket["id"]),
        s(&ticket["upstream"]),
        s(&ticket["external"]),
        s(&ticket["status"]),
        s(&ticket["severity"]),
        ticket["alarms"]
    );
    println!("  {}", s(&ticket["title"]));
    let used = ticket["usage"].as_object().into_iter().flatten();
    let used: Vec<String> = used.map(|(meter, qty)| format!("{} {meter}", s(qty))).collect();
    if !used.is_empty() {
        println!("  used: {}", used.join(", "));
    }
    for cost in list(&ticket["cost"]) {
        println!("  cost: {} {} on {}", s(&cost["amount"]), s(&cost["currency"]), s(&cost["plan"]));
    }
}

/// Adds to each ticket what it costs on each plan: what the bill of its month would be less
/// without it. The month is that of the opening, in UTC.
fn price(answer: &mut Json, plans: &[Plan], globals: &Globals) -> anyhow::Result<()> {
    let all = remote::ask(globals, "/api/v1/tickets", &Question::Tickets)?;
    for ticket in answer["tickets"].as_array_mut().into_iter().flatten() {
        let month = |ticket: &Json| s(&ticket["opened_at"]).get(..7).unwrap_or("").to_owned();
        let of = month(ticket);
        let mut with = BTreeMap::new();
        list(&all["tickets"])
            .filter(|other| month(other) == of)
            .for_each(|other| add(&mut with, &other["usage"], Decimal::ONE));
        let mut without = with.clone();
        add(&mut without, &ticket["usage"], Decimal::NEGATIVE_ONE);
        let mut costs = Vec::new();
        for plan in plans {
            let bill = |usage: &BTreeMap<String, Decimal>| {
                let usage: Vec<(&str, Decimal)> =
                    usage.iter().map(|(meter, qty)| (meter.as_str(), *qty)).collect();
                rating::running_bill(plan, &usage)
            };
            let (with, without) = (bill(&with)?, bill(&without)?);
            let amount = (with.total - without.total).to_string();
            costs.push(json!({ "plan": with.plan, "currency": with.currency, "amount": amount }));
        }
        ticket["cost"] = Json::Array(costs);
    }
    Ok(())
}

fn add(sum: &mut BTreeMap<String, Decimal>, usage: &Json, sign: Decimal) {
    for (meter, qty) in usage.as_object().into_iter().flatten() {
        let qty = s(qty).parse::<Decimal>().unwrap_or_default();
        *sum.entry(meter.clone()).or_default() += qty * sign;
    }
}

fn list(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

fn s(value: &Json) -> &str {
    value.as_str().unwrap_or("-")
}
