//! Messages encoded by two independent libraries: `sparkplug-payload` 1.0.3 (npm) and
//! `pysparkplug` 0.6.1 (PyPI). They begin at 2026-04-11T03:20:15Z.

use super::super::{Decoders, Payload};
use super::*;
use crate::engine::types::message::{Delivery, Reading};

const NBIRTH: &str = "0898dbb7d4d733120b0a05626453657120085803121a0a144e6f646520436f6e74726f6c2f52656269727468200b700012130a084e6f64652f4350551001200965000041421800";
/// 温度 10 Float, Motor/Temp 11 Double, trim 12 Int16 -321, count 13 UInt64, run 14, state 15,
/// blob 16 Bytes, set 17 DataSet; 温度 has the time of its last change, 25 hours before.
const DBIRTH: &str = "0898dbb7d4d73312180a06e6b8a9e5baa6100a1898c6c2a9d7332009653333c34012190a0a4d6f746f722f54656d70100b200a69000000000080344012100a047472696d100c200250bffdffff0f120d0a05636f756e74100d20085805120b0a0372756e100e200b700112130a057374617465100f200c7a06e8bf90e8a18c12100a04626c6f6210102011820103010203121c0a03736574101120108a011008011204636f6465180322040a0208111801";
/// seq 2: 10 = 9.75 and 12 = -1 at +2 s, 11 = 95.5 at +1 s.
const DDATA_2: &str = "08e8eab7d4d7331210100a18e8eab7d4d73320096500001c41120a100c200250ffffffff0f1214100b1880e3b7d4d733200a690000000000e057401802";
/// seq 3: 11 = 99, historical, one hour before.
const DDATA_3_HISTORICAL: &str =
    "08d0f2b7d4d7331216100b1898fedbd2d733200a2801690000000000c058401803";
/// seq 4: 10 of bad quality, 11 NaN, 13 = 2^64 - 1, 16 Bytes, 99 unknown.
const DDATA_4_BAD: &str = "08b8fab7d4d733121a100a20094a0f0a075175616c697479120408031800650000c03f120d100b200a69000000000000f87f120f100d200858ffffffffffffffffff0112081010201182010109120910632009650000803f1804";
const DDATA_6: &str = "08888ab8d4d7331209100a2009650000f0401806";
const DDATA_5: &str = "08a082b8d4d7331206100e200b70001805";
/// seq 2: `motor/temp ` and `Other`, by name, without alias.
const DDATA_2_NAMED: &str = "08b8fab7d4d73312180a0b6d6f746f722f74656d7020200a690000000000e0564012120a054f74686572200a69000000000000f83f1802";
/// seq 2, pysparkplug: names and aliases without datatypes; trim = -5, count = 2^64 - 1.
const DDATA_2_UNTYPED: &str = "08e8eab7d4d73312160a06e6b8a9e5baa6100a18e8eab7d4d7336500001c4112130a047472696d100c18e8eab7d4d73350fbff03121b0a05636f756e74100d18e8eab7d4d73358ffffffffffffffffff0112100a0372756e100e18e8eab7d4d73370001802";
const DDEATH_2: &str = "08a082b8d4d7331802";
const NDEATH_OF_3: &str = "08a082b8d4d733120b0a05626453657120085803";
const NDEATH_OF_2: &str = "08a082b8d4d733120b0a05626453657120085802";
/// seq 2: 10 = 9.75, packed three ways.
const PACKED: [&str; 3] = [
    "12130a09616c676f726974686d200c7a04475a4950221253504256312e305f434f4d505245535345442a281f8b0800000000000003e378f16afb95ebc6429c025c0a9ca90c0c328e124c002a8752ed14000000",
    "12160a09616c676f726974686d200c7a074445464c415445221253504256312e305f434f4d505245535345442a1c789ce378f16afb95ebc6429c025c0a9ca90c0c328e124c00532405aa",
    "12160a09616c676f726974686d200c7a074445464c415445221253504256312e305f434f4d505245535345442a16e378f16afb95ebc6429c025c0a9ca90c0c328e124c00",
];

