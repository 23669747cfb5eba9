//! `faultgate explain`: why an alarm, a ticket or an episode is as it is.

use std::process::ExitCode;

use serde_json::Value as Json;

use super::remote;
use super::{Format, Globals};
use crate::engine::types::question::Question;

/// What to explain.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// RULE/DEVICE, tk-1, an episode's id, a fingerprint, or the upstream's id of a ticket
    id: String,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Explains.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/explain/{}", args.id);
    let answer = remote::ask(globals, &path, &Question::Explain(args.id.clone()))?;
    if answer.is_null() {
        anyhow::bail!("nothing has the id `{}`; see `faultgate alarms list --all`", args.id);
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Text => print_text(&answer),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_text(answer: &Json) {
    for alarm in list(&answer["alarms"]) {
        println!("alarm {}/{}: {}", s(&alarm["rule"]), s(&alarm["device"]), s(&alarm["state"]));
        for rule in list(&answer["rules"]).filter(|rule| rule["id"] == alarm["rule"]) {
            println!(
                "  rule {}@{}: when {}",
                s(&rule["id"]),
                s(&rule["revision"]),
                s(&rule["when"])
            );
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
    for ticket in list(&answer["tickets"]) {
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

fn list(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

fn s(value: &Json) -> &str {
    value.as_str().unwrap_or("-")
}
