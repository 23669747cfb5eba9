//! Every decoder against broken, mutated and random messages: it never panics, and what comes out
//! keeps to its bounds. `FAULTGATE_FUZZ_SECONDS=600` goes on for that long with each decoder.

use std::time::{Duration, Instant};

use faultgate::engine::decode::{
    DETAIL_BYTES_MAX, DEVICE_ID_BYTES_MAX, Decoders, Heard, News, read_source,
};
use faultgate::engine::types::diagnostic::{Report, Source};
use faultgate::engine::types::document::{Place, read_document};
use faultgate::engine::types::message::{Delivery, Message, Reading, Value};
use faultgate::engine::types::names::Names;
use faultgate::engine::types::time::{TimeSpan, Timestamp};

/// Messages for each decoder where no time is set.
const MESSAGES: u64 = 4_000;
/// Most elements, refusals and texts that one message may make (Sparkplug has 10,000 metrics).
const ELEMENTS_MAX: usize = 20_000;
const TEXT_BYTES_MAX: usize = 1_024;

/// xorshift64*: the seed is printed, and gives the same messages again.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A message that was right, with some things done to it.
    fn mutate(&mut self, from: &[u8], other: &[u8]) -> Vec<u8> {
        /// What numbers, lengths and nesting break on.
        const NASTY: [&[u8]; 14] = [
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x00",
            b"1e999",
            b"-9223372036854775809",
            b"[[[[[[[[",
            b"{\"a\":",
            b"\"\\ud800\"",
            b"NaN",
            b"\xe6\xb8",
            b"\n\r\n",
            b"\"\"\"",
            b"\x9f\xbf\xff",
            b"null",
            b"99999999999999999999",
        ];
        let mut bytes = from.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below(bytes.len() + 1 - at);
            match self.below(7) {
                0 if !bytes.is_empty() => {
                    let at = at.min(bytes.len() - 1);
                    bytes[at] ^= 1 << self.below(8);
                }
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let again = bytes[at..end].to_vec();
                    let times = self.below(30);
                    bytes.splice(at..at, again.repeat(times));
                }
                4 => {
                    let tail = other.iter().skip(self.below(other.len() + 1)).copied();
                    bytes.truncate(at);
                    bytes.extend(tail);
                }
                5 => {
                    let nasty = NASTY[self.below(NASTY.len())];
                    bytes.splice(at..end.min(at + nasty.len()), nasty.iter().copied());
                }
                _ => {
                    let random = self.bytes(16);
                    bytes.splice(at..at, random);
                }
            }
        }
        bytes.truncate(60_000);
        bytes
    }
}