const METRICS: [&str; 10] =
    ["Node/CPU", "温度", "Motor/Temp", "trim", "count", "run", "state", "blob", "set", "Other"];

/// A host that hears messages, second after second, and what came of them.
struct Ear {
    decoders: Decoders,
    spec: SourceSpec,
    metrics: Names<Metric>,
    now: Timestamp,
}

impl Ear {
    fn new() -> Ear {
        let settings = SparkplugSettings::of("plant");
        let spec = SourceSpec {
            name: "plant".into(),
            topics: Vec::new(),
            filters: vec!["spBv1.0/#".into()],
            payload: Payload::Sparkplug(settings),
            presence: Vec::new(),
            payload_bytes_max: 65_536,
            skew_back_max: TimeSpan::from_secs(86_400),
            skew_ahead_max: TimeSpan::from_secs(300),
        };
        let mut metrics = Names::default();
        for name in METRICS {
            metrics.intern(name);
        }
        let now = Timestamp::parse_rfc3339("2026-04-11T03:20:20Z").expect("a time");
        Ear { decoders: Decoders::new(std::slice::from_ref(&spec)), spec, metrics, now }
    }

    /// An ear that has heard both births.
    fn born() -> Ear {
        let mut ear = Ear::new();
        ear.hear("NBIRTH/gw", NBIRTH);
        let said = ear.hear("DBIRTH/gw/冷机", DBIRTH);
        assert_eq!(said.last().map(String::as_str), Some("datatype"), "{said:?}");
        ear
    }

    fn hear(&mut self, topic: &str, hex: &str) -> Vec<String> {
        let nibbles: Vec<u8> = hex.chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
        let payload = nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        self.hear_bytes(topic, payload)
    }

    fn hear_bytes(&mut self, topic: &str, payload: Vec<u8>) -> Vec<String> {
        let topic = format!("spBv1.0/g/{topic}");
        let message =
            Message { source: 0, topic, payload, retain: false, delivery: Delivery::Once };
        let mut heard = Heard::default();
        self.decoders.decode(&self.spec, &self.metrics, &message, self.now, &mut heard);
        self.tell(heard)
    }

    fn wait(&mut self, seconds: i64) -> Vec<String> {
        self.now = self.now + TimeSpan::from_secs(seconds);
        let mut heard = Heard::default();
        self.decoders.wake(0, self.now, &mut heard);
        self.tell(heard)
    }

    /// `device @time name=value ...`, then the reasons of what was refused, then what is sent.
    fn tell(&self, heard: Heard) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for Decoded { facts, news } in heard.decoded {
            let list = |readings: Vec<_>| {
                readings.into_iter().fold(String::new(), |line, (id, reading)| {
                    let name = self.metrics.text(id);
                    match reading {
                        Reading::Good(value) => format!("{line} {name}={value}"),
                        Reading::Bad => format!("{line} {name}!"),
                    }
                })
            };
            let seconds = |at: Timestamp| at.micros() / 1_000_000 - 1_775_877_615;
            told.push(match news {
                News::Presence { online: true } => format!("{} online", facts.id),
                News::Presence { online: false } => format!("{} offline", facts.id),
                News::Stale => format!("{} stale", facts.id),
                News::Readings { at, readings } => {
                    let at = at.map_or("now".to_owned(), |at| seconds(at).to_string());
                    format!("{} @{at}{}", facts.id, list(readings))
                }
                News::History { at, readings } => {
                    format!("{} @{} past{}", facts.id, seconds(at), list(readings))
                }
            });
        }
        told.extend(heard.refused.into_iter().map(|refusal| refusal.reason.word().to_owned()));
        told.extend(heard.publish.into_iter().map(|sent| sent.topic));
        told
    }
}

