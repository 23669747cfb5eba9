//! A ticket system that takes nothing for so long that the outbox is full: messages wait with their
//! broker, also over a kill, and each fault has one ticket in the end.

use std::time::Duration;

use faultgate::config;
use faultgate::engine::pipeline::Engine;
use faultgate::engine::policy;
use faultgate::engine::types::device::DeviceFacts;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::effect::Effects;
use faultgate::engine::types::input::Input;
use faultgate::engine::types::job::Action;
use faultgate::engine::types::message::{Reading, Value};
use faultgate::engine::types::time::{TimeSpan, Timestamp};
use tokio::time::Instant;

use crate::gateway::{Gateway, HOT, Home, publisher};
use crate::mosquitto::Mosquitto;
use crate::proxy::{Fate, Proxy};
use crate::real::{Count, Crm, send};

/// Jobs that may wait.
const BACKLOG: u64 = 100;
/// What one turn may take in beside them.
const UNDER_WAY: u64 = 512;
const FAULTS: usize = 900;
const WITHIN: Duration = Duration::from_secs(60);

/// Waits until messages are taken in, or are not any more.
async fn until_intake(gateway: &Gateway, wanted: bool) {
    let began = Instant::now();
    while gateway.get("/readyz").await["intake"] != wanted {
        assert!(began.elapsed() < WITHIN, "{}", gateway.get("/readyz").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// It has stopped to take messages in: nothing comes to what waits.
async fn holds_back(gateway: &Gateway) {
    until_intake(gateway, false).await;
    let health = gateway.get("/readyz").await;
    assert_eq!((&health["ready"], &health["store"]), (&false.into(), &true.into()));
    let waiting = gateway.outbox().await;
    assert!((BACKLOG..BACKLOG + UNDER_WAY).contains(&waiting), "{waiting} jobs wait");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(gateway.outbox().await, waiting, "nothing more is taken in");
    assert!(gateway.metrics().await.contains("faultgate_outbox_full 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_with_their_broker_while_the_outbox_is_full() {
    let Some(broker) = Mosquitto::start() else { return };
    let crm = Crm::start().await;
    let proxy = Proxy::start(&crm.address).await;
    let bounds = format!("[limits]\nmax_backlog = {BACKLOG}\n[storm]\nenabled = false\n");
    let upstream = Crm::upstream(&proxy.address);
    let home = Home::new(HOT, &format!("{bounds}{}{upstream}", broker.source()));
    let gateway = home.start();
    // What is published before the broker knows us is kept by nobody.
    gateway.ready().await;
    proxy.always(Fate::Refuse);
    let devices: Vec<String> = (0..FAULTS).map(|number| format!("故障-{number}")).collect();
    let publisher = publisher(&broker.address());
    for device in &devices {
        send(&publisher, device, 90).await;
    }
    publisher.confirmed(WITHIN).await.expect("the broker takes them");
    holds_back(&gateway).await;

    gateway.kill();
    let gateway = home.start();
    holds_back(&gateway).await;

    proxy.always(Fate::Pass);
    until_intake(&gateway, true).await;
    crm.until(&gateway, WITHIN, &devices, |count| count.lost == 0).await;
    let wanted = Count { unresolved: FAULTS, ..Count::all_well(FAULTS) };
    assert_eq!(crm.count(&devices), wanted, "one ticket for each fault");
}

/// One ticket for each site, told of at once.
const PER_SITE: &str = r#"
[defaults.ticket]
per = "site"
group_wait = "0s"
group_interval = "0s"
[[rule]]
id = "warm"
when = "t > 8"
severity = "major"
[[rule]]
id = "gas"
when = "ppm > 50"
severity = "critical"
"#;

#[test]
fn comments_give_way_before_messages_do_and_those_of_critical_tickets_never() {
    let mut settings = config::defaults().expect("defaults").settings().expect("settings");
    settings.backlog_max = 100;
    settings.storm.enabled = false;
    let (source, report) =
        (Source { file: "r.toml".into(), text: PER_SITE.into() }, Report::default());
    let policy = policy::compile(&[source], &["desk"], &report).expect("rules");
    let mut now = Timestamp::from_millis(1_767_225_600_000);
    let mut engine = Engine::new(settings, policy, now);
    // Nothing comes back from the upstream.
    let mut comments_after = |metric: &str, site: usize, device: usize| {
        now = now + TimeSpan::from_secs(1);
        let (id, site) = (format!("{site}-{device}"), format!("厂-{site}"));
        let facts = DeviceFacts { id, site, ..DeviceFacts::default() };
        let readings = vec![(metric.to_owned(), Reading::Good(Value::Int(90)))];
        engine.step(now, Input::Readings { facts, at: now, readings }, &mut Effects::default());
        let is_comment = |action: &Action| matches!(action, Action::Comment { .. });
        engine.outbox().jobs().filter(|job| is_comment(&job.action)).count()
    };
    comments_after("ppm", 99, 0);
    for site in 0..30 {
        comments_after("t", site, 0);
    }
    assert_eq!(comments_after("t", 0, 1), 1, "while there is room each is told at once");
    for site in 30..60 {
        comments_after("t", site, 0);
    }
    assert_eq!(comments_after("t", 0, 2), 1, "folded");
    assert_eq!(comments_after("t", 1, 1), 1, "folded");
    assert_eq!(comments_after("ppm", 99, 1), 2, "critical");
}
