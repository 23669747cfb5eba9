//! What `check` reads: everything, whatever is wrong with a part of it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::gateway::{HOT, binary};

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().expect("it runs")
}

/// Exit code, and file, line, column and code of each finding.
fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let arguments = [&["check", "--format", "json"], arguments].concat();
    let output = run(folder, &arguments);
    let found: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |found: &Json, key: &str| found[key].as_str().expect("a text").to_owned();
    let place = |found: &Json| {
        let (file, code) = (text(found, "file"), text(found, "code"));
        format!("{file}:{}:{} {code}", found["line"], found["column"])
    };
    (output.status.code(), found.as_array().expect("a list").iter().map(place).collect())
}

const WRONG_RULE: &[u8] = b"[[rule]]\nid = \"a\"\nwhen = \"t >\"\n";
const WRONG_DEVICE: &[u8] = b"[[device]]\nid = \"x\"\nsiet = \"sh-1\"\n";

#[test]
fn a_mistake_in_the_configuration_hides_none_of_the_rules_and_devices() {
    let config = "[gateway]\nrules = [\"regeln\"]\nid = 3\n[[upstream]]\nname = \"rt\"\n\
                  kind = \"otrs\"\n";
    let routed =
        "[[rule]]\nid = \"b\"\nwhen = \"t > 8 && t < 1\"\nticket = { upstream = \"rt\" }\n";
    let files = [
        ("faultgate.toml", config.as_bytes()),
        ("regeln/a.toml", WRONG_RULE),
        ("regeln/b.toml", routed.as_bytes()),
        ("devices.toml", WRONG_DEVICE),
    ];
    let folder = folder(&files);
    let told = [
        "faultgate.toml:3:6 wrong-type",
        "faultgate.toml:6:8 wrong-value",
        "devices.toml:3:1 unknown-key",
        "regeln/a.toml:3:12 syntax",
    ];
    assert_eq!(check(folder.path(), &[]), (Some(1), told.map(str::to_owned).to_vec()));
    std::fs::write(folder.path().join("regeln/a.toml"), "").expect("written");
    std::fs::remove_file(folder.path().join("devices.toml")).expect("removed");
    let (_, found) = check(folder.path(), &[]);
    assert_eq!(found[2..], ["regeln/b.toml:3:8 never-fires"], "what cannot be meant is told too");
}

#[test]
fn a_configuration_that_is_no_toml_leaves_the_rules_where_it_says_or_where_they_usually_are() {
    for (config, rules) in [
        ("[gateway]\nrules = [\"regeln\"]\nid = = 3\n", "regeln"),
        ("[gateway\nid = \"x\"\n[[upstream\nname = \"rt\"\n", "rules"),
    ] {
        let rule = format!("{rules}/a.toml");
        let routed =
            "[[rule]]\nid = \"a\"\nwhen = \"t >\"\nticket = { upstream = \"rt\" }\n".as_bytes();
        let folder = folder(&[("faultgate.toml", config.as_bytes()), (&rule, routed)]);
        let (code, found) = check(folder.path(), &[]);
        assert_eq!(code, Some(1));
        assert!(found.contains(&format!("{rule}:3:12 syntax")), "{found:?}");
        let of_rules = found.iter().filter(|found| found.starts_with(&rule)).count();
        assert_eq!(of_rules, 1, "upstreams that nobody could read are not missed: {found:?}");
    }
}

#[test]
fn a_file_that_is_no_utf_8_is_told_at_its_first_bad_byte_and_the_others_are_checked() {
    let bad = "[[rule]]\nid = \"b\"\ntitle = \"温".as_bytes();
    let bad = [bad, b"\xff\"\n"].concat();
    let mut files = vec![
        ("faultgate.toml", &b"# caf\xe9\n"[..]),
        ("rules/a.toml", WRONG_RULE),
        ("rules/b.toml", &bad),
        ("devices.toml", WRONG_DEVICE),
    ];
    let told = [
        "faultgate.toml:1:6 not-utf-8",
        "devices.toml:3:1 unknown-key",
        "rules/a.toml:3:12 syntax",
        "rules/b.toml:3:11 not-utf-8",
    ];
    let whole = folder(&files);
    assert_eq!(check(whole.path(), &[]), (Some(1), told.map(str::to_owned).to_vec()));
    let shown = run(whole.path(), &["check"]);
    let shown = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(shown.contains("byte 0xff") && shown.contains("rules/b.toml:3:11"), "{shown}");
    files.remove(0);
    let test = run(folder(&files).path(), &["test"]);
    let shown = String::from_utf8_lossy(&test.stderr).into_owned();
    assert_eq!(test.status.code(), Some(2));
    assert!(shown.contains("rules/b.toml:3:11: the file is not UTF-8"), "{shown}");
}

