//! Messages as the thin-edge.io reference prints them.

use super::super::tests::Ear;

const METRICS: [&str; 8] = [
    "temperature",
    "three_phase_current.L1",
    "alarm.temperature_high",
    "alarm.temperature_high.severity",
    "alarm.temperature_high.text",
    "event.login_event",
    "status",
    "a",
];

#[test]
fn measurements_alarms_events_and_health_are_metrics_of_their_entity() {
    let mut ear = Ear::new("decoder = \"thin-edge\"", &METRICS);
    assert_eq!(ear.spec.filters, ["te/#"]);
    let payload = r#"{"time":"2026-04-11T03:20:14Z","temperature":25,"three_phase_current":{"L1":9.5,"L2":1.3}}"#;
    let told = ear.hear("te/device/冷柜///m/environment", payload);
    assert_eq!(told, ["冷柜 @-1 temperature=25 three_phase_current.L1=9.5"]);

    let alarm = r#"{"text":"温度过高","severity":"major","time":1775877613}"#;
    let told = ear.hear("te/device/main///a/temperature_high", alarm);
    let expected = "main @-2 alarm.temperature_high.severity=major alarm.temperature_high.text=温度过高 alarm.temperature_high=true";
    assert_eq!(told, [expected]);
    let told = ear.hear("te/device/main///a/temperature_high", "");
    assert_eq!(told, ["main @now alarm.temperature_high=false"]);

    let told = ear.hear("te/device/main///e/login_event", r#"{"text":"A user logged in"}"#);
    assert_eq!(told, ["main @now event.login_event=A user logged in"]);
    let health = "te/device/main/service/tedge-mapper-c8y/status/health";
    let told = ear.hear(health, r#"{"pid":24435,"status":"up","time":1775877613}"#);
    assert_eq!(told, ["main/tedge-mapper-c8y @now status=up", "main/tedge-mapper-c8y online=true"]);
    let told = ear.hear("te/device/main/service/mosquitto-c8y-bridge/status/health", "0");
    assert_eq!(told[1], "main/mosquitto-c8y-bridge online=false");
}

#[test]
fn what_is_not_for_rules_is_passed_over_and_what_is_broken_is_refused() {
    let mut ear = Ear::new("decoder = \"thin-edge\"", &METRICS);
    for topic in [
        "te/device/main//",
        "te/device/main///twin/name",
        "te/device/main///cmd/restart/c8y-1",
        "te/device/main///m/environment/meta",
    ] {
        assert_eq!(ear.hear(topic, "{\"a\": 1}"), Vec::<String>::new(), "{topic}");
    }
    assert_eq!(ear.hear("te/device/main///a/x", "not JSON"), ["undecodable"]);
    assert_eq!(ear.hear("tedge/measurements", "{}"), ["topic"]);
    let own = "decoder = \"thin-edge\"\ntopic = \"te/device/{site}/{_}/{_}/m/{_}\"";
    let mut ear = Ear::new(own, &METRICS);
    let heard = ear.decode("te/device/shop-1///m/x", b"{\"a\": 1}");
    assert_eq!(heard.decoded[0].facts.site, "shop-1");
    assert_eq!(heard.decoded[0].facts.id, "shop-1");
}
