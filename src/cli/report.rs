//! `faultgate report alarms`: the figures of ISA-18.2; `report service`: tickets a day, how soon somebody took them, how many somebody did.

mod alarms;

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::NaiveDate;
use serde::Serialize;

use super::console::table;
use super::{Format, Globals, remote};
use crate::config;
use crate::engine::types::question::Question;
use crate::engine::types::ticket::TicketRecord;

/// `faultgate report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How many alarms people were shown, and how many were worth it (ISA-18.2, EEMUA 191)
    Alarms(alarms::Args),
    /// Tickets a day, response times and coverage
    Service {
        /// How to report
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// A day, or all of them.
#[derive(Debug, Default, Serialize)]
struct Figures {
    /// Tickets opened.
    opened: usize,
    /// Those that are resolved.
    resolved: usize,
    /// Those that somebody took.
    taken: usize,
    /// Those that somebody took or that were resolved by themselves, percent.
    coverage_percent: Option<u64>,
    /// Half of those that were taken, were taken within so many seconds.
    response_p50_s: Option<i64>,
    /// Nine of ten.
    response_p90_s: Option<i64>,
}

impl Figures {
    fn of(tickets: &[&TicketRecord]) -> Figures {
        let response = |ticket: &&TicketRecord| {
            let ack = ticket.ack.as_ref()?;
            Some(ack.at.since(ticket.opened_at).micros().max(0) / 1_000_000)
        };
        let mut responses: Vec<i64> = tickets.iter().filter_map(response).collect();
        responses.sort_unstable();
        let within = |percent: usize| {
            let rank = (responses.len() * percent).div_ceil(100);
            rank.checked_sub(1).and_then(|index| responses.get(index)).copied()
        };
        let covered = |ticket: &&&TicketRecord| ticket.ack.is_some() || ticket.status.is_over();
        let covered = tickets.iter().filter(covered).count() as u64;
        Figures {
            opened: tickets.len(),
            resolved: tickets.iter().filter(|ticket| ticket.resolved_at.is_some()).count(),
            taken: responses.len(),
            coverage_percent: (covered * 100).checked_div(tickets.len() as u64),
            response_p50_s: within(50),
            response_p90_s: within(90),
        }
    }

    fn row(&self, name: String) -> Vec<String> {
        let optional = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            name,
            self.opened.to_string(),
            self.resolved.to_string(),
            self.taken.to_string(),
            optional(self.coverage_percent.map(|percent| format!("{percent} %"))),
            optional(self.response_p50_s.map(duration)),
            optional(self.response_p90_s.map(duration)),
        ]
    }
}

fn duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Reports.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let format = match &args.what {
        What::Alarms(args) => return alarms::run(args, globals),
        What::Service { format } => format,
    };
    let zone = config::require(globals.config.as_deref())?.gateway.zone;
    let mut answer = remote::ask(globals, "/api/v1/tickets", &Question::Tickets)?;
    let tickets: Vec<TicketRecord> = serde_json::from_value(answer["tickets"].take())?;
    let mut days: BTreeMap<NaiveDate, Vec<&TicketRecord>> = BTreeMap::new();
    for ticket in &tickets {
        let day = ticket.opened_at.to_chrono().with_timezone(&zone).date_naive();
        days.entry(day).or_default().push(ticket);
    }
    let days: BTreeMap<NaiveDate, Figures> =
        days.into_iter().map(|(day, tickets)| (day, Figures::of(&tickets))).collect();
    let all = Figures::of(&tickets.iter().collect::<Vec<_>>());
    match format {
        Format::Json => {
            let told = serde_json::json!({ "days": days, "all": all });
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
        Format::Text => {
            let mut rows: Vec<Vec<String>> =
                days.iter().map(|(day, figures)| figures.row(day.to_string())).collect();
            rows.push(all.row("all".to_owned()));
            let head =
                ["day", "opened", "resolved", "taken", "coverage", "half taken in", "9 of 10 in"];
            print!("{}", table(&head, &rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}
