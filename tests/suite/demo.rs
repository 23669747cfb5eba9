//! The demo as a stranger sees it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use faultgate::io::clock;

use crate::gateway::binary;

/// What the demo must have shown before the test gives up.
const WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to end after Ctrl-C.
const END_WITHIN: Duration = Duration::from_secs(10);

struct Demo {
    child: Child,
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("demo").args(arguments).env("TZ", "UTC").stderr(Stdio::inherit());
    command
}

#[test]
fn every_fault_of_the_fleet_gets_its_one_ticket_and_ctrl_c_ends_it_cleanly() {
    let mut command = demo(&["--speed", "30"]);
    command.env("LC_ALL", "zh_CN.UTF-8").stdout(Stdio::piped());
    let mut demo = Demo { child: command.spawn().expect("it starts") };
    let lines = BufReader::new(demo.child.stdout.take().expect("piped")).lines();
    let (told, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| drop(told.send(line)));
    });
    let mut seen: Vec<String> = Vec::new();
    let wanted = [
        ("开单", "紧急", "冷柜温度过高", "冷柜-3"),
        ("开单", "紧急", "冷柜温度过高", "冷柜-5"),
        ("开单", "重要", "冷柜离线", "冷柜-11"),
        ("开单", "紧急", "机房烟雾", "机房-5"),
        ("恢复", "紧急", "冷柜温度过高", "冷柜-3"),
        // Past the first step of the ladder: all that the swinging freezer could still do.
        ("升级", "紧急", "冷柜温度过高", "冷柜-5"),
    ];
    let has = |seen: &[String], (event, severity, title, device): (&str, &str, &str, &str)| {
        let parts = [event, severity, title, device];
        seen.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    };
    let deadline = clock::monotonic() + WITHIN;
    while !wanted.iter().all(|wanted| has(&seen, *wanted) > 0) {
        let left = deadline.saturating_duration_since(clock::monotonic());
        let Ok(line) = heard.recv_timeout(left) else { panic!("not all of it in {seen:#?}") };
        seen.push(line);
    }
    assert_eq!(has(&seen, ("开单", "", "", "冷柜-5")), 1, "{seen:#?}");
    assert_eq!(has(&seen, ("恢复", "", "", "冷柜-5")), 0, "{seen:#?}");
    assert_eq!(has(&seen, ("", "", "冷柜温度过高", "冷柜-9")), 0, "too short for a ticket");
    assert!(seen.iter().any(|line| line.contains("[1.20 CNY]")), "{seen:#?}");

    let pid = rustix::process::Pid::from_child(&demo.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("told to stop");
    let mut last = String::new();
    loop {
        match heard.recv_timeout(END_WITHIN) {
            Ok(line) => last = line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("still running after {END_WITHIN:?}"),
        }
    }
    assert!(demo.child.wait().expect("ended").success());
    reader.join().expect("read to its end");
    assert!(last.contains("按价目 payg-ticket 共"), "{last}");
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_recording_is_played_to_its_end_and_its_bad_lines_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("冷柜.csv");
    let rows = (0..90).map(|second| {
        let temp = if second < 20 { -20.0 } else { -5.0 };
        format!("2026-04-11 03:{:02}:{:02},{temp}\n", 20 + second / 60, second % 60)
    });
    let rows: String = rows.collect();
    std::fs::write(&path, format!("ts,temp_c\nnever,1\n{rows}")).expect("written");
    let path = path.to_str().expect("a path");
    let arguments =
        ["--replay", path, "--csv-class", "freezer", "--speed", "20", "--language", "en"];
    let output = demo(&arguments).env("LC_ALL", "zh_CN.UTF-8").stderr(Stdio::piped()).output();
    let output = output.expect("it runs");
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stderr}");
    let head = "90 messages, 2026-04-11 03:20:00 – 2026-04-11 03:21:29, 20 times as fast";
    assert!(stdout.contains(head), "{stdout}");
    assert!(stdout.contains("opened     critical Freezer too warm: -5 °C · 冷柜"), "{stdout}");
    assert!(
        stdout.ends_with("1 opened, 0 escalated, 0 resolved; 1.20 CNY on plan payg-ticket\n"),
        "{stdout}"
    );
    let note = "note: lines skipped, being no message: 1; the first: ";
    assert!(stderr.contains(note) && stderr.contains("冷柜.csv:2: \"never\""), "{stderr}");
}
