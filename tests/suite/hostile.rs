//! A hostile proxy between the gateway and its ticket system: requests that are lost before or after
//! they are carried out, refused, delayed, repeated, and answers that break off or trickle.
//!
//! The long proof: `FAULTGATE_HOSTILE_FAULTS=1000`.

use std::time::Duration;

use crate::gateway::{Gateway, HOT, Home, report};
use crate::proxy::{Fate, Proxy};
use crate::real::{Count, Crm, asked, desk};

/// Faults where nothing else is asked for.
const FAULTS: usize = 15;
/// The dice of the proxy; `FAULTGATE_SEED` asks for others.
const SEED: usize = 11;

/// Has faults come and return through a gateway; their devices.
async fn have_faults(gateway: &Gateway) -> Vec<String> {
    let faults = asked("FAULTGATE_HOSTILE_FAULTS", FAULTS);
    let devices: Vec<String> = (0..faults).map(|number| format!("故障-{number}")).collect();
    for temp_c in [90, 60] {
        let said = format!("{{\"temp_c\": {temp_c}}}");
        let messages: Vec<_> = devices.iter().map(|device| report(device, &said)).collect();
        gateway.publish(&messages).await;
    }
    devices
}

fn tell(what: &str, count: &Count, proxy: &Proxy) {
    let met: Vec<String> = [
        Fate::Pass,
        Fate::Lose,
        Fate::Refuse,
        Fate::Close,
        Fate::Delay,
        Fate::Truncate,
        Fate::Slow,
        Fate::Repeat,
    ]
    .iter()
    .map(|fate| format!("{fate:?} {}", proxy.met(*fate)))
    .collect();
    println!("{what}: {count}; requests met {}", met.join(", "));
}

/// It trusts no idempotency key, so that nobody but the proxy may ask it twice for the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_can_only_be_searched_has_one_ticket_for_each_fault() {
    let crm = Crm::start().await;
    let proxy = Proxy::start(&crm.address).await;
    proxy.hostile(asked("FAULTGATE_SEED", SEED) as u64, false);
    let home = Home::new(HOT, &Crm::upstream(&proxy.address));
    let gateway = home.start();
    let devices = have_faults(&gateway).await;
    let done = |count: &Count| count.lost == 0 && count.unresolved == 0;
    crm.until(&gateway, within(devices.len()), &devices, done).await;
    let count = crm.count(&devices);
    tell("searched", &count, &proxy);
    assert_eq!(count, Count::all_well(devices.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_of_another_gateway_has_one_ticket_for_each_fault_also_when_it_is_asked_twice() {
    let other = Home::new(HOT, "");
    let other = other.start();
    let proxy = Proxy::start(&other.http).await;
    proxy.hostile(asked("FAULTGATE_SEED", SEED) as u64, true);
    let home = Home::new(
        HOT,
        &format!(
            "[[upstream]]\nname = \"other\"\nkind = \"desk\"\nurl = \"http://{}/\"\nrate = {{ per_second = 100000, burst = 100000 }}\n",
            proxy.address
        ),
    );
    let gateway = home.start();
    let devices = have_faults(&gateway).await;
    let deadline = tokio::time::Instant::now() + within(devices.len());
    let count = loop {
        let count = Count::of(&desk(&other).await, &devices);
        let is_done = count.lost == 0 && count.unresolved == 0 && gateway.outbox().await == 0;
        if is_done {
            break count;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {count}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tell("desk", &count, &proxy);
    assert_eq!(count, Count::all_well(devices.len()));
}

/// A breaker that opens now and then, for longer each time that nothing comes through.
fn within(faults: usize) -> Duration {
    Duration::from_secs(120 + faults as u64)
}
