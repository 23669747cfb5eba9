//! Sparkplug B: captures of independent edge nodes, and a node that the running gateway hears.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use faultgate::config;
use faultgate::engine::decode::{Decoders, Heard, News, SourceSpec, read_source};
use faultgate::engine::pipeline::{Engine, Snapshot};
use faultgate::engine::policy;
use faultgate::engine::rehearsal::{Rehearsal, event_word};
use faultgate::engine::types::decision::Decision;
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::effect::{Effects, Write};
use faultgate::engine::types::input::Input;
use faultgate::engine::types::message::{Delivery, Message, Reading};
use faultgate::engine::types::names::{Metric, Names};
use faultgate::engine::types::time::Timestamp;
use serde_json::Value as Json;

use crate::gateway::{Home, publish};
use crate::mosquitto::Mosquitto;

/// The recordings that are no part of the project: `FAULTGATE_DATA`, else beside the checkout.
fn recordings() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    std::env::var_os("FAULTGATE_DATA").map_or_else(beside, PathBuf::from).join("sparkplug")
}

fn source() -> SourceSpec {
    let text = "name = \"plant\"\ndecoder = \"sparkplug-b\"".to_owned();
    let (source, report) = (Source { file: "f.toml".into(), text }, Report::default());
    let place = Place { source: &source, report: &report };
    read_document(place, |table| read_source(table, 262_144)).expect("a source")
}

/// A value as the capture's own decoder wrote it; `None` for what is no single value.
fn expected(metric: &Json) -> Option<String> {
    let value = &metric["value"];
    let bad = || Some("!".to_owned());
    if metric["is_null"] == true || metric["properties"]["Quality"] == 0 {
        return bad();
    }
    match value {
        Json::Bool(flag) => Some(flag.to_string()),
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.as_f64()?.to_string()),
        Json::Object(special) => match (special.get("int"), special.get("float")) {
            (Some(int), _) => Some(int.as_str()?.parse::<f64>().ok()?.to_string()),
            (_, Some(_)) => bad(),
            (None, None) => None,
        },
        Json::Null | Json::Array(_) => None,
    }
}

/// `time name value`, with `past` for history, of every metric that has a name and a value.
fn told(message: &Json) -> Vec<String> {
    let is_birth = message["verb"].as_str().is_some_and(|verb| verb.ends_with("BIRTH"));
    let mut told = Vec::new();
    for metric in message["metrics"].as_array().into_iter().flatten() {
        let name = metric["name"].as_str().unwrap_or_default();
        if name.is_empty() || name == "bdSeq" || name.starts_with("Node Control/") {
            continue;
        }
        let own = if is_birth { &Json::Null } else { &metric["timestamp"] };
        let at = own.as_i64().or(message["timestamp"].as_i64()).expect("a time");
        let past = if metric["is_historical"] == true { " past" } else { "" };
        told.extend(expected(metric).map(|value| format!("{at}{past} {name} {value}")));
    }
    told.sort();
    told
}

/// What the gateway heard, in the same words.
fn heard(heard: &Heard, metrics: &Names<Metric>) -> Vec<String> {
    let mut told = Vec::new();
    for decoded in &heard.decoded {
        let (at, past, readings) = match &decoded.news {
            News::Readings { at, readings } => (*at, "", readings),
            News::History { at, readings } => (Some(*at), " past", readings),
            News::Presence { .. } | News::Stale => continue,
        };
        let at = at.map_or(0, |at| at.micros() / 1_000);
        for (id, reading) in readings {
            let value = match reading {
                Reading::Good(value) => match value.as_number() {
                    Some(number) if !value.to_string().starts_with(['t', 'f']) => {
                        number.to_string()
                    }
                    Some(_) | None => value.to_string(),
                },
                Reading::Bad => "!".to_owned(),
            };
            told.push(format!("{at}{past} {} {value}", metrics.text(*id)));
        }
    }
    told.sort();
    told
}

