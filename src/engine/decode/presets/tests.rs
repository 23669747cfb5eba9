//! Messages as the makers' manuals print them.

use super::super::tests::{Ear, source};
use super::*;

#[test]
fn every_preset_is_a_source_by_itself() {
    for (name, _) in PRESETS {
        let spec = source(&format!("decoder = \"{name}\"")).expect(name);
        assert!(!spec.filters.is_empty() && !spec.topics.is_empty(), "{name}");
    }
}

#[test]
fn tasmota() {
    let mut ear = Ear::new("decoder = \"tasmota\"", &["AM2301.Temperature", "Wifi.RSSI"]);
    let sensor = r#"{"Time":"2026-04-11T11:20:15","AM2301":{"Temperature":24.6,"Humidity":58.2},"TempUnit":"C"}"#;
    assert_eq!(ear.hear("tele/冷柜/SENSOR", sensor), ["冷柜 @now AM2301.Temperature=24.6"]);
    let state = r#"{"Time":"2026-04-11T11:20:15","UptimeSec":12,"POWER":"ON","Wifi":{"RSSI":96}}"#;
    assert_eq!(ear.hear("tele/冷柜/STATE", state), ["冷柜 @now Wifi.RSSI=96"]);
    assert_eq!(ear.hear("tele/冷柜/LWT", "Offline"), ["冷柜 online=false"]);
    let own = "decoder = \"tasmota\"\n[json]\ntimestamp = { path = \"/Time\", unit = \"local\", zone = \"Asia/Shanghai\" }";
    let mut ear = Ear::new(own, &["AM2301.Temperature"]);
    assert_eq!(ear.hear("tele/a/SENSOR", sensor), ["a @0 AM2301.Temperature=24.6"]);
}

#[test]
fn zigbee2mqtt() {
    let mut ear = Ear::new("decoder = \"zigbee2mqtt\"", &["temperature", "water_leak"]);
    let payload = r#"{"battery":100,"linkquality":105,"temperature":27.34,"water_leak":false}"#;
    let told = ear.hear("zigbee2mqtt/leak-1", payload);
    assert_eq!(told, ["leak-1 @now temperature=27.34 water_leak=false"]);
    let topic = "zigbee2mqtt/leak-1/availability";
    assert_eq!(ear.hear(topic, r#"{"state":"offline"}"#), ["leak-1 online=false"]);
    assert_eq!(ear.hear(topic, "online"), ["leak-1 online=true"]);
}

#[test]
fn shelly() {
    let metrics = ["relay/0/power", "relay/0", "switch:0.apower", "switch:0.temperature.tC"];
    let mut ear = Ear::new("decoder = \"shelly\"", &metrics);
    let told = ear.hear("shellies/shelly1pm-84CCA8/relay/0/power", "12.53");
    assert_eq!(told, ["shelly1pm-84CCA8 @now relay/0/power=12.53"]);
    let told = ear.hear("shellies/shelly1pm-84CCA8/relay/0", "overpower");
    assert_eq!(told, ["shelly1pm-84CCA8 @now relay/0=overpower"]);
    let status = r#"{"id":0,"output":true,"apower":8.9,"voltage":237.5,"temperature":{"tC":56.3,"tF":133.3}}"#;
    let told = ear.hear("shellyplus1pm-a8/status/switch:0", status);
    let expected = "shellyplus1pm-a8 @now switch:0.apower=8.9 switch:0.temperature.tC=56.3";
    assert_eq!(told, [expected]);
    assert_eq!(ear.hear("shellyplus1pm-a8/online", "false"), ["shellyplus1pm-a8 online=false"]);
}

#[test]
fn alink() {
    let mut ear = Ear::new("decoder = \"alink\"", &["Power", "WF"]);
    let payload = r#"{"id":"123","version":"1.0","sys":{"ack":0},"method":"thing.event.property.post",
        "params":{"Power":{"value":"on","time":1524448722000},"WF":{"value":23.6,"time":1524448722000}}}"#;
    let topic = "/sys/a1B2/冷机-1/thing/event/property/post";
    assert_eq!(ear.hear(topic, payload), ["冷机-1 @now Power=on WF=23.6"]);
    assert_eq!(ear.hear(topic, r#"{"params":{"WF":1}}"#), ["冷机-1 @now WF=1"]);
    assert_eq!(ear.decode(topic, b"{}").decoded[0].facts.class, "a1B2");
}

#[test]
fn homie() {
    let mut ear = Ear::new("decoder = \"homie\"", &["thermostat/temperature"]);
    let told = ear.hear("homie/car/thermostat/temperature", "21.5");
    assert_eq!(told, ["car @now thermostat/temperature=21.5"]);
    assert_eq!(ear.hear("homie/car/$state", "lost"), ["car online=false"]);
    assert_eq!(ear.hear("homie/car/$state", "ready"), ["car online=true"]);
    assert_eq!(ear.hear("homie/car/$homie", "4.0.0"), ["car @now"]);
}

#[test]
fn vda5050() {
    let metrics =
        ["errors", "fatal_errors", "error_type", "batteryState.batteryCharge", "warnings"];
    let mut ear = Ear::new("decoder = \"vda5050\"", &metrics);
    let topic = "uagv/v2/KIT/0001/state";
    let state = r#"{"headerId":1,"timestamp":"2026-04-11T03:20:14.00Z","version":"2.0.0",
        "batteryState":{"batteryCharge":80,"charging":false},
        "errors":[{"errorType":"激光故障","errorLevel":"FATAL","errorReferences":[]}]}"#;
    let expected = "0001 @-1 batteryState.batteryCharge=80 error_type=激光故障 errors=1 fatal_errors=1 warnings=0";
    assert_eq!(ear.hear(topic, state), [expected]);
    let told = ear.hear(topic, r#"{"errors":[]}"#);
    assert_eq!(told, ["0001 @now error_type= errors=0 fatal_errors=0 warnings=0"]);
    let broken = r#"{"headerId":2,"connectionState":"CONNECTIONBROKEN"}"#;
    assert_eq!(ear.hear("uagv/v2/KIT/0001/connection", broken), ["0001 online=false"]);
}
