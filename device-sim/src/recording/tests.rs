use super::*;

fn message(at_us: i64, payload: &[u8]) -> Recorded {
    let topic = "plant/上海/freezer/冷柜-3/telemetry".to_owned();
    Recorded { at_us, topic, payload: payload.to_vec(), retain: false, qos: 1 }
}

#[test]
fn what_is_written_is_read_again_plain_and_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let messages =
        [message(1, b"{\"t\": 1}"), message(2, b"\xff\x00"), message(3, "中".as_bytes())];
    for name in ["a.ndjson", "a.jsonl.gz", "a.jsonl.zst"] {
        let path = folder.path().join(name);
        let mut recorder = Recorder::create(&path).expect(name);
        messages.iter().for_each(|message| recorder.write(message).expect(name));
        recorder.finish().expect(name);
        let mut recording = open(&[path], &CsvMapping::default()).expect(name);
        let read: Vec<Recorded> = (&mut recording).collect();
        assert_eq!(read, messages, "{name}");
        assert_eq!(recording.notes().lines(), [""; 0], "{name}");
    }
}

#[test]
fn a_folder_of_csv_files_is_one_recording_in_the_order_of_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let devices = folder.path().join("pump/devices");
    std::fs::create_dir_all(&devices).expect("made");
    let csv = "ts,temp_c,state\n2026-01-01T00:00:02Z,1.5,#VALUE!\n2026-01-01T00:00:04Z,,\n";
    std::fs::write(devices.join("p-1.csv"), csv).expect("written");
    let csv = "ts,temp_c\n2026-01-01T00:00:01Z,7\n2026-01-01T00:00:03Z,8\n";
    std::fs::write(devices.join("泵-2.csv"), csv).expect("written");
    let paths = [folder.path().join("pump")];
    let read: Vec<(String, String)> = open(&paths, &CsvMapping::default())
        .expect("open")
        .map(|m| (m.topic, String::from_utf8(m.payload).expect("text")))
        .collect();
    let expected = [
        ("泵-2", r#"{"temp_c":7,"ts":"2026-01-01T00:00:01Z"}"#),
        ("p-1", r##"{"state":"#VALUE!","temp_c":1.5,"ts":"2026-01-01T00:00:02Z"}"##),
        ("泵-2", r#"{"temp_c":8,"ts":"2026-01-01T00:00:03Z"}"#),
        ("p-1", r#"{"ts":"2026-01-01T00:00:04Z"}"#),
    ];
    let expected = expected.map(|(device, payload)| {
        (format!("plant/site/pump/{device}/telemetry"), payload.to_owned())
    });
    assert_eq!(read, expected);
}

/// Reads files of these names and texts: the payloads in their order, and what is told.
fn read(files: &[(&str, &[u8])], csv: &CsvMapping) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| folder.path().join(name)).collect();
    for (path, (_, text)) in paths.iter().zip(files) {
        std::fs::write(path, text).expect("written");
    }
    let mut recording = open(&paths, csv).expect("open");
    let payloads = (&mut recording).map(|m| String::from_utf8_lossy(&m.payload).into_owned());
    let payloads = payloads.collect();
    let folder = format!("{}/", folder.path().display());
    let told = recording.notes().lines();
    (payloads, told.iter().map(|line| line.replace(&folder, "")).collect())
}

#[test]
fn a_line_that_is_no_message_is_skipped_counted_and_told_with_its_place() {
    let bad = b"\n{\"ts\":\"now\",\"topic\":\"t\",\"payload\":\"\"}\n{\n\
        {\"ts\":\"2026-01-01T00:00:02Z\",\"topic\":\"a/#\",\"payload\":\"x\"}\n\
        {\"ts\":\"2026-01-01T00:00:02Z\",\"topic\":\"t\",\"payload\":\"2\"}\n";
    let good = b"{\"ts\":\"2026-01-01T00:00:01Z\",\"topic\":\"t\",\"payload\":\"1\"}\n\
        {\"ts\":\"2026-01-01T00:00:03Z\",\"topic\":\"t\",\"payload\":\"3\"}";
    let files: [(&str, &[u8]); 2] = [("坏.jsonl", bad), ("good.jsonl", good)];
    let (payloads, told) = read(&files, &CsvMapping::default());
    assert_eq!(payloads, ["1", "2", "3"]);
    let expected = "lines skipped, being no message: 3; the first: 坏.jsonl:2: \"now\" is not an RFC 3339 time";
    assert_eq!(told, [expected]);
}

#[test]
fn a_time_that_goes_back_is_played_where_it_stands_and_counted() {
    let line = |second, payload| {
        format!(
            "{{\"ts\":\"2026-01-01T00:00:{second:02}Z\",\"topic\":\"t\",\"payload\":\"{payload}\"}}\n"
        )
    };
    let text = [line(5, "a"), line(2, "b"), line(6, "c"), line(1, "d")].concat();
    let (payloads, told) = read(&[("x.jsonl", text.as_bytes())], &CsvMapping::default());
    assert_eq!(payloads, ["a", "b", "c", "d"]);
    let expected = "messages older than the one before, played where they stand: 2";
    assert_eq!(told, [expected]);
}

#[test]
fn a_compressed_file_that_breaks_off_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.jsonl.gz");
    let mut recorder = Recorder::create(&path).expect("made");
    // Payloads that do not compress, so that what is left holds whole lines.
    let payload = |n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes();
    (0..5_000).for_each(|n| recorder.write(&message(n as i64, &payload(n))).expect("written"));
    recorder.finish().expect("ended");
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cut");
    let mut recording = open(&[path], &CsvMapping::default()).expect("open");
    let count = (&mut recording).count();
    assert!((1_000..5_000).contains(&count), "{count}");
    let told = recording.notes().lines();
    assert!(told[0].ends_with("the rest of this file was not read"), "{told:?}");
}

