//! What a storm costs: the real gateway with the real desk inside, for each policy of the price list
//! in `docs/billing.md`: tickets, calls and money, as the running gateway bills them.
//!
//! What passes for a minute may be shorter; the counter of a merged ticket is then written as often
//! in all. The long proof tells the hour in three minutes:
//! `FAULTGATE_STORM_ALARMS=80000 FAULTGATE_STORM_MINUTES=60 FAULTGATE_STORM_MINUTE_MS=3000`.

use std::process::Command;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::gateway::{Gateway, Home, binary, publisher};
use crate::real::asked;

/// Sites, each of which is one merge key.
const KEYS: usize = 40;
/// The prices of `docs/billing.md`.
const PLAN: &str = "[plan]\nid = \"storm\"\ncurrency = \"CNY\"\n\
    [[line]]\nid = \"tickets\"\nkind = \"per_unit\"\nmeter = \"ticket.created\"\nunit = \"1.20\"\n\
    [[line]]\nid = \"calls\"\nkind = \"per_unit\"\nmeter = \"api.call\"\nunit = \"0.01\"\n";
/// How long it may take until everything is told.
const WITHIN: Duration = Duration::from_secs(1_200);

/// Alarms over some minutes, each of another device, in turn at every site.
#[derive(Clone, Copy)]
struct Storm {
    alarms: usize,
    minutes: usize,
    /// What passes for a minute.
    minute: Duration,
}

impl Storm {
    fn asked() -> Storm {
        let minute = asked("FAULTGATE_STORM_MINUTE_MS", 2_000);
        Storm {
            alarms: asked("FAULTGATE_STORM_ALARMS", 800),
            minutes: asked("FAULTGATE_STORM_MINUTES", 2),
            minute: Duration::from_millis(u64::try_from(minute).expect("a time")),
        }
    }

    /// A gateway whose rule has this `ticket` table, before the storm.
    fn start(self, ticket: &str, budgets: &str) -> (Home, Gateway) {
        let rule = format!(
            "[[rule]]\nid = \"hot\"\nmatch = {{ class = \"machine\" }}\nwhen = \"temp_c > 80\"\nseverity = \"minor\"\n[rule.ticket]\n{ticket}\n"
        );
        let extra = format!(
            "[gateway]\nsettle = \"0s\"\nplan = \"plan.toml\"\n[limits]\nmax_backlog = {}\n",
            10 * self.alarms.max(10_000)
        );
        let home = Home::new(&rule, &extra);
        std::fs::write(home.path().join("plan.toml"), PLAN).expect("written");
        std::fs::write(home.path().join("budgets.toml"), budgets).expect("written");
        let gateway = home.start();
        (home, gateway)
    }