const REBIRTH_ASKED: &str = "spBv1.0/g/NCMD/gw";

#[test]
fn a_birth_states_how_things_are_and_names_what_follows() {
    let mut ear = Ear::new();
    assert_eq!(ear.hear("NBIRTH/gw", NBIRTH), ["g/gw online", "g/gw @0 Node/CPU=48.25"]);
    let said = ear.hear("DBIRTH/gw/冷机", DBIRTH);
    let expected = "g/gw/冷机 @0 温度=6.1 Motor/Temp=20.5 trim=-321 count=5 run=true state=运行";
    assert_eq!(said, ["g/gw/冷机 online", expected, "datatype", "datatype"]);
    let said = ear.hear("DDATA/gw/冷机", DDATA_2);
    assert_eq!(said, ["g/gw/冷机 @1 Motor/Temp=95.5", "g/gw/冷机 @2 温度=9.75 trim=-1"]);
    assert_eq!(ear.decoders.next_wakeup(), None);
}

#[test]
fn datatypes_are_those_of_the_birth_where_the_data_names_none() {
    let said = Ear::born().hear("DDATA/gw/冷机", DDATA_2_UNTYPED);
    let count = 18_446_744_073_709_551_615_f64;
    let expected = format!("g/gw/冷机 @2 温度=9.75 trim=-5 count={count} run=false");
    assert_eq!(said, [expected]);
}

#[test]
fn history_is_told_apart_and_the_device_is_alive() {
    let mut ear = Ear::born();
    ear.hear("DDATA/gw/冷机", DDATA_2);
    let said = ear.hear("DDATA/gw/冷机", DDATA_3_HISTORICAL);
    assert_eq!(said, ["g/gw/冷机 @-3600 past Motor/Temp=99", "g/gw/冷机 @3"]);
}

#[test]
fn packed_bodies_are_unpacked_within_a_bound() {
    for packed in PACKED {
        let said = Ear::born().hear("DDATA/gw/冷机", packed);
        assert_eq!(said, ["g/gw/冷机 @2 温度=9.75"]);
    }
    let mut bomb = Vec::new();
    let zeros = std::io::Read::take(std::io::repeat(0), 2_000_000);
    let mut packer = flate2::read::GzEncoder::new(zeros, flate2::Compression::best());
    std::io::Read::read_to_end(&mut packer, &mut bomb).expect("packed");
    let mut envelope = Vec::new();
    let mut metric = Vec::new();
    wire::put_bytes(&mut metric, 1, b"algorithm");
    wire::put_bytes(&mut metric, 15, b"GZIP");
    wire::put_bytes(&mut envelope, 2, &metric);
    wire::put_bytes(&mut envelope, 4, b"SPBV1.0_COMPRESSED");
    wire::put_bytes(&mut envelope, 5, &bomb);
    let said = Ear::born().hear_bytes("DDATA/gw/冷机", envelope);
    assert_eq!(said, ["oversized", REBIRTH_ASKED]);
}

#[test]
fn what_is_bad_is_bad_and_takes_nothing_with_it() {
    let mut ear = Ear::born();
    ear.hear("DDATA/gw/冷机", DDATA_2);
    ear.hear("DDATA/gw/冷机", DDATA_3_HISTORICAL);
    let said = ear.hear("DDATA/gw/冷机", DDATA_4_BAD);
    let values = "g/gw/冷机 @4 温度! Motor/Temp! count=18446744073709552000";
    assert_eq!(said, [values, "number", "datatype", "unknown-alias", REBIRTH_ASKED]);
}