/// Tells the message that a decoder failed on.
struct Witness {
    seed: u64,
    topic: String,
    payload: Vec<u8>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness { seed, topic, payload } = self;
            eprintln!("seed {seed}, topic {topic:?}, payload {payload:02x?}");
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long to go on is asked of the real clock")]
fn fuzz(decoder: &str, metrics: &[&str], messages: &[(&str, Vec<u8>)]) {
    let text = format!("name = \"f\"\n{decoder}");
    let (source, report) = (Source { file: "f.toml".into(), text }, Report::default());
    let place = Place { source: &source, report: &report };
    let spec = read_document(place, |table| read_source(table, 65_536)).expect("a source");
    assert!(!report.has_errors(), "{:?}", report.into_sorted());
    let mut names = Names::default();
    for metric in metrics {
        names.intern(metric);
    }
    let seconds = std::env::var("FAULTGATE_FUZZ_SECONDS").ok();
    let limit = seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let began = Instant::now();
    let seed = match limit {
        Some(_) => began.elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20 | 1,
        None => 0x5eed,
    };
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let mut decoders = Decoders::new(std::slice::from_ref(&spec));
    let mut now = Timestamp::from_millis(1_775_877_615_000);
    let mut witness = Witness { seed, topic: String::new(), payload: Vec::new() };
    let (mut count, mut read) = (0_u64, 0_u64);
    while limit.map_or(count < MESSAGES, |limit| began.elapsed() < limit) {
        count += 1;
        let (topic, payload) = &messages[chance.below(messages.len())];
        let (_, other) = &messages[chance.below(messages.len())];
        witness.topic = (*topic).to_owned();
        if chance.below(20) == 0 {
            let broken = chance.mutate(topic.as_bytes(), topic.as_bytes());
            witness.topic = String::from_utf8_lossy(&broken).into_owned();
        }
        witness.payload = match chance.below(10) {
            0 => payload.clone(),
            1 => chance.bytes(300),
            _ => chance.mutate(payload, other),
        };
        now = now + TimeSpan::from_micros(chance.below(3_000_000) as i64);
        let mut heard = Heard::default();
        decoders.wake(0, now, &mut heard);
        let message = Message {
            source: 0,
            topic: witness.topic.clone(),
            payload: witness.payload.clone(),
            retain: chance.below(50) == 0,
            delivery: Delivery::Once,
        };
        decoders.decode(&spec, &names, &message, now, &mut heard);
        check(&heard);
        read += u64::from(!heard.decoded.is_empty());
    }
    println!("{count} messages, {read} of them read in part or whole");
    assert!(read > count / 100, "the messages are too broken to show anything");
}

fn check(heard: &Heard) {
    assert!(heard.decoded.len() <= ELEMENTS_MAX && heard.refused.len() <= ELEMENTS_MAX);
    for refusal in &heard.refused {
        assert!(refusal.detail.len() <= DETAIL_BYTES_MAX);
        assert!(!refusal.detail.chars().any(char::is_control));
    }
    for decoded in &heard.decoded {
        let id = &decoded.facts.id;
        assert!(!id.is_empty() && id.len() <= DEVICE_ID_BYTES_MAX);
        assert!(!id.chars().any(char::is_control));
        let readings = match &decoded.news {
            News::Readings { readings, .. } | News::History { readings, .. } => readings.as_slice(),
            News::Presence { .. } | News::Stale => &[],
        };
        for (at, (metric, reading)) in readings.iter().enumerate() {
            assert!(readings[..at].iter().all(|(known, _)| known != metric), "twice");
            match reading {
                Reading::Good(Value::Float(number)) => assert!(number.is_finite()),
                Reading::Good(Value::Text(text)) => assert!(text.len() <= TEXT_BYTES_MAX),
                Reading::Good(Value::Bool(_) | Value::Int(_)) | Reading::Bad => {}
            }
        }
    }
}

fn text(topic: &'static str, payload: &str) -> (&'static str, Vec<u8>) {
    (topic, payload.as_bytes().to_vec())
}

fn hex(topic: &'static str, payload: &str) -> (&'static str, Vec<u8>) {
    let nibbles: Vec<u8> = payload.chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
    (topic, nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[test]
fn json_holds() {
    let source = r##"
topic = "p/{device}"
[json]
timestamp = { path = "/ts", unit = "auto" }
device = "/id"
quality = { path = "/q", good = [192, "good"] }
each = "/list"
metrics = { a = { path = "/a/b", scale = 2.0 }, "{1}" = "/params/*/value", n = { count = "/errors", where = { path = "/l", is = ["F"] } } }
bad = ["#VALUE!"]
rest = true
"##;
    let payload = r##"{"list": [{"ts": 1775877615, "id": "冷柜", "q": 192, "a": {"b": -1.5e3},
        "params": {"x": {"value": 1}, "y": {"value": "#VALUE!"}}, "errors": [{"l": "F"}], "c": [true, null, "文"]}]}"##;
    fuzz(source, &["a", "x", "n", "c.0", "c.2"], &[text("p/d", payload)]);
}

#[test]
fn single_values_hold() {
    let messages = [
        text("s/d/温度", "-12.5"),
        text("s/d/on", "true"),
        text("s/d/j", "{\"a\": {\"b\": 1}}"),
        text("s/d/s", "运行"),
    ];
    let source = "decoder = \"value-or-json\"\ntopic = \"s/{device}/{metric...}\"";
    fuzz(source, &["温度", "on", "j.a.b", "s"], &messages);
}

