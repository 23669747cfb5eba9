//! Packs of RFC 8428 itself, and of two independent encoders: `kpn-senml` 1.0.1 and `cbor2`.

use super::super::tests::Ear;

fn ear(more: &str, metrics: &[&str]) -> Ear {
    Ear::new(&format!("decoder = \"senml\"\ntopic = \"s/{{device}}\"\n{more}"), metrics)
}

fn bytes(hex: &str) -> Vec<u8> {
    let nibbles: Vec<u8> = hex.chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn base_fields_hold_for_the_records_that_follow() {
    // RFC 8428, 5.1.3, with times near the receipt.
    let pack = r#"[
        {"bn":"urn:dev:ow:10e2073a0108006:","bt":1775877615.001,"bu":"A","bver":5,
         "n":"voltage","u":"V","v":120.1},
        {"n":"current","t":-5,"v":1.2},
        {"n":"current","t":-4,"v":1.3},
        {"bn":"urn:dev:ow:77:","n":"current","v":9},
        {"n":"door","vb":true}, {"n":"label","vs":"冷柜"}, {"n":"energy","s":12.5}]"#;
    let metrics = ["voltage", "current", "door", "label", "energy.sum"];
    let told = ear("", &metrics).hear("s/gw", pack);
    let first = "urn:dev:ow:10e2073a0108006";
    assert_eq!(
        told,
        [
            format!("{first} @-4.999 current=1.2"),
            format!("{first} @-3.999 current=1.3"),
            format!("{first} @0.001 voltage=120.1"),
            "urn:dev:ow:77 @0.001 current=9 door=true energy.sum=12.5 label=冷柜".to_owned(),
        ]
    );
}

#[test]
fn names_without_a_base_belong_to_the_topic_s_device() {
    let metrics = ["temp", "a/temp", "value"];
    let pack = r#"[{"n":"temp","v":1,"t":-2},{"n":"a/temp","bv":20,"v":2}]"#;
    assert_eq!(ear("", &metrics).hear("s/gw", pack), ["gw @now a/temp=22", "gw @-2 temp=1"]);
    let pack = r#"[{"bn":"urn:dev:mac:1:temp","v":3}]"#;
    assert_eq!(ear("", &metrics).hear("s/gw", pack), ["urn:dev:mac:1 @now temp=3"]);
    let by_topic = "[senml]\ndevice = \"topic\"";
    assert_eq!(ear(by_topic, &metrics).hear("s/gw", pack), ["gw @now temp=3"]);
}

#[test]
fn cbor_says_the_same_as_json() {
    let pack = "85a621781c75726e3a6465763a6f773a313065323037336130313038303036333a22fb41da766f7bc00000200a0067766f6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a4216e75726e3a6465763a6f773a37373a006763757272656e74021b80000000000000000620a200637261770843616263a20066656e6572677905fb4029000000000000";
    let told = ear("", &["voltage", "current", "raw", "energy.sum"]).hear("s/gw", bytes(pack));
    assert_eq!(
        told,
        [
            "urn:dev:ow:10e2073a01080063 @-5 current=1.2",
            "urn:dev:ow:10e2073a01080063 @0 voltage=120.1",
            "urn:dev:ow:77 @-1 current=9223372036854776000",
            "urn:dev:ow:77 @0 energy.sum=12.5",
            "datatype",
        ]
    );
    // A decimal fraction (RFC 8428, 6) and half precision in a pack of indefinite length.
    let pack = "9fa200617402c48222196ab3a200617502f93e00ff";
    assert_eq!(ear("", &["t", "u"]).hear("s/gw", bytes(pack)), ["gw @now t=27.315 u=1.5"]);
    let kpn = "82a6006b74656d706572617475726502fb4037800000000000063a69d9bdf3016343656c21781d75726e3a6465763a6d61633a303032346265666666653830346666313a221a69d9bdefa20064646f6f7204f5";
    let told = ear("", &["temperature", "door"]).hear("s/gw", bytes(kpn));
    // It subtracts the base time once more: the sum is what it meant, five seconds before now.
    let device = "urn:dev:mac:0024befffe804ff1";
    assert_eq!(told, [format!("{device} @-5 temperature=23.5"), format!("{device} @0 door=true")]);
}

#[test]
fn a_pack_that_asks_for_more_than_is_known_is_refused_whole() {
    for (pack, reason) in [
        (r#"[{"n":"t","v":1,"bver":11}]"#, "undecodable"),
        (r#"[{"n":"t","v":1,"future_":true}]"#, "undecodable"),
        (r#"{"n":"t","v":1}"#, "undecodable"),
        (r#"[{"n":"t","v":"#, "undecodable"),
    ] {
        assert_eq!(ear("", &["t"]).hear("s/gw", pack), [reason], "{pack}");
    }
    let told = ear("", &["t"]).hear("s/gw", r#"[{"n":"t","v":1,"t":1e12}]"#);
    assert_eq!(told, ["gw @now t=1", "time"]);
}

#[test]
fn a_record_without_a_value_is_counted_unless_it_is_there_for_those_that_follow() {
    let pack = r#"[{"bn":"urn:dev:1:","bt":1775877615,"bu":"Cel"},
        {"n":"temp","u":"Cel"}, {"n":"temp","v":null}, {"t":3}, {"n":"temp","v":4}]"#;
    let told = ear("", &["temp"]).hear("s/gw", pack);
    let counted = told.iter().filter(|told| *told == "undecodable").count();
    assert_eq!(counted, 3, "{told:?}");
    assert!(told.contains(&"urn:dev:1 @0 temp=4".to_owned()), "{told:?}");
    let right = r#"[{"bn":"urn:dev:1:"},{"n":"e","s":1},{"bver":10},{"n":"temp","v":0}]"#;
    let told = ear("", &["temp", "e.sum"]).hear("s/gw", right);
    assert_eq!(told, ["urn:dev:1 @now e.sum=1 temp=0"]);
}