#[test]
fn a_gap_asks_for_a_rebirth_only_when_nothing_fills_it() {
    let mut filled = Ear::born();
    assert_eq!(filled.hear("DDATA/gw/冷机", DDATA_2).len(), 2);
    let said = filled.hear("DDATA/gw/冷机", DDATA_6);
    assert_eq!(said, ["g/gw/冷机 @6 温度=7.5", "sequence"]);
    filled.hear("DDATA/gw/冷机", DDATA_5);
    filled.hear("DDATA/gw/冷机", DDATA_4_BAD);
    filled.hear("NBIRTH/gw", NBIRTH);
    let mut open = Ear::born();
    open.hear("DDATA/gw/冷机", DDATA_6);
    assert_eq!(open.wait(4), Vec::<String>::new());
    assert_eq!(open.wait(1), ["sequence", REBIRTH_ASKED]);
    assert_eq!(open.wait(30), [REBIRTH_ASKED], "asked again: nobody answered");
    open.hear("NBIRTH/gw", NBIRTH);
    assert_eq!(open.decoders.next_wakeup(), None);
}

#[test]
fn data_before_a_birth_is_used_as_far_as_it_names_itself() {
    let mut ear = Ear::new();
    let said = ear.hear("DDATA/gw/冷机", DDATA_2);
    assert_eq!(said, ["g/gw/冷机 @2", "no-birth", REBIRTH_ASKED]);
    let said = ear.hear("DDATA/gw/冷机", DDATA_2_UNTYPED);
    let words = ["no-birth", "datatype", "datatype"];
    assert_eq!(said[0], "g/gw/冷机 @2 温度=9.75 run=false");
    assert_eq!(said[1..], words, "asked once in 30 s");
}

#[test]
fn a_device_that_is_born_before_its_node_is_heard_and_the_node_is_asked() {
    let mut ear = Ear::new();
    let said = ear.hear("DBIRTH/gw/冷机", DBIRTH);
    assert_eq!(said[0], "g/gw/冷机 online");
    assert_eq!(said[2..], ["no-birth", "datatype", "datatype", REBIRTH_ASKED]);
    let said = ear.hear("DDATA/gw/冷机", DDATA_2);
    assert_eq!(said[1], "g/gw/冷机 @2 温度=9.75 trim=-1", "its aliases are known: {said:?}");
    ear.hear("NBIRTH/gw", NBIRTH);
    let said = ear.hear("DBIRTH/gw/冷机", DBIRTH);
    assert_eq!(said[2..], ["datatype", "datatype"]);
}

/// A Double under this alias, with or without its name.
fn double(name: &str, alias: u64, value: f64) -> Vec<u8> {
    let mut metric = Vec::new();
    if !name.is_empty() {
        wire::put_bytes(&mut metric, 1, name.as_bytes());
    }
    wire::put_varint(&mut metric, 2, alias);
    wire::put_varint(&mut metric, 4, 10);
    metric.push(13 << 3 | 1);
    metric.extend(value.to_le_bytes());
    metric
}

fn payload_of(metrics: &[Vec<u8>], sequence: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    metrics.iter().for_each(|metric| wire::put_bytes(&mut payload, 2, metric));
    wire::put_varint(&mut payload, 3, sequence);
    payload
}

#[test]
fn an_alias_that_a_birth_gives_twice_is_counted_and_means_neither() {
    let mut ear = Ear::new();
    ear.hear("NBIRTH/gw", NBIRTH);
    let birth = [double("温度", 7, 1.0), double("trim", 7, 2.0), double("count", 8, 3.0)];
    let said = ear.hear_bytes("DBIRTH/gw/冷机", payload_of(&birth, 1));
    let values = "g/gw/冷机 @now 温度=1 trim=2 count=3";
    assert_eq!(said, ["g/gw/冷机 online", values, "name"]);
    let data = [double("", 7, 10.0), double("trim", 7, 20.0), double("", 8, 30.0)];
    let said = ear.hear_bytes("DDATA/gw/冷机", payload_of(&data, 2));
    let values = "g/gw/冷机 @now trim=20 count=30";
    assert_eq!(said, [values, "unknown-alias", REBIRTH_ASKED]);
    let twice = [double("温度", 7, 1.0), double("温度", 7, 2.0)];
    let said = ear.hear_bytes("DBIRTH/gw/冷机", payload_of(&twice, 3));
    assert!(!said.contains(&"name".to_owned()), "one metric is named twice: {said:?}");
}

