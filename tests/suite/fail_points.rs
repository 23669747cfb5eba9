//! The process dies at each place of the write path, under load: each fault has one ticket.

use faultgate::fail::PLACES;

use crate::gateway::{HOT, Home, publish, report};
use crate::mosquitto::Mosquitto;

const FAULTS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_one_ticket_wherever_in_the_write_path_the_process_dies() {
    let Some(broker) = Mosquitto::start() else {
        eprintln!("skipped: mosquitto is not installed");
        return;
    };
    let home = Home::new(HOT, &broker.source());
    let first = home.start();
    // What is published before the broker knows us is kept by nobody.
    first.ready().await;
    let mut gateway = Some(first);
    for (round, place) in PLACES.iter().enumerate() {
        if let Some(gateway) = gateway.take() {
            gateway.kill();
        }
        let faults: Vec<_> =
            (0..FAULTS).map(|n| report(&format!("m-{round}-{n}"), "{\"temp_c\": 90}")).collect();
        publish(&broker.address(), &faults).await;
        let place = format!("{place}:1");
        // It may die before it is ready: the log is put into its place at the start.
        if let Ok(dying) = home.try_start(&[("FAULTGATE_FAIL", place.as_str())]) {
            assert!(dying.died().await, "it does not come to {place}");
        }
        let restarted = home.start();
        let expected = FAULTS * (round + 1);
        let tickets = restarted.all_delivered(expected).await;
        let mut devices: Vec<&str> = tickets.iter().filter_map(|t| t["device"].as_str()).collect();
        devices.sort_unstable();
        devices.dedup();
        assert_eq!(devices.len(), expected, "one ticket for each fault after {place}");
        let newest = restarted.desk().await.pop().expect("a ticket");
        assert_eq!(newest["id"], expected.to_string(), "doubled after {place}");
        gateway = Some(restarted);
    }
}
