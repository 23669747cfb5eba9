//! What `check` warns of: accepted, and surely not meant.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::gateway::{HOT, binary};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().expect("it runs")
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Line, column, code and a part of the message.
fn warnings(config: &str, rules: &str) -> Vec<(u64, u64, String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    std::fs::write(folder.path().join("rules/规则.toml"), rules).expect("written");
    std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
    let output = run(folder.path(), &["check", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let found = json(&output);
    let found = found.as_array().expect("a list");
    let place = |found: &Json, key: &str| found[key].as_u64().expect("a number");
    let text = |found: &Json, key: &str| found[key].as_str().expect("a text").to_owned();
    found
        .iter()
        .inspect(|found| assert_eq!(found["severity"], "warning"))
        .map(|f| (place(f, "line"), place(f, "column"), text(f, "code"), text(f, "message")))
        .collect()
}

fn rule(lines: &str) -> String {
    format!("[[rule]]\nid = \"a\"\n{lines}\n")
}

#[test]
fn a_rule_that_can_never_fire_or_always_does_is_told() {
    for (when, code) in [
        ("t > 80 && t < 10", "never-fires"),
        ("t.avg(5m) >= 3 && x && t.avg(5m) < 3", "never-fires"),
        ("t > 80 && params.on", "never-fires"),
        ("t == 1 && 2 == t", "never-fires"),
        ("t > 1 || 1 < 2", "always-fires"),
    ] {
        let found = warnings("", &rule(&format!("when = \"{when}\"\nparams = {{ on = false }}")));
        let at = found.iter().find(|(_, _, found, _)| found == code);
        assert_eq!(at.map(|found| (found.0, found.1)), Some((3, 8)), "{when}: {found:?}");
    }
    for when in ["t > 10 && t < 80", "t > 80 && u < 10", "t >= 3 && t <= 3", "t > 5 || t < 3"] {
        assert_eq!(warnings("", &rule(&format!("when = \"{when}\""))), [], "{when}");
    }
}

#[test]
fn a_dead_band_of_the_wrong_sign_is_told_with_its_numbers() {
    let wrong = rule(
        "when = \"t > params.high\"\nclear_when = \"t < params.high + 2\"\nparams = { high = 80 }",
    );
    let found = warnings("", &wrong);
    assert_eq!((found[0].0, found[0].1, found[0].2.as_str()), (4, 14, "dead-band"));
    assert!(found[0].3.contains("between 80 and 82"), "{found:?}");
    for (when, clear) in
        [("t > 80", "t < 80"), ("t < 5", "t >= 5"), ("80 < t", "t <= 78"), ("t > 80", "u < 90")]
    {
        let right = rule(&format!("when = \"{when}\"\nclear_when = \"{clear}\""));
        assert_eq!(warnings("", &right), [], "{when} / {clear}");
    }
}

#[test]
fn a_parameter_that_nothing_reads_and_a_metric_that_no_source_yields_are_told() {
    let rules = rule(
        "when = \"temp_c > params.high\"\nparams = { high = 80, hihg = 70, unit = \"°C\" }\ntitle = \"{{ params.unit }}\"",
    );
    let found = warnings("", &rules);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1, found[0].2.as_str()), (4, 23, "unused-param"));
    let source = "[[source]]\nname = \"s\"\nurl = \"embedded\"\ntopics = [\"a/+\"]\ntopic = \"a/{device}\"\n\
                  decoder = \"json\"\n[source.json]\nrest = false\nmetrics = { temp_c = \"/t\" }\n";
    let unheard = warnings(source, &rule("when = \"tmp_c > 80 && temp_c > 1\""));
    assert_eq!(unheard.len(), 1, "{unheard:?}");
    assert_eq!(unheard[0].2, "unheard-metric");
    let open = source.replace("rest = false", "rest = true");
    assert_eq!(warnings(&open, &rule("when = \"tmp_c > 80\"")), []);
}

/// Line, column, code and a part of the hint.
type Finding = (u64, u64, &'static str, &'static str);