#[test]
fn a_name_that_the_birth_writes_otherwise_still_reaches_its_rule() {
    let said = Ear::born().hear("DDATA/gw/冷机", DDATA_2_NAMED);
    let values = "g/gw/冷机 @4 Motor/Temp=91.5 Other=1.5";
    assert_eq!(said, [values, "name", "name", REBIRTH_ASKED]);
}

#[test]
fn a_death_makes_the_node_and_its_devices_stale_and_offline() {
    let mut ear = Ear::born();
    let said = ear.hear("NDEATH/gw", NDEATH_OF_3);
    let gone = ["g/gw stale", "g/gw offline", "g/gw/冷机 stale", "g/gw/冷机 offline"];
    assert_eq!(said, gone);
    let said = ear.hear("DDATA/gw/冷机", DDATA_2);
    assert_eq!(said, ["g/gw/冷机 @2", "no-birth", REBIRTH_ASKED]);
    let mut ear = Ear::born();
    let said = ear.hear("DDEATH/gw/冷机", DDEATH_2);
    assert_eq!(said, ["g/gw/冷机 stale", "g/gw/冷机 offline"]);
}

#[test]
fn a_death_of_another_session_is_believed_when_the_node_stays_silent() {
    let mut silent = Ear::born();
    assert_eq!(silent.hear("NDEATH/gw", NDEATH_OF_2), ["death", REBIRTH_ASKED]);
    assert_eq!(silent.wait(9), Vec::<String>::new());
    assert_eq!(silent.wait(1).len(), 4, "stale and offline, node and device");
    let mut alive = Ear::born();
    alive.hear("NDEATH/gw", "");
    alive.hear("NBIRTH/gw", NBIRTH);
    assert_eq!(alive.wait(60), Vec::<String>::new());
}

#[test]
fn after_a_restart_the_births_are_asked_for_and_a_death_still_counts() {
    let mut ear = Ear::new();
    let facts = topic::of_device("g/gw", "冷机").map(|address| topic::facts(&[], &address));
    ear.decoders.recall(&facts.expect("an address").expect("facts"), ear.now);
    assert_eq!(ear.wait(0), [REBIRTH_ASKED]);
    assert_eq!(ear.hear("NDEATH/gw", NDEATH_OF_3).len(), 4);
}

#[test]
fn the_rebirth_command_is_what_other_hosts_send() {
    // As captured from an independent host application.
    let hex =
        "08daa3f4d4a03412210a144e6f646520436f6e74726f6c2f5265626972746818daa3f4d4a034200b7001";
    let sent = payload::rebirth_command(Timestamp::from_millis(1_795_474_395_610));
    let sent: String = sent.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sent, hex);
}

#[test]
fn nodes_past_the_bound_are_refused_and_known_ones_are_heard() {
    let mut ear = Ear::born();
    for node in 1..NODES_MAX {
        ear.hear(&format!("NDATA/n{node}"), DDEATH_2);
    }
    assert_eq!(ear.hear("NBIRTH/one-more", NBIRTH), ["unknown-device"]);
    assert_eq!(ear.hear("DDATA/gw/冷机", DDATA_2).len(), 2);
}

#[test]
fn commands_and_states_are_not_for_us_and_other_topics_are_refused() {
    let mut ear = Ear::born();
    assert_eq!(ear.hear("NCMD/gw", NBIRTH), Vec::<String>::new());
    assert_eq!(ear.hear("NDATA/gw/x", NBIRTH), ["topic"]);
    assert_eq!(ear.hear("NDATA/gw", "ffff"), ["undecodable", REBIRTH_ASKED]);
    let said = ear.hear(&format!("NDATA/{}", "长".repeat(200)), NBIRTH);
    assert_eq!(said, ["device-id"]);
}
