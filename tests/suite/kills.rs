//! kill -9 at random moments, also while the gateway starts, with faults that arrive and return:
//! each has one ticket, at a ticket system that outlives the gateway and at the desk inside.
//!
//! The long proof: `FAULTGATE_KILLS=1000`; every fiftieth start then waits out the default `settle`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use crate::gateway::{HOT, Home, binary, publisher};
use crate::mosquitto::Mosquitto;
use crate::real::{Chance, Count, Crm, Load, asked, desk, send};

/// Kills where nothing else is asked for.
const KILLS: usize = 10;
/// Faults that each cycle begins; those of the cycle before return.
const FAULTS: usize = 10;
/// Messages a second of devices that are well.
const RATE: usize = 500;
/// Every so many starts the default settle window is kept; every so many are not waited for.
const EACH_SETTLES: usize = 50;
const EACH_STARTING: usize = 5;
/// Longest life of a gateway past its start, and past its settle window.
const LIFE_MAX_MS: u64 = 400;
const SETTLE: Duration = Duration::from_secs(15);

/// Faults of half of the devices go to the desk inside.
fn rules() -> String {
    let own = HOT.replace("class = \"machine\"", "class = \"machine\", device = \"d-*\"");
    let own = own.replace("\"hot\"", "\"hot-desk\"");
    let crm = HOT.replace("class = \"machine\"", "class = \"machine\", device = \"c-*\"");
    format!("{crm}\n{own}\n[rule.ticket]\nupstream = \"desk\"\n")
}

fn devices(kind: &str, cycles: usize) -> Vec<String> {
    (0..cycles * FAULTS).filter(|n| (n % 2 == 0) == (kind == "c")).map(device).collect()
}

fn device(number: usize) -> String {
    let kind = if number.is_multiple_of(2) { "c" } else { "d" };
    format!("{kind}-{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_one_ticket_and_is_resolved_whenever_the_gateway_is_killed() {
    let Some(broker) = Mosquitto::start() else { return };
    let kills = asked("FAULTGATE_KILLS", KILLS);
    let seed = asked("FAULTGATE_SEED", 7) as u64;
    let crm = Crm::start().await;
    let settling = |settle: &str| {
        format!(
            "[gateway]\nsettle = \"{settle}\"\n{}{}[[upstream]]\nname = \"desk\"\nkind = \"desk\"\nrate = {{ per_second = 100000, burst = 100000 }}\n",
            broker.source(),
            Crm::upstream(&crm.address)
        )
    };
    let home = Home::new(&rules(), &settling("0s"));
    let mut gateway = home.start();
    // What is published before the broker knows us is kept by nobody.
    gateway.ready().await;
    let load = Load::start(&broker.address(), asked("FAULTGATE_RATE", RATE));
    let publisher = publisher(&broker.address());
    let (mut chance, began) = (Chance::new(seed), Instant::now());
    for kill in 0..kills {
        for number in kill * FAULTS..(kill + 1) * FAULTS {
            send(&publisher, &device(number), 90).await;
            if let Some(earlier) = number.checked_sub(FAULTS) {
                send(&publisher, &device(earlier), 60).await;
            }
        }
        let settles = kill % EACH_SETTLES == EACH_SETTLES - 1;
        let life = Duration::from_millis(chance.below(LIFE_MAX_MS));
        tokio::time::sleep(if settles { SETTLE + life } else { life }).await;
        gateway.kill();
        home.write_config(&settling(if kill % EACH_SETTLES == EACH_SETTLES - 2 {
            "15s"
        } else {
            "0s"
        }));
        if kill % EACH_STARTING == EACH_STARTING - 1 && !settles {
            home.start_and_kill(life).await;
        }
        gateway = home.start();
    }
    for number in (kills - 1) * FAULTS..kills * FAULTS {
        send(&publisher, &device(number), 60).await;
    }
    publisher.confirmed(Duration::from_secs(60)).await.expect("confirmed");
    let (sent, _) = load.end().await;
    let (theirs, ours) = (devices("c", kills), devices("d", kills));
    let done = |count: &Count| count.lost == 0 && count.unresolved == 0;
    // What a kill left in the outbox is searched for, four a second.
    let within = Duration::from_secs(300 + 2 * kills as u64);
    crm.until(&gateway, within, &theirs, done).await;
    let took = began.elapsed();
    let desk = Count::of(&desk(&gateway).await, &ours);
    let count = crm.count(&theirs);
    println!(
        "{kills} kills (seed {seed}) in {:.1} min ({:.1} per 1,000), {sent} messages, {} faults: ticket system {count}; desk inside {desk}",
        took.as_secs_f64() / 60.0,
        took.as_secs_f64() / 60.0 * 1_000.0 / kills as f64,
        kills * FAULTS,
    );
    assert_eq!((count, desk), (Count::all_well(theirs.len()), Count::all_well(ours.len())));
    gateway.terminate();
    let (made, perhaps) = booked(&home);
    // One request of each start, of no ticket, proves that what is lost can be found again.
    let (requests, starts) = (crm.requests(), 1 + kills + kills / EACH_STARTING);
    println!(
        "{requests} requests over {starts} starts, {made} booked as made, {perhaps} as perhaps made"
    );
    let is_booked = requests <= made + perhaps + starts;
    assert!(made <= requests && is_booked, "what is carried out is booked");
}

/// Requests to the ticket system in the ledger: those that were made, and those that may have been
/// made when the process was killed.
fn booked(home: &Home) -> (usize, usize) {
    let mut export = Command::new(binary());
    let export = export.args(["ledger", "export"]).current_dir(home.path()).output().expect("runs");
    let sum = |state: &str| {
        let rows = export.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows = rows.map(|line| serde_json::from_slice::<Json>(line).expect("JSON"));
        let rows = rows.map(|row| row["data"].clone()).filter(|data| {
            let is_theirs = data["device"].as_str().is_some_and(|name| name.starts_with("c-"));
            is_theirs && data["meter"] == "api.call" && data["state"] == state
        });
        rows.map(|data| {
            data["qty"].as_str().and_then(|qty| qty.parse::<usize>().ok()).expect("so many")
        })
        .sum()
    };
    (sum("committed"), sum("ambiguous"))
}