#[test]
fn a_capture_with_milliseconds_and_base64_is_a_recording() {
    let line = b"{\"rx_ms\": 1795474393294, \"topic\": \"spBv1.0/b/NDEATH/gw\", \"qos\": 0, \
                 \"retain\": false, \"len\": 2, \"b64\": \"aGk=\"}";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ndjson");
    std::fs::write(&path, line).expect("written");
    let read: Vec<Recorded> = open(&[path], &CsvMapping::default()).expect("open").collect();
    let topic = "spBv1.0/b/NDEATH/gw".to_owned();
    let at_us = 1_795_474_393_294_000;
    assert_eq!(read, [Recorded { at_us, topic, payload: b"hi".to_vec(), retain: false, qos: 0 }]);
}

#[test]
fn csv_rows_keep_their_line_numbers_over_quoted_line_ends_and_open_quotes() {
    let text = "ts,note,t\n2026-01-01T00:00:01Z,\"two\nlines, \"\"quoted\"\"\",1\n\
                2026-01-01T00:00:02Z,5\" pipe,2\n\n2026-01-01 00:00:03,\"never closed,3\n\
                2026-01-01 00:00:04,,4\n";
    let (payloads, told) = read(&[("a.csv", text.as_bytes())], &CsvMapping::default());
    let expected = [
        r#"{"note":"two\nlines, \"quoted\"","t":1,"ts":"2026-01-01T00:00:01Z"}"#,
        r#"{"note":"5\" pipe","t":2,"ts":"2026-01-01T00:00:02Z"}"#,
        r#"{"t":4,"ts":"2026-01-01T00:00:04Z"}"#,
    ];
    assert_eq!(payloads, expected);
    let expected = "lines skipped, being no message: 1; the first: a.csv:6: a quote is opened and never closed";
    assert_eq!(told, [expected]);
}

#[test]
fn a_mapping_says_time_device_and_metrics_of_a_csv_file() {
    let text = "\u{feff}时间,设备,温度,x\n2026-01-01T00:00:01Z,冷柜-1,7.5,1\n\
                2026-01-01T00:00:02Z,a/#,7,1\n2026-01-01T00:00:03Z,,7,1\n";
    let mut mapping = CsvMapping {
        timestamp: "时间".to_owned(),
        device: CsvDevice::Column("设备".to_owned()),
        metrics: vec!["温度".to_owned()],
        class: Some("freezer".to_owned()),
        topic: "a/{class}/{device}".to_owned(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data.CSV");
    std::fs::write(&path, text).expect("written");
    let topics = |mapping: &CsvMapping| {
        let mut recording = open(std::slice::from_ref(&path), mapping).expect("open");
        let topics: Vec<String> = (&mut recording).map(|message| message.topic).collect();
        (topics, recording.notes().skipped)
    };
    assert_eq!(topics(&mapping), (vec!["a/freezer/冷柜-1".to_owned()], 2));
    mapping.device = CsvDevice::Fixed("dev".to_owned());
    assert_eq!(topics(&mapping), (vec!["a/freezer/dev".to_owned(); 3], 0));
    mapping.device = CsvDevice::FileName;
    assert_eq!(topics(&mapping), (vec!["a/freezer/data".to_owned(); 3], 0));
    mapping.metrics = vec!["湿度".to_owned()];
    let told = open(&[path], &mapping).expect_err("no such column").to_string();
    assert!(told.contains("there is no column `湿度`; the first line names"), "{told}");
}
