//! `faultgate alarms|tickets|devices|dead-letters show`: one of them in full.

use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::console::table;
use super::lists::{job_name, shelf, text};
use super::{Format, Globals, explain, remote};
use crate::engine::types::question::Question;

/// What to show.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// RULE/DEVICE (with /KEY for a rule with a key), tk-1, a device, or TICKET/NUMBER
    id: String,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Shows an alarm: what `explain` tells of it, and how it is kept from people.
pub(super) fn alarm(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = explained(&args.id, globals)?;
    let alarms = answer["alarms"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [alarm] = alarms else {
        let id = &args.id;
        match alarms.len() {
            0 => anyhow::bail!("there is no alarm {id}; see `faultgate alarms list --all`"),
            many => anyhow::bail!("{id} has {many} alarms; see `faultgate explain {id}`"),
        }
    };
    print(args.format, alarm, || {
        explain::print_text(&answer);
        if !alarm["shelf"].is_null() {
            let signed = &alarm["shelf"]["signature"];
            let (by, reason) = (text(&signed["by"]), text(&signed["reason"]));
            println!("kept from people: {} by {by}: {reason}", shelf(&alarm["shelf"]));
        }
    })
}

/// Shows a ticket.
pub(super) fn ticket(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = explained(&args.id, globals)?;
    let ticket = answer["tickets"].get(0);
    let ticket = ticket.ok_or_else(|| anyhow::anyhow!("there is no ticket {}", args.id))?;
    print(args.format, ticket, || {
        explain::print_ticket(ticket);
        facts(&[
            ("device", &ticket["device"]),
            ("site", &ticket["site"]),
            ("rule", &ticket["rule"]),
            ("opened", &ticket["opened_at"]),
            ("resolved", &ticket["resolved_at"]),
            ("taken by", &ticket["ack"]["by"]),
            ("raised still", &ticket["raised"]),
            ("key", &ticket["fingerprint"]),
        ]);
    })
}

/// Shows a device with its newest values and its alarms.
pub(super) fn device(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let id = utf8_percent_encode(&args.id, NON_ALPHANUMERIC);
    let path = format!("/api/v1/devices/{id}");
    let device = remote::ask(globals, &path, &Question::Device(args.id.clone()))?;
    if device.is_null() {
        anyhow::bail!("there is no device {}; see `faultgate devices list`", args.id);
    }
    print(args.format, &device, || print_device(&device))
}

/// Shows a call that was refused for good, with what it was to say.
pub(super) fn dead_letter(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let all = &Question::ALL_DEAD_LETTERS;
    let answer = remote::ask(globals, "/api/v1/dead-letters", all)?;
    let mut letters = answer["dead_letters"].as_array().into_iter().flatten();
    let letter = letters.find(|letter| job_name(letter) == args.id).ok_or_else(|| {
        anyhow::anyhow!("{} is no dead letter; see `faultgate dead-letters list`", args.id)
    })?;
    print(args.format, letter, || {
        facts(&[
            ("job", &json!(job_name(letter))),
            ("upstream", &letter["upstream"]),
            ("action", &letter["action"]["do"]),
            ("severity", &letter["severity"]),
            ("decided", &letter["created_at"]),
            ("given up", &letter["state"]["at"]),
            ("attempts", &letter["state"]["attempts"]),
            ("reason", &letter["state"]["reason"]),
            ("key", &letter["idempotency_key"]),
        ]);
        let said = ["title", "body", "text"].map(|part| &letter["action"][part]);
        for part in said.iter().filter_map(|part| part.as_str()) {
            println!("\n{part}");
        }
    })
}

fn explained(id: &str, globals: &Globals) -> anyhow::Result<Json> {
    let path = format!("/api/v1/explain/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
    remote::ask(globals, &path, &Question::Explain(id.to_owned()))
}

fn print(format: Format, shown: &Json, as_text: impl FnOnce()) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(shown)?),
        Format::Text => as_text(),
    }
    Ok(ExitCode::SUCCESS)
}

/// A line each of what is known.
fn facts(facts: &[(&str, &Json)]) {
    let known = facts.iter().filter(|(_, value)| !value.is_null() && **value != "");
    for (name, value) in known {
        println!("  {name:<14} {}", text(value));
    }
}

fn print_device(device: &Json) {
    println!("device {}", text(&device["id"]));
    let rules = device["rule_ids"].as_array().into_iter().flatten();
    let rules = json!(rules.map(text).collect::<Vec<_>>().join(", "));
    facts(&[
        ("class", &device["class"]),
        ("site", &device["site"]),
        ("region", &device["region"]),
        ("customer", &device["customer"]),
        ("model", &device["model"]),
        ("serial number", &device["serial"]),
        ("installed", &device["installed_at"]),
        ("warranty until", &device["warranty_until"]),
        ("registered", &device["registered"]),
        ("quarantined", &device["quarantined"]),
        ("offline", &device["offline"]),
        ("newest sample", &device["newest"]),
        ("samples", &device["samples"]),
        ("rules", &rules),
    ]);
    for (name, value) in device["labels"].as_object().into_iter().flatten() {
        println!("  label {name}: {}", text(value));
    }
    let list = |name: &str| device[name].as_array().cloned().unwrap_or_default();
    let values = list("values");
    let values = values.iter().map(|value| {
        let read = value["value"].as_str().unwrap_or("bad quality").to_owned();
        vec![text(&value["metric"]), read, text(&value["at"])]
    });
    let values: Vec<Vec<String>> = values.collect();
    if !values.is_empty() {
        print!("\n{}", table(&["metric", "value", "at"], &values));
    }
    let alarms = list("alarms");
    let alarms = alarms.iter().map(|row| {
        let alarm = &row["alarm"];
        let (rule, ticket) = (text(&alarm["rule"]), text(&alarm["episode"]["ticket"]));
        let shown = [text(&alarm["state"]), text(&row["severity"]), text(&row["since"])];
        shown.into_iter().chain([rule, super::lists::key(alarm), ticket]).collect()
    });
    let alarms: Vec<Vec<String>> = alarms.collect();
    if !alarms.is_empty() {
        let head = ["state", "severity", "since", "rule", "key", "ticket"];
        print!("\n{}", table(&head, &alarms));
    }
}
