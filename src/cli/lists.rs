//! `faultgate alarms|tickets|devices|dead-letters`: lists for people and for programs, and acts.

use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::console::table;
use super::remote;
use super::{Format, Globals};
use crate::engine::types::question::Question;

/// `faultgate alarms`.
#[derive(Debug, clap::Args)]
pub struct AlarmArgs {
    #[command(subcommand)]
    verb: AlarmVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AlarmVerb {
    /// List alarms
    List(ListArgs),
    /// Take an alarm: the ladder stops
    Ack(AlarmAct),
    /// Let a latched alarm go
    Reset(AlarmAct),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Everything that is kept, not only what is open
    #[arg(long)]
    all: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct AlarmAct {
    /// The alarm: RULE/DEVICE
    alarm: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// `faultgate tickets`.
#[derive(Debug, clap::Args)]
pub struct TicketArgs {
    #[command(subcommand)]
    verb: TicketVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TicketVerb {
    /// List tickets
    List(ListArgs),
    /// Show one ticket
    Show {
        /// The ticket: tk-1
        id: String,
    },
    /// Take every alarm of a ticket: the ladder stops
    Ack {
        /// The ticket: tk-1
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// `faultgate devices`.
#[derive(Debug, clap::Args)]
pub struct DeviceArgs {
    #[command(subcommand)]
    verb: DeviceVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DeviceVerb {
    /// List devices
    List(ListArgs),
}

/// `faultgate dead-letters`.
#[derive(Debug, clap::Args)]
pub struct DeadLetterArgs {
    #[command(subcommand)]
    verb: DeadLetterVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DeadLetterVerb {
    /// List what the upstream refused
    List(ListArgs),
    /// Send it again
    Retry(LetterAct),
    /// Give it up
    Drop(LetterAct),
}

#[derive(Debug, clap::Args)]
struct LetterAct {
    /// The job: TICKET/NUMBER, e.g. tk-1/2
    job: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// The values that tell an alarm from others of its rule on its device.
pub(super) fn key(alarm: &Json) -> String {
    let values = alarm["key"].as_array().into_iter().flatten();
    values.map(text).collect::<Vec<_>>().join("/")
}

/// Lists or handles alarms.
pub fn alarms(args: &AlarmArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    match &args.verb {
        AlarmVerb::List(list) => {
            let answer = remote::ask(globals, "/api/v1/alarms", &Question::Alarms)?;
            let columns = ["state", "severity", "raised", "device", "rule", "key", "ticket"];
            print(list, &answer, "alarms", &columns, |alarm| {
                let state = text(&alarm["state"]);
                let open = state != "normal";
                let episode = &alarm["episode"];
                (open || list.all).then(|| {
                    vec![
                        state,
                        text(&episode["severity"]),
                        text(&episode["raised_at"]),
                        text(&alarm["device"]),
                        text(&alarm["rule"]),
                        key(alarm),
                        text(&episode["ticket"]),
                    ]
                })
            })
        }
        AlarmVerb::Ack(act) => alarm_act("ack", act, globals),
        AlarmVerb::Reset(act) => alarm_act("reset", act, globals),
    }
}

/// Lists or handles tickets.
pub fn tickets(args: &TicketArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    match &args.verb {
        TicketVerb::List(list) => {
            let answer = remote::ask(globals, "/api/v1/tickets", &Question::Tickets)?;
            let columns = ["ticket", "upstream", "status", "severity", "opened", "device", "title"];
            let over = ["resolved", "verified", "followed_up", "closed", "cancelled", "merged"];
            print(list, &answer, "tickets", &columns, |ticket| {
                let status = text(&ticket["status"]);
                (list.all || !over.contains(&status.as_str())).then(|| {
                    vec![
                        text(&ticket["id"]),
                        text(&ticket["external"]),
                        status,
                        text(&ticket["severity"]),
                        text(&ticket["opened_at"]),
                        text(&ticket["device"]),
                        text(&ticket["title"]),
                    ]
                })
            })
        }
        TicketVerb::Show { id } => {
            let path = format!("/api/v1/explain/{id}");
            let answer = remote::ask(globals, &path, &Question::Explain(id.clone()))?;
            let ticket = answer["tickets"].get(0);
            let ticket = ticket.ok_or_else(|| anyhow::anyhow!("there is no ticket {id}"))?;
            println!("{}", serde_json::to_string_pretty(ticket)?);
            Ok(ExitCode::SUCCESS)
        }
        TicketVerb::Ack { id, reason } => {
            remote::act(globals, &format!("/api/v1/tickets/{id}/ack"), &remote::signed(reason))?;
            println!("{id} is taken by {}", remote::who());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Lists devices.
pub fn devices(args: &DeviceArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let DeviceVerb::List(list) = &args.verb;
    let answer = remote::ask(globals, "/api/v1/devices", &Question::Devices)?;
    let columns = ["device", "class", "site", "rules", "raised", "offline", "register"];
    print(list, &answer, "devices", &columns, |device| {
        let keys = ["id", "class", "site", "rules", "raised", "offline"];
        let register = match (&device["registered"], &device["quarantined"]) {
            (Json::Bool(true), _) => "registered",
            (_, Json::Bool(true)) => "quarantined",
            _ => "",
        };
        let known = keys.map(|key| text(&device[key])).into_iter();
        Some(known.chain([register.to_owned()]).collect())
    })
}

/// Lists or handles dead letters.
pub fn dead_letters(args: &DeadLetterArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    match &args.verb {
        DeadLetterVerb::List(list) => {
            let answer = remote::ask(globals, "/api/v1/dead-letters", &Question::DeadLetters)?;
            let columns = ["job", "upstream", "action", "since", "reason"];
            print(list, &answer, "dead_letters", &columns, |job| {
                Some(vec![
                    format!("{}/{}", text(&job["key"]["ticket"]), job["key"]["number"]),
                    text(&job["upstream"]),
                    text(&job["action"]["do"]),
                    text(&job["state"]["at"]),
                    text(&job["state"]["reason"]),
                ])
            })
        }
        DeadLetterVerb::Retry(act) => letter_act("retry", act, globals),
        DeadLetterVerb::Drop(act) => letter_act("drop", act, globals),
    }
}

fn alarm_act(verb: &str, act: &AlarmAct, globals: &Globals) -> anyhow::Result<ExitCode> {
    let (rule, device) = act
        .alarm
        .split_once('/')
        .ok_or_else(|| anyhow::anyhow!("`{}` is not an alarm; write RULE/DEVICE", act.alarm))?;
    let mut body = remote::signed(&act.reason);
    body["rule"] = json!(rule);
    body["device"] = json!(device);
    remote::act(globals, &format!("/api/v1/alarms/{verb}"), &body)?;
    println!("{verb}: {}", act.alarm);
    Ok(ExitCode::SUCCESS)
}

fn letter_act(verb: &str, act: &LetterAct, globals: &Globals) -> anyhow::Result<ExitCode> {
    let job = &act.job;
    let path = format!("/api/v1/dead-letters/{job}/{verb}");
    remote::act(globals, &path, &remote::signed(&act.reason))?;
    println!("{verb}: {job}");
    Ok(ExitCode::SUCCESS)
}

fn print(
    list: &ListArgs,
    answer: &Json,
    key: &str,
    head: &[&str],
    row: impl Fn(&Json) -> Option<Vec<String>>,
) -> anyhow::Result<ExitCode> {
    match list.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer[key])?),
        Format::Text => {
            let rows: Vec<Vec<String>> =
                answer[key].as_array().into_iter().flatten().filter_map(row).collect();
            print!("{}", table(head, &rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}
