//! Four ways in which a gateway usually doubles or loses a ticket, each with real parts: Mosquitto at
//! QoS 1, 2,000 messages a second, faults that are reported by one message only, and a ticket system
//! over HTTP that trusts no idempotency key.
//!
//! The long proof: `FAULTGATE_OUTAGE_SECONDS=10 FAULTGATE_FAULTS=300`, and `FAULTGATE_RATE`.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::{HOT, Home, publisher};
use crate::mosquitto::Mosquitto;
use crate::proxy::{Fate, Proxy};
use crate::real::{Count, Crm, Load, asked, send};

/// POSTs beside one for each fault: those under way when the ticket system stops to answer, and
/// those that ask whether it answers again.
const EXTRA_POSTS_MAX: usize = 30;
/// Time before and after the trouble.
const QUIET: Duration = Duration::from_secs(1);

struct Way {
    name: &'static str,
    /// What requests that change something meet during the trouble.
    fate: Fate,
    /// The gateway is killed in the middle of it.
    kill: bool,
}

async fn goes_well(way: Way) {
    let Some(broker) = Mosquitto::start() else { return };
    let rate = asked("FAULTGATE_RATE", 2_000);
    let faults = asked("FAULTGATE_FAULTS", 90);
    let trouble = Duration::from_secs(asked("FAULTGATE_OUTAGE_SECONDS", 3) as u64);
    let crm = Crm::start().await;
    let proxy = Proxy::start(&crm.address).await;
    let home = Home::new(HOT, &format!("{}{}", broker.source(), Crm::upstream(&proxy.address)));
    let mut gateway = home.start();
    // What is published before the broker knows us is kept by nobody.
    gateway.ready().await;

    let load = Load::start(&broker.address(), rate);
    let devices: Vec<String> = (0..faults).map(|number| format!("故障-{number}")).collect();
    let spread = trouble + QUIET * 2;
    let began = Instant::now();
    let publishing = tokio::spawn({
        let (devices, publisher) = (devices.clone(), publisher(&broker.address()));
        async move {
            for (number, device) in devices.iter().enumerate() {
                let at = spread.mul_f64(number as f64 / devices.len() as f64);
                tokio::time::sleep_until(began + at).await;
                send(&publisher, device, 90).await;
            }
            publisher.confirmed(Duration::from_secs(60)).await.expect("confirmed");
        }
    });
    tokio::time::sleep_until(began + QUIET).await;
    proxy.always(way.fate);
    if way.kill {
        tokio::time::sleep_until(began + QUIET + trouble / 2).await;
        gateway.kill();
        gateway = home.start();
    }
    tokio::time::sleep_until(began + QUIET + trouble).await;
    proxy.always(Fate::Pass);
    publishing.await.expect("published");
    let (sent, per_second) = load.end().await;
    let late = crm.until(&gateway, Duration::from_secs(180), &devices, |count| count.lost == 0);
    let late = late.await;
    let (count, posts) = (crm.count(&devices), proxy.changes());
    println!(
        "{}: {sent} messages ({per_second:.0}/s), {faults} faults ({:.1}/s), {posts} POSTs, {} doubled, {} lost; quiet {:.1} s after the last",
        way.name,
        faults as f64 / spread.as_secs_f64(),
        count.doubled,
        count.lost,
        late.as_secs_f64(),
    );
    let wanted = Count { unresolved: faults, ..Count::all_well(faults) };
    assert_eq!(count, wanted, "{}", way.name);
    if way.fate == Fate::Refuse && !way.kill {
        assert!(posts <= faults + EXTRA_POSTS_MAX, "{posts} POSTs for {faults} faults");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_system_that_is_busy() {
    goes_well(Way { name: "503", fate: Fate::Refuse, kill: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_system_that_opens_a_ticket_and_breaks_the_connection() {
    goes_well(Way { name: "committed, then cut off", fate: Fate::Lose, kill: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed() {
    goes_well(Way { name: "kill -9", fate: Fate::Pass, kill: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_while_its_ticket_system_is_busy() {
    goes_well(Way { name: "503 and kill -9", fate: Fate::Refuse, kill: true }).await;
}