#[test]
fn sparkplug_holds() {
    let messages = [
        hex(
            "spBv1.0/g/NBIRTH/n",
            "0898dbb7d4d733120b0a05626453657120085803121a0a144e6f646520436f6e74726f6c2f52656269727468200b700012130a084e6f64652f4350551001200965000041421800",
        ),
        hex(
            "spBv1.0/g/DBIRTH/n/d",
            "0898dbb7d4d73312180a06e6b8a9e5baa6100a1898c6c2a9d7332009653333c34012190a0a4d6f746f722f54656d70100b200a69000000000080344012100a047472696d100c200250bffdffff0f120d0a05636f756e74100d20085805120b0a0372756e100e200b700112130a057374617465100f200c7a06e8bf90e8a18c12100a04626c6f6210102011820103010203121c0a03736574101120108a011008011204636f6465180322040a0208111801",
        ),
        hex(
            "spBv1.0/g/DDATA/n/d",
            "08b8fab7d4d733121a100a20094a0f0a075175616c697479120408031800650000c03f120d100b200a69000000000000f87f120f100d200858ffffffffffffffffff0112081010201182010109120910632009650000803f1804",
        ),
        hex(
            "spBv1.0/g/DDATA/n/d",
            "12130a09616c676f726974686d200c7a04475a4950221253504256312e305f434f4d505245535345442a281f8b0800000000000003e378f16afb95ebc6429c025c0a9ca90c0c328e124c002a8752ed14000000",
        ),
        hex(
            "spBv1.0/g/DDATA/n/d",
            "12160a09616c676f726974686d200c7a074445464c415445221253504256312e305f434f4d505245535345442a1c789ce378f16afb95ebc6429c025c0a9ca90c0c328e124c00532405aa",
        ),
        hex("spBv1.0/g/DDEATH/n/d", "08a082b8d4d7331802"),
        hex("spBv1.0/g/NDEATH/n", "08a082b8d4d733120b0a05626453657120085803"),
    ];
    let metrics = ["Node/CPU", "温度", "Motor/Temp", "trim", "count", "run", "state"];
    fuzz("decoder = \"sparkplug-b\"", &metrics, &messages);
}

#[test]
fn senml_holds() {
    let messages = [
        text(
            "s/d",
            r#"[{"bn":"urn:dev:1:","bt":1775877615,"bver":10,"bv":1,"n":"v","v":120.1},{"n":"c","t":-5,"v":1.2},{"n":"b","vb":true},{"n":"s","vs":"文"},{"n":"e","s":1,"bs":2},{"n":"d","vd":"aGk"}]"#,
        ),
        hex(
            "s/d",
            "85a621781c75726e3a6465763a6f773a313065323037336130313038303036333a22fb41da766f7bc00000200a0067766f6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a4216e75726e3a6465763a6f773a37373a006763757272656e74021b80000000000000000620a200637261770843616263a20066656e6572677905fb4029000000000000",
        ),
        hex("s/d", "9fa200617402c48222196ab3a200617502f93e00ff"),
    ];
    let metrics = ["v", "c", "b", "s", "e.sum", "voltage", "current", "t", "u"];
    fuzz("decoder = \"senml\"\ntopic = \"s/{device}\"", &metrics, &messages);
}