#[test]
fn captures_of_independent_nodes_say_what_their_own_decoders_say() {
    let folder = recordings();
    for name in ["js-client-kill", "pysparkplug-kill"] {
        let read = |ending: &str| std::fs::read_to_string(folder.join(format!("{name}.{ending}")));
        let (Ok(capture), Ok(decoded)) = (read("ndjson"), read("expected.json")) else {
            eprintln!("skipped: no {name} in {}; set FAULTGATE_DATA", folder.display());
            continue;
        };
        let decoded: Vec<Json> = serde_json::from_str(&decoded).expect("JSON");
        let mut metrics = Names::default();
        let all = decoded.iter().flat_map(|message| message["metrics"].as_array());
        for metric in all.flatten() {
            metrics.intern(metric["name"].as_str().unwrap_or_default());
        }
        let spec = source();
        let mut decoders = Decoders::new(std::slice::from_ref(&spec));
        let mut reasons = Vec::new();
        let mut asked = 0;
        let mut last = Heard::default();
        for (line, decoded) in capture.lines().zip(&decoded) {
            let line: Json = serde_json::from_str(line).expect("JSON");
            let bytes = line["b64"].as_str().expect("a payload");
            let message = Message {
                source: 0,
                topic: line["topic"].as_str().expect("a topic").to_owned(),
                payload: base64::engine::general_purpose::STANDARD.decode(bytes).expect("base64"),
                retain: false,
                delivery: faultgate::engine::types::message::Delivery::Once,
            };
            let received = Timestamp::from_millis(line["rx_ms"].as_i64().expect("a time"));
            last = Heard::default();
            decoders.decode(&spec, &metrics, &message, received, &mut last);
            let is_ours = !matches!(decoded["verb"].as_str(), Some("NCMD" | "NDEATH"));
            if is_ours {
                assert_eq!(heard(&last, &metrics), told(decoded), "{name}: {}", message.topic);
            }
            reasons.extend(last.refused.iter().map(|refusal| refusal.reason.word()));
            asked += last.publish.len();
        }
        let is_gone = |news: &News| matches!(news, News::Presence { online: false });
        let gone = last.decoded.iter().filter(|decoded| is_gone(&decoded.news)).count();
        assert_eq!(gone, 2, "{name}: the will on kill takes node and device along");
        match name {
            // Two births with a DataSet and Bytes each.
            "js-client-kill" => assert_eq!((reasons, asked), (vec!["datatype"; 4], 0)),
            // An array in the birth, NaN, a lost message, an alias that no birth gave.
            _ => {
                let expected = vec!["datatype", "number", "sequence", "unknown-alias"];
                assert_eq!((reasons, asked), (expected, 1));
            }
        }
    }
}

/// Encoded by `sparkplug-payload` 1.0.3 (npm): a birth of the node, one of its device with 温度
/// under alias 10 and `Motor/Temp` under 11, and data with 温度 = 9.75 by alias alone.
const NBIRTH: &str = "0898dbb7d4d733120b0a05626453657120085803121a0a144e6f646520436f6e74726f6c2f52656269727468200b700012130a084e6f64652f4350551001200965000041421800";
const DBIRTH: &str = "0898dbb7d4d73312110a06e6b8a9e5baa6100a2009653333c34012190a0a4d6f746f722f54656d70100b200a6900000000008034401801";
const DDATA: &str = "08e8eab7d4d7331209100a20096500001c411802";
const NDEATH: &str = "08a082b8d4d733120b0a05626453657120085803";

const RULES: &str = r#"
[[rule]]
id = "warm"
match = { device = "厂/gw/冷机-3" }
when = 'm["温度"] > 9.0'
clear_when = 'm["温度"] < 7.0'
title = { zh = "过热", en = "Warm" }

[[rule]]
id = "gone"
match = { device = "厂/*" }
when = "offline()"
title = { zh = "离线", en = "Gone" }
"#;

fn node(verb: &str, device: &str, hex: &str) -> (String, Vec<u8>) {
    let nibbles: Vec<u8> = hex.chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
    let payload = nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (format!("spBv1.0/厂/{verb}/gw{device}"), payload)
}