/// Rules that are no mistake and cannot be meant.
const SUSPICIOUS: [(&str, &[Finding]); 9] = [
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 80 && t < 10\"\n",
        &[(3, 8, "never-fires", "mode = \"off\"")],
    ),
    ("[[rule]]\nid = \"a\"\nwhen = \"t > 80 && t < 10\"\nmode = \"off\"\n", &[]),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1 && params.on\"\nparams = { on = false }\n",
        &[(3, 8, "never-fires", "a device needs its own value")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > params.high\"\nclear_when = \"t < params.high + 2.0\"\nparams = { high = 80 }\n",
        &[(4, 14, "dead-band", "the other side")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 80\"\nclear_when = \"t < 10 && t > 20\"\n",
        &[(4, 14, "never-returns", "latch = true")],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 80\"\nparams = { \"高\" = 1, \"低\" = 2 }\ntitle = { zh = '低 {{ params[\"低\"] }}' }\n",
        &[(4, 12, "unused-param", "use `params.高`")],
    ),
    (
        "[defaults]\nparams = { high = 1, low = 2 }\n[[rule]]\nid = \"a\"\nwhen = \"t > params.high\"\n",
        &[(2, 22, "unused-param", "use `params.low`")],
    ),
    // Told once, where it stands.
    (
        "[defaults]\nwhen = \"t > 8 && t < 1\"\n[[rule]]\nid = \"a\"\n[[rule]]\nid = \"b\"\n",
        &[(2, 8, "never-fires", "")],
    ),
    ("[[rule]]\nid = \"a\"\nwhen = \"t > 80\"\nclear_when = \"t < 75\"\n", &[]),
];

#[test]
fn what_cannot_be_meant_is_a_warning_at_its_place_and_no_error() {
    for (text, expected) in SUSPICIOUS {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("规则.toml"), text).expect("written");
        let output = run(folder.path(), &["check", "规则.toml", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{text}");
        let found = json(&output);
        let found = found.as_array().expect("a list");
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (told, (line, column, code, hint)) in found.iter().zip(expected) {
            assert_eq!(told["severity"], "warning");
            let place = (told["line"].as_u64(), told["column"].as_u64(), told["code"].as_str());
            assert_eq!(place, (Some(*line), Some(*column), Some(*code)), "{text}");
            assert!(told["hint"].as_str().is_some_and(|told| told.contains(hint)), "{told}");
        }
    }
}

#[test]
fn a_metric_that_no_source_yields_is_told_only_where_every_source_lists_its_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    let rule = "[[rule]]\nid = \"a\"\nwhen = \"温度 > 1 && tepm_c > 2\"\nkey = [\"code\"]\n";
    std::fs::write(folder.path().join("rules/r.toml"), rule).expect("written");
    let listed = "[[source]]\nname = \"s\"\nurl = \"embedded\"\ntopic = \"a/{device}\"\n\
                  [source.json]\nmetrics = { \"温度\" = \"/t\", temp_c = \"/c\" }\n";
    let open = "[[source]]\nname = \"o\"\nurl = \"embedded\"\ntopic = \"b/{device}\"\n";
    let check = |config: String| {
        std::fs::write(folder.path().join("faultgate.toml"), config).expect("written");
        json(&run(folder.path(), &["check", "--format", "json"]))
    };
    let found = check(listed.to_owned());
    let found = found.as_array().expect("a list");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!((&found[0]["code"], &found[0]["column"]), (&"unheard-metric".into(), &19.into()));
    assert!(found[0]["hint"].as_str().is_some_and(|hint| hint.contains("did you mean `temp_c`?")));
    assert_eq!((&found[1]["line"], &found[1]["column"]), (&4.into(), &8.into()));
    assert_eq!(check(format!("{listed}{open}")), serde_json::json!([]));
}

#[test]
fn check_tells_what_each_rule_keeps_and_which_price_nothing_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = format!("{HOT}[[rule]]\nid = \"slow\"\nwhen = \"温度.avg(1h) > 3\"\n");
    std::fs::write(folder.path().join("r.toml"), rules).expect("written");
    let plan =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/plans/plan-payg-ticket.toml");
    let output = run(folder.path(), &["check", "r.toml", plan.to_str().expect("a path"), "--cost"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].contains("0 errors, 1 warnings"), "{shown}");
    assert!(lines[1].starts_with("rule") && lines[1].contains("bytes a device"), "{shown}");
    assert!(lines[2].starts_with("slow") && lines[2].ends_with("温度 over 1h"), "{shown}");
    assert!(lines[3].starts_with("hot") && lines[3].contains(" B "), "{shown}");
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        warned.contains("warning[unbounded-price]") && warned.contains("`payg-ticket`"),
        "{warned}"
    );
}

