//! The disk of the data folder is full for a while, under load: the gateway takes nothing in and says
//! so, nothing that it acknowledged is lost, and it goes on by itself when there is space.

use std::time::Duration;

use crate::gateway::{Gateway, HOT, Home, publish, report};
use crate::mosquitto::Mosquitto;
use crate::store_disk::SmallDisk;

/// How long the disk is full; `FAULTGATE_FULL_DISK_SECONDS` asks for more.
const SECONDS: u64 = 3;
/// Faults of a second, and ordinary samples beside each.
const FAULTS: usize = 10;
const SAMPLES: usize = 20;

/// Publishes a second of load: faults of machines of their own, from `first` on.
async fn load(address: &str, first: usize) -> usize {
    let faults = (first..first + FAULTS).flat_map(|number| {
        let device = format!("m-{number}");
        let ordinary = (0..SAMPLES).map(move |n| (format!("calm-{n}"), "{\"temp_c\": 20}"));
        ordinary.chain([(device, "{\"temp_c\": 90}")])
    });
    let messages: Vec<_> = faults.map(|(device, payload)| report(&device, payload)).collect();
    publish(address, &messages).await;
    first + FAULTS
}

/// Waits until the gateway says that its store refuses.
async fn refuses(gateway: &Gateway) {
    let refused = async {
        loop {
            let health = gateway.get("/readyz").await;
            if health["store"] == false {
                let error = health["error"].as_str().unwrap_or_default().to_owned();
                assert!(error.contains("too little space"), "{health}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("it says so");
    assert_eq!(gateway.get("/healthz").await["alive"], true);
    assert!(gateway.metrics().await.contains("faultgate_store_refused_total"));
}

/// Waits until as many tickets as there were faults are at the desk: one for each machine.
async fn one_ticket_each(gateway: &Gateway, faults: usize, within: Duration) {
    let opened = async {
        loop {
            let answer = gateway.get("/api/v1/tickets").await;
            let tickets = answer["tickets"].as_array().cloned().unwrap_or_default();
            if tickets.iter().filter(|ticket| ticket["external"].is_string()).count() >= faults {
                return tickets;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let tickets = tokio::time::timeout(within, opened).await.expect("every fault has a ticket");
    let mut devices: Vec<&str> = tickets.iter().filter_map(|t| t["device"].as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    assert_eq!((tickets.len(), devices.len()), (faults, faults), "one ticket for each fault");
    // The desk numbers its tickets: as many as there were faults, none of them twice.
    let newest = gateway.desk().await.pop().expect("a ticket");
    assert_eq!(newest["id"], faults.to_string(), "none is doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_a_while_loses_no_fault_and_doubles_none() {
    let Some(broker) = Mosquitto::start() else { return };
    let seconds = std::env::var("FAULTGATE_FULL_DISK_SECONDS").ok().and_then(|n| n.parse().ok());
    let seconds = seconds.unwrap_or(SECONDS);
    let within = Duration::from_secs(60 + seconds);
    let address = format!("127.0.0.1:{}", broker.port);
    let source = format!(
        "[[source]]\nname = \"plant\"\nurl = \"mqtt://{address}\"\ntopics = [\"plant/+/+/+/telemetry\"]\n\
         topic = \"plant/{{site}}/{{class}}/{{device}}/telemetry\"\n"
    );
    let home = Home::new(HOT, &source);
    let data = home.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let Some(disk) = SmallDisk::mount(&data, "192m") else { return };
    let gateway = home.start();
    gateway.ready().await;
    let mut faults = load(&address, 0).await;
    one_ticket_each(&gateway, faults, within).await;

    disk.fill();
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..seconds {
        clock.tick().await;
        faults = load(&address, faults).await;
    }
    refuses(&gateway).await;
    disk.empty();
    one_ticket_each(&gateway, faults, within).await;
    gateway.ready().await;

    // A stop waits for no space: what is not stored was not acknowledged.
    disk.fill();
    faults = load(&address, faults).await;
    refuses(&gateway).await;
    let (_, ended) = gateway.terminate();
    assert!(ended, "it stops while the disk is full");
    disk.empty();
    let gateway = home.start();
    one_ticket_each(&gateway, faults, within).await;

    disk.fill();
    faults = load(&address, faults).await;
    refuses(&gateway).await;
    gateway.kill();
    disk.empty();
    let gateway = home.start();
    one_ticket_each(&gateway, faults, within).await;
    println!("{faults} faults, one ticket each; the disk was full for {seconds} s and twice more");
}
