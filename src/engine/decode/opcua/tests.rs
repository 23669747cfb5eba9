//! Messages in the shapes of OPC 10000-14 and of publishers in the field.

use super::super::tests::Ear;

const METRICS: [&str; 5] = ["Temperature", "Pressure", "Run", "Name", "Zones"];

fn ear(topic: &str) -> Ear {
    Ear::new(&format!("decoder = \"opcua-json\"\ntopic = \"{topic}\""), &METRICS)
}

#[test]
fn data_values_have_a_status_and_a_time_of_their_own() {
    let payload = r#"{"MessageId":"1","MessageType":"ua-data","PublisherId":"plc-1","Messages":[
        {"DataSetWriterId":62541,"SequenceNumber":12,"Timestamp":"2026-04-11T03:20:15Z","Payload":{
          "Temperature":{"Value":99.5,"SourceTimestamp":"2026-04-11T03:20:13Z"},
          "Pressure":{"Value":{"Type":10,"Body":1.5},"Status":{"Code":2147483648,"Symbol":"Bad"}},
          "Run":{"Value":true,"StatusCode":1073741824},
          "Name":{"Value":{"UaType":12,"Value":"泵"}}, "Zones":{"Value":[1,2]}}},
        {"DataSetWriterName":"press","Payload":{"Temperature":{"Type":6,"Body":7}}},
        {"DataSetWriterId":3,"MessageType":"ua-keepalive"}]}"#;
    let told = ear("opcua/{_}").hear("opcua/x", payload);
    assert_eq!(
        told,
        [
            "plc-1/62541 @-2 Temperature=99.5",
            "plc-1/62541 @0 Name=泵 Pressure! Run=true",
            "plc-1/press @now Temperature=7",
            "datatype",
        ]
    );
}

#[test]
fn raw_fields_bare_messages_and_lists_are_read() {
    let bare = r#"{"DataSetWriterId":1,"Payload":{"Temperature":21.5,"Run":false,"Name":null}}"#;
    assert_eq!(
        ear("o/{device}").hear("o/冷机", bare),
        ["冷机 @now Name! Run=false Temperature=21.5"]
    );
    let list = r#"[{"MessageType":"ua-metadata","MetaData":{}},
        {"MessageType":"ua-data","Messages":{"Payload":{"Run":true},"Status":{"Code":2156265472}}}]"#;
    assert_eq!(ear("o/{device}").hear("o/冷机", list), ["冷机 @now Run!"]);
    assert_eq!(ear("o/{device}").hear("o/x", "{\"Payload\": 5}"), ["undecodable"]);
    assert_eq!(ear("o/{device}").hear("o/x", "5"), ["undecodable"]);
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    assert_eq!(ear("o/{device}").hear("o/x", deep), ["too-deep"]);
}

#[test]
fn data_sets_without_a_header_are_nothing_but_their_fields() {
    let fields = r#"{"Temperature":21.5,"Run":{"Value":true,"StatusCode":2147483648}}"#;
    let told = ["冷机 @now Run! Temperature=21.5"];
    assert_eq!(ear("o/{device}").hear("o/冷机", fields), told);
    let network = format!(
        r#"{{"MessageId":"1","MessageType":"ua-data","PublisherId":"plc-1","Messages":[{fields}]}}"#
    );
    assert_eq!(ear("o/{device}").hear("o/冷机", &network), told);
    assert_eq!(ear("o/{_}").hear("o/x", &network), ["plc-1 @now Run! Temperature=21.5"]);
    assert_eq!(ear("o/{_}").hear("o/x", fields), ["device-id"], "nobody says whose they are");
    let two = r#"[{"Temperature":1},{"Temperature":2}]"#;
    let told = ear("o/{device}").hear("o/冷机", two);
    assert_eq!(told, ["冷机 @now Temperature=1", "冷机 @now Temperature=2"]);
    // Fields may be called as a part of a header is.
    let named = r#"{"Status":4,"MessageType":"alarm","Zones":[1],"Name":"泵"}"#;
    assert_eq!(ear("o/{device}").hear("o/冷机", named), ["冷机 @now Name=泵", "datatype"]);
}

#[test]
fn a_header_without_a_payload_is_a_keep_alive_or_no_message() {
    for silent in [
        r#"{"DataSetWriterId":3,"SequenceNumber":9,"Timestamp":"2026-04-11T03:20:15Z"}"#,
        r#"{"MessageType":"ua-keepalive","Vendor":1}"#,
        r#"{"MessageType":"ua-status","MessageId":"1","Status":1}"#,
    ] {
        assert_eq!(ear("o/{device}").hear("o/x", silent), [""; 0], "{silent}");
    }
    let cut = r#"{"MessageId":"1","MessageType":"ua-data","PublisherId":"plc-1"}"#;
    assert_eq!(ear("o/{device}").hear("o/x", cut), ["undecodable"]);
}