#[test]
fn thin_edge_holds() {
    let messages = [
        text("te/device/main///m/x", r#"{"time":"2026-04-11T03:20:14Z","a":25,"b":{"c":9.5}}"#),
        text("te/device/main///a/high", r#"{"text":"高","severity":"major","time":1775877613}"#),
        text("te/device/main///e/login", r#"{"text":"A user"}"#),
        text("te/device/main/service/m/status/health", r#"{"pid":1,"status":"up"}"#),
    ];
    fuzz("decoder = \"thin-edge\"", &["a", "b.c", "alarm.high.text", "event.login"], &messages);
}

#[test]
fn opcua_holds() {
    let payload = r#"{"MessageType":"ua-data","PublisherId":"p","Messages":[{"DataSetWriterId":1,"Timestamp":"2026-04-11T03:20:15Z","Payload":{"T":{"Value":99.5,"SourceTimestamp":"2026-04-11T03:20:13Z"},"P":{"Value":{"Type":10,"Body":1.5},"Status":{"Code":2147483648}},"R":true}}]}"#;
    let source = "decoder = \"opcua-json\"\ntopic = \"o/{_}\"";
    fuzz(source, &["T", "P", "R"], &[text("o/x", payload)]);
}

#[test]
fn csv_holds() {
    let source = "decoder = \"csv\"\ntopic = \"c/{device}\"\n[csv]\ndevice = \"id\"\n\
                  timestamp = { column = \"t\", unit = \"s\" }";
    let payload = "t,id,temp,state\n1775877613,冷柜,-18.5,\"run, ok\"\n1775877614,b,nan,x\n";
    fuzz(source, &["temp", "state"], &[text("c/x", payload)]);
}

#[test]
fn raw_texts_hold() {
    let messages = [text("r/冷柜", "E-17;运行"), text("r/d", "\u{7}a\tb\n")];
    fuzz("decoder = \"raw\"\ntopic = \"r/{device}\"", &["raw"], &messages);
}

#[test]
fn vda5050_holds() {
    let state = r#"{"timestamp":"2026-04-11T03:20:14.00Z","batteryState":{"batteryCharge":80},"errors":[{"errorType":"x","errorLevel":"FATAL"}]}"#;
    let messages = [
        text("uagv/v2/k/1/state", state),
        text("uagv/v2/k/1/connection", "{\"connectionState\":\"OFFLINE\"}"),
    ];
    fuzz("decoder = \"vda5050\"", &["errors", "fatal_errors", "error_type"], &messages);
}

#[test]
fn tasmota_holds() {
    let sensor = r#"{"Time":"2026-04-11T11:20:15","AM2301":{"Temperature":24.6,"Humidity":58.2},"TempUnit":"C"}"#;
    let messages = [
        text("tele/冷柜/SENSOR", sensor),
        text("tele/冷柜/STATE", r#"{"UptimeSec":12,"POWER":"ON","Wifi":{"RSSI":96}}"#),
        text("tele/冷柜/LWT", "Offline"),
    ];
    fuzz("decoder = \"tasmota\"", &["AM2301.Temperature", "Wifi.RSSI"], &messages);
}

#[test]
fn zigbee2mqtt_holds() {
    let messages = [
        text("zigbee2mqtt/leak-1", r#"{"battery":100,"temperature":27.34,"water_leak":false}"#),
        text("zigbee2mqtt/leak-1/availability", r#"{"state":"offline"}"#),
    ];
    fuzz("decoder = \"zigbee2mqtt\"", &["temperature", "water_leak"], &messages);
}

#[test]
fn shelly_holds() {
    let status = r#"{"id":0,"output":true,"apower":8.9,"temperature":{"tC":56.3,"tF":133.3}}"#;
    let messages = [
        text("shellies/shelly1pm-84CCA8/relay/0/power", "12.53"),
        text("shellies/shelly1pm-84CCA8/relay/0", "overpower"),
        text("shellyplus1pm-a8/status/switch:0", status),
        text("shellyplus1pm-a8/online", "false"),
    ];
    let metrics = ["relay/0/power", "relay/0", "switch:0.apower", "switch:0.temperature.tC"];
    fuzz("decoder = \"shelly\"", &metrics, &messages);
}

#[test]
fn alink_holds() {
    let payload = r#"{"id":"123","version":"1.0","method":"thing.event.property.post","params":{"Power":{"value":"on","time":1524448722000},"WF":23.6}}"#;
    let messages = [text("/sys/a1B2/冷机-1/thing/event/property/post", payload)];
    fuzz("decoder = \"alink\"", &["Power", "WF"], &messages);
}

#[test]
fn homie_holds() {
    let messages = [
        text("homie/car/thermostat/temperature", "21.5"),
        text("homie/car/$state", "lost"),
        text("homie/car/$homie", "4.0.0"),
    ];
    fuzz("decoder = \"homie\"", &["thermostat/temperature"], &messages);
}
