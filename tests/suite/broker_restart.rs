//! A real Mosquitto that dies or is restarted while faults come and return.
//!
//! `FAULTGATE_BROKER_RESTARTS=6` asks for more than two of each kind; the pauses before a new connection
//! grow to half a minute meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::{HOT, Home, publisher};
use crate::mosquitto::Mosquitto;
use crate::real::{Count, Crm, asked, send};

/// Restarts where nothing else is asked for.
const RESTARTS: usize = 2;
/// Faults that begin between two restarts.
const FAULTS: usize = 20;
const CONFIRM_WITHIN: Duration = Duration::from_secs(60);
/// How often a device says how it is.
const SAY_EVERY: Duration = Duration::from_millis(200);

fn devices(rounds: usize) -> Vec<String> {
    (0..rounds * FAULTS).map(|number| format!("故障-{number}")).collect()
}

/// It keeps sessions and messages on disk: what it has confirmed is not said again by anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_keeps_its_messages_is_restarted_and_no_fault_is_said_twice() {
    let Some(mut broker) = Mosquitto::start_persistent() else { return };
    let restarts = asked("FAULTGATE_BROKER_RESTARTS", RESTARTS);
    let crm = Crm::start().await;
    let home = Home::new(HOT, &format!("{}{}", broker.source(), Crm::upstream(&crm.address)));
    let mut gateway = Some(home.start());
    if let Some(gateway) = &gateway {
        gateway.ready().await;
    }
    let devices = devices(restarts);
    let publisher = publisher(&broker.address());
    for (round, faults) in devices.chunks(FAULTS).enumerate() {
        for device in faults {
            send(&publisher, device, 90).await;
        }
        // Every other time the gateway is not there either, and its session waits on the disk.
        if round % 2 == 1
            && let Some(gateway) = gateway.take()
        {
            gateway.kill();
        }
        broker.terminate();
        assert!(broker.run());
        for device in faults {
            send(&publisher, device, 60).await;
        }
        publisher.confirmed(CONFIRM_WITHIN).await.expect("confirmed");
        if gateway.is_none() {
            broker.terminate();
            assert!(broker.run());
        }
        gateway = Some(gateway.unwrap_or_else(|| home.start()));
    }
    let gateway = gateway.expect("it runs");
    let done = |count: &Count| count.lost == 0 && count.unresolved == 0;
    crm.until(&gateway, CONFIRM_WITHIN, &devices, done).await;
    let count = crm.count(&devices);
    println!(
        "{restarts} restarts of a Mosquitto with persistence, {} faults: {count}",
        devices.len()
    );
    assert_eq!(count, Count::all_well(devices.len()));
}

/// Whether what devices say has come to tickets.
fn is_told(count: &Count, temp_c: usize) -> bool {
    count.lost == 0 && (temp_c > 80 || count.unresolved == 0)
}

/// It forgets sessions and messages: devices say again how they are, as they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgets_everything_dies_and_what_is_said_again_opens_nothing_new() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let restarts = asked("FAULTGATE_BROKER_RESTARTS", RESTARTS);
    let crm = Crm::start().await;
    let home = Home::new(HOT, &format!("{}{}", broker.source(), Crm::upstream(&crm.address)));
    let gateway = home.start();
    gateway.ready().await;
    let devices = devices(restarts);
    let publisher = publisher(&broker.address());
    for faults in devices.chunks(FAULTS) {
        for temp_c in [90, 60] {
            for device in faults {
                send(&publisher, device, temp_c).await;
            }
            broker.restart();
            let began = Instant::now();
            // What was confirmed and not passed on is gone with the broker, and so is what is said
            // before the gateway is there again.
            while !is_told(&crm.count(faults), temp_c) {
                assert!(began.elapsed() < CONFIRM_WITHIN, "still {}", crm.count(faults));
                for device in faults {
                    send(&publisher, device, temp_c).await;
                }
                publisher.confirmed(CONFIRM_WITHIN).await.expect("confirmed");
                tokio::time::sleep(SAY_EVERY).await;
            }
        }
    }
    let done = |count: &Count| count.lost == 0 && count.unresolved == 0;
    crm.until(&gateway, CONFIRM_WITHIN, &devices, done).await;
    let count = crm.count(&devices);
    println!(
        "{} deaths of a Mosquitto without persistence, {} faults: {count}",
        restarts * 2,
        devices.len()
    );
    assert_eq!(count, Count::all_well(devices.len()));
}
