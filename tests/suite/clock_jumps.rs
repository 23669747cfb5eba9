//! The wall clock of a running gateway is set forward and back while delays run and tickets wait
//! (libfaketime): one ticket for each fault, none lost, and no timer waits for hours.

use std::path::Path;
use std::time::Duration;

use crate::gateway::{Gateway, HOT, Home, publisher, report};
use crate::mosquitto::Mosquitto;
use crate::proxy::{Fate, Proxy};
use crate::real::{Count, Crm, send};

/// Where Debian's package `libfaketime` puts it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];
/// Faults at each jump; half of them return before their ticket can be opened.
const FAULTS: usize = 20;
/// Real time in which everything must have been told: a timer that waits for the wall clock to
/// catch up would take two hours.
const WITHIN: Duration = Duration::from_secs(60);
/// The delays of the rule.
const DELAY: Duration = Duration::from_secs(1);

/// Sets the wall clock so far from the real one.
fn set(clock: &Path, seconds: i64) {
    let next = clock.with_extension("next");
    std::fs::write(&next, format!("{seconds:+}\n")).expect("written");
    std::fs::rename(&next, clock).expect("put in place");
}

/// How a gateway is started whose wall clock the file `clock` sets; `None`, and a word about it,
/// where that cannot be had.
fn faked(clock: &Path) -> Option<Vec<(&'static str, String)>> {
    let Some(library) = LIBRARIES.iter().find(|file| Path::new(file).exists()) else {
        eprintln!("skipped: libfaketime is not installed");
        return None;
    };
    set(clock, 0);
    Some(vec![
        ("LD_PRELOAD", (*library).to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

fn start(home: &Home, env: &[(&'static str, String)]) -> Gateway {
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    home.try_start(&env).expect("ready")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_after_a_restart_counts_also_when_the_clock_was_set_back() {
    let home = Home::new(HOT, "");
    let clock = home.path().join("clock");
    let Some(env) = faked(&clock) else { return };
    let gateway = start(&home, &env);
    gateway.publish(&[report("泵-1", "{\"temp_c\": 90}")]).await;
    gateway.desk_until(|tickets| tickets.len() == 1).await;
    gateway.kill();
    set(&clock, -7_200);
    let gateway = start(&home, &env);
    gateway.publish(&[report("泵-1", "{\"temp_c\": 60}")]).await;
    gateway.desk_until(|tickets| tickets[0]["status"] == "resolved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_doubles_no_ticket_loses_none_and_keeps_no_timer_waiting() {
    let Some(broker) = Mosquitto::start() else { return };
    let crm = Crm::start().await;
    let proxy = Proxy::start(&crm.address).await;
    let rules = HOT.replace("severity", "on_delay = \"1s\"\noff_delay = \"1s\"\nseverity");
    let home = Home::new(&rules, &format!("{}{}", broker.source(), Crm::upstream(&proxy.address)));
    let clock = home.path().join("clock");
    let Some(env) = faked(&clock) else { return };
    let mut gateway = start(&home, &env);
    gateway.ready().await;
    let publisher = publisher(&broker.address());
    let mut devices = Vec::new();
    // Forward, back behind the real time, and there again with a restart.
    for (jump, seconds, restart) in [(0, 7_200, false), (1, -7_200, false), (2, 0, true)] {
        let faults: Vec<String> = (0..FAULTS).map(|n| format!("故障-{jump}-{n}")).collect();
        // Their tickets wait while the clock jumps.
        proxy.always(Fate::Refuse);
        for device in &faults[..FAULTS / 2] {
            send(&publisher, device, 90).await;
        }
        tokio::time::sleep(DELAY * 3).await;
        // The delays of the others run.
        for device in &faults[FAULTS / 2..] {
            send(&publisher, device, 90).await;
        }
        publisher.confirmed(WITHIN).await.expect("confirmed");
        set(&clock, seconds);
        if restart {
            gateway.kill();
            gateway = start(&home, &env);
        }
        proxy.always(Fate::Pass);
        devices.extend_from_slice(&faults);
        let opened = crm.until(&gateway, WITHIN, &devices, |count| count.lost == 0).await;
        for device in &faults {
            send(&publisher, device, 60).await;
        }
        let resolved = crm.until(&gateway, WITHIN, &devices, |count| count.unresolved == 0).await;
        let count = crm.count(&devices);
        println!(
            "clock at {seconds:+} s: {count}; opened {:.1} s after the jump, resolved {:.1} s after the last return",
            opened.as_secs_f64(),
            resolved.as_secs_f64(),
        );
        assert_eq!(count, Count::all_well(devices.len()));
    }
}
