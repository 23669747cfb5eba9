//! A storm over real parts, with storms and groups as they are by default: who has a ticket of his
//! own, who is in the list of the parent, and that nobody is lost.
//!
//! The long proof: `FAULTGATE_STORM_DEVICES=10000`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use faultgate::io::mqtt::publish::Publisher;
use tokio::time::Instant;

use crate::gateway::{Gateway, HOT, Home, publisher};
use crate::mosquitto::Mosquitto;
use crate::real::{Crm, asked};

/// Devices of a site; every 25th of them has a safety fault.
const SITE: usize = 100;
const SAFETY_EACH: usize = 25;
/// How often each device says the same, and within which time all of it is said.
const REPEATS: usize = 20;
const WITHIN: Duration = Duration::from_secs(10);
/// Alarms of a site before there is a storm (`[storm] enter`).
const BEFORE_STORM: usize = 10;

const GAS: &str = "[[rule]]\nid = \"gas\"\nmatch = { class = \"machine\" }\nwhen = \"gas > 100\"\nsafety = true\n";

fn is_safety(device: usize) -> bool {
    device % SITE % SAFETY_EACH == SAFETY_EACH - 1
}

fn name(device: usize) -> String {
    format!("d-{device}")
}

/// What a device says: that it has its fault, or that it is well.
async fn say(publisher: &Publisher, device: usize, fault: bool) {
    let (metric, value) = match (is_safety(device), fault) {
        (true, true) => ("gas", 500),
        (true, false) => ("gas", 5),
        (false, true) => ("temp_c", 90),
        (false, false) => ("temp_c", 20),
    };
    let topic = format!("plant/厂-{}/machine/{}/telemetry", device / SITE, name(device));
    let payload = format!("{{\"{metric}\": {value}}}").into_bytes();
    publisher.publish(&topic, payload, false).await.expect("taken on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_has_a_parent_for_each_site_and_a_list_of_all_that_are_in_it() {
    let Some(broker) = Mosquitto::start() else { return };
    let devices = asked("FAULTGATE_STORM_DEVICES", 1_000);
    let crm = Crm::start().await;
    let rules = format!("{}{GAS}", HOT.replace("severity = \"critical\"\n", ""));
    let extra = format!("{}{}[storm]\n", broker.source(), Crm::upstream(&crm.address));
    let home = Home::new(&rules, &extra);
    let gateway = home.start();
    gateway.ready().await;
    // One connection: the order of a site's devices decides who comes before the storm.
    let publisher = publisher(&broker.address());
    let began = Instant::now();
    let messages = devices * REPEATS;
    for number in 0..messages {
        if number % 50 == 0 {
            let due = WITHIN.mul_f64(number as f64 / messages as f64);
            tokio::time::sleep_until(began + due).await;
        }
        say(&publisher, number % devices, true).await;
    }
    publisher.confirmed(Duration::from_secs(120)).await.expect("confirmed");
    let published = began.elapsed();

    let sites = devices / SITE;
    let own = BEFORE_STORM + (BEFORE_STORM..SITE).filter(|n| is_safety(*n)).count();
    let tickets = sites * (own + 1);
    let within = Duration::from_secs(180);
    let drained = crm.until(&gateway, within, &[], |count| count.tickets >= tickets).await;
    assert_eq!(crm.filed().len(), tickets, "{own} and a parent for each of {sites} sites");
    let listed = listed(&gateway).await;
    for site in 0..sites {
        let (mut parent, mut alone) = (BTreeSet::new(), BTreeSet::new());
        for device in site * SITE..(site + 1) * SITE {
            let is_alone = device % SITE < BEFORE_STORM || is_safety(device);
            if is_alone {
                alone.insert(name(device))
            } else {
                parent.insert(name(device))
            };
        }
        let of_site = &listed[&format!("厂-{site}")];
        assert_eq!(of_site.parents, [parent], "the parent of site {site} lists what is in it");
        assert_eq!(of_site.alone, alone, "those of site {site} with tickets of their own");
    }
    let at_peak = gateway.memory("VmHWM");

    for device in 0..devices {
        say(&publisher, device, false).await;
    }
    publisher.confirmed(Duration::from_secs(120)).await.expect("confirmed");
    let resolved = crm.until(&gateway, within, &[], |count| count.unresolved == 0).await;
    println!(
        "{devices} devices at {sites} sites, {messages} messages in {:.1} s: {tickets} tickets, all there {:.1} s after the last message, resolved {:.1} s after the last return; {at_peak:.0} MB at the most ({:.0} MB in the end)",
        published.as_secs_f64(),
        drained.as_secs_f64(),
        resolved.as_secs_f64(),
        gateway.memory("VmHWM"),
    );
}

#[derive(Default)]
struct Site {
    /// Devices in the list of each parent.
    parents: Vec<BTreeSet<String>>,
    /// Devices that have a ticket of their own.
    alone: BTreeSet<String>,
}

/// The alarms of each site, by the tickets that `explain` lists them under.
async fn listed(gateway: &Gateway) -> BTreeMap<String, Site> {
    let mut sites: BTreeMap<String, Site> = BTreeMap::new();
    let tickets = gateway.get("/api/v1/tickets").await;
    for ticket in tickets["tickets"].as_array().expect("tickets") {
        let site = sites.entry(ticket["site"].as_str().expect("a site").to_owned()).or_default();
        if ticket["storm"].is_null() {
            site.alone.insert(ticket["device"].as_str().expect("a device").to_owned());
            continue;
        }
        let id = ticket["id"].as_str().expect("an id");
        let story = gateway.get(&format!("/api/v1/explain/{id}")).await;
        let alarms = story["alarms"].as_array().expect("alarms").iter();
        let devices = alarms.filter_map(|alarm| alarm["device"].as_str());
        site.parents.push(devices.map(str::to_owned).collect());
    }
    sites
}
