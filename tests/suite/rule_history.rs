//! Accepted rule sets: kept, compared, gone back to.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::gateway::{Gateway, HOT, Home, binary};

/// A second rule, in a file of its own.
const COLD: &str =
    "[[rule]]\nid = \"cold\"\nmatch = { class = \"machine\" }\nwhen = \"temp_c < 0\"\n";

fn run(home: &Home, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(home.path()).output().expect("it runs")
}

fn json(home: &Home, arguments: &[&str]) -> Json {
    let output = run(home, &[arguments, &["--format", "json"]].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Starts a gateway, and lets commands find it where it has really come up.
fn start(home: &Home) -> Gateway {
    let gateway = home.start();
    let file = home.path().join("faultgate.toml");
    let config = std::fs::read_to_string(&file).expect("there");
    let here = format!("[http]\nlisten = \"{}\"", gateway.http);
    let config = config.replace("[http]\nlisten = \"127.0.0.1:0\"", &here);
    std::fs::write(file, config).expect("written");
    gateway
}

/// Two sets: the one that the gateway started with, and one with a higher limit and a second file.
async fn two_sets(home: &Home) -> Gateway {
    let gateway = start(home);
    home.write_rules(&HOT.replace("> 80", "> 8 0"));
    assert_eq!(gateway.post("/api/v1/rules/reload").await.0, 422, "a refused set is not kept");
    home.write_rules(&HOT.replace("> 80", "> 90").replace("过热", "温度过高"));
    std::fs::write(home.path().join("rules/冷.toml"), COLD).expect("written");
    assert_eq!(gateway.post("/api/v1/rules/reload").await.0, 200);
    gateway
}

fn rules(home: &Home, file: &str) -> Option<String> {
    std::fs::read_to_string(home.path().join("rules").join(file)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_puts_the_files_back_and_the_running_gateway_reads_them() {
    let home = Home::new(HOT, "");
    let gateway = two_sets(&home).await;
    let told = json(&home, &["rules", "rollback", "1"]);
    assert_eq!(told["reloaded"], true, "{told:#}");
    assert_eq!(gateway.get("/readyz").await["rules"], 1);
    assert_eq!(rules(&home, "rules.toml").as_deref(), Some(HOT));
    assert_eq!(rules(&home, "冷.toml"), None);
    assert_eq!(rules(&home, "冷.toml.removed").as_deref(), Some(COLD));
    let sets = json(&home, &["rules", "history"])["sets"].take();
    let brief: Vec<String> = sets
        .as_array()
        .expect("a list")
        .iter()
        .map(|set| format!("{} {} {} {}", set["number"], set["origin"], set["rules"], set["to"]))
        .collect();
    assert_eq!(brief, ["3 \"rollback\" 1 1", "2 \"api\" 2 null", "1 \"start\" 1 null"]);
    assert_eq!(sets[0]["hash"], sets[2]["hash"]);
    assert_eq!(sets[1]["files"], serde_json::json!(["rules/rules.toml", "rules/冷.toml"]));
    // The set that was left is still there to come back to.
    assert_eq!(json(&home, &["rules", "rollback", "2"])["reloaded"], true);
    assert_eq!(gateway.get("/readyz").await["rules"], 2);
    assert_eq!(rules(&home, "冷.toml").as_deref(), Some(COLD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_shows_the_lines_and_what_they_mean_for_each_rule() {
    let home = Home::new(HOT, "");
    let gateway = two_sets(&home).await;
    drop(gateway);
    let told = json(&home, &["rules", "diff", "1", "2"]);
    assert_eq!(told["rules"][0]["rule"], "cold");
    assert_eq!(told["rules"][0]["change"], "added");
    assert_eq!(told["rules"][1]["rule"], "hot");
    assert_eq!(told["rules"][1]["change"], "firing");
    let when = serde_json::json!({"field": "when", "old": "temp_c > 80", "new": "temp_c > 90"});
    assert_eq!(told["rules"][1]["fields"][0], when);
    assert_eq!(told["rules"][1]["fields"][1]["field"], "title");
    let diff = told["files"][0]["diff"].as_str().expect("a diff");
    assert!(diff.contains("--- 1/rules/rules.toml\n+++ 2/rules/rules.toml\n"), "{diff}");
    assert!(diff.contains("-when = \"temp_c > 80\"\n+when = \"temp_c > 90\"\n"), "{diff}");
    // Without numbers: the newest accepted set and the folder as it is.
    assert!(said(&run(&home, &["rules", "diff"])).contains("the same files"));
    home.write_rules(&HOT.replace("> 80", "> 90").replace("过热", "太热"));
    let shown = said(&run(&home, &["rules", "diff"]));
    assert!(shown.contains("rule hot: same firing"), "{shown}");
    assert!(shown.contains("+++ folder/rules/rules.toml"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_never_accepted_are_not_lost_to_a_rollback() {
    let home = Home::new(HOT, "");
    // What was accepted survives `kill -9`.
    two_sets(&home).await.kill();
    let draft = HOT.replace("> 80", "> 85");
    home.write_rules(&draft);
    let refused = run(&home, &["rules", "rollback", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    let shown = said(&refused);
    assert!(shown.contains("never accepted: rules/rules.toml;") && shown.contains("--force"));
    assert_eq!(rules(&home, "rules.toml").as_deref(), Some(draft.as_str()));
    let forced = run(&home, &["rules", "rollback", "1", "--force"]);
    let shown = said(&forced);
    assert!(forced.status.success() && shown.contains("taken at its next start"), "{shown}");
    assert_eq!(rules(&home, "rules.toml").as_deref(), Some(HOT));
    assert_eq!(rules(&home, "rules.toml.replaced").as_deref(), Some(draft.as_str()));
    let gateway = home.start();
    assert_eq!(gateway.get("/readyz").await["rules"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_no_longer_fits_the_configuration_changes_no_file() {
    let home = Home::new(HOT, "[[upstream]]\nname = \"second\"\nkind = \"desk\"\n");
    let routed = format!("{HOT}[rule.ticket]\nupstream = \"second\"\n");
    home.write_rules(&routed);
    let gateway = start(&home);
    home.write_rules(HOT);
    assert_eq!(gateway.post("/api/v1/rules/reload").await.0, 200);
    drop(gateway);
    let file: PathBuf = home.path().join("faultgate.toml");
    let config = std::fs::read_to_string(&file).expect("there");
    std::fs::write(&file, config.replace("name = \"second\"", "name = \"third\""))
        .expect("written");
    let refused = run(&home, &["rules", "rollback", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    let shown = said(&refused);
    assert!(shown.contains("does not fit the present configuration"), "{shown}");
    assert!(shown.contains("there is no upstream `second`"), "{shown}");
    assert_eq!(rules(&home, "rules.toml").as_deref(), Some(HOT));
    let unknown = said(&run(&home, &["rules", "rollback", "9"]));
    assert!(unknown.contains("there is no rule set 9; kept: 1, 2"), "{unknown}");
}