#[test]
fn a_folder_of_the_configuration_that_is_not_there_is_told_and_a_named_one_is_wrong_use() {
    let config = b"[gateway]\nrules = [\"nowhere\"]\n";
    let folder = folder(&[("faultgate.toml", config), ("devices.toml", WRONG_DEVICE)]);
    let told = ["devices.toml:3:1 unknown-key", "nowhere:1:1 unreadable"];
    assert_eq!(check(folder.path(), &[]), (Some(1), told.map(str::to_owned).to_vec()));
    assert_eq!(run(folder.path(), &["check", "nowhere"]).status.code(), Some(2));
}

#[test]
fn a_decoder_that_is_not_there_is_one_mistake_whatever_stands_beside_it() {
    let config = "[[source]]\nname = \"s\"\nurl = \"embedded\"\ndecoder = \"jsom\"\n\
                  [source.json]\nrest = true\n[source.csv]\ncolumns = [\"t\"]\n\
                  [source.senml]\n[source.sparkplug]\n";
    let folder = folder(&[("faultgate.toml", config.as_bytes())]);
    let told = vec!["faultgate.toml:4:11 wrong-value".to_owned()];
    assert_eq!(check(folder.path(), &[]), (Some(1), told));
}

#[test]
fn the_columns_of_a_source_that_reads_csv_are_accepted() {
    let config = "[[source]]\nname = \"s\"\nurl = \"embedded\"\ntopic = \"a/{device}\"\n\
                  decoder = \"csv\"\n[source.csv]\ncolumns = [\"t\", \"id\", \"temp_c\"]\n\
                  separator = \";\"\ntimestamp = { column = \"t\", unit = \"s\" }\ndevice = \"id\"\n\
                  bad = [\"#VALUE!\"]\n";
    let folder = folder(&[("faultgate.toml", config.as_bytes())]);
    assert_eq!(check(folder.path(), &[]), (Some(0), vec![]));
}

#[test]
fn a_symbolic_link_that_leads_back_up_is_walked_once() {
    let folder = folder(&[("rules/z/hot.toml", HOT.as_bytes()), ("more/b.toml", WRONG_RULE)]);
    let rules = folder.path().join("rules");
    symlink("..", rules.join("z/up")).expect("linked");
    symlink("z", rules.join("another")).expect("linked");
    symlink("../more", rules.join("linked")).expect("linked");
    let told = vec!["rules/linked/b.toml:3:12 syntax".to_owned()];
    assert_eq!(check(folder.path(), &[]), (Some(1), told));
    std::fs::write(folder.path().join("more/b.toml"), "").expect("written");
    let shown = run(folder.path(), &["check"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.starts_with("2 files checked: 0 errors"), "{shown}");
}

#[test]
fn ladders_lie_beside_the_rules() {
    let rule = "[[rule]]\nid = \"a\"\nwhen = \"t > 8\"\nticket = { ladder = \"field\" }\n";
    let ladder = "[[ladder]]\nid = \"field\"\n[[ladder.step]]\nafter = \"5m\"\nticket = { comment = true }\n";
    let files: [(&str, &[u8]); 2] =
        [("rules/a.toml", rule.as_bytes()), ("ladders/field.toml", ladder.as_bytes())];
    let beside = folder(&files);
    assert_eq!(check(beside.path(), &["rules"]), (Some(0), Vec::new()));
    let alone = folder(&files[..1]);
    let (code, found) = check(alone.path(), &["rules"]);
    assert_eq!((code, found.len()), (Some(1), 1), "{found:?}");
}

#[test]
fn a_weekday_is_named() {
    let window = |cron: &str| {
        format!(
            "[[maintenance]]\nmatch = {{ site = \"a\" }}\nschedule = {{ cron = \"{cron}\", duration = \"1h\" }}\n"
        )
    };
    for (cron, findings) in [
        ("0 2 * * SUN", 0),
        ("0 2 * * MON-FRI", 0),
        ("0 2 * * MON#2", 0),
        ("0 2 1 * *", 0),
        ("0 2 * * 0", 1),
        ("0 2 * * 1-5", 1),
        ("30 0 2 * * 7", 1),
    ] {
        let folder = folder(&[("rules/w.toml", window(cron).as_bytes())]);
        let (_, found) = check(folder.path(), &["rules"]);
        assert_eq!(found.len(), findings, "{cron}: {found:?}");
    }
}

#[test]
fn a_configuration_is_known_among_what_is_to_be_checked_whatever_it_is_called() {
    let config: &[u8] = b"[http]\nlisten = \"nowhere\"\n";
    let files = [("faultgate.toml", config), ("rules/a.toml", HOT.as_bytes()), ("gw.toml", config)];
    let folder = folder(&files);
    let told = |file: &str| format!("{file}:2:10 wrong-value");
    let checked = |paths: &[&str]| check(folder.path(), paths);
    assert_eq!(checked(&["faultgate.toml"]), (Some(1), vec![told("faultgate.toml")]));
    assert_eq!(checked(&["gw.toml"]), (Some(1), vec![told("gw.toml")]));
    assert_eq!(checked(&["."]), (Some(1), vec![told("./faultgate.toml"), told("./gw.toml")]));
    assert_eq!(checked(&["rules"]), (Some(1), vec![told("faultgate.toml")]));
}
