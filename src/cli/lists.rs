//! `faultgate alarms|tickets|devices|dead-letters`: lists for people and for programs, and acts; one of
//! them in full is `show.rs`.

use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::console::table;
use super::{Format, Globals, remote, show};
use crate::engine::types::question::Question;
use crate::engine::types::time::Timestamp;

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
    /// Show one alarm in full
    Show(show::Args),
    /// Take an alarm: the ladder stops
    Ack(AlarmAct),
    /// Let a latched alarm go
    Reset(AlarmAct),
    /// Keep an alarm from people for some time
    Shelve {
        #[command(flatten)]
        act: AlarmAct,
        /// For how long, at most `[limits] max_shelve`
        #[arg(long = "for", value_name = "TIME", default_value = "8h")]
        span: String,
        /// Only until it returns, if that is sooner
        #[arg(long)]
        one_shot: bool,
    },
    /// End that
    Unshelve(AlarmAct),
    /// Keep an alarm from people until it is put back
    OutOfService(AlarmAct),
    /// Put it back
    InService(AlarmAct),
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
    /// The alarm: RULE/DEVICE, or RULE/DEVICE/KEY for a rule with a key
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
    /// Show one ticket in full
    Show(show::Args),
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
    /// Show one device in full, with its newest values and its alarms
    Show(show::Args),
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
    /// Show one of them in full, with what it was to say
    Show(show::Args),
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

/// `faultgate audit`, `faultgate digest`.
#[derive(Debug, clap::Args)]
pub struct SinceArgs {
    /// From when on, in RFC 3339: 2026-04-11T00:00:00+08:00
    #[arg(long, value_name = "TIME", default_value = "1970-01-01T00:00:00Z")]
    since: String,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Tells what people did.
pub fn audit(args: &SinceArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let columns = ["at", "act", "subject", "by", "via", "reason"];
    since(args, globals, "audit", &columns, |since| Question::Audit { since })
}

/// Tells what was worth no ticket.
pub fn digest(args: &SinceArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let columns = ["at", "severity", "raised_at", "returned_at", "title"];
    since(args, globals, "digest", &columns, |since| Question::Digest { since })
}

fn since(
    args: &SinceArgs,
    globals: &Globals,
    what: &str,
    columns: &[&str],
    make: impl FnOnce(Timestamp) -> Question,
) -> anyhow::Result<ExitCode> {
    let since = Timestamp::parse_rfc3339(&args.since)
        .ok_or_else(|| anyhow::anyhow!("`{}` is no time in RFC 3339", args.since))?;
    let answer = remote::ask(globals, &format!("/api/v1/{what}?since={since}"), &make(since))?;
    let list = ListArgs { all: true, format: args.format };
    print(&list, &answer, what, columns, |record| {
        Some(columns.iter().map(|column| text(&record[*column])).collect())
    })
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
            let columns =
                ["state", "severity", "raised", "device", "rule", "key", "ticket", "shelf"];
            print(list, &answer, "alarms", &columns, |alarm| {
                let state = text(&alarm["state"]);
                let open = state != "normal" || !alarm["shelf"].is_null();
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
                        shelf(&alarm["shelf"]),
                    ]
                })
            })
        }
        AlarmVerb::Show(args) => show::alarm(args, globals),
        AlarmVerb::Ack(act) => alarm_act("ack", act, json!({}), globals),
        AlarmVerb::Reset(act) => alarm_act("reset", act, json!({}), globals),
        AlarmVerb::Shelve { act, span, one_shot } => {
            let how = json!({ "for": span, "one_shot": one_shot });
            alarm_act("shelve", act, how, globals)
        }
        AlarmVerb::Unshelve(act) => alarm_act("unshelve", act, json!({}), globals),
        AlarmVerb::OutOfService(act) => alarm_act("out-of-service", act, json!({}), globals),
        AlarmVerb::InService(act) => alarm_act("in-service", act, json!({}), globals),
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
        TicketVerb::Show(args) => show::ticket(args, globals),
        TicketVerb::Ack { id, reason } => {
            remote::act(globals, &format!("/api/v1/tickets/{id}/ack"), &remote::signed(reason))?;
            println!("{id} is taken by {}", remote::who());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Lists devices, or shows one.
pub fn devices(args: &DeviceArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let list = match &args.verb {
        DeviceVerb::List(list) => list,
        DeviceVerb::Show(args) => return show::device(args, globals),
    };
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
            let all = &Question::ALL_DEAD_LETTERS;
            let answer = remote::ask(globals, "/api/v1/dead-letters", all)?;
            let columns = ["job", "upstream", "action", "since", "reason"];
            print(list, &answer, "dead_letters", &columns, |job| {
                Some(vec![
                    job_name(job),
                    text(&job["upstream"]),
                    text(&job["action"]["do"]),
                    text(&job["state"]["at"]),
                    text(&job["state"]["reason"]),
                ])
            })
        }
        DeadLetterVerb::Show(args) => show::dead_letter(args, globals),
        DeadLetterVerb::Retry(act) => letter_act("retry", act, globals),
        DeadLetterVerb::Drop(act) => letter_act("drop", act, globals),
    }
}

/// How an alarm is kept from people, in a word or two.
pub(super) fn shelf(shelf: &Json) -> String {
    match shelf["kind"].as_str() {
        Some("shelved") => format!("until {}", text(&shelf["until"])),
        Some(_) => "out of service".to_owned(),
        None => "-".to_owned(),
    }
}

fn alarm_act(verb: &str, act: &AlarmAct, how: Json, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut parts = act.alarm.split('/');
    let (Some(rule), Some(device)) = (parts.next(), parts.next()) else {
        anyhow::bail!("`{}` is not an alarm; write RULE/DEVICE", act.alarm);
    };
    let mut body = remote::signed(&act.reason);
    body["rule"] = json!(rule);
    body["device"] = json!(device);
    body["key"] = parts.map(str::to_owned).collect();
    for (name, value) in how.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
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

/// A job as people write it: `tk-1/2`.
pub(super) fn job_name(job: &Json) -> String {
    format!("{}/{}", text(&job["key"]["ticket"]), job["key"]["number"])
}

/// A value as a cell of a table.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}