/// Files that are accepted, and the findings, as `line:column code`, that each must have.
const MISTAKEN: [(&str, &[&str]); 20] = [
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 8 || t < 2\"\nclear_when = \"t < 9 && t > 1\"\n",
        &["4:14 dead-band"],
    ),
    ("[[rule]]\nid = \"a\"\nwhen = \"t > 8 || t < 2\"\nclear_when = \"t < 7 && t > 3\"\n", &[]),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 8\"\noccurrences = 3\noccurrences_within = \"0s\"\n",
        &["5:22 never-fires"],
    ),
    (
        "[[rule]]\nid = \"x\"\nwhen = \"t > 8\"\nmode = \"off\"\n\
         [[rule]]\nid = \"a\"\nwhen = \"t > 1 || raised('x')\"\n\
         [[rule]]\nid = \"b\"\nwhen = \"count_raised('x', 'site') > 1\"\nmode = \"off\"\n",
        &["7:25 asks-off"],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"absent(10m) && x > 1\"\nstale_after = \"5m\"\n",
        &["3:8 never-fires"],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"absent(10m) && x > 1\"\non_delay = \"1h\"\n",
        &["3:8 never-fires"],
    ),
    ("[[rule]]\nid = \"a\"\nwhen = \"absent(10m) && x > 1\"\n", &[]),
    ("[[rule]]\nid = \"a\"\nwhen = \"absent(2h) && x > 1\"\nstale_after = \"0s\"\n", &[]),
    (
        "[[rule]]\nid = \"a\"\nmatch = { class = \"freezer\" }\nwhen = \"device.class == 'pump'\"\n",
        &["4:8 never-fires"],
    ),
    (
        "[defaults]\nmatch = { \"labels.floor\" = \"1*\" }\n\
         [[rule]]\nid = \"a\"\nwhen = \"device.labels.floor in ['2', '3'] && t > 1\"\n",
        &["5:8 never-fires"],
    ),
    ("[[rule]]\nid = \"a\"\nwhen = \"t.stddev(5m) < 0\"\n", &["3:8 never-fires"]),
    ("[[rule]]\nid = \"a\"\nwhen = \"u || t.count(5m) < 0\"\n", &[]),
    (
        "[[maintenance]]\nschedule = { cron = \"0 2 30 2 *\", duration = \"4h\" }\n",
        &["2:21 never-comes"],
    ),
    ("[[maintenance]]\nschedule = { cron = \"0 2 29 2 *\", duration = \"4h\" }\n", &[]),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nrenamed_from = \"a\"\n\
         [[rule]]\nid = \"b\"\nwhen = \"t > 1\"\nrenamed_from = \"a\"\n",
        &["4:16 renamed-from", "8:16 renamed-from"],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nrenamed_from = \"old\"\n\
         [[rule]]\nid = \"b\"\nwhen = \"t > 1\"\nrenamed_from = \"old\"\n",
        &["8:16 renamed-from"],
    ),
    (
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nkey = [\"code\", \"n\", \"code\"]\n",
        &["4:21 twice"],
    ),
    (
        "[[codes]]\ntable = \"x\"\nsource = \"p. 1\"\n\
         [[codes]]\ntable = \"y\"\nsource = \"p. 1\"\nentries = [{ code = \"\", class = \"a\" }]\n",
        &["2:9 empty", "7:21 empty"],
    ),
    ("[[test]]\nname = \"一\"\n[[test]]\nname = \"二\"\n[[test]]\nname = \"一\"\n", &["6:8 twice"]),
    ("[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\nkey = [\"code\"]\nrenamed_from = \"old\"\n", &[]),
];

#[test]
fn what_leads_nowhere_stands_twice_or_never_comes_is_told_at_its_place() {
    for (rules, expected) in MISTAKEN {
        let found = warnings("", rules);
        let found: Vec<String> =
            found.iter().map(|(line, column, code, _)| format!("{line}:{column} {code}")).collect();
        assert_eq!(found, expected, "{rules}");
    }
}

#[test]
fn a_rule_that_asks_for_alarms_of_one_that_is_off_in_another_file_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    write(
        "a.toml",
        "[[rule]]\nid = \"a\"\nwhen = \"t > 1 && !raised('b')\"\nrenamed_from = \"b\"\n",
    );
    write("b.toml", "[defaults]\nmode = \"off\"\n[[rule]]\nid = \"b\"\nwhen = \"t > 1\"\n");
    let found = json(&run(folder.path(), &["check", "a.toml", "b.toml", "--format", "json"]));
    let told: Vec<_> = found.as_array().expect("a list").iter().map(|f| &f["message"]).collect();
    let expected = [
        "rule `a` asks for alarms of rule `b`, which is off",
        "rule `a` is renamed from `b`, which is still there",
    ];
    assert_eq!(told, expected.map(Json::from).iter().collect::<Vec<_>>());
}

#[test]
fn a_hint_lists_each_name_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = "[[rule]]\nid = \"a\"\nwhen = \"t > params.high\"\nparams = { high = 1, low = 2 }\n\
                 [[rule]]\nid = \"b\"\nwhen = \"t > params.high\"\nparams = { high = 1 }\n\
                 [[device]]\nid = \"d\"\nparams = { temperature = 3 }\n";
    std::fs::write(folder.path().join("r.toml"), rules).expect("written");
    let found = json(&run(folder.path(), &["check", "r.toml", "--format", "json"]));
    assert_eq!(found[0]["hint"], "known here: high, low");
}