/// Somebody else on the broker, who reads everything of Sparkplug.
struct Bystander {
    events: rumqttc::EventLoop,
    _client: rumqttc::AsyncClient,
}

impl Bystander {
    async fn join(port: u16) -> Bystander {
        let options = rumqttc::MqttOptions::new("bystander", "127.0.0.1", port);
        let (client, events) = rumqttc::AsyncClient::new(options, 10);
        client.subscribe("spBv1.0/#", rumqttc::QoS::AtLeastOnce).await.expect("asked");
        Bystander { events, _client: client }
    }

    /// The next message on a topic that ends so.
    async fn hears(&mut self, ending: &str) -> (String, Vec<u8>) {
        let hear = async {
            loop {
                let event = self.events.poll().await.expect("a connection");
                if let rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) = event
                    && publish.topic.ends_with(ending)
                {
                    return (publish.topic, publish.payload.to_vec());
                }
            }
        };
        let within = std::time::Duration::from_secs(30);
        let heard = tokio::time::timeout(within, hear).await;
        heard.unwrap_or_else(|_| panic!("nothing on {ending}"))
    }
}

/// A node that speaks before the gateway knows it, is asked for its births, and dies.
async fn a_node_is_asked_heard_and_missed(home: &Home, broker: Option<u16>) {
    let gateway = home.start();
    let address = broker.map_or_else(|| gateway.mqtt.clone(), |port| format!("127.0.0.1:{port}"));
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let mut bystander = Bystander::join(port).await;
    let (_, online) = bystander.hears("STATE/scada").await;
    let online: Json = serde_json::from_slice(&online).expect("JSON");
    assert_eq!(online["online"], true);

    publish(&address, &[node("DDATA", "/冷机-3", DDATA)]).await;
    let (topic, command) = bystander.hears("NCMD/gw").await;
    assert_eq!(topic, "spBv1.0/厂/NCMD/gw");
    assert!(command.windows(20).any(|part| part == b"Node Control/Rebirth"));

    let births = [node("NBIRTH", "", NBIRTH), node("DBIRTH", "/冷机-3", DBIRTH)];
    publish(&address, &births).await;
    publish(&address, &[node("DDATA", "/冷机-3", DDATA)]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 1).await;
    assert_eq!(tickets[0]["title"], "Warm · 厂/gw/冷机-3");

    publish(&address, &[node("NDEATH", "", NDEATH)]).await;
    let tickets = gateway.desk_until(|tickets| tickets.len() == 3).await;
    assert_eq!(tickets[0]["status"], "new", "what was raised stays raised");
    let gone = tickets
        .iter()
        .filter(|ticket| ticket["title"].as_str().is_some_and(|title| title.starts_with("Gone")));
    assert_eq!(gone.count(), 2, "the node and its device");

    gateway.kill();
    if broker.is_some() {
        let (_, offline) = bystander.hears("STATE/scada").await;
        let offline: Json = serde_json::from_slice(&offline).expect("JSON");
        assert_eq!(offline["online"], false);
        assert_eq!(offline["timestamp"], online["timestamp"], "the will of the same birth");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_the_embedded_broker_is_asked_heard_and_missed() {
    let source = "[[source]]\nname = \"plant\"\nurl = \"embedded\"\ndecoder = \"sparkplug-b\"\n\
                  [source.sparkplug]\nhost_id = \"scada\"\n";
    a_node_is_asked_heard_and_missed(&Home::new(RULES, source), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_another_broker_is_asked_heard_and_missed() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let port = mosquitto.port;
    let source = format!(
        "[broker]\nenabled = false\n[[source]]\nname = \"plant\"\nurl = \"mqtt://127.0.0.1:{port}\"\n\
         decoder = \"sparkplug-b\"\n[source.sparkplug]\nhost_id = \"scada\"\n"
    );
    a_node_is_asked_heard_and_missed(&Home::new(RULES, &source), Some(port)).await;
}

/// Encoded by `sparkplug-payload` 1.0.3 (npm): seq 3, `Motor/Temp` = 99, historical, an hour ago.
const DDATA_HISTORICAL: &str = "08d0f2b7d4d7331216100b1898fedbd2d733200a2801690000000000c058401803";

#[test]
fn a_device_that_was_dead_before_a_restart_is_dead_after_it() {
    let compile = || {
        let (rules, report) = (RULES.to_owned(), Report::default());
        let rules = Source { file: "r.toml".into(), text: rules };
        policy::compile(&[rules], &["desk"], &report).expect("rules")
    };
    let mut settings = config::defaults().expect("defaults").settings().expect("settings");
    settings.sources = vec![source()];
    let now = Timestamp::from_millis(1_775_877_616_000);
    let mut effects = Effects::default();
    let mut engine = Engine::new(settings.clone(), compile(), now);
    for (verb, hex) in [("NBIRTH", NBIRTH), ("NDEATH", NDEATH)] {
        let (topic, payload) = node(verb, "", hex);
        let message =
            Message { source: 0, topic, payload, retain: false, delivery: Delivery::Once };
        engine.step(now, Input::Message(message), &mut effects);
    }
    let mut stored = Snapshot { alive_at: Some(now), ..Snapshot::default() };
    for write in effects.writes.drain(..) {
        if let Write::Device(facts) = write {
            stored.devices.retain(|known| known.id != facts.id);
            stored.devices.push(*facts);
        } else if let Write::Alarm(alarm) = write {
            stored.alarms = vec![*alarm];
        }
    }
    effects.clear();
    let later = Timestamp::from_millis(1_775_877_676_000);
    let mut engine = Engine::restore(settings, compile(), stored, later, &mut effects);
    engine.step(later, Input::Tick, &mut effects);
    assert_eq!(effects.publish.len(), 1, "the node is asked for its births");
    let raised: Vec<bool> = engine.alarms().map(|alarm| alarm.state.is_raised()).collect();
    assert_eq!(raised, [true]);
}

#[test]
fn history_fills_windows_and_raises_nothing_and_a_death_clears_nothing() {
    let rules = r#"
[[rule]]
id = "hot"
when = 'm["Motor/Temp"] > 90.0'
[[rule]]
id = "cold"
when = 'm["Motor/Temp"] < 21.0'
[[rule]]
id = "hot-on-average"
when = 'm["Motor/Temp"].avg("2h") > 50.0'
"#;
    let (rules, report) = (Source { file: "r.toml".into(), text: rules.into() }, Report::default());
    let compiled = policy::compile(&[rules], &["desk"], &report);
    let compiled = compiled.unwrap_or_else(|| panic!("{:?}", report.into_sorted()));
    let mut settings = config::defaults().expect("defaults").settings().expect("set");
    settings.sources = vec![source()];
    let start = Timestamp::from_millis(1_775_877_616_000);
    let mut rehearsal = Rehearsal::new(settings, compiled, start);
    let mut hear = |verb, device, hex| {
        let (topic, payload) = node(verb, device, hex);
        let message =
            Message { source: 0, topic, payload, retain: false, delivery: Delivery::Once };
        rehearsal.receive(start, Input::Message(message));
        let decisions = rehearsal.decisions.drain(..);
        let told = decisions.filter_map(|decision| {
            let Decision::Alarm { id, event, .. } = decision else {
                return None;
            };
            Some(format!("{} {}", id.rule, event_word(event)?))
        });
        told.collect::<Vec<String>>()
    };
    hear("NBIRTH", "", NBIRTH);
    assert_eq!(hear("DBIRTH", "/冷机-3", DBIRTH), ["cold raised"]);
    assert_eq!(hear("DDATA", "/冷机-3", DDATA_HISTORICAL), ["hot-on-average raised"]);
    assert_eq!(hear("NDEATH", "", NDEATH), Vec::<String>::new(), "what was raised stays raised");
}