    /// Every alarm is raised, and a minute later everything is told.
    async fn rage(self, gateway: &Gateway) {
        gateway.ready().await;
        let publisher = publisher(&gateway.mqtt);
        let began = Instant::now();
        let lasts = self.minute * u32::try_from(self.minutes).expect("minutes");
        for alarm in 0..self.alarms {
            if alarm % 20 == 0 {
                let due = lasts.mul_f64(alarm as f64 / self.alarms as f64);
                tokio::time::sleep_until(began + due).await;
            }
            let topic = format!("plant/厂-{}/machine/机-{alarm}/telemetry", alarm % KEYS);
            publisher.publish(&topic, b"{\"temp_c\": 90}".to_vec(), false).await.expect("taken on");
        }
        publisher.confirmed(WITHIN).await.expect("confirmed");
        let deadline = Instant::now() + WITHIN;
        while gateway.counted("faultgate_messages_received_total").await < self.alarms {
            assert!(Instant::now() < deadline, "not all is taken in");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(self.minute + self.minute / 2).await;
        while gateway.outbox().await > 0 {
            assert!(Instant::now() < deadline, "not all is told");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What a storm has come to.
#[derive(Debug, PartialEq, Eq)]
struct Bill {
    tickets: usize,
    calls: usize,
    /// Money for tickets, for calls.
    lines: [Decimal; 2],
}

impl Bill {
    /// So many at 1.20 a ticket and 0.01 a call.
    fn of(tickets: usize, calls: usize) -> Bill {
        let cents = |cents: usize| Decimal::new(i64::try_from(cents).expect("money"), 2);
        Bill { tickets, calls, lines: [cents(120 * tickets), cents(calls)] }
    }

    /// The bill of the running gateway, held against the desk's own counters.
    async fn asked(home: &Home, gateway: &Gateway) -> Bill {
        let config = format!(
            "[gateway]\nplan = \"plan.toml\"\nbudgets = \"budgets.toml\"\n[http]\nlisten = \"{}\"\n",
            gateway.http
        );
        std::fs::write(home.path().join("here.toml"), config).expect("written");
        let usage = ask(home, &["bill", "usage"]);
        let ours = |meter: &str| {
            let rows = usage["usage"].as_array().expect("rows");
            let row = rows.iter().find(|row| row["meter"] == meter).expect("a meter");
            row["ours"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let (tickets, calls) = (ours("ticket.created"), ours("api.call"));
        assert_eq!(desk(gateway).await, (tickets, calls), "what the desk has counted");
        let invoice = ask(home, &["bill", "invoice", "--draft"]);
        let line = |id: &str| -> Decimal {
            let lines = invoice["lines"].as_array().expect("lines");
            let line = lines.iter().find(|line| line["id"] == id).expect("a line");
            line["amount"].as_str().expect("money").parse().expect("money")
        };
        let lines = [line("tickets"), line("calls")];
        assert_eq!(invoice["total"], (lines[0] + lines[1]).to_string());
        let verified = ask(home, &["ledger", "verify"]);
        assert_eq!(verified["intact"], true, "{verified}");
        Bill { tickets, calls, lines }
    }

    fn total(&self) -> Decimal {
        self.lines[0] + self.lines[1]
    }

    fn tell(&self, policy: &str) {
        let Bill { tickets, calls, lines } = self;
        println!("{policy}: {tickets} tickets {}, {calls} calls {}", lines[0], lines[1]);
    }
}

/// What a command that asks the running gateway says.
fn ask(home: &Home, arguments: &[&str]) -> Json {
    let mut command = Command::new(binary());
    command.current_dir(home.path()).args(["-c", "here.toml"]).args(arguments);
    let output = command.args(["--format", "json"]).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// Tickets and calls as the desk has counted them, this question apart.
async fn desk(gateway: &Gateway) -> (usize, usize) {
    let client = faultgate::io::upstream::plain_client().expect("a client");
    let url = format!("http://{}/desk/api/v1/tickets?limit=1", gateway.http);
    let answer = client.get(url).send().await.expect("an answer");
    let count = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.and_then(|text| text.parse::<usize>().ok()).expect("a counter")
    };
    (count("x-usage-tickets-created"), count("x-usage-api-calls") - 1)
}

/// Alarms that are on some ticket.
async fn on_tickets(gateway: &Gateway) -> u64 {
    let answer = gateway.get("/api/v1/tickets").await;
    let tickets = answer["tickets"].as_array().expect("tickets").iter();
    tickets.filter_map(|ticket| ticket["alarms"].as_u64()).sum()
}

/// The bill of a storm under a policy that loses no alarm.
async fn billed(policy: &str, ticket: &str, budgets: &str) -> Bill {
    let storm = Storm::asked();
    let (home, gateway) = storm.start(ticket, budgets);
    storm.rage(&gateway).await;
    let bill = Bill::asked(&home, &gateway).await;
    bill.tell(policy);
    assert_eq!(on_tickets(&gateway).await, storm.alarms as u64, "each alarm is on a ticket");
    bill
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_for_each_alarm_of_a_storm_is_paid_for_each_alarm() {
    let bill = billed("a ticket each", "per = \"alarm\"", "").await;
    let alarms = Storm::asked().alarms;
    assert_eq!(bill, Bill::of(alarms, alarms));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_for_each_alarm_that_is_merged_is_a_call_for_each_alarm() {
    let ticket = "per = \"site\"\ngroup_wait = \"0s\"\ngroup_interval = \"0s\"";
    let bill = billed("merged, a comment each", ticket, "").await;
    assert_eq!(bill, Bill::of(KEYS, Storm::asked().alarms));
}

/// A counter that is written every minute, from the first alarm on.
fn counted() -> String {
    format!("group_wait = \"0s\"\ngroup_interval = \"{}ms\"", Storm::asked().minute.as_millis())
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_that_are_merged_and_counted_are_a_call_a_minute_for_each_key() {
    let ticket = format!("per = \"site\"\n{}", counted());
    let bill = billed("merged, counted", &ticket, "").await;
    assert_eq!(bill, Bill::of(KEYS, KEYS * (1 + Storm::asked().minutes)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guard_folds_into_digests_is_counted_as_well() {
    let ticket = format!("per = \"alarm\"\n{}", counted());
    let budget =
        "[[budget]]\nid = \"all\"\namount = \"3000.00\"\nthresholds = { amber = 0, red = 90 }\n";
    let bill = billed("folded by the guard", &ticket, budget).await;
    // The second alarm is told by itself, as a ticket of one alarm does: one call more.
    assert_eq!(bill, Bill::of(KEYS, KEYS * (2 + Storm::asked().minutes)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_on_a_budget_never_costs_more_than_the_budget() {
    let storm = Storm::asked();
    // 3,000.00 for 80,000 alarms.
    let amount = Decimal::new(300_000, 2) * Decimal::from(storm.alarms) / Decimal::from(80_000);
    let budget = format!("[[budget]]\nid = \"all\"\namount = \"{amount}\"\n");
    let (home, gateway) = storm.start(&format!("per = \"alarm\"\n{}", counted()), &budget);
    storm.rage(&gateway).await;
    let bill = Bill::asked(&home, &gateway).await;
    bill.tell(&format!("a ticket each, on a budget of {amount}"));
    assert!(bill.total() <= amount, "{bill:?} on {amount}");
    let budgets = gateway.get("/api/v1/budgets").await;
    let held = budgets["held"].as_array().expect("a list").len() as u64;
    assert_eq!(on_tickets(&gateway).await + held, storm.alarms as u64, "nobody is lost");
}
