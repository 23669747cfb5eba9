//! A real Request Tracker that is stopped and started while faults come and return.
//!
//! `FAULTGATE_RT_RESTARTS=10` asks for more than one.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::{HOT, Home, report};
use crate::real::asked;
use crate::upstream::Tracker;

/// Faults of each round: some before the stop, some while it is away.
const FAULTS: usize = 12;
/// A breaker asks up to 16 s after the last failure; Request Tracker opens eight a second.
const WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_real_request_tracker_that_is_restarted_has_one_ticket_for_each_fault() {
    let Some(tracker) = Tracker::start() else { return };
    let restarts = asked("FAULTGATE_RT_RESTARTS", 1);
    let extra = format!("[[upstream]]\n{}", tracker.toml(tracker.server()));
    let home = Home::new(HOT, &extra);
    let gateway = home.start();
    let devices: Vec<String> = (0..restarts * FAULTS).map(|n| format!("泵-{n}")).collect();
    for faults in devices.chunks(FAULTS) {
        let say = async |devices: &[String], temp_c: usize| {
            let said = format!("{{\"temp_c\": {temp_c}}}");
            let messages: Vec<_> = devices.iter().map(|device| report(device, &said)).collect();
            gateway.publish(&messages).await;
        };
        // It is stopped in the middle of the first, and some return while it is away.
        say(&faults[..FAULTS / 2], 90).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        tracker.stop();
        say(&faults[..FAULTS / 4], 60).await;
        say(&faults[FAULTS / 2..], 90).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        tracker.start_again();
        say(&faults[FAULTS / 4..], 60).await;
    }
    let began = Instant::now();
    while gateway.outbox().await > 0 {
        assert!(began.elapsed() < WITHIN, "{} jobs wait", gateway.outbox().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let tickets = gateway.get("/api/v1/tickets").await;
    let mut doubled = 0;
    for ticket in tickets["tickets"].as_array().expect("tickets") {
        let key = ticket["fingerprint"].as_str().expect("a key");
        doubled += tracker.carrying(key).await.saturating_sub(1);
    }
    let (total, resolved) = (tracker.total().await, tracker.in_state("resolved").await);
    println!(
        "{restarts} restarts of a Request Tracker, {} faults: {total} tickets, {doubled} doubled, {resolved} resolved; all told {:.1} s after the last return",
        devices.len(),
        began.elapsed().as_secs_f64(),
    );
    let faults = devices.len() as u64;
    assert_eq!((total, doubled, resolved), (faults, 0, faults));
}
