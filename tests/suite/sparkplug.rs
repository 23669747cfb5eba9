//! Sparkplug B: captures of independent edge nodes, and a node that the running gateway hears.

use std::process::Stdio;
use std::time::Duration;

use crate::gateway::{HOT, Home};
use crate::mosquitto::program;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use faultgate::engine::decode::{Decoders, Heard, News, SourceSpec, read_source};
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::message::{Message, Reading};
use faultgate::engine::types::names::{Metric, Names};
use faultgate::engine::types::time::Timestamp;
use serde_json::Value as Json;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_births_were_missed_is_asked_for_them() {
    let source = "[[source]]\nname = \"spb\"\nurl = \"embedded\"\ndecoder = \"sparkplug-b\"\n";
    let home = Home::new(HOT, source);
    let gateway = home.start();
    let port = gateway.mqtt.rsplit_once(':').expect("a port").1.to_owned();
    let commands = "spBv1.0/工厂/NCMD/+";
    let mut listener = program("mosquitto_sub");
    listener.args(["-h", "127.0.0.1", "-p", &port, "-t", commands, "-C", "1", "-W", "20"]);
    let Ok(listener) = listener.stdout(Stdio::piped()).spawn() else {
        println!("skipped: mosquitto_sub is not installed");
        return;
    };
    let heard = tokio::task::spawn_blocking(move || listener.wait_with_output());
    let asked = async {
        // The listener may not be there for the first of them, and no node is asked twice at once.
        for node in 1.. {
            // Data before any birth: a timestamp and a sequence number.
            let topic = format!("spBv1.0/工厂/NDATA/节点-{node}");
            gateway.publish(&[(topic, b"\x08\x01\x18\x05".to_vec())]).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let heard = tokio::select! {
        heard = heard => heard.expect("waited").expect("ended"),
        () = asked => panic!("no end of nodes"),
    };
    let payload = String::from_utf8_lossy(&heard.stdout).into_owned();
    assert!(payload.contains("Node Control/Rebirth"), "{payload:?}");
}
